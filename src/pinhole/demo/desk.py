"""Desk: what happens when a visitor of the page does something. It knows no web framework."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from pinhole.demo.conversation import Conversation
from pinhole.demo.host import Host
from pinhole.demo.kept import kept
from pinhole.demo.limits import check_question
from pinhole.demo.offers import Offers
from pinhole.demo.render import kept_html, turns_html
from pinhole.demo.visitors import Choice, Visitor, Visitors

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """What the page shows after something happened.

    Attributes:
        message: what went wrong, or what to know; may be empty.
        kept: HTML of the picture; None leaves it as it is.
        turns: HTML of the conversation; None leaves it as it is.
        is_refused: whether what was asked for was not done.
    """

    message: str = ""
    kept: str | None = None
    turns: str | None = None
    is_refused: bool = False


class Desk:
    """Answers visitors. Only one call at a time may use the model; `stop` and `visitors.leave` may come at any moment.

    Args:
        host: the model.
        offers: the methods.
        has_examples: whether the page has pictures to choose from.

    Attributes:
        visitors: who is there.
    """

    def __init__(self, host: Host, offers: Offers, has_examples: bool) -> None:
        self._host, self._offers, self._has_examples = host, offers, has_examples
        self.visitors = Visitors(host.limits.conversations)

    def look(self, session: str, choice: Choice) -> Shown:
        """After a picture, a method or a keep was chosen: what is kept. Another picture ends the conversation."""
        visitor = self.visitors.of(session)
        try:
            drawn = self._kept(visitor, choice)
        except Exception as error:
            return _refused(error)
        if visitor.about and visitor.about.path != choice.path:
            visitor.end()
        message = ""
        if visitor.about and visitor.about != choice:
            message = f"The next question starts a new conversation, with {choice.label} at {choice.keep:g}."
        return Shown(message, drawn, self._turns(visitor))

    def ask(self, session: str, choice: Choice, question: str) -> Iterator[Shown]:
        """Ask about the picture; yields whenever there is more to see."""
        visitor = self.visitors.of(session)
        try:
            check_question(question, self._host.limits)
            conversation = self._conversation(visitor, choice)
            for _ in conversation.ask(question):
                if conversation.turns[-1].agrees is None:
                    yield Shown(turns=self._turns(visitor))
            yield Shown("", self._kept(visitor, choice), self._turns(visitor))
        except Exception as error:
            yield _refused(error, self._turns(visitor))

    def start_anew(self, session: str, choice: Choice) -> Shown:
        """Forget the conversation."""
        self.visitors.of(session).end()
        return self.look(session, choice)

    def add(self, name: str) -> tuple[str, list[str]]:
        """Offer learned weights from the hub; return what they are called, and what can be chosen now.

        Raises:
            ValueError: there are none that work here.
        """
        return self._offers.add(name), self._offers.labels

    def stop(self, session: str) -> None:
        """End the answer that this visitor is being given."""
        visitor = self.visitors.known(session)
        if visitor and visitor.conversation:
            visitor.conversation.stop.set()

    def _conversation(self, visitor: Visitor, choice: Choice) -> Conversation:
        if visitor.conversation is None or visitor.about != choice:
            picture = visitor.see(choice.path, self._host.limits)
            plan = self._offers.plan(choice.label, choice.keep)
            visitor.end()
            visitor.conversation, visitor.about = Conversation(self._host, picture, plan), choice
            self.visitors.make_room(visitor)
        return visitor.conversation

    def _kept(self, visitor: Visitor, choice: Choice) -> str:
        if choice.path is None:
            return kept_html(None, "", choice.label, self._has_examples)
        question = reduction = None
        if visitor.conversation and visitor.conversation.turns and visitor.about == choice:
            question, [reduction] = visitor.conversation.turns[0].question, visitor.conversation.reductions
        picture = visitor.see(choice.path, self._host.limits)
        found = kept(self._host, self._offers.plan(choice.label, choice.keep), picture, question, reduction)
        return kept_html(found, choice.path.name, choice.label, self._has_examples)

    def _turns(self, visitor: Visitor) -> str:
        if visitor.conversation is None or visitor.about is None:
            return turns_html([], (0, 0), "")
        label = f"{visitor.about.label} at {visitor.about.keep:g}"
        return turns_html(visitor.conversation.turns, visitor.conversation.agreement, label)


def _refused(error: Exception, turns: str | None = None) -> Shown:
    """What to say of it: a visitor's mistake in its own words, anything else in the log too."""
    if isinstance(error, ValueError):
        return Shown(str(error), turns=turns, is_refused=True)
    _log.exception("the page's request failed")
    told = str(error).splitlines()[:1]
    return Shown(f"This did not work: {type(error).__name__}: {''.join(told)}", turns=turns, is_refused=True)
