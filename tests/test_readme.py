"""What the README says is so: its code runs, its commands run, its table is the generated one."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch

from pinhole import cli
from pinhole.scenes import checkpoint

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODEL = "llava-hf/llava-1.5-7b-hf"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_table_is_the_generated_one():
    results = json.loads((ROOT / "docs" / "results" / "methods.json").read_text())
    with_table = runpy.run_path(str(ROOT / "runs" / "readme.py"))["with_table"]
    assert with_table(README, results) == README


def test_the_pictures_exist():
    for path in re.findall(r"!\[.*?\]\((?!http)(.*?)\)", README):
        assert (ROOT / path).is_file(), path


def test_the_python_code_runs(scenes, capsys):
    api, method = blocks("python")
    picture = next(scenes.glob("*.png"))
    code = api.replace(f'"{MODEL}"', f'"{checkpoint()}"').replace("kitchen.jpg", str(picture))
    setup, rest = code.split("\nwith ", 1)
    scope = {}
    exec(setup, scope)
    text = scope["processor"].apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What shape is it?"}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    from PIL import Image

    scope["inputs"] = scope["processor"](text=text, images=Image.open(picture), return_tensors="pt")
    exec("with " + rest, scope)
    assert capsys.readouterr().out.strip()
    exec(method, scope)
    loudest = scope["Loudest"](keep=0.1)
    with scope["pinhole"].compress(scope["model"], loudest) as compression:
        scope["model"].generate(**scope["inputs"], max_new_tokens=1)
    norms = scope["model"].get_image_features(scope["inputs"]["pixel_values"]).pooler_output[0].norm(dim=-1)
    assert torch.equal(compression.reductions[0].indices, norms.topk(14).indices.sort().values)


def test_the_commands_run(scenes, tmp_path, monkeypatch, capsys):
    """Each `pinhole` line of the README, on the embedded LVLM and twelve dialogues."""
    monkeypatch.chdir(tmp_path)
    commands = [
        shlex.split(line)[1:]
        for block in blocks("bash")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("pinhole ")
    ]
    assert [command[0] for command in commands] == ["train", "eval", "chat", "label", "train", "train", "train"]
    places = {MODEL: "embedded", "kitchen.jpg": str(next(scenes.glob("*.png")))}
    places |= dict.fromkeys(["train.jsonl", "test.jsonl"], str(scenes / "dialogues.jsonl"))
    for command in commands:
        extra = ["--question", "What shape is it?"] if command[0] == "chat" else ["--quiet"]
        monkeypatch.setattr("sys.argv", ["pinhole", *(places.get(word, word) for word in command), *extra])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert not stopped.value.code, capsys.readouterr().err
    assert json.loads((tmp_path / "results" / "results.json").read_text())["rows"][-1]["method"] == "metacompress"
