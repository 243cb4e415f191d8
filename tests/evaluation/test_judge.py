"""The judge against a stub whose preferences are known: verdicts, orders, what is kept, and what is asked again."""

from __future__ import annotations

import json

import pytest

from pinhole.data import Dialogue, Turn
from pinhole.evaluation.answers import Answered
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.endpoint import Endpoint
from pinhole.evaluation.judge import Judge, Judged, messages_for, verdict_in
from pinhole.evaluation.win_rate import check_judge, judge_answers, win_rates
from stub_judge import serving

LEVELS = ("perception", "reasoning", "creation")


def conversation(name: str) -> Dialogue:
    turns = [Turn(f"{level} question", f"verified {level} of {name}", level, (), "judge", "A car.") for level in LEVELS]
    return Dialogue(name, (), tuple(turns))


def better(body, *levels: str) -> str:
    """A judge who prefers the model in these levels ("whole" is the conversation), wherever it stands."""
    text = body["messages"][1]["content"]
    asked = text.rpartition("Which assistant ")[2]
    level = "whole" if "whole" in asked else LEVELS[int(asked.split()[2]) - 1]
    ours = "A" if "[Answer of A]\nmine" in text else "B"
    return f"Both are fine.\n**Verdict: {ours if level in levels else 'AB'.replace(ours, '')}**"


def judge_at(stub, folder, **options) -> Judge:
    return Judge(Endpoint(stub.url, "stub", attempts=2, wait=0.001), folder / "kept.jsonl", **options)


MINE = [(conversation("one"), ["mine 1", "mine 2", "mine 3"]), (conversation("two"), ["mine", "mine", "mine"])]


def test_the_judges_preferences_come_back_from_both_orders(tmp_path):
    with serving(lambda body, number: better(body, "perception", "whole")) as stub:
        found = judge_at(stub, tmp_path).judge(MINE, show_progress=False)
    assert found == [Judged((1.0, 0.0, 0.0), 1.0, 0, 8)] * 2
    assert len(stub.requests) == 16


def test_a_judge_who_looks_at_the_place_alone_gives_half(tmp_path):
    with serving(lambda body, number: "Verdict: A") as stub:
        assert judge_at(stub, tmp_path).judge(MINE, False) == [Judged((0.5, 0.5, 0.5), 0.5, 0, 8)] * 2
        once = judge_at(stub, tmp_path, swap=False).judge(MINE, False)
    assert all({*of_one.turns, of_one.overall} <= {0.0, 1.0} and of_one.comparisons == 4 for of_one in once)


def test_what_the_judge_reads():
    dialogue, answers = MINE[0]
    system, user = messages_for(dialogue, answers, 1, "B")
    assert system["role"] == "system"
    assert user["content"] == (
        "The picture: A car.\n\n"
        "[Question 1]\nperception question\n\n[Answer of A]\nverified perception of one\n\n[Answer of B]\nmine 1\n\n"
        "[Question 2]\nreasoning question\n\n[Answer of A]\nverified reasoning of one\n\n[Answer of B]\nmine 2\n\n"
        "Which assistant answered question 2 better?"
    )
    whole = messages_for(dialogue, answers, None, "A")[1]["content"]
    assert "[Answer of A]\nmine 3" in whole
    assert whole.endswith("Which assistant led the better conversation as a whole?")


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A is longer.\nVerdict: B", "B"),
        ("**Verdict: A**", "A"),
        ("verdict: assistant b.", "B"),
        ("Verdict: A\nNo, wait.\nVerdict: B", "B"),
        ("B", "B"),
        ('I end with "Verdict: A" or "Verdict: B".', None),
        ("Both are good.", None),
        ("Verdict: tie", None),
        ("", None),
    ],
)
def test_verdicts(reply, verdict):
    assert verdict_in(reply) == verdict


def test_a_malformed_verdict_is_asked_for_again_and_then_unresolved(tmp_path):
    replies = {0: "Hard to say.", 1: "Verdict: A"}
    one = [(Dialogue("x", (), conversation("x").turns[:1]), ["mine"])]
    with serving(lambda body, number: replies.get(number, "Hard to say.")) as stub:
        (found,) = judge_at(stub, tmp_path, swap=False, workers=1).judge(one, False)
        assert [message["role"] for message in stub.requests[1]["messages"]] == ["system", "user", "assistant", "user"]
        assert stub.requests[1]["messages"][2]["content"] == "Hard to say."
        assert (found.unresolved, found.comparisons, found.overall) == (1, 2, 0.0)
        assert len(stub.requests) == 2 + 3
        again = judge_at(stub, tmp_path, swap=False, workers=1).judge(one, False)
        assert again == [found]
        assert len(stub.requests) == 5, "what stays unresolved is not asked for ever"


def test_what_was_judged_is_kept_when_the_server_goes_and_not_asked_again(tmp_path):
    with serving(lambda body, number: better(body, "creation") if number < 5 else 500) as stub:
        judge = judge_at(stub, tmp_path, workers=1)
        with pytest.raises(ConnectionError, match=r"in 2 attempts, .* 5 verdicts are kept in .*, and the same"):
            judge.judge(MINE, False)
    kept = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert [json.loads(line)["verdict"] is not None for line in kept] == [True] * 5
    with (tmp_path / "kept.jsonl").open("a") as file:
        file.write('{"key": "cut sho')
    with serving(lambda body, number: better(body, "creation")) as stub:
        found = judge_at(stub, tmp_path).judge(MINE, False)
        assert len(stub.requests) == 16 - 5
        changed = [(MINE[0][0], ["mine 1", "mine other", "mine 3"]), MINE[1]]
        judge_at(stub, tmp_path).judge(changed, False)
        assert len(stub.requests) == 11 + 6, "a changed second answer changes three of four comparisons, in both orders"
    assert found == [Judged((0.0, 0.0, 1.0), 0.0, 0, 8)] * 2


def test_win_rates_by_hand():
    dialogues = [conversation("one"), conversation("two")]
    judged = [Judged((1.0, 0.5, 0.0), 0.5, 1, 8), Judged((1.0, 0.0, 0.0), 0.0, 2, 8)]
    rates = win_rates(dialogues, judged)
    assert rates["levels"] == {"perception": 100.0, "reasoning": 25.0, "creation": 0.0}
    assert rates["turns"] == pytest.approx(125 / 3)
    assert rates["overall"] == 25.0
    assert rates["score"] == pytest.approx((125 / 3 + 25) / 2)
    assert (rates["unresolved"], rates["comparisons"]) == (3, 16)


def test_the_scores_of_answers_are_shares_of_comparisons(tmp_path):
    contender = Contender("full {}", (), 1.0)
    records = {
        (contender.key, dialogue.id): Answered(contender.key, dialogue.id, "x", answers, [], [], 0)
        for dialogue, answers in MINE
    }
    with serving(lambda body, number: better(body, "reasoning")) as stub:
        scored, added = judge_answers(
            judge_at(stub, tmp_path), [contender], [dialogue for dialogue, _ in MINE], records, False
        )
    assert [record.correct for record in scored.values()] == [[0.0, 1.0, 0.0]] * 2
    assert all(record.correct == [] for record in records.values())
    assert added[contender.key]["win_rate"]["levels"] == {"perception": 0.0, "reasoning": 100.0, "creation": 0.0}
    assert added[contender.key]["win_rate"]["judge"] == "stub"


def test_a_judge_is_there_where_one_is_needed_and_nowhere_else(tmp_path):
    judge = Judge(Endpoint("http://localhost:1/v1", "stub"), tmp_path / "kept.jsonl")
    plain = Dialogue("plain", (), (Turn("?", "yes"),))
    check_judge([plain], None)
    check_judge([conversation("one")], judge)
    with pytest.raises(ValueError, match="are scored by a judge: give --judge URL"):
        check_judge([conversation("one")], None)
    with pytest.raises(ValueError, match="none of these answers is scored by a judge"):
        check_judge([plain], judge)
    with pytest.raises(ValueError, match="all turns of a data set or none"):
        check_judge([plain, conversation("one")], judge)
    with pytest.raises(ValueError, match="one worker or more, got 0"):
        Judge(judge.endpoint, tmp_path / "kept.jsonl", workers=0)
