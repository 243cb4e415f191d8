"""What visitors send: pictures of all kinds, and questions."""

import pytest
from PIL import Image

from pinhole.demo.limits import Limits, check_question, parse_size, read_picture


@pytest.mark.parametrize(
    ("text", "size"), [("20MB", 20_000_000), ("500 kB", 500_000), ("1.5gb", 1_500_000_000), ("1000", 1000), ("7B", 7)]
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "20 miles", "-1MB", "20 TB"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ValueError, match="write bytes such as 20MB"):
        parse_size(text)


def test_limits_are_above_0():
    with pytest.raises(ValueError, match="the limit of turns is at least 1, got 0"):
        Limits(turns=0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
def test_a_picture_is_read(tmp_path, suffix):
    path = tmp_path / f"red.{suffix}"
    Image.new("RGB", (9, 7), "red").save(path)
    picture = read_picture(path, Limits())
    assert (picture.mode, picture.size) == ("RGB", (9, 7))
    red, green, blue = picture.getpixel((4, 3))
    assert red > 240
    assert max(green, blue) < 15


def noise(path, **settings):
    Image.effect_noise((300, 200), 90).save(path, **settings)
    return path.read_bytes()


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "words.png").write_text("these are words")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(noise(folder / "whole.jpg")[:2000])
    Image.new("RGB", (8, 8)).save(folder / "paper.eps")
    (folder / "paper.png").write_bytes((folder / "paper.eps").read_bytes())
    Image.new("1", (12_000, 9_000)).save(folder / "wide.png")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    return folder


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("words.png", "words.png is not an image that is read here: send JPEG, PNG, WEBP"),
        ("empty.png", "empty.png is not an image that is read here"),
        ("cut.jpg", "cannot use cut.jpg: the image is damaged or truncated"),
        ("paper.png", "paper.png is not an image that is read here"),
        ("wide.png", "wide.png"),
        ("bomb.png", "bomb.png is too large: send at most 20 megapixels"),
        ("gone.png", "gone.png is not here any more"),
    ],
)
def test_what_is_no_picture_is_refused_without_its_path(bad_files, name, complaint):
    with pytest.raises(ValueError, match=complaint) as refused:
        read_picture(bad_files / name, Limits(pixels=20_000_000))
    assert str(bad_files) not in str(refused.value)


def test_too_many_pixels_are_counted_before_they_are_read(tmp_path, monkeypatch):
    Image.new("RGB", (200, 100)).save(tmp_path / "large.png")
    monkeypatch.setattr("pinhole.demo.limits.load_image", lambda path: pytest.fail("it was read"))
    with pytest.raises(
        ValueError, match=r"large.png has 200 x 100 pixels \(0.02 megapixels\): send at most 0.015 mega"
    ):
        read_picture(tmp_path / "large.png", Limits(pixels=15_000))


def test_an_animation_is_refused_by_its_name(tmp_path):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 100, 200)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"cannot use film.gif: it is animated \(3 frames\)"):
        read_picture(tmp_path / "film.gif", Limits())


def test_questions_are_stripped_and_measured():
    limits = Limits(question=10)
    assert check_question("  what is? ", limits) == "what is?"
    for nothing in ("", " \n\t "):
        with pytest.raises(ValueError, match="the question is empty"):
            check_question(nothing, limits)
    with pytest.raises(ValueError, match="the question has 11 characters: ask in at most 10"):
        check_question("a" * 11, limits)
