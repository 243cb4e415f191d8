"""Measures how the methods' own work grows with the number of visual tokens, apart from any model.

    python runs/scaling.py [--out docs/results/scaling.json] [--keep 0.1] [--limit 10] [--methods ...]

Every method decides on random tokens, 1024 wide, and random cues, and P X is formed; methods inside the LLM are put to
their first cut. Times are medians of three calls after one that warms up, of more where they are short; memory is the
most that is taken beyond the tokens and cues. A method is not asked about more tokens where a call would take longer
than the limit, in seconds, if its time went on growing as its paper's does. Powers of n are fitted to the three largest
counts. Where both steps between these are steeper than the paper's power and a half, and the last call took longer than
a copy of the tokens, the script ends with an error that says so; called again it measures that method anew. It goes on
where it was stopped and draws docs/images/scaling.svg beside docs/results/scaling.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from pinhole.benchmark.clock import Clock
from pinhole.benchmark.growth import LINEAR, PAPERS, QUADRATIC, Noise, Sizes, own_work
from pinhole.benchmark.memory import peak_bytes
from pinhole.commands.output import console
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import save
from pinhole.plan import Method
from pinhole.registry import MethodSpec, method_names, required_of, settings_of
from pinhole.registry import method_class as class_of
from pinhole.view.cells import method_label
from pinhole.view.plot import INK, MUTED, spread

COUNTS = (144, 288, 576, 1152, 2304, 4608, 9216, 16384)
TICKS = (144, 576, 2304, 16384)
REPEATS, MOST, WHILE = 3, 50, 0.2
"""Calls that are timed, at least, at most, and for how many seconds where that allows more of them."""
HUES = {True: "#d55e00", False: "#0072b2"}
"""Of methods that take memory for all pairs of tokens, and of the others."""
TOLERANCE = 0.5
"""How far a power may be above the paper's: what is smaller, small counts can do."""


def measured(method: Method, n: int, device: torch.device) -> dict[str, Any]:
    """Milliseconds and bytes of one method on n tokens."""
    gpus = {device} if device.type == "cuda" else set()
    dtype = torch.bfloat16 if gpus else torch.float32
    noise = Noise(device, dtype, Sizes())
    work = own_work(method, n, noise)
    clock = Clock(gpus)
    tokens = noise.numbers(n, noise.sizes.width)
    work()
    return {
        "n": n,
        "kept": work().m,
        "ms": median_ms(work, clock),
        "copy_ms": median_ms(tokens.clone, clock),
        "peak_bytes": peak_bytes(gpus, work),
    }


def median_ms(work: Callable[[], object], clock: Clock) -> float:
    """Milliseconds of a call."""
    seconds = [clock.seconds(work)]
    while len(seconds) < REPEATS or (sum(seconds) < WHILE and len(seconds) < MOST):
        seconds.append(clock.seconds(work))
    return 1000 * statistics.median(seconds)


def largest(points: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """Logarithms of n and of a quantity at the three largest counts at which it is known."""
    return [(math.log(point["n"]), math.log(point[name])) for point in points if point[name]][-3:]


def slope(points: list[dict[str, Any]], name: str) -> float | None:
    """The power of n with which a quantity grows, fitted to the three largest counts; None where it is not known."""
    known = largest(points, name)
    return statistics.linear_regression(*zip(*known, strict=True)).slope if len(known) > 1 else None


def is_steeper(points: list[dict[str, Any]], name: str, power: int) -> bool:
    """Whether a quantity grows faster than a power of n, from each of the three largest counts to the next.

    In one step it may: what no longer fits into a cache, or into memory that the process has, takes longer at once.
    """
    steps = itertools.pairwise(largest(points, name))
    slopes = [(high - low) / (more - some) for (some, low), (more, high) in steps]
    return len(slopes) > 1 and min(slopes) > power + TOLERANCE


def grown(name: str, points: list[dict[str, Any]]) -> dict[str, Any]:
    """How a method's time and memory grow, how its paper's do, and which of ours do so faster."""
    time, memory = PAPERS.get(name, LINEAR)
    paper = {"ms": time, "peak_bytes": memory}
    powers = {quantity: slope(points, quantity) for quantity in paper}
    faster = [quantity for quantity, power in paper.items() if is_steeper(points, quantity, power)]
    if points[-1]["ms"] < points[-1]["copy_ms"]:  # then caches decide how it grows
        faster = [quantity for quantity in faster if quantity != "ms"]
    return {"power": powers, "paper": paper, "faster": faster}


def is_beyond(limit: float, last: dict[str, Any], n: int, power: int) -> bool:
    """Whether a call on n tokens would take longer than the limit, told by the last count and a power of n."""
    return last["ms"] * (n / last["n"]) ** power > 1000 * limit


def measure(names: list[str], keep: float, limit: float, out: Path) -> dict[str, Any]:
    """Every method at every count, written down as it goes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    about = {"keep": keep, "width": Sizes().width, "commit": commit(), "versions": versions(), "hardware": hardware()}
    results: dict[str, Any] = {**about, "rows": []}
    if out.exists() and all((before := json.loads(out.read_text())).get(name) == about[name] for name in about):
        results = before
    for name in names:
        if any(row["method"] == name and not row["faster"] for row in results["rows"]):
            continue
        given = keep if "keep" in settings_of(class_of(name)) else None
        method = MethodSpec.parse(name).build(Sizes().width, given)
        if isinstance(method, torch.nn.Module):
            method.to(device)
        points: list[dict[str, Any]] = []
        for n in COUNTS:
            if points and is_beyond(limit, points[-1], n, PAPERS.get(name, LINEAR).time):
                break
            points.append(measured(method, n, device))
        row = {"method": name, "quadratic": name in QUADRATIC, "points": points, **grown(name, points)}
        results["rows"] = [other for other in results["rows"] if other["method"] != name] + [row]
        save(out, results)
        console.print(told(row), soft_wrap=True)
    return results


def told(row: dict[str, Any]) -> str:
    """A line about a method."""
    last = row["points"][-1]
    parts = [f"{row['method']}: {last['ms']:,.1f} ms at {last['n']:,} tokens"]
    for quantity, name in (("ms", "time"), ("peak_bytes", "memory")):
        power = row["power"][quantity]
        if power is not None:
            too_fast = ", FASTER THAN THE PAPER'S" * (quantity in row["faster"])
            parts.append(f"{name} n^{power:.2f} (paper {row['paper'][quantity]}{too_fast})")
    return "; ".join(parts)


def draw(results: dict[str, Any]) -> Figure:
    """Time and memory against the number of tokens, both on logarithmic scales; names stand beside the last points."""
    figure = Figure(figsize=(11, 6.4), dpi=150)
    panels = (("ms", "own work, milliseconds", 1.0), ("peak_bytes", "peak memory, MB", 1e-6))
    for i, (name, title, unit) in enumerate(panels):
        axes = figure.add_axes((0.065 + 0.5 * i, 0.1, 0.3, 0.86))
        lines = []
        for number, row in enumerate(results["rows"]):
            points = [(point["n"], unit * point[name]) for point in row["points"] if point[name]]
            if points:
                style = {"color": HUES[row["quadratic"]], "marker": "osD^vPX*<>"[number % 10], "markersize": 4}
                axes.plot(*zip(*points, strict=True), linewidth=1.1, **style)
                lines.append((points[-1][1], row, style))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(TICKS, [f"{n:,}" for n in TICKS], fontsize=8)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("visual tokens", color=INK)
        axes.set_title(title, color=INK, fontsize=10, loc="left")
        axes.grid(color=MUTED, alpha=0.28, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        lines.sort(key=lambda line: -line[0])
        low, high = (math.log(end) for end in axes.get_ylim())
        wanted = [(math.log(value) - low) / (high - low) for value, _, _ in lines]
        for (_, row, style), place in zip(lines, spread(wanted, [0.034] * len(lines)), strict=True):
            axes.plot([1.04], [place], transform=axes.transAxes, clip_on=False, **style)
            power = row["power"][name]
            words = method_label(row["method"]) + (f"  n^{power:.1f}" if power else "")
            axes.text(1.065, place, words, transform=axes.transAxes, va="center", fontsize=8, color=INK)
    return figure


def main() -> None:
    root = Path(__file__).parents[1]
    known = [name for name in method_names() if not required_of(class_of(name))]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=root / "docs" / "results" / "scaling.json")
    parser.add_argument("--picture", type=Path, default=root / "docs" / "images" / "scaling.svg")
    parser.add_argument("--keep", type=float, default=0.1)
    parser.add_argument("--limit", type=float, default=10.0)
    parser.add_argument("--methods", nargs="+", default=known)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        results = measure(given.methods, given.keep, given.limit, given.out)
    given.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(results).savefig(given.picture, format="svg", metadata={"Date": None})
    if faster := [told(row) for row in results["rows"] if row["faster"]]:
        raise SystemExit("these grow faster than their papers say:\n" + "\n".join(faster))


if __name__ == "__main__":
    main()
