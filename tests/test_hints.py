"""What users get wrong: one message that says what was given, what is allowed and what to do, and no traceback."""

import pytest

from pinhole.methods.metacompress import MetaCompress

EVAL = "eval --out {new} --data {scenes} --methods full"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evl", "No such command 'evl'. Did you mean 'eval'?"),
        ("data biuld mt-gqa", "No such command 'biuld'. Did you mean 'build'?"),
        ("eval --mehtods full", "No such option: --mehtods (Possible options: --methods"),
        ("eval --methods --data {scenes}", "--methods is followed by no value, but by --data"),
        ("eval --methods full", "Missing option '--out'"),
        (EVAL + " --limit 0", "'--limit': Input should be greater than or equal to 1"),
        ("choose --data {scenes} --out {new} --limit -1", "'--limit': Input should be greater than or equal to 1"),
        (
            "label --data {scenes} --out {new} --limit few",
            "'--limit': Input should be a valid integer",
        ),
    ],
)
def test_a_command_line_that_cannot_be_read(pinhole, stage, words, message):
    code, out, err = pinhole(*words.format(**stage).split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("Usage: ")
    assert "Try '" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (EVAL + " --device cudda", "no device 'cudda' here: "),
        (EVAL + " --model a/b/c", "no folder 'a/b/c': give a checkpoint folder, a hub name, or 'embedded'"),
        (EVAL + " --model embedded-sings", "no model 'embedded-sings'; did you mean 'embedded-signs'?"),
        (EVAL + " --batch 0", "max_new_tokens, batch and frames are at least 1, got 16, 0 and 1"),
        (EVAL + " --match avrage", "match is keep or average, got 'avrage'"),
        (EVAL + " --engine vlm", "--engine is transformers or vllm, got 'vlm'"),
        ("eval --out {file} --data {scenes} --methods full", "{file}: a file is in the way of a folder"),
        ("eval --out {new} --data {new} --methods full", "no dialogues at {new}: give a .jsonl file"),
        ("train --out {new} --data {scenes} --method metacompres", "did you mean 'metacompress'?"),
        ("train --out {new} --data {scenes} --set entropy_wight=1", "did you mean 'entropy_weight'?"),
        ("train --out {new} --data {scenes} --epochs 0", "at least 1, got 0, "),
        ("train --out {new} --data {scenes} --method relevance", "write them with pinhole label"),
        ("chat --image {new} --question x", "no image file at {new}"),
        ("chat --image {picture} --question x --method metacompress:{scenes}", "no weights in {scenes}"),
        ("chat --image {picture} --question x --config {new}", "give a choice.json that `pinhole choose` wrote"),
        ("choose --data {scenes} --out {new}", "give --max-loss such as 1%, --max-ttft such as 150ms, or both"),
        ("compare {new} {new}", "in {new}: give what `pinhole eval --out` wrote"),
        ("label --data {scenes} --out {new} --turns both", "turns is first or all, got 'both'"),
        ("overlap --data {scenes} --out {new} --method divprun", "did you mean 'divprune'?"),
        ("vtw-search --data {scenes} --smallest 99", "start at 1 to 3, not 99"),
        ("view --image {picture} --methods sample --out page.pdf", "--out ends with .html or .png, got page.pdf"),
        ("scenes --out {new} --split tset", "no split 'tset': the splits are train, validation, test"),
        ("scenes --out {new} --kinds colour", "kinds of questions are color, shape"),
        ("scenes --out {file}", "a file is in the way of a folder: give another --out"),
        ("quickstart --out {file}", "a file is in the way of a folder: give another --out"),
        ("bench --model lava-1.5-7b --methods full --out {new}", "did you mean 'llava-1.5-7b'?"),
        ("bench --model tiny --methods fulll --out {new}", "did you mean 'full'?"),
        ("bench-serve --url localhost:1 --data {scenes} --out {new}", "write NAME=http://127.0.0.1:8000"),
        ("data build mt-gqq --source {scenes} --out {new}", "did you mean mt-gqa?"),
        ("data build mt-gqa --source {scenes} --out {new}", "lacks\n  questions1.2/testdev_balanced_questions.json"),
        ("serve --model embedded --method sample", "vLLM does not read the embedded model's weights"),
        ("serve --model not/there --method sampel", "did you mean 'sample'?"),
    ],
)
def test_a_value_that_cannot_be_used(pinhole, stage, words, message):
    code, out, err = pinhole(*words.format(**stage).split())
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert message.format(**stage) in err
    assert not stage["new"].exists()


CHAT = "chat --image {picture} --device cpu --question x --max-new-tokens 1 --method "


@pytest.mark.parametrize(
    "words",
    [
        CHAT + "metacompress:d_c=4",
        EVAL + " metacompress:d_c=4 metacompress:d_c=8 --limit 1 --max-new-tokens 1 --ttft-dialogues 0 --device cpu",
        "view --image {picture} --device cpu --methods sample metacompress --out {new}/page.html",
        "overlap --data {scenes} --device cpu --limit 1 --method metacompress --out {new}",
    ],
)
def test_methods_that_learn_say_that_they_have_no_weights(pinhole, stage, words):
    code, out, err = pinhole(*words.format(**stage).split())
    assert code == 0, err
    assert out.count("metacompress is untrained here, its weights are random: name trained ones, as") == 1


def test_methods_with_weights_or_with_nothing_to_learn_say_nothing(pinhole, stage, tmp_path):
    MetaCompress.create(192).save_pretrained(tmp_path / "weights")
    for method in (f"metacompress:{tmp_path / 'weights'}", "sample+fastv:layer=1"):
        code, out, err = pinhole(*(CHAT + method).format(**stage).split())
        assert code == 0, err
        assert "untrained" not in out


@pytest.fixture
def stage(scenes, tmp_path):
    """A data set, a picture, a file where a folder should be, and a place where nothing is."""
    (tmp_path / "file").write_text("in the way")
    picture = next(scenes.glob("*.png"))
    return {"scenes": scenes, "picture": picture, "file": tmp_path / "file", "new": tmp_path / "new"}
