"""Puts the table of docs/results/quickstart.json between the marks in README.md, and redraws its picture."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- table: runs/quickstart.sh -->", "<!-- end of table -->"


def with_table(readme: str, results: dict) -> str:
    """The README with the table of these results and what it was measured on."""
    from pinhole.view.table import markdown_table

    hardware, versions = results["hardware"], results["versions"]
    machine = hardware["gpu"] or f"{hardware['cpu']}, {hardware['cores']} cores"
    made = (
        f"{results['rows'][0]['dialogues']} held-out dialogues. Written by `runs/quickstart.sh` at commit "
        f"`{(results['commit'] or 'unknown')[:10]}` on {machine}; torch {versions['torch']}, "
        f"transformers {versions['transformers']}."
    )
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{markdown_table(results).strip()}\n\n{made}\n{END}{tail}"


def main() -> None:
    readme = ROOT / "README.md"
    results = json.loads((ROOT / "docs" / "results" / "quickstart.json").read_text())
    readme.write_text(with_table(readme.read_text(), results))


if __name__ == "__main__":
    main()
