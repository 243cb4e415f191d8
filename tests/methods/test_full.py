from __future__ import annotations

import pytest
import torch

from pinhole import Full, VisualTokens
from pinhole.layout import Layout


def test_everything_is_kept_in_order():
    x = torch.randn(7, 3)
    reduction = Full().reduce(VisualTokens(x, Layout.of(len(x)), x))
    assert torch.equal(reduction.apply(x), x)
    assert Full().count(7) == 7


def test_there_is_nothing_to_set():
    assert Full().settings() == {}
    with pytest.raises(TypeError, match="keep"):
        Full(keep=0.5)
