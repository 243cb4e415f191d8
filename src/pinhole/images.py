"""Loads pictures as the RGB images that processors expect, or says why one cannot be used."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

ImageSource = str | os.PathLike[str] | bytes | Image.Image


def load_image(source: ImageSource) -> Image.Image:
    """One RGB picture.

    Orientation tags are applied, transparency is laid on white, 16-bit and floating-point grey are scaled to 8 bits.

    Args:
        source: a file's path, its bytes, or a PIL image.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, no image, or animated; the message names the picture.
    """
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the given image")
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes):
        content = source
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"no image file at {name}")
        content = path.read_bytes()
    if not content:
        raise ValueError(f"cannot use {name}: it is empty")
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except UnidentifiedImageError as error:
        raise ValueError(f"cannot use {name}: it is not an image of a known format") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot use {name}: the image is damaged or truncated ({error})") from error
    return _to_rgb(image, name)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ValueError(f"cannot use {name}: it is animated ({frames} frames); save the frame you mean as an image")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, np.float64)
        top = 65535.0 if image.mode != "F" or values.max() > 255 else (255.0 if values.max() > 1 else 1.0)
        return Image.fromarray((values.clip(0, top) / top * 255).round().astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered).convert("RGB")
    return image.convert("RGB")
