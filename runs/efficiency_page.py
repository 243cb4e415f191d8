"""Writes docs/efficiency.md from the results that lie in docs/results; no number in it is typed in.

    python runs/efficiency_page.py

It takes efficiency*.json (`pinhole bench`), profile_*.json, scaling_*.json and training_cost_*.json, as
runs/efficiency_cpu.sh and runs/efficiency_gpu.sh leave them, rollout_cost.json of runs/rollout_cost.py, and what
runs/serving.py and runs/soak.py gave, as serving.json and serving_soak.json; what is not there is left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pinhole.benchmark.growth import QUADRATIC
from pinhole.benchmark.table import milliseconds, refusals, tables
from pinhole.evaluation.provenance import stated
from pinhole.load.table import table as of_servers
from pinhole.nearest import ROWS
from pinhole.view.cells import NONE, count, labels, method_label, percent, quantity
from pinhole.view.table import Table, as_markdown

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "results", ROOT / "docs" / "efficiency.md"
GOAL_HOURS = 1.5
"""In which a large GPU is to train MetaCompress on the paper's data."""

INTRODUCTION = """# Efficiency

Fewer tokens must become less time and memory. `pinhole bench` measures whether they do, on a checkpoint or, since time
and memory do not depend on what the weights are, on a named architecture with random ones:

```bash
pinhole bench --model llava-1.5-7b:layers=2 --methods full sample metacompress fastv:layer=1 --keep 0.1 --out bench
```

Architectures: `llava-1.5-7b`, `llava-1.5-13b`, `llava-next-7b` (an overview and four tiles), `llava-onevision-7b` (the
same), `qwen2-vl-7b` (1008 x 1008 pixels) and `tiny`; `:layers=2` cuts the depth of the LLM and leaves the encoder
whole, which then weighs more. Random weights are in bfloat16, or in float32 on a CPU that is faster in it (`--dtype`
chooses). `--model` also takes a folder, a hub name or `embedded`. The folder of `--out` gets `results.json`,
`tables.md` and `measurements.jsonl`; a stopped run goes on from there.

## What is measured
One dialogue, batch 1: a picture and a question, answers of a fixed length by greedy decoding, later questions. All
methods are measured in one process, in turn within every repetition, each repetition starting with the next one, after
a dialogue each that warms up; GPUs are synchronised before the time is read. Times are medians over the repetitions,
ratios of times medians of the ratios within each repetition: a machine that slows down slows both.

- **Encoder**: the encoder and the projector, noting the cues that the method reads in the encoder.
- **Own work**: the rest of what the method does: cues of the prompt, the decision and P X; inside the LLM, its
  decisions.
- **First token**: from the processor's output to the first token, all of the above and the LLM's prefill in it.
- **Speed-up**: the uncompressed model's time to the first token divided by the method's.
- **FLOPs allow**: the same of the FLOPs up to the first token, encoder and own work in them. That is the speed-up on a
  machine that is as fast at every operation.
- **Relative to Sample**: time to the first token divided by that of equidistant tokens, which cost nothing to choose.
- **Of the limit**: the limit's time to the first token divided by the method's. The limit is the same model given m
  tokens for free: the picture is encoded, and which tokens remain was settled beforehand.
- **Later token**: each token of the first answer behind its first.
- **One turn, all turns**: from the processor's output to the end of the answer. Later turns read their own words, the
  KV cache is kept.
- **All read anew**: the same turns for a model that remembers nothing: each reads the picture and all that was said.
- **Peak memory**: the most that a dialogue takes above the model's weights, the method's own weights in it: what
  PyTorch allocates on a GPU, what the resident set grows by on a CPU.
- **KV cache**: bytes of all keys and values behind the first turn's prefill.
- **FLOPs**: counted by PyTorch's `FlopCounterMode`, a multiply-add as two, the whole square of attention. Beside them
  are the LLM's as `pinhole.budget` computes them from the counts of tokens alone; a test holds that both agree within
  1 % for every stage and family."""

CHOICES = """## What makes it fast
- Tokens are left out of the prompt itself, in front of the LLM: no mask, no padding, the same kernels as ever (SDPA by
  default; `--attention` chooses others).
- MetaCompress reads X once to normalise it and once to project it, a block of rows at a time: keys and queries are one
  product, queries are pooled behind it, E_pos is made from two small tables, and P X is one product in X's precision.
- Merged tokens are sums of a few: P holds only what is not 0, and P X is one pass over the tokens that are summed.
- A method inside the LLM asks for the attention of one row, or of a few; no attention map is made, the layers keep
  their kernel, and a layer behind a cut holds keys and values of its own tokens only.
- On a CPU the output head gets the last token as a tensor of its own: of a view PyTorch would first copy the head's
  whole weight, 0.26 GB for LLaVA-1.5-7B, at every turn.
- A learned compressor is a torch module without branches on values: `method.compile()`, or
  `method.compile(mode="reduce-overhead")` for CUDA graphs, makes one graph of it for each number of tokens. Under a
  method at the input `generate` takes `cache_implementation="static"`, with which transformers compiles decoding on
  GPUs. Neither is on by default.
- In later turns only the new words are read, whatever the method; methods that decide anew at every turn
  (`turns=each`) pay with a prefill of the whole dialogue."""

ORDERS = """No method takes memory that grows with the square of the number of visual tokens n but those that need it:
{names}. A test records the largest tensor that each makes. Where tokens are merged (Spatial, ToMe, PruMerge, VisionZip,
what SparseVLM recycles), only the weights that are not 0 are held, and P X takes time for these alone. What is compared
to find them is compared in blocks of {block} rows, so that memory grows with n where the share m / n is fixed, which a
test holds too. MetaCompress mixes every token into each kept one: its P has m x n numbers by definition."""


def read(name: str) -> dict[str, Any] | None:
    """A results file; None where it was not made."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def benchmark(results: dict[str, Any], script: str) -> list[str]:
    """The tables of one benchmark."""
    dialogue = results["dialogue"]
    [text] = {row["text_tokens"] for row in results["rows"]}
    turns = dialogue["turns"] - 1
    each = f"each of {turns} later questions" if turns > 1 else "one later question"
    later = f"{dialogue['later']} tokens in {each}, " if turns else ""
    about = (
        f"{results['rows'][0]['visual_tokens']:,} visual and {text} text tokens in the first prompt, {later}"
        f"{dialogue['answer']} in every answer; {results['dtype']}, {results['attention']}. {stated(script, results)}"
    )
    parts = [f"## {results['model']}, {'GPU' if results['device'] == 'cuda' else 'CPU'}", about]
    for title, table in tables(results).items():
        parts += [f"**{title}**", as_markdown(table)]
    return parts + where(results) + refusals(results)


def where(results: dict[str, Any]) -> list[str]:
    """What the time to the first token is spent on, stage by stage, and how fast it is computed."""
    rows, cells = results["rows"], []
    for row, label in zip(rows, labels(rows), strict=True):
        first, encoder, own = (row["ms"][name]["median"] for name in ("ttft", "encoder", "method"))
        rest, flops = max(0.0, first - encoder - own), row["flops"]
        shares = [percent(part / first) for part in (encoder, own, rest)]
        rates = [
            quantity(1000 * flops[stage] / ms, "FLOP/s") if ms else NONE
            for stage, ms in (("encoder", encoder), ("llm", rest))
        ]
        cells.append([label, f"{milliseconds(first)} ms", *shares, *rates])
    header = [
        "Method",
        "First token",
        "Encoder",
        "Own work",
        "The LLM, and everything else",
        "Encoder's rate",
        "LLM's rate",
    ]
    return [
        "**What remains of the time to the first token**",
        "Rates are FLOPs a second. Where the LLM's falls with the number of tokens, the same weights being read for "
        "fewer rows, the speed-up stays below what FLOPs allow by as much.",
        as_markdown(Table(header, [cells])),
    ]


def profiles(results: dict[str, Any], script: str) -> list[str]:
    """Where the time goes."""
    rows = results["rows"]
    names = list(dict.fromkeys(one["operation"] for row in rows for one in row["operations"]))
    names.sort(key=lambda name: name == "the rest")
    shares = [{one["operation"]: one["share"] for one in row["operations"]} for row in rows]
    cells = [
        [f"`{name}`" if name != "the rest" else name]
        + [percent(share[name]) if name in share else NONE for share in shares]
        for name in names
    ]
    header = ["Operation", *(f"{method_label(row['method'])}, {milliseconds(row['ms'])} ms" for row in rows)]
    most = []
    for row in rows:
        top = max(row["operations"][:-1], key=lambda one: one["share"])
        most.append(f"{method_label(row['method'])} `{top['operation']}` ({percent(top['share'])})")
    return [
        f"### Where the time to the first token goes: {results['model']}",
        f"What takes longest: under {', under '.join(most)}. Keep {results['keep']:g}, {results['dtype']}, one call "
        f"each, under a profiler. {stated(script, results)}",
        as_markdown(Table(header, [cells])),
    ]


def scaling(results: dict[str, Any], script: str, picture: str) -> list[str]:
    """How the methods' own work grows."""
    cells = []
    for row in results["rows"]:
        last, power, paper = row["points"][-1], row["power"], row["paper"]
        peak = NONE if not last["peak_bytes"] else quantity(last["peak_bytes"], "B")
        time, memory = (
            f"{NONE if power[name] is None else f'{power[name]:.1f}'} [{paper[name]}]" for name in ("ms", "peak_bytes")
        )
        cells.append([method_label(row["method"]), count(last["n"]), f"{last['ms']:,.1f} ms", time, peak, memory])
    header = ["Method", "Visual tokens at most", "Own work", "Power [paper's]", "Peak memory", "Power [paper's]"]
    faster = [method_label(row["method"]) for row in results["rows"] if row["faster"]]
    verdict = "none grows faster than its paper says"
    if faster:
        verdict = f"**{', '.join(faster)}** grow faster than their papers say"
    return [
        f"![Own work against the number of visual tokens](images/{picture})",
        f"{results['width']:,} wide, keep {results['keep']:g}; powers of n fitted to the three largest counts; "
        f"{verdict}. {stated(script, results)}",
        as_markdown(Table(header, [cells])),
    ]


def training(results: dict[str, Any], script: str, on_gpu: bool) -> list[str]:
    """What training computes and, on a GPU, how long that takes, extrapolated."""
    end, depths = results["extrapolated"], " and ".join(str(one["layers"]) for one in results["measured"])
    flops = {name: quantity(value, "FLOP") for name, value in end["flops_per_sample"].items()}
    rate = quantity(end["flops"] / GOAL_HOURS / 3600, "FLOP/s")
    parts = [
        f"### {results['shape']}, {'GPU' if on_gpu else 'CPU'}",
        f"An extrapolation, not a training run: steps at {depths} layers of {results['shape']}, carried on in a "
        f"straight line to {end['layers']}. {stated(script, results)}",
        f"{results['samples']:,} samples, {results['epochs']} epochs, keep {results['keep']:g}: **"
        f"{quantity(end['flops'], 'FLOP')}**, {flops['first_epoch']} a sample in the first epoch and "
        f"{flops['later_epochs']} with the teacher's cache ({quantity(end['cache_bytes'], 'B')}), forward and "
        f"backward. A device that keeps {rate} is done in {GOAL_HOURS:g} hours.",
    ]
    if on_gpu:
        peak = NONE if end["peak_bytes"] is None else quantity(end["peak_bytes"], "B")
        samples = end["samples_per_s"]
        parts.append(
            f"At batch {results['batch']} that takes **{end['hours']:.2f} hours**: {samples['first_epoch']:.2f} "
            f"samples a second in the first epoch, {samples['later_epochs']:.2f} later; {peak} above "
            f"{quantity(end['weights_bytes'], 'B')} of weights."
        )
    return parts


def labelling(results: dict[str, Any]) -> list[str]:
    """What rollout by rows takes, beside the matrices that define it."""
    llm, prompt = results["llm"], results["prompt"]
    cells = [
        [name, f"{row['cpu_seconds']:.2f} s", f"{row['mib']:,.0f} MiB"]
        for name, row in (("Row by row", results["rows"]["rows"]), ("By its matrices", results["rows"]["matrices"]))
    ]
    return [
        "## Labelling what an answer rests on",
        f"Gradient-weighted rollout of {prompt['answer']} answer tokens over {prompt['tokens']:,}, {prompt['visual']} "
        f"of them visual, in {llm['layers']} layers of width {llm['width']}, on one thread: **{results['faster']:.1f} "
        f"times faster** than by its matrices, with **{results['less_memory']:.1f} times less memory**. The R_v of "
        f"both differ by {results['largest_difference']:.0e} at most. {stated('runs/rollout_cost.py', results)}",
        as_markdown(Table(["Rollout", "Time", "Memory"], [cells])),
    ]


def serving(results: dict[str, Any], soak: dict[str, Any] | None) -> list[str]:
    """What a server answers and holds."""
    goals, used = results["goals"], results["versions"]
    rates, room = goals["requests_per_s"], goals["dialogues"]
    parts = [
        "## Served by vLLM",
        f"Keep {results['keep']:g}, a LLaVA whose LLM dominates (4 layers of width 1,024, 576 visual tokens, random "
        f"weights), {room['kv_tokens']:,} tokens of KV cache: **{rates['reached']:.1f} times the requests a second**, "
        f"and **{room['reached']:.1f} times as many dialogues in the same KV space**. docs/bench_serve.md says what "
        f"each figure means. Written by `runs/serving.py` at commit `{results['commit'][:10]}` on "
        f"{results['hardware']['cpu']}, {results['hardware']['cores']} cores; vLLM {used['vllm']}, torch "
        f"{used['torch']}.",
        "**As many at once as fit with every token**",
        as_markdown(of_servers(results["throughput"])),
        "**More at once than fit**",
        as_markdown(of_servers(results["capacity"])),
    ]
    if soak:
        parts.append(
            f"A soak (`runs/soak.py`) of {soak['requests']:,} requests, {soak['settings']['concurrency']} at once, "
            f"broken pictures and closed connections among them, found {soak['wrong']} wrong answers or errors."
        )
    return parts


def page() -> str:
    """docs/efficiency.md."""
    parts = [INTRODUCTION, CHOICES]
    if not any(RESULTS.glob("*_gpu.json")):
        parts.append("No GPU was measured yet: `runs/efficiency_gpu.sh` does that, and the tables come here.")
    for kind in ("gpu", "cpu"):
        script = f"runs/efficiency_{kind}.sh"
        for path in sorted(RESULTS.glob(f"efficiency*_{kind}.json")):
            parts += benchmark(json.loads(path.read_text()), script)
        if found := read(f"profile_{kind}"):
            parts += profiles(found, script)
    parts += ["## Growth with the number of visual tokens"]
    told = ", ".join(f"{method_label(name)} ({what})" for name, what in QUADRATIC.items())
    parts.append(ORDERS.format(names=told, block=ROWS))
    for kind in ("gpu", "cpu"):
        if found := read(f"scaling_{kind}"):
            parts += scaling(found, f"runs/efficiency_{kind}.sh", f"scaling_{kind}.svg")
    costs = {kind: found for kind in ("gpu", "cpu") if (found := read(f"training_cost_{kind}"))}
    if costs:
        parts.append("## Training MetaCompress")
    for kind, found in costs.items():
        parts += training(found, f"runs/efficiency_{kind}.sh", kind == "gpu")
    if found := read("rollout_cost"):
        parts += labelling(found)
    if found := read("serving"):
        parts += serving(found, read("serving_soak"))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
