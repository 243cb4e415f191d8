"""The same dialogues on transformers, through Pinhole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata

from dialogues import SECOND, Dialogue, film, metadata, picture
from pinhole.registry import MethodSpec
from pinhole.session import Session
from tiny_checkpoints import WIDTH

TOKENS = 16


class Reference:
    """A checkpoint on transformers.

    Attributes:
        family: its model type.
        folder: where it is.
    """

    def __init__(self, family: str, folder: Path) -> None:
        self.family, self.folder = family, folder
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.generation_config.eos_token_id = None
        self.processor = AutoProcessor.from_pretrained(folder)

    def ids(self, text: str) -> list[int]:
        """Text as ids, with one placeholder for each image."""
        return self.processor.tokenizer.encode(text, add_special_tokens=False)

    def answers(self, dialogue: Dialogue, method: str, keep: float, **scope: Any) -> list[list[int]]:
        """Both turns' answers."""
        session = Session(self.model, MethodSpec.parse(method).build(WIDTH, keep), **scope)
        turns = (self._first(dialogue), {"input_ids": torch.tensor([self.ids(SECOND)])})
        return [session.ask(inputs, max_new_tokens=TOKENS, do_sample=False)[0].tolist() for inputs in turns]

    def _first(self, dialogue: Dialogue) -> dict[str, Any]:
        media: dict[str, Any] = {}
        if dialogue.images:
            media["images"] = [picture(*image) for image in dialogue.images]
        if dialogue.video:
            frames = film(*dialogue.video)
            media |= {"videos": [frames], "video_metadata": [VideoMetadata(**metadata(len(frames)))]}
            media |= {"do_sample_frames": False}
        inputs = self.processor(text=[dialogue.first(self.family)], return_tensors="pt", **media)
        return {name: value for name, value in inputs.items() if name != "token_type_ids"}

    def requests(self, dialogue: Dialogue, answer: list[int]) -> list[dict[str, Any]]:
        """Both turns as requests of a server, which get the whole dialogue each time."""
        first = self.ids(dialogue.first(self.family))
        media = {"images": dialogue.images, "video": dialogue.video}
        return [{"ids": first, **media}, {"ids": [*first, *answer, *self.ids(SECOND)], **media}]
