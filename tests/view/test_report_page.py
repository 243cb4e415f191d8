import re

import pytest
import torch
from PIL import Image

from html_page import Page
from pinhole.reduction import Reduction
from pinhole.view.report import Picture, write_report
from pinhole.view.table import kind_table, result_table

HOSTILE = "<script>alert('x')</script>\"&|"


@pytest.fixture
def pictures():
    image = Image.new("RGB", (50, 31), (10, 200, 90))
    return [
        Picture("MetaCompress, scene 1", image, Reduction.mix(torch.rand(3, 8).softmax(-1)), (2, 4), []),
        Picture(HOSTILE, image, Reduction.select(torch.tensor([1, 6]), 8), (2, 4), ["Where?\nSample: top", HOSTILE]),
    ]


@pytest.fixture
def page(tmp_path, results, pictures):
    write_report(tmp_path / "report.html", results, pictures)
    return Page(tmp_path / "report.html")


def test_every_number_is_on_the_page_as_the_tables_format_it(page, results):
    for table in (result_table(results), kind_table(results)):
        for row in (table.header, *(row for group in table.groups for row in group)):
            assert " ".join(row) in page.text
    assert "MetaCompress keeps 14 of 144 visual tokens and answers 71.2 % of the turns correctly" in page.text


def test_it_needs_nothing_but_itself(page):
    assert page.links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert "http" not in page.source
    assert "url(#" in page.source
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_ids_are_unique_and_references_resolve(page):
    ids = re.findall(r'\bid="([^"]+)"', page.source)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page.source)) | set(re.findall(r"url\(#([^)]+)\)", page.source)) <= set(
        ids
    )


def test_hostile_texts_stay_texts(tmp_path, results, pictures):
    for key in ("model", "data", "commit"):
        results[key] = HOSTILE
    results["hardware"] = {HOSTILE: HOSTILE}
    results["rows"][1] |= {"method": HOSTILE, "settings": {HOSTILE: HOSTILE}, "by_kind": {HOSTILE: 0.5}}
    write_report(tmp_path / "report.html", results, pictures)
    page = Page(tmp_path / "report.html")
    assert "script" not in page.tags
    assert page.text.count("<script>alert('x')</script>") >= 9


def test_pictures_come_with_captions_and_provenance_with_its_values(page):
    assert page.text.count("P: how much of each visual token goes into each kept token") == 2
    assert "Where? Sample: top" in page.text
    for text in ("2 of 8 visual tokens", "commit 0123abc", "torch 2.9.1", "device CPU", "MetaCompress settings d_c=64"):
        assert text in page.text


def test_without_pictures_kinds_or_the_uncompressed_model(tmp_path, results):
    results["rows"] = [row | {"by_kind": {}} for row in results["rows"][1:]]
    write_report(tmp_path / "report.html", results, [])
    page = Page(tmp_path / "report.html")
    assert "What was kept" not in page.text
    assert "by kind" not in page.text
    assert "97.2 MFLOP" in page.text


def test_the_same_results_give_the_same_page(tmp_path, results, pictures, page):
    write_report(tmp_path / "again.html", results, pictures)
    assert (tmp_path / "again.html").read_text("utf-8") == page.source
