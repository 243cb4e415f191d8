"""Source maps against the models themselves: another pixel in the picture changes the tokens whose boxes hold it.

The encoders' attention adds nothing here, so a token knows only its own pixels. Pictures come from the families' own
processors, which sample the nearest pixel, so a box is right to one of the encoder's pixels.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from pinhole.families import family_of
from pinhole.layout import Layout
from zoo.parts import END, START
from zoo.shown import FILMED, SHOWN, Inputs, Processed

MIXING = re.compile(r"(attn|attention)\.(out_proj|o_proj|proj|projection_layer)\.(weight|bias)$")


@functools.cache
def still(family: str) -> Any:
    """The family's model with an encoder in which tokens do not hear of each other."""
    model = copy.deepcopy(zoo.model_of(family))
    words = {id(parameter) for parameter in family_of(model).language_model.parameters()}
    found = 0
    with torch.no_grad():
        for name, parameter in model.base_model.named_parameters():
            if MIXING.search(name) and id(parameter) not in words:
                parameter.zero_()
                found += 1
    assert found
    return model


@torch.no_grad()
def see(family: str, processed: Processed, modality: str = "image") -> tuple[torch.Tensor, Layout]:
    """(n, d) features and their source map."""
    model, (given, place) = still(family), processed
    inputs = {
        name: value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in given.items()
    }
    if place is None:
        encode = getattr(model.base_model, f"get_{modality}_features")
        known = {name: inputs[name] for name in inspect.signature(encode).parameters if name in inputs}
        features = encode(**known, return_dict=True).pooler_output
        token = family_of(model).token_id(modality)
        place = [token] * sum(len(feature) for feature in features)
    ids = torch.tensor([[START, *place, END]])
    [visual, *_], _ = family_of(model).encode({"input_ids": ids, **inputs})
    return visual.tokens.x, visual.tokens.layout


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(height, width, 3) of noise."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def blocks(size: tuple[int, int], boxes: torch.Tensor) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom and right of parts of a picture: two of its corners, and what some boxes hold."""
    generator = np.random.default_rng(sum(size))
    height, width = size
    found = [(0, 0, height // 6, width // 6), (height - height // 6, width - width // 6, height, width)]
    placed = boxes[~boxes.isnan().any(1)].clamp(0, 1)
    while len(found) < 6:
        top, left, bottom, right = placed[generator.integers(len(placed))].tolist()
        block = round(top * height), round(left * width), round(bottom * height), round(right * width)
        if block[0] < block[2] and block[1] < block[3]:
            found.append(block)
    return found


def with_noise(image: np.ndarray, block: tuple[int, int, int, int]) -> np.ndarray:
    """The picture with other pixels in the block."""
    top, left, bottom, right = block
    changed = image.copy()
    changed[top:bottom, left:right] ^= 0x80
    return changed


def meets(boxes: torch.Tensor, block: tuple[int, int, int, int], size: tuple[int, int], beyond: float) -> torch.Tensor:
    """(n,) whether boxes and a block have more than `-beyond` of the boxes' height and width in common."""
    (height, width), (top, left, bottom, right) = size, block
    common = torch.stack(
        [
            boxes[:, 2].clamp_max(bottom / height) - boxes[:, 0].clamp_min(top / height),
            boxes[:, 3].clamp_max(right / width) - boxes[:, 1].clamp_min(left / width),
        ],
        1,
    )
    return (common > -beyond * (boxes[:, 2:] - boxes[:, :2])).all(1)


def test_every_family_is_shown():
    assert {name.split()[0] for name in SHOWN} == set(zoo.ZOO)
    assert set(FILMED) == {name for name, animal in zoo.ZOO.items() if "video" in animal.modalities}


@pytest.mark.parametrize(("case", "size"), [(case, size) for case, shown in SHOWN.items() for size in shown.sizes])
def test_a_token_changes_with_the_part_of_the_picture_in_its_box(case, size):
    shown, family = SHOWN[case], case.split()[0]
    image = picture(size)
    before, layout = see(family, shown.process(image))
    boxes = layout.boxes()
    check_tiling(layout)
    assert torch.equal(boxes.isnan().any(1), layout.separators)
    met = 0
    for block in blocks(size, boxes):
        after, _ = see(family, shown.process(with_noise(image, block)))
        changed = (after - before).abs().amax(1) > 1e-9
        must = meets(boxes, block, size, -max(1 / shown.pixels, shown.reach / 2))
        may = meets(boxes, block, size, shown.reach + 1e-9)
        met += int(must.sum())
        assert not (must & ~changed).any(), (
            f"{block}: tokens {(must & ~changed).nonzero()[:, 0].tolist()} did not change"
        )
        assert not (changed & ~may).any(), f"{block}: tokens {(changed & ~may).nonzero()[:, 0].tolist()} changed"
    assert met


def film(frames: list[Inputs]) -> Inputs:
    """What pictures are as the frames of a video."""
    pixels = [frame["pixel_values"] for frame in frames]
    if "image_grid_thw" not in frames[0]:
        return {"pixel_values_videos": torch.stack(pixels, 1)}
    _, *grid = frames[0]["image_grid_thw"][0].tolist()
    return {"pixel_values_videos": torch.cat(pixels), "video_grid_thw": torch.tensor([[len(frames), *grid]])}


@pytest.mark.parametrize("family", list(FILMED))
def test_a_token_changes_with_its_own_frame(family):
    process, pixels, reach = FILMED[family]
    size = (64, 96)
    images = [picture(size, seed) for seed in range(3)]
    before, layout = see(family, (film([process(image)[0] for image in images]), None), "video")
    boxes = layout.boxes()
    check_tiling(layout)
    for frame in range(3):
        for block in blocks(size, boxes):
            shot = [*images[:frame], with_noise(images[frame], block), *images[frame + 1 :]]
            after, _ = see(family, (film([process(image)[0] for image in shot]), None), "video")
            changed, own = (after - before).abs().amax(1) > 1e-9, layout.frames == frame
            must = own & meets(boxes, block, size, -max(1 / pixels, reach / 2))
            assert not (must & ~changed).any()
            assert not (changed & ~(own & meets(boxes, block, size, reach + 1e-9))).any()


def check_tiling(layout: Layout) -> None:
    """Every view has each of its cells once, and they fill its box without a gap."""
    boxes = layout.boxes()
    for number, view in enumerate(layout.views):
        order = layout.cell[layout.view == number].argsort()
        assert torch.equal(layout.cell[layout.view == number][order], torch.arange(view.rows * view.columns))
        if view.box is not None:
            cells = boxes[layout.view == number][order].view(view.rows, view.columns, 4)
            edges = cells[0, 0, 0], cells[0, 0, 1], cells[-1, -1, 2], cells[-1, -1, 3]
            torch.testing.assert_close(torch.stack(edges), torch.tensor(view.box, dtype=torch.float64))
            torch.testing.assert_close(cells[1:, :, 0], cells[:-1, :, 2])
            torch.testing.assert_close(cells[:, 1:, 1], cells[:, :-1, 3])
            assert (cells[..., :2] < cells[..., 2:]).all()


@pytest.mark.parametrize(
    ("family", "modality"), [(family, modality) for family, animal in zoo.ZOO.items() for modality in animal.modalities]
)
def test_each_visual_token_of_a_prompt_has_its_place(family, modality):
    model = zoo.model_of(family)
    for inputs in zoo.rows(family, model, modality, batch=4):
        for visual in family_of(model).encode(inputs)[0]:
            assert visual.tokens.layout.n == visual.tokens.n
            check_tiling(visual.tokens.layout)
