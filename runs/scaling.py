"""Measures how the methods' own work grows with the number of visual tokens, apart from any model.

    python runs/scaling.py [--out docs/results/scaling.json] [--keep 0.1] [--limit 10] [--methods ...]

Every method decides on random tokens, 1024 wide, and random cues, and P X is formed; methods inside the LLM are put to
their first cut. Times are medians of three calls after one that warms up; memory is the most that is taken beyond the
tokens and cues. A method is not asked about more tokens once a call took longer than the limit, in seconds. It goes on
where it was stopped and draws docs/images/scaling.svg beside docs/results/scaling.json.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from pinhole.benchmark.clock import Clock
from pinhole.benchmark.growth import QUADRATIC, Noise, Sizes, own_work
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
REPEATS = 3
STEEP = {"ms": "ms_slope", "peak_bytes": "peak_slope"}
HUES = {True: "#d55e00", False: "#0072b2"}
"""Of methods whose papers take memory for all pairs of tokens, and of the others."""


def measured(method: Method, n: int, device: torch.device) -> dict[str, Any]:
    """Milliseconds and bytes of one method on n tokens."""
    gpus = {device} if device.type == "cuda" else set()
    dtype = torch.bfloat16 if gpus else torch.float32
    work = own_work(method, n, Noise(device, dtype, Sizes()))
    clock = Clock(gpus)
    reduction = work()
    seconds = [clock.seconds(work) for _ in range(REPEATS)]
    return {
        "n": n,
        "kept": reduction.m,
        "ms": 1000 * statistics.median(seconds),
        "peak_bytes": peak_bytes(gpus, work),
    }


def slope(points: list[dict[str, Any]], name: str) -> float | None:
    """The power of n with which a quantity grows, fitted to the three largest counts; None where it is not known."""
    known = [(math.log(point["n"]), math.log(point[name])) for point in points if point[name]][-3:]
    return statistics.linear_regression(*zip(*known, strict=True)).slope if len(known) > 1 else None


def measure(names: list[str], keep: float, limit: float, out: Path) -> dict[str, Any]:
    """Every method at every count, written down as it goes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    about = {"keep": keep, "width": Sizes().width, "commit": commit(), "versions": versions(), "hardware": hardware()}
    results: dict[str, Any] = {**about, "rows": []}
    if out.exists() and all((before := json.loads(out.read_text())).get(name) == about[name] for name in about):
        results = before
    for name in names:
        if any(row["method"] == name for row in results["rows"]):
            continue
        given = keep if "keep" in settings_of(class_of(name)) else None
        method = MethodSpec.parse(name).build(Sizes().width, given)
        if isinstance(method, torch.nn.Module):
            method.to(device)
        points: list[dict[str, Any]] = []
        for n in COUNTS:
            points.append(measured(method, n, device))
            if points[-1]["ms"] > 1000 * limit:
                break
        row = {"method": name, "quadratic": name in QUADRATIC, "points": points}
        row |= {"ms_slope": slope(points, "ms"), "peak_slope": slope(points, "peak_bytes")}
        results["rows"].append(row)
        save(out, results)
        console.print(f"{name}: {points[-1]['ms']:,.1f} ms at {points[-1]['n']:,} tokens")
    return results


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
            words = f"{method_label(row['method'])}" + (f"  n^{row[STEEP[name]]:.1f}" if row[STEEP[name]] else "")
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


if __name__ == "__main__":
    main()
