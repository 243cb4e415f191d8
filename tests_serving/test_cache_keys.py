"""What vLLM calls a picture depends on what is made of it: caches that engines share cannot mix them up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dialogues import picture
from pinhole.budget import Keep
from pinhole.methods.metacompress import MetaCompress
from pinhole.serving.settings import Settings
from tiny_checkpoints import WIDTH, write

pytestmark = pytest.mark.filterwarnings("ignore")  # vLLM is imported here


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("llava", tmp_path_factory.mktemp("llava"))


def named(checkpoint: Path, method: str, keep: Keep, **options: Any) -> str:
    """The name of one picture on a server."""
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    config = ModelConfig(str(checkpoint), hf_overrides=Settings(method, keep).overrides("llava"), dtype="float32")
    processor = MULTIMODAL_REGISTRY.create_processor(config)
    items = processor.info.parse_mm_data({"image": [picture(56, 56, 0)]})
    return processor([4, 9, 9], items, **options)["mm_hashes"]["image"][0]


def test_keep_settings_and_weights_have_names_of_their_own(checkpoint: Path, tmp_path: Path) -> None:
    specs = ["sample", "random", "random:seed=1"]
    for seed in (0, 1):
        MetaCompress.create(WIDTH, seed).save_pretrained(tmp_path / str(seed))
        specs.append(f"metacompress:{tmp_path / str(seed)}")
    names = [named(checkpoint, spec, keep) for spec in specs for keep in (0.25, 0.5)]
    assert len(set(names)) == len(names)
    assert named(checkpoint, specs[-1], 0.5) == names[-1], "the same again"


def test_a_name_that_the_client_gives_does_not_stand_alone(checkpoint: Path) -> None:
    mine = {"mm_uuid_items": {"image": ["mine"]}}
    assert named(checkpoint, "sample", 0.25, **mine) != named(checkpoint, "sample", 0.5, **mine)


def test_a_count_above_what_a_picture_has_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="cannot keep 65 of 64 visual tokens"):
        named(checkpoint, "sample", 65)
