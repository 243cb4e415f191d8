"""Profiles one prefill: which operations take the time up to the first token.

    python runs/profile_prefill.py [--shape llava-1.5-7b:layers=4] [--methods full sample metacompress] [--keep 0.1]

One call after one that warms up, by torch.profiler; on a GPU the time of its kernels. It writes
docs/results/profile_cpu.json or profile_gpu.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from pinhole.benchmark.run import Compared, admitted
from pinhole.benchmark.subject import Lengths, Subject, subject_of_shape
from pinhole.commands.output import console
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import save
from pinhole.options import parse_keep
from pinhole.session import Session

SHOWN = 8
"""Operations that are named; the rest is summed up."""


def profiled(subject: Subject, rival: Contender) -> dict[str, Any]:
    """Milliseconds up to the first token, and the operations that take longest, with their shares of it."""

    def first_token() -> None:
        Session(subject.model, rival.methods).ask(subject.first, max_new_tokens=1, do_sample=False)

    first_token()
    on_gpu = subject.model.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as taken:
        first_token()
    times = {
        event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event.count)
        for event in taken.key_averages()
    }
    total = sum(time for time, _ in times.values())
    ranked = sorted(times.items(), key=lambda item: -item[1][0])
    named = [{"operation": name, "share": time / total, "calls": calls} for name, (time, calls) in ranked[:SHOWN]]
    rest = {"operation": "the rest", "share": 1 - sum(row["share"] for row in named), "calls": None}
    return {"method": rival.name, "ms": total / 1000, "operations": [*named, rest]}


def main() -> None:
    root = Path(__file__).parents[1]
    kind = "gpu" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="llava-1.5-7b:layers=4")
    parser.add_argument("--methods", nargs="+", default=["full", "sample", "metacompress"])
    parser.add_argument("--keep", type=parse_keep, default=0.1)
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--out", type=Path, default=root / "docs" / "results" / f"profile_{kind}.json")
    given = parser.parse_args()
    subject = subject_of_shape(given.shape, Lengths(turns=1), given.dtype)
    if subject is None:
        raise SystemExit(f"error: {given.shape!r} is no named architecture")
    rivals, _ = admitted(subject, Compared(tuple(given.methods), (given.keep,)))
    rows = [profiled(subject, rival) for rival in rivals]
    dtype = str(subject.model.dtype).removeprefix("torch.")
    about = {"dtype": dtype, "commit": commit(), "versions": versions(), "hardware": hardware()}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save(given.out, {"model": given.shape, "keep": given.keep, **about, "rows": rows})
    for row in rows:
        console.print(f"{row['method']:14} {row['ms']:,.1f} ms")
        for one in row["operations"]:
            console.print(f"{row['method']:14} {100 * one['share']:5.1f} %  {one['operation']}")


if __name__ == "__main__":
    main()
