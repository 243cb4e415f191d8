"""A tiny random-weight model of every family, and prompts with images or videos of unlike sizes for it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from pinhole.explain.labels import Label, LabelStore
from pinhole.families import family_of
from pinhole.plan import Method
from pinhole.registry import MethodSpec, method_class, required_of
from zoo import gemma, glm, idefics, internvl, llava, mistral, mosaic, ports, qwen, squares
from zoo.parts import IMAGE, PAD, VIDEO, WIDTH, WORDS, Animal

ZOO: dict[str, Animal] = {
    **ports.ANIMALS,
    **llava.ANIMALS,
    **qwen.ANIMALS,
    **internvl.ANIMALS,
    **idefics.ANIMALS,
    **gemma.ANIMALS,
    **glm.ANIMALS,
    **squares.ANIMALS,
    **mosaic.ANIMALS,
    **mistral.ANIMALS,
}


@functools.cache
def model_of(family: str) -> Any:
    """The family's model, built once a process. Tests leave it as it is."""
    return ZOO[family].build()


INSIDE = {
    "fastv": "layer=2",
    "pyramiddrop": "layers=(2,3)",
    "sparsevlm": "layers=(2,3),retain=(0.5,0.25)",
    "dart": "layer=2",
    "vtw": "layer=2",
    "adsc": "schedule={2:0.5,3:0.25}",
}
"""Settings of the methods inside the LLM that suit four layers, the first two of which may add image features."""


def method(name: str, keep: float | int = 0.25, labels: str | None = None) -> Method:
    """A method of the registry, with labels where it needs them.

    Where it learns its weights are float64 and nothing in them is 0, so that what training starts with 0 takes part.
    """
    settings = f"labels={labels}" if "labels" in required_of(method_class(name)) else INSIDE.get(name, "")
    made = MethodSpec.parse(f"{name}:{settings}").build(WIDTH, keep)
    if not isinstance(made, torch.nn.Module):
        return made
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return made.double()


def row(
    family: str, model: Any, modality: str = "image", seed: int = 0, count: int = 1, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """One prompt: words, `count` images or videos with words between, words."""
    animal = ZOO[family]
    generator = torch.Generator().manual_seed(1000 + seed)

    def words(number: int) -> list[int]:
        return torch.randint(3, WORDS, (number,), generator=generator).tolist()

    inputs, places = animal.visual(model, modality, count, generator, dtype)
    ids = words(3 + seed % 3)
    for place in places:
        ids += place + words(2)
    ids = torch.tensor([ids + words(3)])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **inputs}
    if animal.token_types:
        inputs[animal.token_types] = ((ids == IMAGE) | (ids == VIDEO)).long() * (2 if modality == "video" else 1)
    return inputs


def rows(family: str, model: Any, modality: str = "image", seed: int = 0, batch: int = 1) -> list[dict]:
    """Prompts of unlike length; the second has two images, or two videos."""
    return [row(family, model, modality, 10 * seed + i, 2 if i == 1 else 1) for i in range(batch)]


def write_labels(folder: Path, model: Any, prompts: list[dict[str, torch.Tensor]]) -> None:
    """Made-up labels of all images and videos in some prompts."""
    with LabelStore(folder, {}, {}) as store:
        for number, prompt in enumerate(prompts):
            units = [visual.tokens for visual in family_of(model).encode(prompt)[0]]
            generator = torch.Generator().manual_seed(number)
            relevance = tuple(torch.rand(unit.n, generator=generator) for unit in units)
            sizes, fingerprints = (tuple(unit.n for unit in units), tuple(unit.fingerprint for unit in units))
            store.add(Label(f"{number}", 0, "?", "!", True, relevance, sizes, fingerprints))


def together(prompts: list[dict[str, torch.Tensor]], side: str = "left") -> dict[str, torch.Tensor]:
    """Prompts as one padded batch."""
    length = max(prompt["input_ids"].shape[1] for prompt in prompts)
    batch: dict[str, torch.Tensor] = {}
    for name in prompts[0]:
        values = [prompt[name] for prompt in prompts]
        if values[0].shape == prompts[0]["input_ids"].shape:
            fill = PAD
            pads = [value.new_full((1, length - value.shape[1]), fill) for value in values]
            values = [torch.cat([p, v] if side == "left" else [v, p], 1) for p, v in zip(pads, values, strict=True)]
        elif name == "pixel_values" and values[0].dim() == 5:
            tiles = max(value.shape[1] for value in values)
            values = [torch.nn.functional.pad(v, (0,) * 6 + (0, tiles - v.shape[1])) for v in values]
        batch[name] = torch.cat(values)
    return batch


def words(count: int, seed: int, batch: int = 1) -> dict[str, torch.Tensor]:
    """A turn of text alone."""
    ids = torch.randint(3, WORDS, (batch, count), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
