"""Prompts answered in batches are answered as a chat answers them one by one."""

from __future__ import annotations

import itertools

import pytest

from pinhole.chat import Chat
from pinhole.data import read_dialogues
from pinhole.lmms.answering import Answerer, batches
from pinhole.lmms.requests import Request
from pinhole.lmms.rounds import Rounds, answer_rounds
from pinhole.methods.sample import Sample
from pinhole.scope import Scope


@pytest.fixture
def answerer(embedded):
    def make(batch: int, scope: Scope | None = None) -> Answerer:
        return Answerer(*embedded, [Sample(keep=0.25)], scope or Scope(), frames=4, batch=batch)

    return make


@pytest.fixture(scope="module")
def asked(scenes):
    """Questions of unlike length about no, one and two pictures, in turn."""
    dialogues = read_dialogues(scenes)[:4]
    return [
        (turn.question, [picture for other in dialogues[:count] for picture in other.load_images()])
        for dialogue in dialogues
        for turn, count in zip(dialogue.turns, itertools.cycle((1, 0, 2)))
    ]


def requests(asked, **settings):
    return [Request(words, lambda seen=pictures: seen, {"max_new_tokens": 5, **settings}) for words, pictures in asked]


@pytest.mark.parametrize("scope", [Scope(), Scope(positions="original")], ids=["compact", "original"])
@pytest.mark.parametrize("batch", [1, 5, 100])
def test_answers_are_those_of_a_chat_in_the_order_of_the_requests(embedded, answerer, asked, batch, scope):
    alone = [
        Chat(*embedded, Sample(keep=0.25), max_new_tokens=5, positions=scope.positions).ask(words, pictures or None)
        for words, pictures in asked
    ]
    assert len({*alone}) > 2
    assert answerer(batch, scope).answer(requests(asked)) == alone


def test_visuals_are_loaded_when_their_turn_has_come(answerer, asked):
    words, pictures = asked[0]
    open_at_once, most = [0], []

    def visuals():
        open_at_once[0] += 1
        most.append(open_at_once[0])
        return pictures

    one = answerer(2)
    together = one._together
    object.__setattr__(one, "_together", lambda *given: open_at_once.__setitem__(0, 0) or together(*given))
    one.answer([Request(words, visuals, {"max_new_tokens": 2}) for _ in range(6)])
    assert most == [1, 2] * 3


def test_batches_have_equal_settings_and_begin_with_the_longest():
    settings = [{"max_new_tokens": 2, "until": ["x"]}, {"until": ["x"], "max_new_tokens": 2}, {"max_new_tokens": 3}]
    made = [Request("?" * length, list, settings[length % 3]) for length in range(9)]
    found = [*batches(made, 4)]
    assert sorted(number for numbers in found for number in numbers) == [*range(9)]
    assert [[len(made[n].words) for n in numbers] for numbers in found] == [[7, 6, 4, 3], [1, 0], [8, 5, 2]]


def test_an_answer_is_cut_at_a_stop_string(answerer, asked):
    [whole] = answerer(1).answer(requests(asked[:1]))
    assert answerer(1).answer(requests(asked[:1], until=[whole[1:3]])) == [whole[:1].strip()]


def test_rounds_ask_on_until_they_are_over(answerer, asked):
    """Each document asks as often as it says; what it remembers and which answers count is up to the task."""
    heard = []

    def document(number):
        def ask_next(previous_output, round_idx, previous_round_info):
            heard.append((number, round_idx, previous_round_info, len(previous_output)))
            counting = [f"{round_idx}:{previous_output[-1]}"] if number else previous_output
            return asked[1][1], asked[round_idx][0], round_idx > number, counting, f"after {round_idx}"

        return Rounds(requests(asked[:1])[0], ask_next)

    answers = answer_rounds(answerer(4), [document(number) for number in range(3)])
    assert [len(of_one) for of_one in answers] == [1, 1, 1]
    said = answerer(1).answer(requests([asked[0], (asked[1][0], asked[1][1]), (asked[2][0], asked[1][1])]))
    assert answers == [[said[0]], [f"2:{said[1]}"], [f"3:{said[2]}"]]
    assert heard == [
        (0, 1, None, 1), (1, 1, None, 1), (2, 1, None, 1),
        (1, 2, "after 1", 2), (2, 2, "after 1", 2), (2, 3, "after 2", 2),
    ]  # fmt: skip
