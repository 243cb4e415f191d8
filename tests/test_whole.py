"""Methods that decide anew at every turn: each turn equals one prompt that holds the dialogue so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
import torch

import zoo
from pinhole import Chat, Session, compress
from pinhole.budget import kept_tokens
from pinhole.method import TrainingFree
from pinhole.methods.cdpruner import CDPruner
from pinhole.reduction import Reduction
from pinhole.scenes.world import make_scene, render
from pinhole.visual import VisualTokens

FAMILIES = ("llava", "llava_next", "qwen2_vl", "qwen3_vl", "gemma3", "vila", "xcomposer2")
KEEP, SAID = 0.4, 3
BY_TOKEN = {"input_ids": None, "attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": 0}
"""What a prompt has for every token, and what that is for text: None is the token itself."""


@dataclass(frozen=True)
class Asked(TrainingFree):
    """Keeps the tokens that the last of the instruction's tokens attend to most; notes the cue of every call."""

    name = "asked"
    paper = "this test"
    needs = frozenset({"first_layer_attention"})
    turns: Literal["first", "each"] = "each"
    last: int | None = None
    seen: list = field(default_factory=list)

    def reduce(self, image: VisualTokens) -> Reduction:
        cue = image.cues["first_layer_attention"]
        self.seen.append(cue)
        columns = cue if self.last is None else cue[:, -self.last :]
        return Reduction.select(columns.mean(-1).topk(self.count(image.n)).indices.sort().values, image.n)


def words(count: int, seed: int, rows: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, zoo.WORDS, (rows, count), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def whole_of(first: dict, *behind: torch.Tensor) -> dict[str, torch.Tensor]:
    """A prompt with more text behind it."""
    ids = torch.cat(behind, 1)
    return {
        name: torch.cat([first[name], ids if text is None else torch.full_like(ids, text)], 1)
        for name, text in BY_TOKEN.items()
        if name in first
    }


def say(session: Session, turn: dict) -> torch.Tensor:
    return session.ask(dict(turn), max_new_tokens=SAID, min_new_tokens=SAID, do_sample=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_later_turn_reads_everything_with_what_its_own_question_chose(family):
    model, first = zoo.model_of(family), zoo.row(family, zoo.model_of(family), seed=1)
    later, method = words(4, 7), Asked(keep=KEEP)
    session = Session(model, method)
    answer = say(session, first)
    said = say(session, later)

    whole = {**first, **whole_of(first, answer, later["input_ids"])}
    alone = Asked(keep=KEEP, turns="first", last=4)
    with compress(model, alone) as compression:
        length = whole["input_ids"].shape[1]
        expected = model.generate(**whole, max_new_tokens=SAID, min_new_tokens=SAID, do_sample=False)[:, length:]
    assert method.seen[-1].shape[1] == 4
    assert torch.allclose(method.seen[-1], alone.seen[-1][:, -4:], atol=1e-9)
    assert torch.equal(session.reductions[0].anchors, compression.reductions[0].anchors)
    assert said.tolist() == expected.tolist()


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_a_batch_is_read_as_its_rows_alone(family):
    model = zoo.model_of(family)
    prompts = zoo.rows(family, model, seed=2, batch=2)
    later = words(5, 8, rows=2)
    session = Session(model, Asked(keep=KEEP))
    together = [say(session, zoo.together(prompts)), say(session, later)]
    for row, prompt in enumerate(prompts):
        alone = Session(model, Asked(keep=KEEP))
        for turn, asked in enumerate((prompt, {name: value[row : row + 1] for name, value in later.items()})):
            assert say(alone, asked).tolist() == together[turn][row : row + 1].tolist()
    assert len(session.reductions) == 3


def test_a_retracted_answer_and_a_failed_turn_leave_no_trace():
    model = zoo.model_of("llava")
    first, later, last = zoo.row("llava", model, seed=3), words(4, 9), words(3, 10)
    session = Session(model, Asked(keep=KEEP))
    answer = say(session, first)
    say(session, later)
    session.retract()
    with pytest.raises(IndexError):
        session.ask({"input_ids": torch.full((1, 2), 10**6)}, max_new_tokens=1)
    said = say(session, last)
    whole = {**first, **whole_of(first, answer, later["input_ids"], last["input_ids"])}
    with compress(model, Asked(keep=KEEP, turns="first", last=3)):
        expected = model.generate(**whole, max_new_tokens=SAID, min_new_tokens=SAID, do_sample=False)
    assert said.tolist() == expected[:, whole["input_ids"].shape[1] :].tolist()


def test_a_chat_with_a_new_image_decides_about_all_of_them(embedded):
    pictures = [render(make_scene("validation", i)) for i in range(2)]
    method = CDPruner(keep=0.2, turns="each")
    chat = Chat(*embedded, method, max_new_tokens=4)
    chat.ask("what color is the circle?", [pictures[0]])
    first = chat.reductions[0].indices
    chat.ask("which digit is on the square?")
    assert not torch.equal(first, chat.reductions[0].indices)
    chat.ask("what color is the star?", [pictures[1]])
    assert [reduction.m for reduction in chat.reductions] == [kept_tokens(144, 0.2)] * 2
    fixed = Chat(*embedded, CDPruner(keep=0.2), max_new_tokens=4)
    fixed.ask("what color is the circle?", [pictures[0]])
    assert torch.equal(first, fixed.reductions[0].indices)
    fixed.ask("which digit is on the square?")
    assert torch.equal(first, fixed.reductions[0].indices)


def test_other_turns_are_refused():
    with pytest.raises(ValueError, match="turns is first or each, got 'last'"):
        CDPruner(turns="last")
