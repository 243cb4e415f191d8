"""What the pages of documentation hold: blocks of code, the commands in them, and what these commands take."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from pinhole import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
FENCED = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELL = ("bash", "")
PINHOLE: Any = typer.main.get_command(cli.app)
STARTS = re.compile(r"(pinhole|python -m pinhole|torchrun|accelerate launch) ")


@dataclass(frozen=True)
class Command:
    """A command of Pinhole's as a page has it.

    Attributes:
        launcher: what starts it in several processes, with its options; empty where nothing does.
        words: behind `pinhole`.
    """

    launcher: list[str]
    words: list[str]

    def __str__(self) -> str:
        return shlex.join([*self.launcher, "pinhole", *self.words])


def blocks(page: str) -> list[tuple[str, str]]:
    """Language, "" where none is named, and text of each block of code of a page in docs."""
    return FENCED.findall((DOCS / page).read_text())


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", path.read_text())


def spans(path: Path) -> list[str]:
    """What stands in backquotes in the prose of a page, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(path))]


def commands(page: str) -> list[Command]:
    """Pinhole's own commands in the blocks of shell of a page in docs."""
    return [command for language, text in blocks(page) if language in SHELL for command in commands_in(text)]


def commands_in(text: str) -> list[Command]:
    """Pinhole's own commands in a block of shell."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if STARTS.match(line)]
    return [command for line in lines if (command := _command(shlex.split(line, comments=True)))]


def _command(words: list[str]) -> Command | None:
    if words[0] == "pinhole":
        return Command([], words[1:])
    place = words.index("-m")
    if words[place + 1] != "pinhole":
        return None
    return Command([] if words[0] == "python" else words[:place], words[place + 2 :])


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words call, and what is left of them."""
    command = PINHOLE
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options(command: Any) -> set[str]:
    """The names of a command's options."""
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}


def every_command(group: Any = None) -> list[Any]:
    """Pinhole's commands, those of groups among them."""
    group = group or PINHOLE
    found: list[Any] = []
    for one in group.commands.values():
        found += every_command(one) if hasattr(one, "commands") else [one]
    return found
