"""What lmms-eval asks of a model, in Pinhole's terms: words, pictures and videos, and how to generate."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import GenerationConfig

from pinhole.images import ImageSource
from pinhole.videos import VideoSource

MAX_NEW_TOKENS = 1024
"""Of an answer, where the task does not say."""

_PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_MARK = re.compile(r"<(image|video)>\n?")
_OTHERS = {"until", "image_aspect_ratio", "do_sample", "temperature", "top_p", "top_k", "seed"}


@dataclass(frozen=True, eq=False)
class Request:
    """One prompt.

    Attributes:
        words: of the question; the marks `<image>` and `<video>`, which tasks write for LLaVA, are taken out of them:
            pictures and videos precede the words.
        visuals: gives what the question is about, when its turn has come: pictures, files, or frames of a video.
        settings: the task's `generation_kwargs`.
    """

    words: str
    visuals: Callable[[], Sequence[Any] | None]
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", _MARK.sub("", self.words))


def sorted_visuals(visuals: Sequence[Any] | None) -> tuple[list[ImageSource], list[VideoSource]]:
    """Pictures and videos, in their order.

    Raises:
        ValueError: something else, such as sound.
    """
    pictures: list[ImageSource] = []
    videos: list[VideoSource] = []
    for visual in visuals or ():
        if isinstance(visual, str | os.PathLike):
            is_picture = Path(visual).suffix.lower() in _PICTURES
            pictures += [visual] if is_picture else []
            videos += [] if is_picture else [visual]
        elif isinstance(visual, Image.Image):
            pictures.append(visual)
        elif isinstance(visual, np.ndarray | list | tuple):
            videos.append(visual)
        else:
            raise ValueError(
                f"this task shows a {type(visual).__name__}: Pinhole reads pictures, video files and lists of frames"
            )
    return pictures, videos


def generate_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A task's `generation_kwargs` as options of `model.generate`.

    Sampling is asked for by `do_sample`, or by a temperature where that is not given; a temperature of 0 is greedy.
    What is no option of `generate` is left out with a warning, `image_aspect_ratio`, which is LLaVA's own, without.
    """
    temperature = settings.get("temperature")
    is_sampled = bool(settings.get("do_sample", bool(temperature))) and temperature != 0
    sampling = ("temperature", "top_p", "top_k") if is_sampled else ()
    options = {name: settings[name] for name in sampling if settings.get(name) is not None}
    known = GenerationConfig().to_dict()
    for name, value in settings.items():
        if name in known and name not in _OTHERS:
            options[name] = value
        elif name not in _OTHERS:
            warnings.warn(f"generation_kwargs: {name} means nothing to Pinhole and is left out", stacklevel=2)
    return {"max_new_tokens": MAX_NEW_TOKENS, **options, "do_sample": is_sampled}


def stop_strings(settings: Mapping[str, Any]) -> list[str]:
    """Where a task wants an answer cut.

    An empty line is not among them: lmms-eval puts it there for every task that names none, and its own models pass
    over it, since many models begin a paragraph before the answer.
    """
    until = settings.get("until") or []
    return [stop for stop in ([until] if isinstance(until, str) else until) if stop.strip("\n") or stop == "\n"]
