"""Writes docs/compatibility.md from what `make contracts` counted.

python runs/compatibility.py docs/results/contracts.json docs/compatibility.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pinhole.registry import method_names

INTRO = """# Which method runs on which model

Written by `make contracts` from the contract tests (`tests/contracts/test_cells.py`), which run every method on a tiny
random-weight model of every family: images, and videos where the family reads them, one prompt and three prompts of
unlike length, padded on the left and on the right. A cell passes when

- keeping everything changes no bit of the logits,
- as many tokens remain as the budget said, and the logits are those of embeddings reduced by hand, row by row, under
  compact and under original positions,
- greedy answers equal those of a recomputation without a cache, in one turn and in a dialogue of three turns with new
  images in the last,
- the model is afterwards as it was before.

"yes" means that all cells of that model type and method passed; a number refers to the reason why it is refused.
Methods run with their default settings, but for the layers of those inside the LLM. Where an encoder has no [CLS]
token, `visionzip:attention=received` and `vispruner:attention=received` read the attention that patches receive; where
it gives no keys, `tome:metric=x` compares the visual tokens themselves. Where the projector reads the encoder's last
layer, `prumerge:layer=own` takes attention and keys from that one.
"""


def page(rows: list[dict]) -> str:
    """The Markdown page."""
    methods = [name for name in method_names() if any(row["method"] == name for row in rows)]
    reasons: list[str] = []
    lines = [INTRO, f"| model type | reads | {' | '.join(methods)} |", f"|---|---|{'---|' * len(methods)}"]
    for family, modality in dict.fromkeys((row["family"], row["modality"]) for row in rows):
        cells = []
        for method in methods:
            [row] = [r for r in rows if (r["family"], r["modality"], r["method"]) == (family, modality, method)]
            if row["failed"]:
                raise SystemExit(f"{method} on {family} ({modality}) failed: the page is written for passing contracts")
            if row["refused"] and row["reason"] not in reasons:
                reasons.append(row["reason"])
            cells.append(f"no ({reasons.index(row['reason']) + 1})" if row["refused"] else "yes")
        lines.append(f"| {family} | {modality} | {' | '.join(cells)} |")
    notes = [
        f"{number}. {reason}{', which these models do not give' if reason.startswith('needs') else ''}"
        for number, reason in enumerate(reasons, 1)
    ]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(page(json.loads(source.read_text())))
