"""Stands where a process of vLLM would: answers whole prompts with the same model on transformers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from pinhole.encoding import encode_turn
from pinhole.families import family_of
from pinhole.loading import load
from pinhole.serving.engine_worker import Said
from pinhole.serving.servable import servable
from pinhole.serving.settings import Settings
from pinhole.session import Session
from pinhole.transcript import Transcript


class EngineStub:
    """Reads each prompt anew, through the method that the options name; keeps a diary of all engines.

    Class attributes:
        diary: what happened: "start SPEC", "ask COUNT", "stop SPEC".
        cut: whether answers end for want of space.
    """

    diary: ClassVar[list[str]] = []
    cut: ClassVar[bool] = False

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self.model, self.processor = load(model, options["dtype"], "cpu")
        self.settings = Settings(**options["hf_overrides"]["pinhole"])
        self.options, self.images, self.answers = options, [], []
        self.diary.append(f"start {self.settings.method}")

    def send(self, name: str, *arguments: Any) -> None:
        self.answers.append(getattr(self, name)(*arguments))

    def receive(self) -> Any:
        return self.answers.pop(0)

    def stop(self, at_once: bool = False) -> None:
        self.diary.append(f"stop {self.settings.method}")

    def show(self, dialogues: list[Any], frames: int | None) -> None:
        self.images = [dialogue.load_images() for dialogue in dialogues]

    def ask(self, prompts: list[list[int]], sampling: dict[str, Any]) -> list[Said]:
        self.diary.append(f"ask {len(prompts)}")
        return [self._answer(ids, images, sampling) for ids, images in zip(prompts, self.images, strict=True)]

    def _answer(self, prompt: list[int], images: list[Any], sampling: dict[str, Any]) -> Said:
        family = family_of(self.model)
        shown = encode_turn(self.model, self.processor, [Transcript(self.processor).question("?", len(images))], images)
        token = family.token_id("image")
        assert prompt.count(token) == len(images)
        n = int((shown["input_ids"] == token).sum()) // len(images)
        ids = torch.tensor([[one for some in prompt for one in [some] * (n if some == token else 1)]])
        session = Session(self.model, servable(self.settings, family))
        inputs = {**shown, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        said = session.ask(inputs, max_new_tokens=sampling["max_tokens"], do_sample=False)[0].tolist()
        end = next((i + 1 for i, one in enumerate(said) if one in sampling["stop_token_ids"]), len(said))
        read = len(prompt) + sum(reduction.m - 1 for reduction in session.reductions)
        return Said(said[:end], read, self.cut)
