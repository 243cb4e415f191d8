"""What vLLM is asked about one family through one method, and what transformers answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from dialogues import Dialogue
from on_transformers import TOKENS, Reference
from pinhole.serving.settings import Settings

KEEP = 0.3
IMAGES = [Dialogue(((56, 56, 0),)), Dialogue(((60, 150, 1),), question="Which animal?"), Dialogue(((170, 70, 2),))]
OTHER = Dialogue(((56, 56, 0),), question="How many legs has the beast?")
"""About the first image."""
TWO = Dialogue(((90, 56, 3), (56, 110, 4)))
FILM = Dialogue(video=(6, 56, 84, 5))
LONG = Dialogue(video=(12, 56, 56, 6), question="What happens?")
WORDS = Dialogue(question="Is a question without a picture answered too?")
WITH_VIDEO = ("llava_onevision", "qwen2_vl", "qwen2_5_vl")
METHODS = {
    "llava": ("metacompress:{}/metacompress", "pinhole:{}/pinhole", "visionzip", "sample"),
    "llava_next": ("metacompress:{}/metacompress", "visionzip", "spatial"),
    "llava_onevision": ("metacompress:{}/metacompress", "tome", "spatial"),
    "qwen2_vl": ("metacompress:{}/metacompress", "pinhole:{}/pinhole", "tome:metric=x", "spatial"),
    "qwen2_5_vl": ("metacompress:{}/metacompress", "visionzip:attention=received", "random"),
}
"""For each family, methods of which each reads something else: features, attention, keys, places and pixels."""
OPTIONS = {"random": {"mm_device_do_normalize": False}}
"""What vLLM needs so that a method reads what it reads on transformers: here, normalised pixels."""


class Asked:
    """Dialogues, and the answers to expect.

    Attributes:
        reference: the family's checkpoint on transformers.
        method: as on the command line.
        keep: share of visual tokens that remain.
        scope: how the reference applies the method.
    """

    def __init__(self, reference: Reference, method: str, keep: float = KEEP, **scope: Any) -> None:
        self.reference, self.method, self.keep = reference, method, keep
        several = [OTHER] if method.startswith("relevance") else [TWO]
        self.dialogues = [*IMAGES, *several, WORDS, *([FILM, LONG] if reference.family in WITH_VIDEO else [])]
        self.expected = [reference.answers(dialogue, method, keep, **scope) for dialogue in self.dialogues]

    def changed(self) -> Iterator[Self]:
        """The same with answers that vLLM must not give."""
        yield type(self)(self.reference, self.method, 0.6)
        if self.reference.family.startswith("qwen"):
            yield type(self)(self.reference, self.method, self.keep, positions="compact")

    def engine(self, **options: Any) -> dict[str, Any]:
        """Each dialogue alone, its second turn with the first in the cache; then all at once, nothing cached."""
        media = {"image": 2, "video": 1} if self.reference.family in WITH_VIDEO else {"image": 2}
        turns = [
            self.reference.requests(dialogue, answers[0])
            for dialogue, answers in zip(self.dialogues, self.expected, strict=True)
        ]
        alone = [{"cold": turn == 0, "requests": [asked[turn]]} for asked in turns for turn in (0, 1)]
        together = {"cold": True, "requests": [asked[turn] for turn in (1, 0) for asked in turns]}
        known = OPTIONS.get(self.method, {})
        return {
            "model": str(self.reference.folder),
            "overrides": Settings(self.method, self.keep).overrides(self.reference.family),
            "options": {"limit_mm_per_prompt": media, "enable_prefix_caching": True, **known, **options},
            "tokens": TOKENS,
            "with_metadata": self.reference.family == "qwen2_5_vl",
            "rounds": [*alone, together],
        }

    def check(self, result: dict[str, Any]) -> None:
        """Raises AssertionError where an answer is another, or the cache was not used as it should be."""
        *alone, together = result["rounds"]
        for i, (dialogue, expected) in enumerate(zip(self.dialogues, self.expected, strict=True)):
            for turn in (0, 1):
                [answer] = alone[2 * i + turn]
                where = f"{self.reference.family}, {self.method}, {dialogue}, turn {turn + 1}"
                assert answer["tokens"] == expected[turn], where
                assert (answer["cached"] > 0) == (turn == 1), where
        both = [answers[turn] for turn in (1, 0) for answers in self.expected]
        assert [answer["tokens"] for answer in together] == both, f"{self.reference.family}, all at once"
