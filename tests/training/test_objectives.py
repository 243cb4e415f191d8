"""The losses against numbers worked by hand, and their gradients against finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from pinhole.training.objectives import forward_kl, hidden_distance, largest_column_sum, relevance_kl, row_entropy


def test_forward_kl_by_hand():
    teacher = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log()
    student = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    first = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert forward_kl(teacher.clamp_min(-1e4), student).item() == pytest.approx((first + math.log(2)) / 2)


def test_forward_kl_weighs_by_the_teacher_not_by_the_student():
    sure, unsure = torch.tensor([[0.99, 0.01]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert forward_kl(sure, unsure).item() == pytest.approx(0.99 * math.log(1.98) + 0.01 * math.log(0.02), abs=1e-6)
    assert forward_kl(unsure, sure).item() != pytest.approx(forward_kl(sure, unsure).item())


def test_relevance_kl_by_hand():
    target = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])
    said = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]]).log()
    assert relevance_kl(target, said).item() == pytest.approx((0.75 * math.log(1.5) + math.log(2)) / 2)
    assert relevance_kl(target, target.clamp_min(1e-30).log()).item() == pytest.approx(0, abs=1e-6)


def test_row_entropy_by_hand():
    p = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    assert row_entropy(p).item() == pytest.approx(math.log(4) / 2)


def test_row_entropy_has_a_finite_gradient_where_the_softmax_underflows():
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    row_entropy(logits.softmax(-1)).backward()
    assert torch.isfinite(logits.grad).all()


def test_hidden_distance_by_hand():
    teacher, student = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[3.0, 4.0], [2.0, 0.0]])
    assert hidden_distance(teacher, student).item() == pytest.approx((0 + 8 / 4) / 2)
    assert hidden_distance(7 * teacher, 7 * student).item() == pytest.approx(1.0)
    assert hidden_distance(torch.zeros(1, 2), torch.zeros(1, 2)).item() == 0


def test_largest_column_sum_by_hand():
    assert largest_column_sum(torch.tensor([[0.9, 0.1], [0.6, 0.4]])).item() == pytest.approx(1.5)
    assert largest_column_sum(torch.eye(3)).item() == 1
    assert largest_column_sum(torch.eye(3)[[0, 0, 0]]).item() == 3


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: forward_kl(torch.full((3, 5), 0.2, dtype=torch.float64).log(), x.log_softmax(-1)),
        lambda x: relevance_kl(torch.tensor([[0.7, 0, 0.3, 0, 0]] * 3, dtype=torch.float64), x.log_softmax(-1)),
        lambda x: hidden_distance(torch.arange(15, dtype=torch.float64).view(3, 5), x),
        lambda x: row_entropy(x.softmax(-1)),
        lambda x: largest_column_sum(x.softmax(-1)),
    ],
)
def test_gradients(loss):
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(loss, (x,))
