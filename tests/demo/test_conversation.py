"""Two conversations at once: their answers, what they hold, and how they end."""

import pytest
import torch
from PIL import Image

from pinhole import Chat, DivPrune
from pinhole.demo.conversation import Conversation
from pinhole.demo.host import Host
from pinhole.demo.limits import Limits
from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import make_scene, render

VISUAL, KEPT, LAYERS = 144, 14, 4


@pytest.fixture
def picture():
    return render(make_scene("validation", 0))


@pytest.fixture(scope="module")
def questions():
    return [question.text for question in dialogue(make_scene("validation", 0))]


@pytest.fixture
def conversation(host, offers, picture):
    return Conversation(host, picture, offers.plan("DivPrune", 0.1))


def ask(conversation, *questions):
    for question in questions:
        list(conversation.ask(question))


def held(side):
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in side.chat._session._cache.layers)


def test_both_sides_say_what_they_say_alone(host, conversation, picture, questions):
    ask(conversation, *questions)
    for name, method in (("full", None), ("reduced", DivPrune(keep=0.1))):
        alone = Chat(host.model, host.processor, method, max_new_tokens=host.limits.answer)
        expected = [alone.ask(text, [picture] if i == 0 else None) for i, text in enumerate(questions)]
        assert [getattr(turn, name).text for turn in conversation.turns] == expected
    assert [turn.question for turn in conversation.turns] == questions


def test_what_an_answer_costs_is_told_and_true(conversation, questions):
    for number, question in enumerate(questions[:2], 1):
        ask(conversation, question)
        turn = conversation.turns[-1]
        assert turn.full.budget.per_layer == (VISUAL,) * LAYERS
        assert turn.reduced.budget.per_layer == (KEPT,) * LAYERS
        assert [turn.full.kv_bytes, turn.reduced.kv_bytes] == [held(side) for side in conversation._sides]
        for answer in (turn.full, turn.reduced):
            assert 0 < answer.first_token_ms < 60_000
            assert answer.is_done
            assert answer.peak_bytes is None, "there is no GPU"
        assert len(conversation.turns) == number


def test_what_a_method_inside_holds_is_told_and_true(host, offers, picture, questions):
    conversation = Conversation(host, picture, offers.plan("FastV", 0.25))
    ask(conversation, *questions[:2])
    turn = conversation.turns[-1]
    assert turn.reduced.budget.per_layer == (VISUAL, VISUAL, 36, 36)
    assert turn.reduced.kv_bytes == held(conversation._sides[1])


def test_later_turns_read_their_own_words_only(host, conversation, questions):
    """The picture is encoded once for each side, and never read again."""
    read, encoded = [], []
    llm, tower = host.family.language_model, host.model.model.vision_tower
    hooks = [
        llm.register_forward_pre_hook(
            lambda module, args, inputs: read.append(inputs["inputs_embeds"].shape[1]), with_kwargs=True
        ),
        tower.register_forward_pre_hook(lambda module, args: encoded.append(1)),
    ]
    try:
        ask(conversation, questions[0])
        assert max(read) > VISUAL
        first = len(encoded)
        read.clear()
        ask(conversation, questions[1])
    finally:
        for hook in hooks:
            hook.remove()
    assert first == 2
    assert len(encoded) == first
    assert max(read) < KEPT + 12


def test_the_sides_take_turns_at_going_first(conversation, questions):
    order = []
    for question in questions[:2]:
        for _ in conversation.ask(question):
            turn = conversation.turns[-1]
            order.append("full" if not turn.reduced.text else "reduced" if not turn.full.text else "both")
    assert order[0] == "full"
    assert "reduced" in order


def test_agreement_is_counted_without_case_and_punctuation(conversation, questions):
    assert conversation.agreement == (0, 0)
    ask(conversation, *questions[:2])
    first, second = conversation.turns
    first.full.text, first.reduced.text = "A red circle.", "red circle"
    second.full.text, second.reduced.text = "red", "blue"
    assert [first.agrees, second.agrees] == [True, False]
    assert conversation.agreement == (1, 2)
    second.reduced.is_done = False
    assert second.agrees is None
    assert conversation.agreement == (1, 1)


def test_after_the_last_turn_the_caches_are_dropped(conversation, questions):
    ask(conversation, *questions)
    assert len(conversation.turns) == 3
    assert conversation.is_over
    with pytest.raises(ValueError, match=r"this conversation is over \(3 turns\): start a new one"):
        ask(conversation, questions[0])
    assert len(conversation.turns) == 3


@pytest.mark.parametrize("text", ["", "  ", "a" * 61, "What <image> is it?"])
def test_a_question_that_cannot_be_asked_changes_nothing(conversation, questions, text):
    ask(conversation, questions[0])
    lengths = [side.chat.context_length for side in conversation._sides]
    with pytest.raises(ValueError, match="question"):
        ask(conversation, text)
    assert [side.chat.context_length for side in conversation._sides] == lengths
    assert len(conversation.turns) == 1
    ask(conversation, questions[1])
    assert len(conversation.turns) == 2


def talkative(host, answer):
    """The same model, which does not end its answers."""
    host.model.generation_config.eos_token_id, own = [10_000], host.model.generation_config.eos_token_id
    return Host(host.model, host.processor, host.name, limits=Limits(answer=answer)), own


def test_an_answer_is_stopped_from_outside(host, offers, picture):
    patient, own = talkative(host, 60)
    try:
        conversation = Conversation(patient, picture, offers.plan("Sample", 0.1))
        asking = conversation.ask("what is there?")
        next(asking)
        conversation.stop.set()
        list(asking)
        lengths = [side.chat.context_length for side in conversation._sides]
        assert lengths[0] < VISUAL + 40
        assert lengths[1] < KEPT + 40
        assert not conversation.is_over
        list(conversation.ask("and which color is it?"))
        assert [side.chat.context_length for side in conversation._sides] > [n + 60 for n in lengths]
    finally:
        host.model.generation_config.eos_token_id = own


def test_when_one_side_fails_the_conversation_is_over_and_the_model_is_not(host, conversation, questions, monkeypatch):
    """Its other side has heard a question that it never will: they cannot be compared any more."""
    ask(conversation, questions[0])
    failing = conversation._sides[0]
    monkeypatch.setattr(failing.chat, "stream", lambda *args, **more: (_ for _ in ()).throw(RuntimeError("no memory")))
    with pytest.raises(RuntimeError, match="no memory"):
        ask(conversation, questions[1])
    assert conversation.is_over
    assert len(conversation.turns) == 1


def test_when_the_visitor_is_gone_in_the_middle_nothing_is_held(conversation, questions):
    asking = conversation.ask(questions[0])
    next(asking)
    asking.close()
    assert conversation.is_over
    assert not conversation.turns


def test_pictures_of_other_sizes(host, offers):
    conversation = Conversation(host, Image.new("RGB", (500, 90), "green"), offers.plan("Sample", 0.1))
    ask(conversation, "what color is the object?")
    assert conversation.turns[0].reduced.budget.before == VISUAL
    assert torch.equal(conversation.reductions[0].indices, conversation.reductions[0].anchors)
