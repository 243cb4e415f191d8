"""Trains Relevance in the variants of its paper's ablations and publishes how much of R_v and of the answers is left.

    pinhole label --turns all --data TRAIN --out LABELS
    pinhole label --turns all --data TRAIN --out MEAN --weighting mean
    pinhole label --turns all --data HELD --out HELD_LABELS --all-answers
    python runs/relevance_ablation.py --data TRAIN --labels LABELS --mean-labels MEAN --held-data HELD \
        --held-labels HELD_LABELS [--model embedded] [--out out/relevance_ablation] [--epochs N] [--limit N]

Variants: labels weighted by gradients or by the mean over heads; 3, 5, 7 and 10 layers; the LLM's layer whose attention
is read. Each is trained on the train labels. On held-out labels it is measured which share of R_v the kept tokens have;
then the held-out dialogues are held. It goes on where it was stopped, and writes docs/results/relevance_ablation.json
and docs/relevance.md. What stands there took 1,600 training dialogues of four turns (`pinhole scenes`), labels of the
first 500 (--limit 500), 400 held-out dialogues, --epochs 40 and --input-layers 1.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from relevance_page import page
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.budget import kept_tokens
from pinhole.data import read_dialogues
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.results import save
from pinhole.explain.labels import Label, read_labels, read_settings
from pinhole.families import family_of
from pinhole.loading import load
from pinhole.methods.relevance import Relevance
from pinhole.registry import MethodSpec
from pinhole.training.attention import attentions
from pinhole.training.explanation import Explanation
from pinhole.training.loop import train
from pinhole.training.recipe import Task

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "results" / "relevance_ablation.json", ROOT / "docs" / "relevance.md"
KEEPS = (0.25, 0.1)
SPEC = MethodSpec.parse("relevance")
VARIANTS = {
    "as published": ("", "gradient"),
    "mean-weighted labels": ("", "mean"),
    "3 layers": ("layers=3", "gradient"),
    "7 layers": ("layers=7", "gradient"),
    "10 layers": ("layers=10", "gradient"),
}
"""Settings, and the weighting of the labels."""


def variants(input_layers: list[int]) -> dict[str, tuple[str, str]]:
    """Those above, and one for each layer to read instead of the first."""
    return VARIANTS | {f"attention of layer {layer}": (f"input_layer={layer}", "gradient") for layer in input_layers}


def trained(given: argparse.Namespace, model: PreTrainedModel, processor: ProcessorMixin) -> dict[str, Path]:
    """The folder of each variant's weights."""
    dialogues, folders = read_dialogues(given.data), {}
    settings = replace(Explanation.defaults, epochs=given.epochs or Explanation.defaults.epochs)
    for name, (spec, weighting) in variants(given.input_layers).items():
        labels = given.labels if weighting == "gradient" else given.mean_labels
        if read_settings(labels)["weighting"] != weighting:
            raise SystemExit(f"the labels in {labels} are not weighted by {weighting}")
        folders[name] = given.out / name.replace(" ", "-")
        method, cache = MethodSpec.parse(f"relevance:{spec}"), given.out / "attention"
        train(model, processor, method, dialogues, folders[name], settings, resume=True, labels=labels, cache=cache)
    return folders


@torch.no_grad()
def shares_kept(
    folder: Path, given: argparse.Namespace, model: PreTrainedModel, processor: ProcessorMixin, labels: list[Label]
) -> dict[str, dict[str, float]]:
    """The share of R_v that the kept tokens have, the mean over images, by keep.

    Tokens are kept by the network, by the attention that it reads, and by R_v itself.
    """
    method = Relevance.from_pretrained(str(folder)).eval()
    dialogues, [cue] = read_dialogues(given.held_data), method.needs
    by_id = {dialogue.id: dialogue for dialogue in dialogues}
    task = Task(model, processor, SPEC, dialogues, Explanation.defaults, cache=given.out / "held-attention")
    found = attentions(task, [(by_id[label.dialogue], label.question) for label in labels], cue)
    shares: dict[str, dict[str, list[float]]] = {}
    for label, images in zip(labels, found, strict=True):
        for a, r_v in zip(images, label.relevance, strict=True):
            scores = {"network": method(a), "attention": a, "relevance": r_v}
            for (name, score), keep in itertools.product(scores.items(), KEEPS):
                kept = score.topk(kept_tokens(len(a), keep)).indices
                shares.setdefault(name, {}).setdefault(str(keep), []).append(float(r_v[kept].sum() / r_v.sum()))
    return {name: {keep: statistics.mean(values) for keep, values in each.items()} for name, each in shares.items()}


def ablation(given: argparse.Namespace) -> dict[str, Any]:
    """Train, measure, hold the dialogues."""
    model, processor = load(given.model)
    folders = trained(given, model, processor)
    labels = [label for label in read_labels(given.held_labels) if label.correct and label.relevance][: given.limit]
    rows = [
        {"variant": name, **MethodSpec.parse(f"relevance:{folder}").build(family_of(model).width).settings()}
        | {"share_of_relevance": shares_kept(folder, given, model, processor, labels)}
        for name, folder in folders.items()
    ]
    specs = [*(f"relevance:{folder}" for folder in folders.values()), f"oracle:labels={given.held_labels}"]
    compared = contenders(["full"], [1.0], family_of(model).shape) + contenders(
        specs, list(KEEPS), family_of(model).shape
    )
    results = evaluate(
        model,
        processor,
        compared,
        read_dialogues(given.held_data)[: given.limit],
        given.out / "dialogues",
        Names(given.model, given.held_data.name),
        ttft_dialogues=0,
    )
    held = iter([{name: row[name] for name in ("accuracy", "average", "ci95")} for row in results.pop("rows")])
    whole = next(held)
    for row in (*rows, oracle := {"variant": "labels themselves"}):
        row["dialogues"] = {str(keep): next(held) for keep in KEEPS}
    return {
        **results,
        "epochs": given.epochs or Explanation.defaults.epochs,
        "train_labels": read_settings(given.labels),
        "held_labels": {**read_settings(given.held_labels), "images": sum(len(label.relevance) for label in labels)},
        "uncompressed": whole,
        "rows": [*rows, oracle],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "labels", "mean-labels", "held-data", "held-labels"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "relevance_ablation")
    parser.add_argument("--input-layers", type=int, nargs="*", default=[1, 2], help="beside the first, which is 0")
    parser.add_argument("--epochs", type=int, help="of each training; the recipe's own by default")
    parser.add_argument("--limit", type=int, help="only the first held-out labels and dialogues; nothing is published")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    results = save(given.out / "results.json", ablation(given))
    if given.limit is None:
        save(RESULTS, results)
        PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
