"""Greedy tokens of vLLM equal those of Pinhole on transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asked import KEEP, METHODS, Asked
from on_transformers import Reference
from pinhole.budget import kept_tokens
from tiny_checkpoints import FAMILIES, write

CHUNKS = {"max_num_batched_tokens": 24, "enable_chunked_prefill": True}
Run = Callable[..., list[Any]]


@pytest.fixture(scope="module", params=FAMILIES)
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference(request.param, write(request.param, tmp_path_factory.mktemp(request.param)))


def test_every_family_answers_as_on_transformers(reference: Reference, weights: Path, run_engines: Run) -> None:
    first, *others = [Asked(reference, method.format(weights)) for method in METHODS[reference.family]]
    engines = [first.engine(), first.engine(**CHUNKS), *(other.engine() for other in others)]
    results = run_engines(engines)
    for asked, result in zip([first, first, *others], results, strict=True):
        asked.check(result)

    # the largest image is encoded whole while memory is measured, and the LLM's share of it is what the method keeps
    [n] = results[0]["profile"]["read"]
    assert results[0]["profile"]["left"] == results[0]["profile"]["reserved"] == kept_tokens(n, KEEP) < n

    # the same comparison sees another keep, and, where they matter, other positions
    for changed in first.changed():
        with pytest.raises(AssertionError):
            changed.check(results[0])


@pytest.mark.parametrize(("family", "method"), [("llava", "visionzip"), ("qwen2_5_vl", "tome")])
def test_two_processes_answer_as_one(
    family: str, method: str, run_engines: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asked = Asked(Reference(family, write(family, tmp_path_factory.mktemp(family))), method)
    [result] = run_engines([asked.engine(tensor_parallel_size=2)], processes=2)
    asked.check(result)
