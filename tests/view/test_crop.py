"""The part of a picture that is said to be seen, against pixels that change what the processor makes of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import transformers as hf
from PIL import Image

from pinhole.models.vila.processing import VilaImageProcessor
from pinhole.view.crop import seen_part

CROP = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
TALL = {"size": {"shortest_edge": 60}, "crop_size": {"height": 48, "width": 36}}
PROCESSORS = {
    "crop": hf.CLIPImageProcessorPil(**CROP),
    "crop of less": hf.CLIPImageProcessorPil(**TALL),
    "no crop": hf.CLIPImageProcessorPil(size={"height": 48, "width": 48}, do_center_crop=False),
    "pad": hf.LlavaImageProcessorPil(**CROP, do_pad=True),
    "pad to the mean": VilaImageProcessor(size={"height": 48, "width": 48}, image_aspect_ratio="pad"),
    "stretch": VilaImageProcessor(size={"height": 48, "width": 48}),
    "as it is": hf.CLIPImageProcessorPil(crop_size={"height": 48, "width": 48}, do_resize=False),
}


def changed(process, size: tuple[int, int], row: int, column: int) -> np.ndarray:
    """(h, w) whether a pixel of what the processor makes changes with a part of a picture around (row, column)."""
    plain, other = np.zeros((*size[::-1], 3), np.uint8), np.zeros((*size[::-1], 3), np.uint8)
    other[row - 2 : row + 3, column - 2 : column + 3] = 255
    results = [process(Image.fromarray(image), return_tensors="np")["pixel_values"][0] for image in (plain, other)]
    return np.abs(np.asarray(results[0]) - np.asarray(results[1])).max(0) > 0.1


@pytest.mark.parametrize("size", [(120, 80), (70, 110), (90, 90)])
@pytest.mark.parametrize("name", list(PROCESSORS))
def test_a_place_in_the_part_is_seen_where_its_share_says(name, size):
    process, (width, height) = PROCESSORS[name], size
    top, left, bottom, right = seen_part(SimpleNamespace(image_processor=process), "image", size)
    seen = 0
    for row in range(5, height - 5, 9):
        for column in range(5, width - 5, 9):
            down = ((row + 0.5) / height - top) / (bottom - top)
            across = ((column + 0.5) / width - left) / (right - left)
            where = changed(process, size, row, column)
            if min(down, across, 1 - down, 1 - across) > 0.08:
                rows, columns = where.nonzero()
                assert abs((rows.mean() + 0.5) / where.shape[0] - down) < 0.04
                assert abs((columns.mean() + 0.5) / where.shape[1] - across) < 0.04
                seen += 1
            elif min(down, across, 1 - down, 1 - across) < -0.1:
                assert not where.any()
    assert seen > 10


def test_processors_that_make_tiles_and_those_that_know_no_crop_show_all():
    tiles = hf.LlavaNextImageProcessorPil(**CROP, image_grid_pinpoints=[[48, 96], [96, 48]])
    for kind in (tiles, hf.Qwen2VLImageProcessorPil(), hf.SiglipImageProcessorPil()):
        assert seen_part(SimpleNamespace(image_processor=kind), "image", (100, 50)) == (0, 0, 1, 1)


def test_frames_of_a_video_are_asked_of_their_own_processor():
    video = SimpleNamespace(do_center_crop=True, do_resize=True, **CROP)
    processor = SimpleNamespace(image_processor=PROCESSORS["no crop"], video_processor=video)
    assert seen_part(processor, "video", (200, 100)) == (0, 0.25, 1, 0.75)
    assert seen_part(processor, "image", (200, 100)) == (0, 0, 1, 1)
