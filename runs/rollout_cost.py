"""Measures what rollout by rows takes, beside the matrices that define it: time, and memory at its peak.

    python runs/rollout_cost.py [--out docs/results/rollout_cost.json] [--repeats 3]

A LLaVA with random weights, 8 layers of width 256 with 8 heads, reads 1024 tokens, 900 of them visual; 3 tokens of its
answer are explained. By rows is `pinhole.explain.rollout.relevance`. By matrices is its definition: one pass with eager
attention that keeps all maps, their gradients for one token after the other, and R of all tokens.

Every run is a process of its own, on one thread of the CPU, that did the same on a short prompt before. Its time is
what that thread computes, which others on the machine disturb less than the clock; its memory is what the largest
resident set grows by. What is published are medians of the repeats.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.explain.rollout import relevance
from pinhole.families import family_of

LENGTH, SIDE, ANSWER, BEFORE = 1024, 30, 3, 20
LAYERS, WIDTH, MLP, HEADS, PATCH, IMAGE = 8, 256, 512, 8, 4, 500
FASTER, LESS = 3, 8
"""The goals: how many times less time and memory."""

Work = Callable[[LlavaForConditionalGeneration, dict[str, torch.Tensor], torch.Tensor], torch.Tensor]


def model(layers: int, side: int, attention: str) -> LlavaForConditionalGeneration:
    """A LLaVA with random weights that reads a picture as side * side visual tokens."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=side * PATCH,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=512,
        hidden_size=WIDTH,
        intermediate_size=MLP,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
    )
    torch.manual_seed(0)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE, vision_feature_layer=-1)
    made = LlavaForConditionalGeneration(config).eval().requires_grad_(False)
    made.set_attn_implementation({"text_config": attention})
    return made


def prompt(length: int, side: int) -> dict[str, torch.Tensor]:
    """A picture between words."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, IMAGE, (1, length), generator=generator)
    ids[0, BEFORE : BEFORE + side * side] = IMAGE
    pixels = torch.randn(1, 3, side * PATCH, side * PATCH, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def by_rows(lvlm: LlavaForConditionalGeneration, inputs: dict[str, torch.Tensor], answer: torch.Tensor) -> torch.Tensor:
    [r_v] = relevance(family_of(lvlm), inputs, answer)
    return r_v


def by_matrices(
    lvlm: LlavaForConditionalGeneration, inputs: dict[str, torch.Tensor], answer: torch.Tensor
) -> torch.Tensor:
    ids = torch.cat([inputs["input_ids"], answer[None, :-1]], 1)
    embeddings = lvlm.get_input_embeddings()
    embeddings.requires_grad_(True)  # a graph of the maps needs something to start at
    output = lvlm(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=inputs["pixel_values"],
        output_attentions=True,
        use_cache=False,
    )
    rows = []
    for place, token in enumerate(answer.tolist(), ids.shape[1] - len(answer)):
        is_last = place == ids.shape[1] - 1
        gradients = torch.autograd.grad(output.logits[0, place, token], output.attentions, retain_graph=not is_last)
        r = torch.eye(ids.shape[1])
        for attention, gradient in zip(output.attentions, gradients, strict=True):
            r = r + (attention.detach() * gradient)[0].clamp_min(0).mean(0) @ r
        rows.append(r[place, ids[0] == IMAGE])
    return torch.stack(rows).mean(0)


WORK: dict[str, tuple[str, Work]] = {"rows": ("sdpa", by_rows), "matrices": ("eager", by_matrices)}


def run(way: str) -> dict[str, Any]:
    """One measurement, in this process."""
    torch.set_num_threads(1)
    attention, work = WORK[way]
    answer = torch.tensor([7, 8, 9])
    assert len(answer) == ANSWER
    work(model(2, 4, attention), prompt(60, 4), answer)
    lvlm, inputs = model(LAYERS, SIDE, attention), prompt(LENGTH - ANSWER + 1, SIDE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    r_v = work(lvlm, inputs, answer)
    seconds = time.process_time() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"cpu_seconds": seconds, "mib": grown / (2**20 if sys.platform == "darwin" else 2**10), "r_v": r_v.tolist()}


def measure(repeats: int) -> dict[str, Any]:
    """Both ways in turn, some times, and what they have in common."""
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WORK}
    for _ in range(repeats):
        for way, done in runs.items():
            command = [sys.executable, __file__, "--way", way]
            done.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    r_v = {way: torch.tensor(done[0]["r_v"]) for way, done in runs.items()}
    rows = {
        way: {name: statistics.median(one[name] for one in done) for name in ("cpu_seconds", "mib")}
        | {f"all_{name}": [one[name] for one in done] for name in ("cpu_seconds", "mib")}
        for way, done in runs.items()
    }
    faster = rows["matrices"]["cpu_seconds"] / rows["rows"]["cpu_seconds"]
    less = rows["matrices"]["mib"] / rows["rows"]["mib"]
    return {
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware() | {"threads": 1},
        "prompt": {"tokens": LENGTH, "visual": SIDE * SIDE, "answer": ANSWER},
        "llm": {"layers": LAYERS, "width": WIDTH, "mlp_width": MLP, "heads": HEADS, "dtype": "float32"},
        "repeats": repeats,
        "rows": rows,
        "faster": faster,
        "less_memory": less,
        "largest_r_v": float(r_v["matrices"].max()),
        "largest_difference": float((r_v["rows"] - r_v["matrices"]).abs().max()),
        "goal": {"faster": FASTER, "less_memory": LESS},
        "met": {"faster": faster >= FASTER, "less_memory": less >= LESS},
    }


def table(results: dict[str, Any]) -> str:
    """The results for people."""
    machine = results["hardware"]
    lines = [f"{machine['cpu']}, {machine['threads']} thread(s)", f"{'':10}{'CPU s':>10}{'extra MiB':>12}"]
    lines += [f"{way:10}{row['cpu_seconds']:10.2f}{row['mib']:12.0f}" for way, row in results["rows"].items()]
    lines.append(f"by rows {results['faster']:.1f} times faster, {results['less_memory']:.1f} times less memory")
    lines.append(f"R_v up to {results['largest_r_v']:.3g}, differing by {results['largest_difference']:.1e} at most")
    missed = [name for name, met in results["met"].items() if not met]
    lines.append(f"missed on this machine: {', '.join(missed)}" if missed else "all goals are met on this machine")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results/rollout_cost.json"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=[*WORK], help="measure one of them once, in this process, and print it")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(run(given.way)))
        return
    results = measure(given.repeats)
    given.out.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
