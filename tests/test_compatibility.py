"""The published table of which method runs on which model is the one that the contracts gave, and it is whole."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import zoo
from pinhole.registry import METHODS

ROOT = Path(__file__).parents[1]
ROWS = json.loads((ROOT / "docs" / "results" / "contracts.json").read_text())
page = runpy.run_path(str(ROOT / "runs" / "compatibility.py"))["page"]


def test_the_page_is_the_generated_one():
    assert (ROOT / "docs" / "compatibility.md").read_text() == page(ROWS)


def test_every_method_was_held_on_every_family_and_none_failed():
    told = {(row["family"], row["modality"], row["method"]) for row in ROWS}
    assert told == {
        (f, modality, m) for f, animal in zoo.ZOO.items() for modality in animal.modalities for m in METHODS
    }
    assert all(row["passed"] + row["refused"] == 4 and not row["failed"] for row in ROWS)
    assert all(bool(row["reason"]) == bool(row["refused"]) for row in ROWS)


def test_no_page_is_written_over_a_failure():
    with pytest.raises(SystemExit, match="sample on llava"):
        page([{**ROWS[0], "family": "llava", "modality": "image", "method": "sample", "failed": 1}])
