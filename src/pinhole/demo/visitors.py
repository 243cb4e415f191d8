"""Who is there: each visitor's picture and conversation, and never another's."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from PIL import Image

from pinhole.demo.conversation import Conversation
from pinhole.demo.limits import Limits, read_picture

KNOWN = 1000
"""Visitors of whom anything is known; their browsers say when they leave, but may not."""


@dataclass(frozen=True)
class Choice:
    """What is set on a visitor's page.

    Attributes:
        path: of the picture; None where none was chosen.
        label: of the method.
        keep: share of the visual tokens that remain.
    """

    path: Path | None
    label: str
    keep: float


@dataclass
class Visitor:
    """What is held for one open page.

    Attributes:
        about: what the conversation is about.
        conversation: None before the first question.
    """

    about: Choice | None = None
    conversation: Conversation | None = None
    _seen: tuple[Path, Image.Image] | None = None

    def see(self, path: Path | None, limits: Limits) -> Image.Image:
        """The picture in a file, which is read once as long as no other is looked at.

        Raises:
            ValueError: no file was chosen, or it is no picture that is read here.
        """
        if path is None:
            raise ValueError("there is no picture to ask about yet: choose one")
        if self._seen is None or self._seen[0] != path:
            self._seen = path, read_picture(path, limits)
        return self._seen[1]

    def rest(self) -> None:
        """Give back memory: the conversation is over, but can be read."""
        self._seen = None
        if self.conversation:
            self.conversation.close()

    def end(self) -> None:
        """Forget the conversation."""
        if self.conversation:
            self.conversation.close()
        self.conversation = self.about = None


class Visitors:
    """The visitors of a running page, by their session.

    Args:
        most: conversations that are held.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._here: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._here)

    def of(self, session: str) -> Visitor:
        """The visitor with this session, a new one where nobody is known."""
        with self._lock:
            visitor = self._here.setdefault(session, Visitor())
            self._here.move_to_end(session)
            gone = [self._here.popitem(last=False)[1] for _ in range(len(self._here) - KNOWN)]
        for other in gone:
            other.rest()
        return visitor

    def known(self, session: str) -> Visitor | None:
        """The visitor with this session; None where nobody is known."""
        return self._here.get(session)

    def make_room(self, newest: Visitor) -> None:
        """Let those rest who asked nothing for the longest time, until no more conversations are held than shall be."""
        with self._lock:
            others = [visitor for visitor in self._here.values() if visitor is not newest]
        holding = [visitor for visitor in others if visitor.conversation and not visitor.conversation.is_over]
        for visitor in holding[: len(holding) + 1 - self._most]:
            visitor.rest()

    def leave(self, session: str) -> None:
        """Forget a visitor who is gone; an answer that is being given ends."""
        with self._lock:
            visitor = self._here.pop(session, None)
        if visitor:
            visitor.rest()
