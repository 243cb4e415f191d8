"""What the page shows after each thing that a visitor does."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

import checkpoints
from pinhole.demo.desk import Desk
from pinhole.demo.host import Host
from pinhole.demo.limits import Limits
from pinhole.demo.offers import Offers
from pinhole.demo.visitors import Choice
from pinhole.loading import load
from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import make_scene

QUESTIONS = [question.text for question in dialogue(make_scene("validation", 0))]


def ask(desk, session, choice, question):
    *_, last = desk.ask(session, choice, question)
    return last


def words(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def picture(html):
    [source] = re.findall(r'src="(data:image/webp;base64,[^"]*)"', html)
    return source


def test_before_anything_was_chosen(desk):
    shown = desk.look("a", Choice(None, "DivPrune", 0.1))
    assert "No picture yet: upload one, or choose an example." in shown.kept
    refused = ask(desk, "a", Choice(None, "DivPrune", 0.1), "What is it?")
    assert refused.is_refused
    assert refused.message == "there is no picture to ask about yet: choose one"


def test_the_picture_changes_with_the_keep_and_the_method(desk, choice):
    shown = {
        (label, keep): desk.look("a", replace(choice, label=label, keep=keep))
        for label in ("DivPrune", "Sample")
        for keep in (0.1, 0.5)
    }
    assert len({picture(one.kept) for one in shown.values()}) == 4
    assert "14 of 144 visual tokens (9.7 %) of 0.png kept: 14 left out: 130" in words(shown["Sample", 0.1].kept)
    assert "72 of 144 visual tokens (50.0 %)" in words(shown["DivPrune", 0.5].kept)
    assert 'alt="0.png with what Sample keeps of it: 14 of 144 visual tokens"' in shown["Sample", 0.1].kept


def test_tokens_that_leave_inside_are_shown_by_layer(desk, choice):
    shown = desk.look("a", replace(choice, label="PyramidDrop", keep=0.25))
    assert "47.8 of 144 (144 ×1, 36 ×1, 9 ×1, 2 ×1) visual tokens (33.2 %)" in words(shown.kept)
    assert "alive in all layers: 2 alive in layers 0 to 2 only: 7" in words(shown.kept)
    assert "This method reads the question. Before the first one: as for “Describe what you see.”" in words(shown.kept)


@pytest.mark.parametrize("label", ["FastV", "CDPruner"])
def test_a_method_that_reads_the_question_is_shown_with_it(desk, choice, label):
    choice = replace(choice, label=label)
    before = desk.look("a", choice)
    asked = ask(desk, "a", choice, QUESTIONS[0])
    assert "reads the question" in words(before.kept)
    assert "reads the question" not in words(asked.kept)
    assert picture(before.kept) != picture(asked.kept)
    assert picture(desk.look("a", choice).kept) == picture(asked.kept)


def test_a_conversation_side_by_side(desk, choice):
    desk.look("a", choice)
    shown = list(desk.ask("a", choice, QUESTIONS[0]))
    assert all(one.kept is None for one in shown[:-1]), "the picture is drawn once"
    ask(desk, "a", choice, QUESTIONS[1])
    told = words(ask(desk, "a", choice, QUESTIONS[2]).turns)
    assert re.match(r"\d of 3 answers agree so far Question 1 ", told)
    for number, question in enumerate(QUESTIONS, 1):
        assert f"Question {number} {question} Uncompressed" in told
    assert told.count("DivPrune at 0.1") == 3
    assert told.count("Visual tokens 144 of 144 First token") == 3
    assert told.count("Visual tokens 14 of 144 (9.7 %) First token") == 3
    assert len(re.findall(r"First token [\d.]+ ms KV cache [\d.]+ (?:kB|MB)", told)) == 6


def test_another_keep_starts_a_new_conversation_with_the_next_question_only(desk, choice):
    ask(desk, "a", choice, QUESTIONS[0])
    other = replace(choice, keep=0.5)
    shown = desk.look("a", other)
    assert shown.message == "The next question starts a new conversation, with DivPrune at 0.5."
    assert QUESTIONS[0] in words(shown.turns)
    assert desk.look("a", choice).message == "", "and not where it is set back"
    told = words(ask(desk, "a", other, QUESTIONS[1]).turns)
    assert QUESTIONS[0] not in told
    assert "DivPrune at 0.5" in told
    assert "Question 2" not in told


def test_another_picture_ends_the_conversation(desk, choice, pictures):
    ask(desk, "a", choice, QUESTIONS[0])
    conversation = desk.visitors.known("a").conversation
    shown = desk.look("a", replace(choice, path=pictures[1]))
    assert conversation.is_over
    assert "Ask something about the picture" in shown.turns


def test_a_bad_picture_leaves_everything_as_it_was(desk, choice, tmp_path):
    (tmp_path / "words.png").write_text("words")
    ask(desk, "a", choice, QUESTIONS[0])
    refused = desk.look("a", replace(choice, path=tmp_path / "words.png"))
    assert refused.is_refused
    assert "words.png is not an image" in refused.message
    assert (refused.kept, refused.turns) == (None, None)
    assert "Question 2" in words(ask(desk, "a", choice, QUESTIONS[1]).turns)


@pytest.mark.parametrize("question", ["", "a" * 61, "What <image> is it?"])
def test_a_bad_question_is_one_message_and_the_conversation_goes_on(desk, choice, question):
    ask(desk, "a", choice, QUESTIONS[0])
    refused = ask(desk, "a", choice, question)
    assert refused.is_refused
    assert "question" in refused.message
    assert "Question 2" not in words(refused.turns)
    assert "Question 2" in words(ask(desk, "a", choice, QUESTIONS[1]).turns)


def test_a_new_conversation_on_demand(desk, choice):
    ask(desk, "a", choice, QUESTIONS[0])
    conversation = desk.visitors.known("a").conversation
    assert "Ask something about the picture" in desk.start_anew("a", choice).turns
    assert conversation.is_over
    assert "Question 1" in words(ask(desk, "a", choice, QUESTIONS[0]).turns)


def test_sessions_do_not_mix(desk, choice, pictures):
    choices = {"a": choice, "b": Choice(pictures[1], "Sample", 0.25)}
    asked = {"a": QUESTIONS[0], "b": "How many green objects are there?"}
    together = {name: ask(desk, name, one, asked[name]).turns for name, one in choices.items()}
    later = {name: ask(desk, name, one, "What color is the circle?").turns for name, one in choices.items()}
    for name, other in (("a", "b"), ("b", "a")):
        assert asked[name] in words(later[name])
        assert asked[other] not in words(later[name])
    alone = Desk(desk._host, desk._offers, True)
    timeless = re.compile(r"[\d.,]+ ms")
    for name, one in choices.items():
        assert timeless.sub("", ask(alone, name, one, asked[name]).turns) == timeless.sub("", together[name])
        assert timeless.sub("", ask(alone, name, one, "What color is the circle?").turns) == timeless.sub(
            "", later[name]
        )
        alone.visitors.leave(name)


def test_who_leaves_gives_the_caches_back(desk, choice):
    asking = desk.ask("a", choice, QUESTIONS[0])
    next(asking)
    conversation = desk.visitors.known("a").conversation
    desk.visitors.leave("a")
    assert conversation.is_over
    assert len(desk.visitors) == 0
    list(asking)


def test_stop_reaches_the_visitors_own_answer(desk, choice):
    asking = desk.ask("a", choice, QUESTIONS[0])
    next(asking)
    desk.stop("nobody")
    assert not desk.visitors.known("a").conversation.stop.is_set()
    desk.stop("a")
    assert desk.visitors.known("a").conversation.stop.is_set()
    list(asking)


def test_more_conversations_than_are_held(desk, choice):
    for session in "abc":
        ask(desk, session, choice, QUESTIONS[0])
    refused = ask(desk, "a", choice, QUESTIONS[1])
    assert refused.message == "this conversation is over (1 turns): start a new one"
    assert QUESTIONS[0] in words(refused.turns)
    desk.start_anew("a", choice)
    assert not ask(desk, "a", choice, QUESTIONS[1]).is_refused


def test_a_model_that_fails_is_one_message_and_in_the_log(desk, choice, monkeypatch, caplog):
    def fail(*given, **more):
        raise RuntimeError("CUDA out of memory\nand more")

    monkeypatch.setattr("pinhole.demo.side.Chat.stream", fail)
    with caplog.at_level(logging.ERROR):
        refused = ask(desk, "a", choice, QUESTIONS[0])
    assert refused.message == "This did not work: RuntimeError: CUDA out of memory"
    assert "Traceback" in caplog.text
    monkeypatch.undo()
    assert not ask(desk, "a", choice, QUESTIONS[0]).is_refused


def test_what_visitors_write_is_escaped(desk, choice):
    told = ask(desk, "a", choice, "<script>alert(1)</script> & what?").turns
    assert "<script>" not in told
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; what?" in told


@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl", "idefics3"])
def test_any_checkpoint_goes_the_same_way(family, tmp_path, pictures):
    model, processor = load(str(checkpoints.write(family, tmp_path / family)), device="cpu")
    host = Host(model, processor, family, limits=Limits(answer=3))
    desk = Desk(host, Offers(host.family, ["sample"]), has_examples=False)
    choice = Choice(Path(pictures[0]), "Sample", 0.25)
    shown = desk.look("a", choice)
    assert not shown.is_refused, shown.message
    assert shown.kept.count("<img") >= 1
    for question in ("What is it?", "And then?"):
        last = ask(desk, "a", choice, question)
        assert not last.is_refused, last.message
    assert "Question 2" in words(last.turns)
