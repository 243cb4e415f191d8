"""What was seen of pictures, in one file, so that it can be drawn again without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pinhole.layout import Layout
from pinhole.reduction import Reduction
from pinhole.view.subject import Decision, Modality, Subject

KEY = "pinhole view"
"""Under which the file's metadata has all that is no tensor."""


def save_subjects(path: Path, subjects: list[Subject]) -> None:
    """Write them as safetensors: reductions, relevance and layouts; the pictures are not among it."""
    tensors: dict[str, torch.Tensor] = {}
    told = []
    for i, subject in enumerate(subjects):
        decisions = []
        for j, decision in enumerate(subject.decisions):
            rows = {"": decision.reduction, **{f".{layer}": cut for layer, cut in decision.cuts.items()}}
            for suffix, reduction in rows.items():
                tensors |= {f"{i}.{j}{suffix}.{name}": value for name, value in reduction.tensors().items()}
            sizes = {str(layer): cut.n for layer, cut in decision.cuts.items()}
            decisions.append(
                {"method": decision.method, "keep": decision.keep, "layers": decision.layers, "cuts": sizes}
            )
        for k, values in enumerate(subject.relevance.values()):
            tensors[f"{i}.relevance.{k}"] = values.detach().cpu().contiguous()
        plain = ("picture", "name", "modality", "size", "frames", "question", "instead", "answer")
        layout = {"n": subject.layout.n, "layout": subject.layout.written()}
        told.append(
            {
                **{name: getattr(subject, name) for name in plain},
                **layout,
                "decisions": decisions,
                "relevance": [*subject.relevance],
            }
        )
    save_file(tensors, path, metadata={KEY: json.dumps(told)})


def load_subjects(path: Path, picture: str, modality: Modality, frames: int) -> list[Subject]:
    """What `save_subjects` wrote, or a single reduction that `Reduction.save` wrote with its layout.

    Args:
        path: of the file.
        picture: name of the picture or video that a single reduction is of.
        modality: of this: "image" or "video".
        frames: of this.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is neither, or a reduction without a layout.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of reductions at {path}")
    try:
        with safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if told else {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"cannot use {path}: it is not a safetensors file ({error})") from error
    if told:
        return [_subject(i, one, tensors) for i, one in enumerate(json.loads(told))]
    reduction = Reduction.load(path)
    if reduction.layout is None or not reduction.layout.views:
        raise ValueError(
            f"{path} does not say where its {reduction.n} visual tokens come from: save a reduction that "
            "pinhole.Chat, pinhole.compress or pinhole overlap gave, or one with Reduction.placed(layout)"
        )
    decision = Decision(path.stem, None, reduction)
    return [Subject(0, picture, modality, None, frames, None, None, None, [decision])]


def _subject(i: int, told: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Subject:
    layout, n, decisions = Layout.read(told.pop("layout")), told.pop("n"), []
    for j, one in enumerate(told.pop("decisions")):
        sizes = one.pop("cuts")
        cuts = {int(layer): _reduction(tensors, f"{i}.{j}.{layer}", size) for layer, size in sizes.items()}
        decisions.append(Decision(reduction=_reduction(tensors, f"{i}.{j}", n).placed(layout), cuts=cuts, **one))
    relevance = {name: tensors[f"{i}.relevance.{k}"] for k, name in enumerate(told.pop("relevance"))}
    size = told.pop("size")
    return Subject(size=size and tuple(size), decisions=decisions, relevance=relevance, **told)


def _reduction(tensors: dict[str, torch.Tensor], key: str, n: int) -> Reduction:
    indices, weights, sizes = (tensors.get(f"{key}.{name}") for name in ("indices", "weights", "sizes"))
    return Reduction(n, indices, weights, sizes)
