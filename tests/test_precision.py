import pytest
import torch

from pinhole import precision
from pinhole.benchmark.subject import Lengths, subject_of_shape
from pinhole.precision import fastest_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("faster", [torch.bfloat16, torch.float32])
def test_a_model_of_a_shape_is_in_what_the_processor_multiplies_faster(monkeypatch, faster):
    monkeypatch.setattr(precision, "_product_seconds", lambda dtype: 1.0 if dtype == faster else 2.0)
    assert fastest_precision(CPU) == faster
    assert subject_of_shape("tiny:layers=1", Lengths(turns=1), device="cpu").model.dtype == faster


def test_products_are_timed_in_both(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(now))
    assert precision._product_seconds(torch.bfloat16) == 1
    assert fastest_precision(CPU) == torch.bfloat16, "the first of equals"


def test_gpus_are_not_timed():
    assert fastest_precision(torch.device("cuda")) == torch.bfloat16
