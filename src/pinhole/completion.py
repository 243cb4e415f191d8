"""What the shell completes behind an option: known without torch, so that Tab is answered at once."""

from __future__ import annotations

from collections.abc import Callable

ARCHITECTURES = ("llava-1.5-7b", "llava-1.5-13b", "llava-next-7b", "llava-onevision-7b", "qwen2-vl-7b", "tiny")
"""Those of `pinhole.benchmark.shapes`."""

BENCHMARKS = ("mt-gqa", "mt-vqa-v2", "convbench", "mt-video-mme", "dialogues")
"""Those of `pinhole.tasks`."""

KINDS = {
    "shapes": ("color", "shape", "count", "exist", "position", "digit", "relation"),
    "signs": ("word", "color", "count", "exist", "position", "bar", "bars", "taller"),
}
"""Of the questions of `pinhole.scenes`, by world."""


def among(*values: str) -> Callable[[], list[str]]:
    """Completes one of these."""
    return lambda: list(values)


def method_specs(incomplete: str) -> list[str]:
    """The methods' names; behind a + too, where a method inside the LLM may follow."""
    from pinhole.registry import method_names

    before, plus, _ = incomplete.rpartition("+")
    return [*method_names(), *(f"{before}+{name}" for name in method_names() if plus)]
