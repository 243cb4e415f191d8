"""A batch of dialogues that a process of vLLM holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers import ProcessorMixin

from pinhole.data import Dialogue
from pinhole.encoding import encode_turn
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.engine import Read
from pinhole.evaluation.runner import EvalSettings
from pinhole.families.base import Family
from pinhole.serving.engine_process import EngineProcess
from pinhole.serving.greedy import greedy
from pinhole.serving.reducer import Reducer
from pinhole.transcript import Transcript
from pinhole.videos import Video


class InEngine:
    """A `Batch` of which vLLM gets the whole dialogues at each turn; what it has read of them is in its prefix cache.

    Args:
        family: of the model, which may be on the meta device.
        processor: the model's own.
        process: runs it under the contender.
        contender: decides what remains of images and videos.
        dialogues: before their first turn.
        settings: how they are held.
    """

    def __init__(
        self,
        family: Family,
        processor: ProcessorMixin,
        process: EngineProcess,
        contender: Contender,
        dialogues: list[Dialogue],
        settings: EvalSettings,
    ) -> None:
        self._reducer, self._processor, self._process = Reducer(family, contender.plan.entry), processor, process
        self._dialogues, self._frames = dialogues, settings.frames
        self._sampling = greedy(family, settings.max_new_tokens)
        self._prompts: list[list[int]] = [[] for _ in dialogues]
        self._said: list[list[int]] = [[] for _ in dialogues]
        self._read: list[Read] = []

    def ask(self, texts: list[str]) -> torch.Tensor:
        """As `Batch.ask`.

        Raises:
            ValueError: vLLM cannot answer, or does not read what transformers would.
        """
        is_first = not self._read
        held = zip(self._prompts, self._said, texts, strict=True)
        self._prompts = [[*prompt, *said, *self._ids(text, is_first)] for prompt, said, text in held]
        if is_first:
            self._process.send("show", self._dialogues, self._frames)
        self._process.send("ask", self._prompts, self._sampling)
        if is_first:
            self._read = [self._first(*pair) for pair in zip(self._dialogues, self._prompts, strict=True)]
            self._process.receive()
        answers = self._process.receive()
        for read, prompt, answer in zip(self._read, self._prompts, answers, strict=True):
            expected = len(prompt) + sum(m - 1 for _, m in read.sizes)
            if answer.prompt != expected:
                raise ValueError(f"vLLM reads {answer.prompt} tokens of a prompt that has {expected}")
            if answer.is_cut:
                raise ValueError("the context of an answer was full: give a larger --engine-options max_model_len=...")
        self._said = [answer.ids for answer in answers]
        return pad_sequence([torch.tensor(ids) for ids in self._said], batch_first=True)

    def retract(self) -> None:
        """As `Batch.retract`."""
        self._said = [[] for _ in self._said]

    def read(self) -> list[Read]:
        """As `Batch.read`."""
        return self._read

    def _ids(self, text: str, is_first: bool) -> list[int]:
        """As `encode_turn` reads it, but with one placeholder for each image and video."""
        if not is_first:
            inputs = encode_turn(self._reducer.family.model, self._processor, [text], first=False)
            return inputs["input_ids"][0].tolist()
        tokenizer = self._processor.tokenizer
        is_begun = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
        return tokenizer(text, add_special_tokens=not is_begun)["input_ids"]

    def _first(self, dialogue: Dialogue, prompt: list[int]) -> Read:
        """What is read of a dialogue's first prompt; each image and video is counted by itself, as vLLM does."""
        images = [self._size("image", images=[image]) for image in dialogue.load_images()]
        videos = [self._size("video", videos=[video]) for video in dialogue.load_videos(self._frames)]
        return Read(images + videos, len(prompt) - len(images + videos))

    def _size(self, modality: str, images: Sequence[Image.Image] = (), videos: Sequence[Video] = ()) -> list[int]:
        """[visual tokens, kept tokens] of one image or video."""
        family = self._reducer.family
        text = Transcript(self._processor).question("?", len(images), len(videos))
        inputs = encode_turn(family.model, self._processor, [text], [*images], videos=[*videos])
        n = int((inputs["input_ids"] == family.token_id(modality)).sum())
        return [n, self._reducer.count(modality, n, inputs)]
