"""Measures what the input-stage methods' own work takes, as a share of the prefill that it is to shorten.

    python runs/selection_time.py [--out docs/results/selection_time.json] [--keep 0.1] [--repeats 15]

The prefill is that of LLaVA-1.5-7B's LLM on 576 visual and 64 text tokens: two decoder layers of its shape with random
weights are timed and scaled to its 32 (embeddings and output head are left out). The methods read random tokens and
cues of the real shapes. Everything runs in one process, on the GPU where there is one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaModel

from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.layout import Layout, View
from pinhole.method import InputMethod
from pinhole.precision import fastest_precision
from pinhole.registry import MethodSpec, method_class, method_names, required_of
from pinhole.visual import VisualTokens

SIDE, TEXT, WIDTH, MLP, HEADS, LAYERS, MEASURED = 24, 64, 4096, 11008, 32, 32, 2
ENCODER_HEADS, HEAD_WIDTH = 16, 64
GOAL, SLOWER = 0.02, {"tome": 0.05, "cdpruner": 0.05, "divprune": 0.05}
"""The largest share of the prefill that a method's own work should take."""


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """How long each of some repeats took, after one that does not count."""
    taken = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return taken[1:]


def prefill(dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """Two decoder layers on the whole prompt."""
    config = LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=MLP,
        num_hidden_layers=MEASURED,
        num_attention_heads=HEADS,
        vocab_size=8,
    )
    model = LlamaModel(config).eval().to(device, dtype)

    def work() -> object:
        return model(inputs_embeds=prompt, use_cache=True)

    prompt = torch.randn(1, SIDE * SIDE + TEXT, WIDTH, device=device, dtype=dtype)
    return work


def picture(needs: frozenset[str], dtype: torch.dtype, device: torch.device) -> VisualTokens:
    """LLaVA-1.5's visual tokens of one image, with these cues, all random."""
    n = SIDE * SIDE
    shapes = {
        "cls_attention": (n,),
        "cls_attention_joint": (n,),
        "received_attention": (n,),
        "encoder_keys": (n, ENCODER_HEADS, HEAD_WIDTH),
        "prompt_embeddings": (TEXT, WIDTH),
        "first_layer_attention": (n, TEXT),
    }
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    cues = {}
    for name in needs:
        value = random(*shapes[name.removesuffix("+1")])
        cues[name] = value.float().softmax(0) if "attention" in name else value
    return VisualTokens(random(n, WIDTH), Layout.of(View(SIDE, SIDE)), random(3, 14 * SIDE, 14 * SIDE), cues)


def methods(keep: float, device: torch.device) -> list[InputMethod]:
    """Every method of the registry that acts before the LLM, with untrained weights where it learns."""
    built = [
        MethodSpec.parse(name).build(WIDTH, keep)
        for name in method_names()
        if method_class(name).stage == "input" and not required_of(method_class(name))
    ]
    return [method.to(device) if isinstance(method, torch.nn.Module) else method for method in built]


def own_time(method: InputMethod, image: VisualTokens, repeats: int) -> dict:
    """What one method takes; times are medians in milliseconds."""
    device, reduction = image.x.device, method.reduce(image)

    def select() -> object:
        return method.reduce(replace(image))  # an image remembers its fingerprint: it is a new one each time

    return {
        "method": method.name,
        "settings": method.settings(),
        "kept": reduction.m,
        "select_ms": 1000 * statistics.median(seconds(select, device, repeats)),
        "form_ms": 1000 * statistics.median(seconds(lambda: reduction.apply(image.x), device, repeats)),
    }


@torch.no_grad()
def measure(keep: float, repeats: int) -> dict:
    """The prefill before and after the methods, and the methods."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = fastest_precision(device)
    work = prefill(dtype, device)
    measured = seconds(work, device, 3)
    rows = [own_time(method, picture(method.needs, dtype, device), repeats) for method in methods(keep, device)]
    measured += seconds(work, device, 3)
    whole = 1000 * statistics.median(measured) * LAYERS / MEASURED
    for row in rows:
        row["share_of_prefill"] = (row["select_ms"] + row["form_ms"]) / whole
        row["goal"] = SLOWER.get(row["method"], GOAL)
        row["met"] = row["share_of_prefill"] < row["goal"]
    return {
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(),
        "prompt": {"visual": SIDE * SIDE, "text": TEXT},
        "prefill": {
            "ms": whole,
            "dtype": str(dtype).removeprefix("torch."),
            "layers": LAYERS,
            "layers_measured": MEASURED,
            "layers_measured_ms": [1000 * value for value in measured],
        },
        "keep": keep,
        "repeats": repeats,
        "rows": rows,
    }


def table(results: dict) -> str:
    """The results for people."""
    machine, made = results["hardware"], results["prefill"]
    lines = [
        f"{machine['gpu'] or machine['cpu']}, {machine['threads']} thread(s): prefill {made['ms']:,.1f} ms in "
        f"{made['dtype']}, from {made['layers_measured']} of {made['layers']} layers",
        f"{'method':16}{'kept':>6}{'select ms':>12}{'P X ms':>10}{'share':>12}{'goal':>7}",
    ]
    for entry in results["rows"]:
        lines.append(
            f"{entry['method']:16}{entry['kept']:6}{entry['select_ms']:12.2f}{entry['form_ms']:10.2f}"
            f"{100 * entry['share_of_prefill']:10.4f} %{100 * entry['goal']:5.0f} %{'' if entry['met'] else '  MISSED'}"
        )
    missed = [entry["method"] for entry in results["rows"] if not entry["met"]]
    lines.append(f"missed on this hardware: {', '.join(missed)}" if missed else "all goals are met on this hardware")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results/selection_time.json"))
    parser.add_argument("--keep", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    results = measure(given.keep, given.repeats)
    given.out.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
