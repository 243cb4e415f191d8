"""Transcript: a dialogue as the pieces of text that a chat template makes of it, one per turn."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError
from transformers import ProcessorMixin

_QUESTION, _ANSWER = "PINHOLEQUESTION", "PINHOLEANSWER"
_STYLES = ((True, True), (True, False), (False, False))
"""Whether a template takes the content of questions, and of answers, as a list of parts; else as text."""


class Transcript:
    """Turns messages into the text that each turn adds to the context, for any chat template.

    The text of a turn is what the template prints after the answer before it, so feeding turn after turn gives the
    same context as rendering the whole dialogue, with the answers as they were generated. Where a template prints an
    earlier turn otherwise than it did when it was the latest (without its thinking, with another blank before the
    answer), the context keeps what the model read and said.

    Raises:
        ValueError: the processor has no chat template, or one that does not print what is said.
    """

    def __init__(self, processor: ProcessorMixin) -> None:
        if not getattr(processor, "chat_template", None):
            raise ValueError(
                f"the processor {type(processor).__name__} has no chat template: save one with it, "
                "or set processor.chat_template"
            )
        self._processor = processor
        self._questions_in_parts, self._answers_in_parts = self._find_style()
        self._said: list[dict[str, Any]] = []
        self._pending: dict[str, Any] = {}
        self._turn = self._end = ""

    def question(self, text: str, images: int = 0, videos: int = 0) -> str:
        """The text that the next question adds, up to where its answer starts; images and videos precede its words.

        Asking again before `answer` replaces the question.

        Raises:
            ValueError: the words contain a mark of the model's own, the model reads no videos, or the template prints
                another number of marks than there are images or videos.
        """
        for mark in self._marks():
            if mark in text:
                raise ValueError(
                    f"the question contains {mark!r}, with which this model marks an image or a video: leave it out"
                )
        counts = {"image": images, "video": videos}
        for modality, count in counts.items():
            if count and not self._mark(modality):
                raise ValueError(f"this model reads no {modality}s: its processor has no mark for them")
        self._pending = {"role": "user", "content": self._content(text, counts)}
        messages, mark = [*self._said, self._pending], _ANSWER
        while mark in text:
            mark += _ANSWER
        if self._said:
            messages[-2] = self._answer(mark)
        turn = self._without_end(self._render(messages).rpartition(mark)[2])
        for modality, count in counts.items():
            mark = self._mark(modality)
            if mark and turn.count(mark) != count:
                raise ValueError(
                    f"the chat template printed {turn.count(mark)} {mark!r} for {count} {modality}(s): "
                    f"set a processor.chat_template that marks every {modality}"
                )
        self._turn = turn
        return turn

    def answer(self, text: str, end: str = "") -> None:
        """Note the answer to the latest question, and the text of the token that ended it: it is not repeated."""
        self._said += [self._pending, self._answer(text)]
        self._end = end

    def written(self, text: str) -> str:
        """A given answer to the latest question, ready to be tokenized by itself.

        Some templates print a blank before an answer. It belongs to the answer's first token in some tokenizers, and
        others add one to whatever they read: it is put before `text` where that gives the tokens of the whole.
        """
        asked = [*self._said, self._pending]
        prompt, whole = self._render(asked), self._render([*asked, self._answer(_ANSWER)], prompt=False)
        if not whole.startswith(prompt):
            return text
        behind = whole[len(prompt) : whole.rindex(_ANSWER)] + text
        ids = self._ids(behind)
        return behind if self._ids(self._turn + behind)[-len(ids) :] == ids else text

    def _without_end(self, text: str) -> str:
        """`text` behind the token that ended the answer, and behind the marks that the template prints before it."""
        before, end, rest = text.partition(self._end) if self._end else (text, "", "")
        marks = self._processor.tokenizer.get_added_vocab().values()
        return rest if end and all(token in marks for token in self._ids(before)) else text

    def _ids(self, text: str) -> list[int]:
        return self._processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _render(self, messages: list[dict[str, Any]], prompt: bool = True) -> str:
        return self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)

    def _answer(self, text: str) -> dict[str, Any]:
        return {"role": "assistant", "content": _parts(text) if self._answers_in_parts else text}

    def _content(self, text: str, counts: dict[str, int]) -> list[dict[str, str]] | str:
        if self._questions_in_parts:
            return [{"type": modality} for modality, count in counts.items() for _ in range(count)] + _parts(text)
        return "".join(f"{self._mark(modality)}\n" * count for modality, count in counts.items()) + text

    def _mark(self, modality: str) -> str:
        return getattr(self._processor, f"{modality}_token", None) or ""

    def _marks(self) -> set[str]:
        """What stands for images and videos, before the processor writes their placeholders and after."""
        owners = (self._processor, self._processor.tokenizer)
        tokens = {getattr(owner, f"{kind}_token", None) for owner in owners for kind in ("image", "video")}
        return {token for token in tokens if token}

    def _find_style(self) -> tuple[bool, bool]:
        """The first of `_STYLES` in which the template prints words, and not the list that they are in."""
        for style in _STYLES:
            self._questions_in_parts, self._answers_in_parts = style
            question = {"role": "user", "content": self._content(_QUESTION, {})}
            try:
                text = self._render([question, self._answer(_ANSWER), question])
            except (TypeError, TemplateError):
                continue
            if _QUESTION in text and _ANSWER in text and "'type'" not in text:
                return style
        raise ValueError(
            f"the chat template of {type(self._processor).__name__} does not print what is said: set another "
            "processor.chat_template"
        )


def _parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]
