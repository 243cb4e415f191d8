"""`pinhole quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.commands.output import Output
from pinhole.options import spread


@spread
def quickstart(
    output: Output,
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("out/quickstart"),
) -> None:
    """The main job on the embedded LVLM: train MetaCompress at a tenth of the tokens, compare it, write a report."""
    from pinhole.quickstart import run
    from pinhole.view.table import rich_table

    results = run(out, show_progress=output.progress)
    leads = []
    for name in ("random", "sample", "spatial"):
        lead = results["metacompress_leads"][name]
        low, high = lead["ci95"]
        leads.append(
            f"MetaCompress leads {name} by {100 * lead['points']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        )
    output.give(results, rich_table(results), *leads)
    output.tell(f"open {out / 'report.html'}")
