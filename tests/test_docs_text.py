"""What the text of the pages names is there: options, files, links, and the messages that troubleshooting explains."""

from __future__ import annotations

import ast
import re
import unicodedata
from pathlib import Path

import pytest

from documents import DOCS, PAGES, PINHOLE, ROOT, blocks, every_command, leaf, options, prose, spans

WRITTEN = [ROOT / "README.md", *(DOCS / page for page in PAGES if not page.startswith("reference/"))]
EVERY_PAGE = pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
OTHERS = {
    "accelerate": {"--config_file", "--num_processes", "--cpu"},
    "lmms-eval": {"--model_args", "--include_path"},
    "pip": {"--upgrade"},
    "runs/": {"--bound", "--embedded", "--few", "--out", "--pid", "--test", "--train", "--vllm"},
    "torchrun": {"--nproc-per-node"},
}
"""Options that pages name beside Pinhole's, by whose they are."""
VLLM = {"serving.md", "bench_serve.md", "scale.md"}
"""Pages whose text names options of vLLM's too: only those in commands of Pinhole's are checked."""
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LEAST = 10
"""Letters that a message must have in common with a text in the sources."""


@EVERY_PAGE
def test_commands_and_options_in_the_text_exist(path):
    known = set().union(*map(options, [PINHOLE, *every_command()]), *OTHERS.values())
    for span in spans(path):
        called = re.search(r"\bpinhole ((?:data )?[a-z][a-z-]*)\b", span)
        if called:
            command, _ = leaf(called[1].split())
            given = set(OPTION.findall(span[called.end() :]))
            assert command.name == "serve" or given <= options(command), f"{path.name}: {span}"
        elif path.name not in VLLM:
            assert set(OPTION.findall(span)) <= known, f"{path.name}: {span}"


@EVERY_PAGE
def test_files_and_targets_in_the_text_exist(path):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for span in [*spans(path), *(text for language, text in blocks_of(path) if language == "bash")]:
        for name in re.findall(r"(?<![\w/.-])(?:runs|src|tests\w*|configs|docs)/[\w./*-]*\w", span):
            assert list(ROOT.glob(name)), f"{path.name}: {name}"
        for target in re.findall(r"(?:^|\n)make ([\w-]+)", span):
            assert target in targets, f"{path.name}: make {target}"


def blocks_of(path: Path) -> list[tuple[str, str]]:
    return blocks(path.relative_to(DOCS).as_posix()) if path.is_relative_to(DOCS) else []


def anchors(path: Path) -> set[str]:
    """Of the headings of a page, where the site and where GitHub has them: only what is in both is a link."""
    found = []
    for heading in re.findall(r"^#+ +(.*?) *$", prose(path), re.MULTILINE):
        text = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
        site = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())
        hub = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found += [site] if site == hub else []
    return set(found)


@pytest.mark.parametrize("path", [ROOT / "README.md", *(DOCS / page for page in PAGES)], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{path.name}: {target}"
        assert path.parent == ROOT or there.is_relative_to(DOCS), f"{path.name}: {target} is not on the site"
        assert not anchor or anchor in anchors(there), f"{path.name}: {target}"


def patterns() -> list[re.Pattern[str]]:
    """Every text in the sources that could be a message, with gaps where values are put in."""
    found = []
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            known = "".join(text for text in texts if isinstance(text, str))
            if len(known) >= LEAST and " " in known:
                gaps = (".*" if text is None else re.escape(text) for text in texts if not isinstance(text, bytes))
                found.append(re.compile("".join(gaps), re.DOTALL))
    return found


def test_every_message_that_is_explained_is_one_of_pinholes():
    messages = [
        line for language, text in blocks("troubleshooting.md") if language == "text" for line in text.splitlines()
    ]
    assert len(messages) > 50
    known = patterns()
    assert [line for line in messages if not any(pattern.fullmatch(line) for pattern in known)] == []
