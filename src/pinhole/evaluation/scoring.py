"""When an answer is right."""

from __future__ import annotations

import re

_ARTICLES = {"a", "an", "the"}


def normalize(text: str) -> str:
    """Lowercase, punctuation to spaces, without articles, single spaces: as VQA scores are taken."""
    words = re.sub(r"[^\w\s]", " ", text.lower()).replace("_", " ").split()
    return " ".join(word for word in words if word not in _ARTICLES)


def exact_match(answer: str, reference: str) -> bool:
    """Whether both say the same after `normalize`; MT-GQA's score."""
    return normalize(answer) == normalize(reference)
