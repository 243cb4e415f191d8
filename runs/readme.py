"""Puts the table of docs/results/methods.json between the marks in README.md, and draws the picture beside it."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from pinhole.evaluation.provenance import stated
from pinhole.view.cells import method_label
from pinhole.view.table import markdown_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "methods.json"
PICTURE = ROOT / "docs" / "images" / "kept.png"
QUICKSTART = ROOT / "out" / "quickstart"
BEGIN, END = "<!-- table: runs/publish.sh -->", "<!-- end of table -->"
KEEP = 0.1
SHOWN, SIDE, GAP = 4, 288, 12


def with_table(readme: str, results: dict) -> str:
    """The README with the rows of these results that have a tenth of the tokens, and what they were measured on."""
    rows = [row for row in results["rows"] if row["method"] == "full" or row["keep"] == KEEP]
    made = f"{rows[0]['dialogues']} held-out dialogues. {stated('runs/methods.py', results)}"
    for added in results.get("added", ()):
        names = ", ".join(map(method_label, added["methods"]))
        made += f" Added afterwards: {names}. {stated('runs/methods.py', added)}"
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{markdown_table({'rows': rows})}\n\n{made}\n{END}{tail}"


def picture() -> Image.Image:
    """Test scenes above what MetaCompress makes of them."""
    import pinhole
    from pinhole.data import read_dialogues
    from pinhole.loading import load
    from pinhole.view.look import look
    from pinhole.view.pictures import overlay

    model, processor = load("embedded")
    method = pinhole.MetaCompress.from_pretrained(QUICKSTART / "metacompress")
    sheet = Image.new("RGB", (SHOWN * (SIDE + GAP) - GAP, 2 * SIDE + GAP), "white")
    for i, dialogue in enumerate(read_dialogues(QUICKSTART / "data" / "test")[:SHOWN]):
        [image] = dialogue.load_images()
        drawn = overlay(image, *look(model, processor, method, image))
        for row, part in enumerate((image, drawn)):
            place = (i * (SIDE + GAP), row * (SIDE + GAP))
            sheet.paste(part.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), place)
    return sheet


def main() -> None:
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(), json.loads(RESULTS.read_text())))
    PICTURE.parent.mkdir(exist_ok=True)
    picture().save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
