from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from pinhole import Sample, VisualTokens
from pinhole.layout import Layout


def image(n: int) -> VisualTokens:
    return VisualTokens(torch.zeros(n, 2), Layout.of(n), torch.zeros(1))


@pytest.mark.parametrize(
    ("n", "m", "kept"), [(10, 1, [5]), (10, 2, [2, 7]), (10, 3, [1, 5, 8]), (7, 7, list(range(7))), (9, 3, [1, 4, 7])]
)
def test_the_middle_of_each_stretch_is_kept(n, m, kept):
    assert Sample(keep=m).reduce(image(n)).indices.tolist() == kept


@pytest.mark.parametrize("n", [1, 5, 36, 144, 577])
def test_kept_tokens_are_distinct_and_evenly_spread(n):
    for m in range(1, n + 1, max(1, n // 20)):
        kept = Sample(keep=m).reduce(image(n)).indices.tolist()
        gaps = [b - a for a, b in pairwise(kept)]
        assert len(kept) == m
        assert set(gaps) <= {n // m, -(-n // m)}, "stretches differ by one token at most"
        assert all(gap > 0 for gap in gaps)
        assert abs(kept[0] - (n - 1 - kept[-1])) <= 1, "both ends are treated alike"
