"""Reads the one sheet of an Excel workbook (.xlsx, ECMA-376) with the standard library."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

_NAMESPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_sheet(path: Path) -> list[dict[str, str]]:
    """The rows of a workbook's first sheet by the names in its first row; empty cells and rows are left out.

    Raises:
        ValueError: it is no workbook.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shared = _shared(archive)
            sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise ValueError(f"{path} is not an Excel workbook that can be read ({error})") from error
    rows = [_cells(row, shared) for row in sheet.iter(f"{_NAMESPACE}row")]
    header, *content = [row for row in rows if row] or [{}]
    return [{header[column]: text for column, text in row.items() if column in header} for row in content]


def _shared(archive: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    table = ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))
    return [_text(entry) for entry in table.iter(f"{_NAMESPACE}si")]


def _cells(row: ElementTree.Element, shared: list[str]) -> dict[str, str]:
    """Text by column letters."""
    found = {}
    for cell in row.iter(f"{_NAMESPACE}c"):
        value = cell.find(f"{_NAMESPACE}v")
        if cell.get("t") == "inlineStr":
            text = _text(cell)
        elif value is None or value.text is None:
            continue
        else:
            text = shared[int(value.text)] if cell.get("t") == "s" else value.text
        if text.strip():
            found[re.sub(r"\d", "", cell.get("r", ""))] = text.strip()
    return found


def _text(entry: ElementTree.Element) -> str:
    """Of all runs of an entry, but not of the phonetic reading beside them."""
    aside = {text for reading in entry.iter(f"{_NAMESPACE}rPh") for text in reading.iter(f"{_NAMESPACE}t")}
    return "".join(text.text or "" for text in entry.iter(f"{_NAMESPACE}t") if text not in aside)
