"""`pinhole quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.options import QuietOption, console


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("out/quickstart"),
    quiet: QuietOption = False,
) -> None:
    """The main job on the embedded LVLM: train MetaCompress at a tenth of the tokens, compare it, write a report."""
    from pinhole.quickstart import run
    from pinhole.view.table import rich_table

    results = run(out, show_progress=not quiet)
    console.print(rich_table(results))
    for name in ("random", "sample", "spatial"):
        lead = results["metacompress_leads"][name]
        low, high = lead["ci95"]
        console.print(
            f"MetaCompress leads {name} by {100 * lead['points']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        )
    console.print(f"open {out / 'report.html'}")
