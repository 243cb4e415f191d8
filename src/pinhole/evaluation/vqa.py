"""VQA's accuracy over the answers of several annotators.

Antol et al., "VQA: Visual Question Answering" (ICCV 2015, arXiv 1505.00468), and https://visualqa.org/evaluation.html.
Both answers and references are processed as that page says. Two points that it leaves open are taken from the released
evaluation: which characters are punctuation, and the number words. Where the released code differs from the page, the
page is followed: it also converts number words and articles of references, and processes them where all agree.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

_ARTICLES = {"a", "an", "the"}
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_PUNCTUATION = re.compile(r"""[;/\[\]"{}()=+\\_\-><@`,?!]""")
_WITH_APOSTROPHE = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd've he's
    how'd how'll how's i'd've isn't it'd it'd've it'll let's ma'am might've mightn't mightn't've must've mustn't needn't
    o'clock oughtn't shan't she'd've she's should've shouldn't shouldn't've somebody'd somebody'll somebody's someone'd
    someone'll someone's something'd something'll that'd that'll that's there'd there'd've there're there's they'd
    they'd've they'll they're they've wasn't we'd've we've weren't what'll what're what's what've when's where'd where's
    where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all you'd
    you'd've you'll you're you've
"""
"""Those whose form without apostrophes is no other word ("were", "its", "well" are left alone)."""


def _without(word: str) -> list[str]:
    """A word with one or all of its apostrophes left out."""
    pieces = word.split("'")
    joints = itertools.product(("", "'"), repeat=len(pieces) - 1)
    return ["".join(itertools.chain(*zip(pieces, (*joint, ""), strict=True))) for joint in joints if "" in joint]


_CONTRACTIONS = {bare: word for word in _WITH_APOSTROPHE.split() for bare in _without(word)}


def normalize_vqa(text: str) -> str:
    """Text as VQA compares it.

    Lowercase; periods removed unless a digit follows (a decimal point); a comma between digits removed; other
    punctuation to spaces, apostrophes and colons kept; number words up to ten as digits; no articles; apostrophes put
    into contractions that lack them.
    """
    text = re.sub(r"\.(?!\d)", "", text.lower())
    text = _PUNCTUATION.sub(" ", re.sub(r"(?<=\d),(?=\d)", "", text))
    words = (_NUMBERS.get(word, word) for word in text.split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """Mean over the annotators of min(matches among the others / 3, 1), in 0..1.

    Args:
        answer: the model's.
        references: what each annotator said, ten in the official data. With one, it is whether both say the same.
    """
    same = normalize_vqa(answer)
    matches = [normalize_vqa(reference) == same for reference in references]
    if len(matches) == 1:
        return float(matches[0])
    return sum(min((sum(matches) - match) / 3, 1.0) for match in matches) / len(matches)
