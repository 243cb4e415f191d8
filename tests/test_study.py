"""The pages of the studies are what their committed results give."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {"metacompress": "metacompress_study", "relevance": "relevance_ablation", "fidelity": "fidelity"}
SCRIPTS = {"fidelity": "fidelity.py"}


@pytest.mark.parametrize(("name", "results"), PAGES.items())
def test_the_page_is_the_generated_one(name, results):
    page = runpy.run_path(str(ROOT / "runs" / SCRIPTS.get(name, f"{name}_page.py")))["page"]
    found = json.loads((ROOT / "docs" / "results" / f"{results}.json").read_text())
    assert (ROOT / "docs" / f"{name}.md").read_text() == page(found)
