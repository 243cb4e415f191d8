"""Visitors: each their own, and only so many."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from pinhole.demo import visitors
from pinhole.demo.limits import Limits
from pinhole.demo.visitors import Choice, Visitors


class Held:
    """Stands for a conversation."""

    is_over = False

    def close(self):
        self.is_over = True


def visit(here, *names):
    for name in names:
        visitor = here.of(name)
        visitor.conversation, visitor.about = Held(), Choice(Path(name), "Sample", 0.1)
        here.make_room(visitor)


def test_a_visitor_is_found_again_and_no_other():
    here = Visitors(2)
    first = here.of("a")
    assert here.of("a") is first
    assert here.of("b") is not first
    assert here.known("c") is None
    assert len(here) == 2


def test_of_too_many_conversations_the_one_unused_for_longest_rests_and_can_still_be_read():
    here = Visitors(2)
    visit(here, "a", "b")
    here.of("a")
    visit(here, "c")
    over = {name: here.known(name).conversation.is_over for name in "abc"}
    assert over == {"a": False, "b": True, "c": False}
    visit(here, "b")
    assert here.known("a").conversation.is_over
    assert not here.known("b").conversation.is_over


def test_who_leaves_is_forgotten():
    here = Visitors(2)
    visit(here, "a")
    conversation = here.known("a").conversation
    here.leave("a")
    here.leave("nobody")
    assert conversation.is_over
    assert len(here) == 0


def test_browsers_that_never_say_goodbye_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(visitors, "KNOWN", 3)
    here = Visitors(2)
    visit(here, "a")
    first = here.known("a").conversation
    for name in "bcdef":
        here.of(name)
    assert len(here) == 3
    assert here.known("a") is None
    assert first.is_over


def test_a_picture_is_read_once_and_again_when_it_was_given_back(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, color in zip(paths, ("red", "blue"), strict=True):
        Image.new("RGB", (4, 4), color).save(path)
    visitor = Visitors(1).of("a")
    first = visitor.see(paths[0], Limits())
    assert visitor.see(paths[0], Limits()) is first
    assert visitor.see(paths[1], Limits()).getpixel((0, 0)) == (0, 0, 255)
    visitor.conversation = SimpleNamespace(close=lambda: None)
    visitor.rest()
    paths[1].unlink()
    with pytest.raises(ValueError, match=r"b.png is not here any more"):
        visitor.see(paths[1], Limits())
    with pytest.raises(ValueError, match="there is no picture to ask about yet"):
        visitor.see(None, Limits())
