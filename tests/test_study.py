"""docs/metacompress.md is what the committed results of runs/metacompress_study.py give."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_the_generated_one():
    page = runpy.run_path(str(ROOT / "runs" / "metacompress_page.py"))["page"]
    found = json.loads((ROOT / "docs" / "results" / "metacompress_study.json").read_text())
    assert found.keys() == {"ablation", "rates", "transfer", "overlap"}
    assert (ROOT / "docs" / "metacompress.md").read_text() == page(found)
