from __future__ import annotations

import pytest
import torch

from pinhole import Reduction

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
    assert repr(Reduction.select(torch.tensor([1]), 4)) == "Reduction(4 -> 1 visual tokens, selection)"
