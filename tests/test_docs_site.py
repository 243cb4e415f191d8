"""The site: every page has its place, generated pages are what their scripts give, the reference is complete."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
import torch
import yaml
from PIL import Image

import pinhole
from documents import DOCS, PAGES, ROOT, prose
from pinhole import compress
from pinhole.encoding import encode_turn
from pinhole.families import FAMILIES
from pinhole.families.base import Family
from pinhole.layer_method import LayerMethod
from pinhole.registry import METHODS, MethodSpec, method_class
from pinhole.training.recipes import RECIPES
from pinhole.transcript import Transcript

SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


@pytest.fixture(scope="module")
def run():
    """A module of runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "runs")
        yield importlib.import_module


def places(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    entries = nav if isinstance(nav, list) else nav.values()
    return [place for entry in entries for place in places(entry)]


def documented() -> set[str]:
    """The objects that the reference shows, by where they are defined."""
    text = "".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    return set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def test_every_page_has_its_place():
    assert sorted(places(SITE["nav"])) == PAGES


def test_nothing_is_loaded_from_elsewhere():
    assert SITE["theme"]["font"] is False
    assert SITE["strict"] is True
    assert all((DOCS / path).is_file() for path in SITE.get("extra_css", []) + SITE.get("extra_javascript", []))


def test_the_command_line_is_the_present_one(run):
    again = "run .venv/bin/python runs/cli_reference.py"
    assert (DOCS / "reference" / "cli.md").read_text() == run("cli_reference").page(), again


def test_what_is_told_of_methods_is_what_the_results_give(run):
    again = "run .venv/bin/python runs/choosing_page.py"
    script = run("choosing_page")
    assert (DOCS / "choosing.md").read_text() == script.page(script.read()), again


def test_the_reference_shows_everything_that_is_public():
    shown = documented()
    targets = [*METHODS.values(), *RECIPES.values()]
    for name in pinhole.__all__:
        thing = getattr(pinhole, name)
        targets.append(f"{thing.__module__}:{thing.__name__}")
    assert {target.replace(":", ".") for target in targets} <= shown


@pytest.mark.parametrize("name", sorted(documented()))
def test_what_the_reference_shows_is_there_and_explained(name):
    module, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(module), attribute).__doc__


def untyped(thing) -> list[str]:
    """The arguments that a docstring explains and nothing gives a type: the site is not built with such."""
    _, _, text = (inspect.getdoc(thing) or "").partition("\nArgs:\n")
    explained = re.findall(r"^    (\S[^:]*):", text.split("\n\n")[0], re.MULTILINE)
    function = vars(thing).get("__init__") if inspect.isclass(thing) else thing
    typed = getattr(function, "__annotations__", {})
    return [name for name in explained if name.lstrip("*") not in typed and "(" not in name]


@pytest.mark.parametrize("name", sorted(documented()))
def test_every_argument_that_the_reference_explains_has_a_type(name):
    module, _, attribute = name.rpartition(".")
    thing = getattr(importlib.import_module(module), attribute)
    members = vars(thing).items() if inspect.isclass(thing) else ()
    public = [member for key, member in members if inspect.isfunction(member) and not key.startswith("_")]
    assert not [argument for shown in (thing, *public) for argument in untyped(shown)]


def test_all_that_a_family_may_answer_is_named():
    told = set(re.findall(r"`(\w+)`", prose(DOCS / "add_family.md")))
    assert {name for name in vars(Family) if not name.startswith("_")} <= told


def decisions(embedded, name: str, question: str, picture) -> list[torch.Tensor]:
    """What a method keeps of a picture where this is asked."""
    model, processor = embedded
    inside = {
        "fastv": "layer=1",
        "dart": "layer=1",
        "vtw": "layer=2",
        "prumerge": "layer=own",
        "prumerge+": "layer=own",
    }
    method = MethodSpec.parse(f"{name}:{inside.get(name, '')}").build(192, 0.25)
    text = Transcript(processor).question(question, 1)
    with torch.no_grad(), compress(model, method) as compression:
        model(**encode_turn(model, processor, [text], [picture]))
    layers = [reduction for found in compression.layer_reductions.values() for reduction in found]
    return [reduction.matrix() for reduction in (*compression.reductions, *layers)]


def test_methods_read_the_question_as_the_page_says(run, embedded, scenes):
    picture = Image.open(sorted(scenes.glob("*.png"))[0])
    script = run("method_traits")
    assert set(FAMILIES) >= script.TILED
    told = script.traits([])
    assert set(told) == set(METHODS) - {"full", "oracle"}
    for name, trait in told.items():
        one, other = (decisions(embedded, name, ask, picture) for ask in ("Is there a red ring?", "Which digit is it?"))
        same = all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert same != trait.reads_question, name
        if issubclass(method_class(name), LayerMethod):
            assert not trait.is_served
