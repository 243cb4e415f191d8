from __future__ import annotations

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pinhole import Reduction
from pinhole.layout import Layout, View

X = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])


def test_a_selection_picks_rows_in_its_own_order():
    reduction = Reduction.select(torch.tensor([2, 0, 2]), 4)
    assert (reduction.n, reduction.m) == (4, 3)
    assert torch.equal(reduction.apply(X), torch.tensor([[3.0, 30.0], [1.0, 10.0], [3.0, 30.0]]))
    assert reduction.anchors.tolist() == [2, 0, 2]
    assert torch.equal(reduction.matrix(), torch.tensor([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]]))


def test_a_mixture_is_a_matrix_product():
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.25, 0.75]])
    reduction = Reduction.mix(weights)
    assert (reduction.n, reduction.m) == (4, 2)
    assert torch.equal(reduction.apply(X), torch.tensor([[1.5, 15.0], [3.75, 37.5]]))
    assert reduction.anchors.tolist() == [0, 3]
    assert reduction.matrix() is weights


def test_a_selection_is_the_mixture_of_its_matrix():
    selection = Reduction.select(torch.tensor([3, 1]), 4)
    assert torch.equal(Reduction.mix(selection.matrix()).apply(X), selection.apply(X))


def test_the_identity_keeps_every_bit():
    x = torch.randn(5, 3, dtype=torch.bfloat16)
    assert torch.equal(Reduction.identity(5).apply(x), x)


def test_a_mixture_answers_in_the_dtype_of_the_tokens():
    assert Reduction.mix(torch.full((1, 4), 0.25)).apply(X.bfloat16()).dtype == torch.bfloat16


def test_gradients_reach_tokens_and_weights():
    weights, x = torch.full((2, 4), 0.25, requires_grad=True), X.clone().requires_grad_()
    Reduction.mix(weights).apply(x).sum().backward()
    assert torch.equal(weights.grad, X.sum(1).expand(2, 4))
    assert torch.equal(x.grad, torch.full((4, 2), 0.5))
    x.grad = None
    Reduction.select(torch.tensor([1, 1]), 4).apply(x).sum().backward()
    assert x.grad[:, 0].tolist() == [0, 2, 0, 0]


@pytest.mark.parametrize(
    "reduction", [Reduction.select(torch.tensor([4, 1, 2]), 7), Reduction.mix(torch.rand(3, 7).softmax(-1))], ids=repr
)
def test_what_is_saved_is_what_is_loaded(reduction, tmp_path):
    reduction.save(tmp_path / "p.safetensors")
    loaded = Reduction.load(tmp_path / "p.safetensors")
    assert (loaded.n, loaded.m) == (7, 3)
    assert torch.equal(loaded.matrix(), reduction.matrix())
    assert (loaded.weights is None) == (reduction.weights is None)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([0, 4]), r"lie in \[0, 4\), got \[0, 4\]"),
        (torch.tensor([-1, 2]), r"lie in \[0, 4\), got \[-1, 2\]"),
        (torch.tensor([], dtype=torch.long), "non-empty vector"),
        (torch.tensor([[1]]), "non-empty vector"),
        (torch.tensor([1.0]), "torch.float32"),
    ],
)
def test_a_selection_of_anything_but_token_indices_is_refused(indices, message):
    with pytest.raises(ValueError, match=message):
        Reduction.select(indices, 4)


@pytest.mark.parametrize("weights", [torch.ones(3), torch.ones(0, 4), torch.ones(2, 4, dtype=torch.long)])
def test_a_mixture_of_anything_but_a_matrix_of_floats_is_refused(weights):
    with pytest.raises(ValueError, match="matrix of floats"):
        Reduction.mix(weights)


def test_tokens_of_another_image_size_are_refused():
    with pytest.raises(ValueError, match="of 5 visual tokens, got 4"):
        Reduction.identity(5).apply(X)


def test_repr_says_what_it_does():
    assert repr(Reduction.select(torch.tensor([1]), 4)) == "Reduction(4 -> 1 visual tokens, 25.0 %, selection)"
    assert repr(Reduction.mix(torch.ones(3, 576))) == "Reduction(576 -> 3 visual tokens, 0.5 %, mixture)"


def test_a_reduction_and_another_of_what_it_kept_are_one():
    picked, merged = Reduction.select(torch.tensor([3, 0, 2]), 4), Reduction.mix(torch.tensor([[0.5, 0.0, 0.5]]))
    both = picked.then(Reduction.select(torch.tensor([2, 0]), 3))
    assert both.indices.tolist() == [2, 3]
    for first, second in ((picked, merged), (Reduction.mix(picked.matrix()), Reduction.select(torch.tensor([1]), 3))):
        assert torch.equal(first.then(second).apply(X), second.apply(first.apply(X)))
    assert picked.then(Reduction.nothing(3)).m == 0
    with pytest.raises(ValueError, match="3 visual tokens were kept, and the reduction that follows is of 4"):
        picked.then(Reduction.identity(4))


def test_usage_is_the_column_sums():
    weights = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]], dtype=torch.bfloat16)
    assert Reduction.mix(weights.requires_grad_()).usage().tolist() == [0.75, 0.5, 0.75]
    assert Reduction.select(torch.tensor([2, 0, 2]), 3).usage().tolist() == [1, 0, 2]


LAYOUT = Layout.of(View(1, 3, (0.0, 0.1, 1.0, 0.9)), 1, View(3, 1, None, 2))


@pytest.mark.parametrize(
    "reduction", [Reduction.select(torch.tensor([4, 1]), 7), Reduction.mix(torch.rand(2, 7))], ids=["picks", "merges"]
)
def test_a_layout_stays_with_a_reduction_and_its_file(reduction, tmp_path):
    placed = reduction.placed(LAYOUT)
    for kept in (placed, placed.reorder(torch.tensor([1, 0])), placed.then(Reduction.select(torch.tensor([1]), 2))):
        assert kept.layout is LAYOUT
    placed.save(tmp_path / "p.safetensors")
    loaded = Reduction.load(tmp_path / "p.safetensors")
    assert torch.equal(loaded.matrix(), reduction.matrix())
    assert loaded.layout.views == LAYOUT.views
    assert torch.equal(loaded.layout.cell, LAYOUT.cell)
    with pytest.raises(ValueError, match="of 7 visual tokens, the layout of 6"):
        reduction.placed(LAYOUT.take(torch.arange(6)))


def test_files_of_before_and_after_layouts_know_each_other(tmp_path):
    tensors = {"indices": torch.tensor([2, 0])}
    save_file(tensors, tmp_path / "old.safetensors", metadata={"n": "3"})
    loaded = Reduction.load(tmp_path / "old.safetensors")
    assert (loaded.indices.tolist(), loaded.n, loaded.layout) == ([2, 0], 3, None)
    Reduction.select(tensors["indices"], 7).placed(LAYOUT).save(tmp_path / "new.safetensors")
    assert load_file(tmp_path / "new.safetensors").keys() == tensors.keys()
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no reduction"):
        Reduction.load(tmp_path / "other.safetensors")


def pictures_of(html):
    """(alternative text, pixels) of each picture."""
    found = re.findall(r"<img alt='([^']*)'[^>]*base64,([^']*)'", html)
    return [(told, np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))) for told, code in found]


def test_a_notebook_shows_the_grids_of_a_layout():
    reduction = Reduction.select(torch.tensor([1, 6]), 7).placed(LAYOUT)
    [(first, row), (second, column)] = pictures_of(reduction._repr_html_())
    assert (first, second) == ("1 by 3 values", "3 by 1 values")
    purple, yellow = [68, 1, 84], [253, 231, 36]
    assert row.tolist() == [[purple, yellow, purple]]
    assert column.tolist() == [[purple], [purple], [yellow]]


def test_a_notebook_shows_p_where_there_is_no_layout():
    html = Reduction.mix(torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]))._repr_html_()
    [(told, pixels)] = pictures_of(html)
    assert told == "2 by 3 values"
    assert pixels[1].tolist() == [[253, 231, 36], [68, 1, 84], [68, 1, 84]]
    assert "Reduction(3 -&gt; 2 visual tokens, 66.7 %, mixture)" in html
    assert "<img" not in Reduction.nothing(3)._repr_html_()


def test_no_picture_library_is_loaded_before_a_picture_is_wanted():
    code = "import sys; from pinhole.reduction import Reduction; from pinhole.budget import Budget; import torch;"
    code += "print(repr(Reduction.identity(4)), Budget(4, (2, 2)), 'matplotlib' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode().strip().endswith("False")


class TestCorrections:
    WEIGHTS = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.25, 0.75]])
    CORRECTION = torch.tensor([[1.0, -1.0], [0.0, 2.0]])

    def mixed(self) -> Reduction:
        return Reduction.mix(self.WEIGHTS, self.CORRECTION)

    def test_they_are_added_to_p_x_and_to_nothing_else(self):
        reduction = self.mixed()
        assert reduction.apply(X).tolist() == [[2.5, 14.0], [3.75, 39.5]]
        assert torch.equal(reduction.weigh(X), self.WEIGHTS @ X)
        assert reduction.apply(X.bfloat16()).dtype == torch.bfloat16

    def test_gradients_reach_them(self):
        correction = self.CORRECTION.clone().requires_grad_()
        Reduction.mix(self.WEIGHTS, correction).apply(X).sum().backward()
        assert torch.equal(correction.grad, torch.ones(2, 2))

    def test_a_reduction_that_follows_weighs_them_too(self):
        last = Reduction.mix(torch.tensor([[0.5, 0.5]]), torch.tensor([[3.0, 3.0]]))
        for first, later in [
            (self.mixed(), Reduction.select(torch.tensor([1, 0, 1]), 2)),
            (self.mixed(), Reduction.merge(torch.tensor([0, 0]), torch.tensor([0, 1]), 1, 2)),
            (self.mixed(), last),
            (Reduction.select(torch.tensor([3, 1]), 4), last),
            (Reduction.merge(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 3]), 2, 4), last),
        ]:
            torch.testing.assert_close(first.then(later).apply(X), later.apply(first.apply(X)))

    def test_another_order_is_theirs_too(self):
        assert torch.equal(self.mixed().reorder(torch.tensor([1, 0])).apply(X), self.mixed().apply(X).flip(0))

    def test_joined_parts_keep_their_own_and_others_get_none(self):
        parts = [
            (torch.tensor([1]), Reduction.identity(1)),
            (torch.tensor([0, 3, 2]), Reduction.mix(torch.full((2, 3), 1 / 3), self.CORRECTION)),
        ]
        joined = Reduction.join(parts, 4).apply(X)
        assert torch.equal(joined[0], X[1])
        torch.testing.assert_close(joined[1:], X[[0, 3, 2]].mean(0) + self.CORRECTION)

    def test_they_are_saved(self, tmp_path):
        self.mixed().save(tmp_path / "a")
        loaded = Reduction.load(tmp_path / "a")
        assert torch.equal(loaded.apply(X), self.mixed().apply(X))

    @pytest.mark.parametrize("shape", [(3, 2), (2,)])
    def test_there_is_one_for_each_kept_token(self, shape):
        with pytest.raises(ValueError, match=r"corrections of 2 tokens are \(m, d\), got"):
            Reduction.mix(self.WEIGHTS, torch.zeros(shape))
