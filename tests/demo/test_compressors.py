"""Which folders hold compressors, and of which method."""

import json

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import adapted
from pinhole.demo.compressors import from_hub, in_folders
from pinhole.methods.metacompress import MetaCompress
from pinhole.methods.relevance import Relevance
from pinhole.methods.visionselector import VisionSelector


def test_every_folder_with_saved_weights_is_found_and_nothing_else(tmp_path, embedded):
    root = tmp_path / "trained"
    MetaCompress.create(192).save_pretrained(root)
    VisionSelector.create(192).save_pretrained(root / "a" / "selector")
    Relevance.create(192, turns="each").save_pretrained(root / "b" / "checkpoints" / "step-00000100")
    adapted.saved(root / "c", adapted.adapter(embedded[0]))
    embedded[0].save_pretrained(root / "a whole model")
    MetaCompress.create(192).save_pretrained(root / "unfinished")
    (root / "unfinished" / "model.safetensors").unlink()
    (root / "d").mkdir()
    (root / "d" / "config.json").write_text("no JSON")
    (root / "d" / "model.safetensors").write_bytes(b"")
    found = {label: (spec.name, spec.source) for label, spec in in_folders([root]).items()}
    assert found == {
        "MetaCompress from trained": ("metacompress", str(root)),
        "VisionSelector from trained/a/selector": ("visionselector", str(root / "a" / "selector")),
        "Relevance from trained/b/checkpoints/step-00000100": (
            "relevance",
            str(root / "b" / "checkpoints" / "step-00000100"),
        ),
        "ADSC from trained/c": ("adsc", str(root / "c")),
    }


def test_two_folders_of_one_name_are_told_apart(tmp_path):
    for parent in ("one", "two"):
        MetaCompress.create(192).save_pretrained(tmp_path / parent / "weights")
    found = in_folders([tmp_path / "one" / "weights", tmp_path / "two" / "weights"])
    assert list(found) == ["MetaCompress from weights", f"MetaCompress from {tmp_path / 'two' / 'weights'}"]


def test_a_folder_without_any_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no compressor in .* or below: pinhole train --out writes one"):
        in_folders([tmp_path])
    with pytest.raises(ValueError, match=r"no folder .*nowhere with compressors"):
        in_folders([tmp_path / "nowhere"])


@pytest.mark.parametrize("name", ["", "metacompress", "a/b/c", "../x", "owner/na me", "owner/", "https://x/y"])
def test_what_is_no_hub_name_is_refused(name):
    with pytest.raises(ValueError, match="is no hub name: write it as owner/name"):
        from_hub(name)


def test_a_folder_on_the_server_is_not_reached_by_a_hub_name(tmp_path, monkeypatch):
    MetaCompress.create(192).save_pretrained(tmp_path / "own" / "weights")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is no hub name"):
        from_hub("own/weights")


def test_weights_from_the_hub(tmp_path, monkeypatch):
    MetaCompress.create(192).save_pretrained(tmp_path / "owner" / "name")
    (tmp_path / "owner" / "other").mkdir()
    (tmp_path / "owner" / "other" / "config.json").write_text(json.dumps({"model_type": "llava"}))

    def download(name, file):
        if not (tmp_path / name).is_dir():
            raise LocalEntryNotFoundError("a long story")
        return str(tmp_path / name / file)

    monkeypatch.setattr("pinhole.demo.compressors.hf_hub_download", download)
    label, spec = from_hub("owner/name")
    assert (label, spec.name, spec.source) == ("MetaCompress from owner/name", "metacompress", "owner/name")
    with pytest.raises(ValueError, match=r"owner/other is no compressor: its config.json has the settings of no"):
        from_hub("owner/other")
    with pytest.raises(ValueError, match="no compressor owner/nowhere can be had from the hub: LocalEntryNotFound"):
        from_hub("owner/nowhere")
