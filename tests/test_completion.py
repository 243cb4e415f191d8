"""What the shell completes, asked as bash asks: a process for each Tab."""

import os
import subprocess
import sys
from typing import get_args

import pytest

from pinhole import completion
from pinhole.benchmark.shapes import SHAPES
from pinhole.loading import ATTENTION, SHIPPED, Quantization
from pinhole.registry import METHODS
from pinhole.scenes.world import SPLITS
from pinhole.scenes.worlds import WORLDS
from pinhole.scope import Positions
from pinhole.tasks import TASKS

START = "import sys; sys.argv[0] = 'pinhole'; from pinhole.cli import main; main()"


def complete(line):
    """What can stand at the end of a line, and the modules that were imported to say so."""
    words = line.split(" ")
    told = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_PINHOLE_COMPLETE": "complete_bash"}
    command = [sys.executable, "-X", "importtime", "-c", START]
    done = subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, check=True)
    return done.stdout.split(), {entry.rpartition("|")[2].strip() for entry in done.stderr.splitlines()}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("pinhole b", ["bench", "bench-serve"]),
        ("pinhole data ", ["list", "build"]),
        ("pinhole label --tu", ["--turns"]),
        ("pinhole eval --methods ", [*METHODS]),
        ("pinhole eval --methods full random prum", ["prumerge", "prumerge+"]),
        ("pinhole view --methods sample+fa", ["sample+fastv"]),
        ("pinhole view --methods sample --ke", ["--keep"]),
        ("pinhole view --methods sample --positions ", [*get_args(Positions)]),
        ("pinhole train --method vis", ["visionzip", "vispruner", "visionselector"]),
        ("pinhole overlap --method f", ["fit", "full", "fastv"]),
        ("pinhole chat --config nowhere.json --method div", ["divprune"]),
        ("pinhole chat --model emb", [*SHIPPED]),
        ("pinhole bench --model ", [*SHAPES, "embedded"]),
        ("pinhole chat --attention ", [*ATTENTION]),
        ("pinhole chat --quantize ", [*get_args(Quantization)]),
        ("pinhole scenes --kinds color ", [*dict.fromkeys(kind for world in WORLDS.values() for kind in world.kinds)]),
        ("pinhole scenes --world ", [*WORLDS]),
        ("pinhole scenes --split ", [*SPLITS]),
        ("pinhole data build ", [*TASKS]),
        ("pinhole eval --history ", ["own", "gold"]),
        ("pinhole eval --engine ", ["transformers", "vllm"]),
    ],
)
def test_words_are_completed_without_torch(line, values):
    found, imported = complete(line)
    assert found == values
    assert "pinhole.registry" in imported
    assert not {"torch", "transformers", "numpy"} & imported


def test_the_script_for_the_shell_is_there():
    command = f'{sys.executable} -c "{START}" --show-completion; true'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "_PINHOLE_COMPLETE=complete_bash" in done.stdout
    assert done.stdout.rstrip().endswith("complete -o default -F _pinhole_completion pinhole")


def test_methods_of_other_packages_are_completed(monkeypatch):
    monkeypatch.setattr("pinhole.registry.method_names", lambda: ["full", "loudest"])
    assert completion.method_specs("lo") == ["full", "loudest"]
    assert completion.method_specs("full+lo") == ["full", "loudest", "full+full", "full+loudest"]
