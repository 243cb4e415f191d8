from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pinhole.images import load_image


def file_of(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def picture() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(values)


def test_files_bytes_and_pictures_give_the_same_picture(picture, tmp_path):
    path = tmp_path / "a picture.png"
    picture.save(path)
    for source in (path, str(path), path.read_bytes(), picture):
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        assert np.array_equal(loaded, picture)


def test_orientation_tags_are_applied(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown rotated by 90 degrees clockwise
    shown = load_image(file_of(picture, exif=exif))
    assert np.array_equal(shown, np.rot90(np.asarray(picture), k=-1))


def test_transparency_is_laid_on_white():
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    assert list(np.asarray(load_image(image))[0].tolist()) == [[10, 20, 30], [255, 255, 255]]


def test_a_palette_with_a_transparent_entry_is_laid_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    shown = load_image(file_of(image, transparency=0))
    assert np.asarray(shown)[0].tolist() == [[255, 255, 255], [0, 0, 200]]


def test_grey_with_transparency_is_laid_on_white():
    image = Image.new("LA", (1, 1), (0, 0))
    assert np.asarray(load_image(file_of(image)))[0, 0].tolist() == [255, 255, 255]


def test_cmyk_becomes_rgb():
    shown = load_image(file_of(Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "TIFF"))
    assert shown.mode == "RGB"
    red, green, blue = np.asarray(shown)[0, 0]
    assert red < 30
    assert min(green, blue) > 100


def test_16_bit_grey_is_scaled_and_not_clipped():
    values = np.array([[0, 32768, 65535]], np.uint16)
    shown = load_image(file_of(Image.fromarray(values)))
    assert np.asarray(shown)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(("top", "expected"), [(1.0, [0, 128, 255]), (255.0, [0, 128, 255])])
def test_floating_point_grey_is_scaled_by_its_range(top, expected):
    values = np.array([[0, 0.5, 1.0]], np.float32) * top
    assert np.asarray(load_image(Image.fromarray(values)))[0, :, 0].tolist() == expected


def test_one_bit_pictures_become_black_and_white():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert np.asarray(load_image(file_of(image)))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_a_single_pixel_is_a_picture():
    assert load_image(file_of(Image.new("RGB", (1, 1), "red"))).size == (1, 1)


def test_a_gif_of_one_frame_is_a_picture(picture):
    assert load_image(file_of(picture, "GIF")).size == (8, 6)


def test_the_given_picture_is_left_as_it_is(picture):
    grey = picture.convert("RGBA")
    before = grey.tobytes()
    load_image(grey)
    assert (grey.mode, grey.tobytes()) == ("RGBA", before)


def test_an_animation_is_refused(picture):
    frames = file_of(picture, "GIF", save_all=True, append_images=[picture.rotate(90), picture.rotate(180)])
    with pytest.raises(ValueError, match=r"animated \(3 frames\); save the frame"):
        load_image(frames)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_truncated_file_is_refused_by_name(kind, tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = file_of(picture, kind)
    path = tmp_path / "half.img"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"half\.img: the image is damaged or truncated"):
        load_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "it is empty"), (b"%PDF-1.7 no picture", "not an image of a known format"), (b"\x89PNG", "not an image")],
)
def test_what_is_no_image_is_refused(content, message, tmp_path):
    with pytest.raises(ValueError, match=f"the given bytes: .*{message}"):
        load_image(content)
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"odd\.png: .*{message}"):
        load_image(path)


def test_a_missing_file_and_a_folder_are_no_files(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(FileNotFoundError, match="no image file at"):
            load_image(path)


def test_a_picture_too_large_to_be_safe_is_refused(picture, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match="damaged or truncated"):
        load_image(file_of(picture))
