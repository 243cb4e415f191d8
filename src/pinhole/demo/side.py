"""Side: one of the two conversations that are held at once, and what each of its answers costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from transformers import StoppingCriteria, StoppingCriteriaList

from pinhole.benchmark.clock import Clock, gpus_of
from pinhole.budget import Budget
from pinhole.chat import Chat
from pinhole.demo.host import Host
from pinhole.images import ImageSource
from pinhole.plan import Method, Plan


@dataclass
class Answer:
    """One answer, while it is given and afterwards.

    Attributes:
        text: so far.
        budget: the picture's visual tokens, as encoded and in each layer of the LLM; None until all of it is there.
        first_token_ms: from the question to the first token, the work of processor and encoder included.
        kv_bytes: keys and values of the whole conversation, as the budget has it: of all tokens but the last, which is
            read with the next question.
        peak_bytes: the most memory that the turn took on GPUs beyond what was taken before; None without a GPU.
        is_done: whether all of it is there.
    """

    text: str = ""
    budget: Budget | None = None
    first_token_ms: float | None = None
    kv_bytes: int | None = None
    peak_bytes: int | None = None
    is_done: bool = False


class Side:
    """A conversation about one picture.

    Args:
        host: the model.
        plan: what reduces the picture.
    """

    def __init__(self, host: Host, plan: Plan) -> None:
        self._plan, self._family = plan, host.family
        methods: list[Method] = [plan.entry] if plan.layer is None else [plan.entry, plan.layer]
        self.chat = Chat(host.model, host.processor, methods, max_new_tokens=host.limits.answer, **asdict(host.scope))
        self._gpus = gpus_of(host.model)

    def ask(self, question: str, picture: Image.Image, is_stopped: Callable[[], bool]) -> Iterator[Answer]:
        """Ask, and yield the answer each time that there is more of it.

        Args:
            question: the words of this turn.
            picture: the model is shown it at the first turn.
            is_stopped: asked behind every token whether to go no further.
        """
        answer, clock = Answer(), Clock(self._gpus)
        before = [torch.cuda.memory_allocated(gpu) for gpu in self._gpus]
        for gpu in self._gpus:
            torch.cuda.reset_peak_memory_stats(gpu)
        watch = _Watch(clock, is_stopped)
        images: list[ImageSource] | None = None if self.chat.context_length else [picture]
        for piece in self.chat.stream(question, images, stopping_criteria=StoppingCriteriaList([watch])):
            answer.text += piece
            answer.first_token_ms = watch.first_token_ms
            yield answer
        answer.first_token_ms = watch.first_token_ms
        self._measure(answer)
        if self._gpus:
            answer.peak_bytes = sum(torch.cuda.max_memory_allocated(gpu) for gpu in self._gpus) - sum(before)
        answer.text, answer.is_done = answer.text.strip(), True
        yield answer

    def _measure(self, answer: Answer) -> None:
        shape, [reduction] = self._family.shape, self.chat.reductions
        answer.budget = self._plan.budget(reduction.n, reduction.m, shape.layers)
        answer.kv_bytes = answer.budget.kv_bytes(shape, self.chat.context_length - 1 - reduction.m)


class _Watch(StoppingCriteria):
    """Notes when the first token is there, and ends an answer that nobody wants any more."""

    def __init__(self, clock: Clock, is_stopped: Callable[[], bool]) -> None:
        self._clock, self._is_stopped = clock, is_stopped
        self._start = clock.now()
        self.first_token_ms: float | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_others: Any) -> torch.Tensor:
        """Called by `generate` behind every token; (B,) whether each row ends here."""
        if self.first_token_ms is None:
            self.first_token_ms = 1000 * (self._clock.now() - self._start)
        return torch.full((len(input_ids),), self._is_stopped(), device=input_ids.device)
