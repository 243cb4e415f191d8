"""The settings of a search at work: their answers, their costs, and what could not be held at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.choose.candidates import Candidate
from pinhole.data import Dialogue
from pinhole.evaluation.answers import Answered, AnswerFile
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.latency import times_to_first_token
from pinhole.evaluation.results import save
from pinhole.evaluation.runner import EvalSettings, answer_all
from pinhole.progress import tracked


@dataclass(frozen=True, eq=False)
class Field:
    """Holds dialogues with the uncompressed model and with settings; what is on the disk is not done again.

    Attributes:
        model: the LVLM.
        processor: its own.
        full: the uncompressed model as a contender.
        file: the answers.
        settings: how dialogues are held.
        show_progress: draw progress bars.
    """

    model: PreTrainedModel
    processor: ProcessorMixin
    full: Contender
    file: AnswerFile
    settings: EvalSettings
    show_progress: bool

    def hold(self, contenders: Sequence[Contender], dialogues: list[Dialogue]) -> dict[str, list[Answered]]:
        """Answers of the uncompressed model and of these, by contender key, in the order of the dialogues."""
        rivals = [self.full, *(contender for contender in contenders if contender.key != self.full.key)]
        is_new = any(not self.file.has(rival.key, dialogue) for rival in rivals for dialogue in dialogues)
        self._answer(rivals, dialogues, self.show_progress and is_new)
        answered = self.file.merge([rival.key for rival in rivals], dialogues)
        return {rival.key: [answered[rival.key, dialogue.id] for dialogue in dialogues] for rival in rivals}

    def try_out(
        self, candidates: Sequence[Candidate], dialogues: list[Dialogue]
    ) -> tuple[list[Candidate], list[dict[str, str]]]:
        """Those that can hold these dialogues, and those that cannot, with the reason.

        Raises:
            ValueError: the uncompressed model cannot hold them either.
        """
        self._answer([self.full], dialogues, False)
        able, refused = [], []
        for candidate in tracked(candidates, "trying", self.show_progress):
            try:
                self._answer([candidate.contender], dialogues, False)
                able.append(candidate)
            except (ValueError, torch.OutOfMemoryError) as error:
                reason = str(error).splitlines()[0]
                refused.append({"method": candidate.method, "keep": str(candidate.keep), "reason": reason})
        return able, refused

    def times(self, candidates: Sequence[Candidate], dialogues: list[Dialogue], path: Path) -> dict[str, float]:
        """Median milliseconds to the first token, by contender key; those of all are taken together, once.

        Args:
            candidates: whose times are taken, beside the uncompressed model's.
            dialogues: whose first questions are asked.
            path: file that keeps the times.
        """
        rivals = [self.full, *(candidate.contender for candidate in candidates if candidate.method != "full")]
        kept = json.loads(path.read_text()) if path.exists() else {}
        if kept.keys() >= {rival.key for rival in rivals}:
            return kept
        how = (self.settings.scope, self.settings.frames, self.show_progress)
        return save(path, times_to_first_token(self.model, self.processor, rivals, dialogues, *how))

    def _answer(self, contenders: list[Contender], dialogues: list[Dialogue], show_progress: bool) -> None:
        answer_all(
            self.model, self.processor, contenders, dialogues, self.file, self.settings, show_progress=show_progress
        )
