"""The arrows of the architecture, held against the import statements themselves."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import pinhole

ROOT = Path(pinhole.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
DATA = ("reduction", "budget", "layout", "visual", "scope", "differences")
CORE = (
    *DATA,
    "context",
    "kept",
    "method",
    "layer_method",
    "plan",
    "between",
    "forward_pass",
    "cutting",
    "registry",
    "decide",
    "shrink",
    "compression",
    "session",
    "adapters",
    "adapter_folders",
)
CORE = (*CORE, "devices", "images", "videos", "transcript", "encoding", "chat")
APPLICATIONS = (
    "training",
    "evaluation",
    "explain",
    "benchmark",
    "view",
    "tasks",
    "choose",
    "lmms",
    "load",
    "serving",
    "demo",
)
APPLICATIONS = (*APPLICATIONS, "commands", "options", "cli")


def name_of(path: Path) -> str:
    return ".".join(("pinhole", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


PARTS = ("farthest", "mixing", "normalization", "places")
"""What learned methods are made of."""


def imported(path: Path) -> set[str]:
    """The modules of Pinhole that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "pinhole"}


def within(modules: set[str], *packages: str) -> set[str]:
    return {m for m in modules for package in packages if m == package or m.startswith(package + ".")}


def test_the_reader_of_imports_sees_them():
    assert "pinhole.session.Session" in imported(ROOT / "chat.py")
    assert "pinhole.scenes.checkpoint" in imported(ROOT / "loading.py"), "imports inside functions count"


@pytest.mark.parametrize("module", [*DATA, "hub", "text_tower", "explain/labels", *PARTS])
def test_the_ground_stands_on_nothing_but_ground(module):
    used = imported(ROOT / f"{module}.py")
    assert used == within(used, *(f"pinhole.{name}" for name in DATA))


def test_methods_know_no_family_and_families_no_method():
    for path in (ROOT / "methods").glob("*.py"):
        grounds = (*DATA, *PARTS, "method", "layer_method", "nearest", "hub", "text_tower", "explain.labels")
        allowed = within(imported(path), *(f"pinhole.{name}" for name in grounds))
        assert imported(path) == allowed, path
    for path in (ROOT / "families").glob("*.py"):
        allowed = within(imported(path), *(f"pinhole.{name}" for name in (*DATA, "families", "models")))
        assert imported(path) == allowed, path


def test_a_method_imports_no_other_method():
    for path in (ROOT / "methods").glob("*.py"):
        assert not within(imported(path), "pinhole.methods"), path


@pytest.mark.parametrize(
    "module",
    [
        "decide",
        "shrink",
        "compression",
        "cutting",
        "forward_pass",
        "between",
        "session",
        "transcript",
        "chat",
        "method",
        "budget",
    ],
)
def test_what_edits_models_knows_no_concrete_method(module):
    assert not within(imported(ROOT / f"{module}.py"), "pinhole.methods", "pinhole.registry")


def test_a_plan_knows_the_method_that_keeps_everything_and_no_other():
    assert within(imported(ROOT / "plan.py"), "pinhole.methods", "pinhole.registry") == {
        "pinhole.methods.full",
        "pinhole.methods.full.Full",
    }


@pytest.mark.parametrize("module", CORE)
def test_the_core_knows_no_application_of_it(module):
    applications = [f"pinhole.{name}" for name in APPLICATIONS]
    assert not within(imported(ROOT / f"{module}.py"), *applications, "pinhole.scenes")


def test_only_compress_and_cutting_hook_a_model():
    hook = re.compile(r"register_\w*hook|\.generate = |__dict__")
    for path in FILES:
        if name_of(path) in [f"pinhole.{module}" for module in CORE if module not in ("compression", "cutting")]:
            assert not hook.search(path.read_text()), path


def test_models_are_told_apart_in_families_only():
    probing = re.compile(r"model_type\s*(==|!=|in\b)|hasattr\(\s*(self\.)?_?model\b|__class__\.__name__\s*==")
    assert probing.search('if config.model_type == "llava":')
    assert probing.search("hasattr(model.model, 'x')")
    for path in FILES:
        if not {"families", "models"} & {*path.parts}:
            assert not probing.search(path.read_text()), path


def test_one_method_is_one_short_file():
    for path in (ROOT / "methods").glob("*.py"):
        assert len(path.read_text().splitlines()) < 150, path


def test_what_is_imported_when_asked_for_is_listed_and_stays_what_it_is():
    importlib.import_module("pinhole.compression")
    assert {*pinhole.__all__, "__version__"} <= {*dir(pinhole)}
    assert all(callable(getattr(pinhole, name)) for name in pinhole.__all__)
    assert pinhole.FastV.name == "fastv"
    with pytest.raises(AttributeError, match="module 'pinhole' has no attribute 'FastW'"):
        _ = pinhole.FastW
