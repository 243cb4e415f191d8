from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from pinhole import VisualTokens, compress
from pinhole.explain.labels import Label, LabelStore
from pinhole.families import family_of
from pinhole.layout import Layout
from pinhole.methods.oracle import Oracle
from pinhole.registry import MethodSpec

CAT, DOG = torch.tensor([1.0, 2.0]), torch.tensor([3.0])


def image(pixels: torch.Tensor, n: int) -> VisualTokens:
    return VisualTokens(torch.zeros(n, 4), Layout.of(n), pixels)


def label(dialogue: str, turn: int, *images: tuple[torch.Tensor, list[float]], correct: bool = True) -> Label:
    """Of images given as pixels and R_v."""
    relevance = tuple(torch.tensor(r_v) for _, r_v in images)
    fingerprints = tuple(image(pixels, len(r_v)).fingerprint for pixels, r_v in images)
    return Label(dialogue, turn, "?", "!", correct, relevance, tuple(map(len, relevance)), fingerprints)


def write(folder: Path, *labels: Label) -> str:
    with LabelStore(folder, {"weights": "w"}, {}) as store:
        for one in labels:
            store.add(one)
    return str(folder)


def kept(method: Oracle, pixels: torch.Tensor, n: int) -> list[int]:
    return method.reduce(image(pixels, n)).indices.tolist()


def test_it_keeps_the_most_relevant_tokens_of_each_image_in_order(tmp_path):
    folder = write(tmp_path, label("a", 0, (CAT, [0.1, 0.9, 0.2, 0.8]), (DOG, [5.0, 0.0, 0.0])))
    assert kept(Oracle(keep=2, labels=folder), CAT, 4) == [1, 3]
    assert kept(Oracle(keep=3, labels=folder), CAT, 4) == [1, 2, 3]
    assert kept(Oracle(keep=1, labels=folder), DOG, 3) == [0]
    assert kept(Oracle(keep=2, labels=folder), DOG, 3) == [0, 1], "a tie goes to the earlier token"


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(0, 1000), st.data())
def test_what_is_kept_has_the_largest_sum_of_all_subsets(tmp_path_factory, n, seed, data):
    r_v = torch.rand(n, generator=torch.Generator().manual_seed(seed))
    m = data.draw(st.integers(1, n))
    folder = write(tmp_path_factory.mktemp("labels"), label("a", 0, (CAT, r_v.tolist())))
    indices = kept(Oracle(keep=m, labels=folder), CAT, n)
    assert indices == sorted(indices)
    assert r_v[indices].sum().item() == pytest.approx(sum(sorted(r_v.tolist())[-m:]))


def test_the_first_question_counts_or_the_mean_share_of_all(tmp_path):
    # shares of the turns: (.6, .4, 0), (0, .5, .5), (0, .1, .9); their means (.2, .333, .467)
    turns = ([6.0, 4.0, 0.0], [0.0, 0.005, 0.005], [0.0, 1.0, 9.0])
    folder = write(tmp_path, *(label("a", turn, (CAT, r_v)) for turn, r_v in enumerate(turns)))
    assert kept(Oracle(keep=1, labels=folder), CAT, 3) == [0]
    assert kept(Oracle(keep=2, labels=folder), CAT, 3) == [0, 1]
    assert kept(Oracle(keep=1, labels=folder, question="all"), CAT, 3) == [2]
    assert kept(Oracle(keep=2, labels=folder, question="all"), CAT, 3) == [1, 2]


def test_dialogues_about_one_image_count_alike(tmp_path):
    # shares (.9, .1, 0) and (0, .2, .8): means .45, .15, .4, whatever the sums
    folder = write(tmp_path, label("a", 0, (CAT, [0.9, 0.1, 0.0])), label("b", 0, (CAT, [0.0, 20.0, 80.0])))
    assert kept(Oracle(keep=1, labels=folder), CAT, 3) == [0]
    assert kept(Oracle(keep=2, labels=folder), CAT, 3) == [0, 2]


def test_labels_that_are_added_are_seen(tmp_path):
    folder = write(tmp_path, label("a", 0, (CAT, [1.0, 0.0])))
    method = Oracle(keep=1, labels=folder)
    assert kept(method, CAT, 2) == [0]
    with pytest.raises(ValueError, match="holds no labels of the first question about one of the images"):
        kept(method, DOG, 2)
    write(tmp_path, label("b", 0, (DOG, [0.0, 1.0])))
    later = max(path.stat().st_mtime_ns for path in tmp_path.iterdir()) + 10**9
    for path in tmp_path.iterdir():
        os.utime(path, ns=(later, later))
    assert kept(method, DOG, 2) == [1]


def test_labels_are_read_once(tmp_path, monkeypatch):
    from pinhole.methods import oracle

    read, calls = oracle.read_labels, []
    monkeypatch.setattr(oracle, "read_labels", lambda path: calls.append(path) or read(path))
    method = Oracle(keep=1, labels=write(tmp_path, label("a", 0, (CAT, [1.0, 0.0]))))
    assert calls == []
    for _ in range(3):
        kept(method, CAT, 2)
    assert len(calls) == 1


def test_answers_without_labels_are_as_good_as_none(tmp_path):
    nothing = Label("a", 0, "?", "!", False, (), (3,), ())
    folder = write(tmp_path, nothing, label("a", 1, (CAT, [0.0, 0.0, 1.0]), correct=False))
    with pytest.raises(ValueError, match=r"the first question about .* pinhole label --all-answers --model"):
        kept(Oracle(keep=1, labels=folder), CAT, 3)
    assert kept(Oracle(keep=1, labels=folder, question="all"), CAT, 3) == [2]
    with pytest.raises(ValueError, match=r"any question about .* pinhole label --all-answers --turns all --model"):
        kept(Oracle(keep=1, labels=folder, question="all"), DOG, 3)


def test_no_relevance_at_all_keeps_the_first_tokens(tmp_path):
    folder = write(tmp_path, label("a", 0, (CAT, [0.0, 0.0, 0.0])))
    assert kept(Oracle(keep=2, labels=folder), CAT, 3) == [0, 1]


def test_a_part_of_an_image_is_refused(tmp_path):
    folder = write(tmp_path, label("a", 0, (CAT, [0.1, 0.9, 0.2, 0.8])))
    with pytest.raises(ValueError, match="labels 4 visual tokens of an image, and oracle was asked for 3"):
        Oracle(keep=1, labels=folder).reduce(image(CAT, 4).take(torch.tensor([0, 1, 3])))


@torch.no_grad()
def test_images_of_a_padded_batch_are_found_again(tmp_path):
    model = zoo.model_of("llava_next")
    prompts = zoo.rows("llava_next", model, batch=3)
    labels, expected = [], []
    for row, prompt in enumerate(prompts):
        visuals, _ = family_of(model).encode(prompt)
        r_v = [torch.rand(visual.tokens.n, generator=torch.Generator().manual_seed(row)) for visual in visuals]
        labels.append(
            label(f"row {row}", 0, *((v.tokens.pixels, r.tolist()) for v, r in zip(visuals, r_v, strict=True)))
        )
        expected += [sorted(r.topk(5).indices.tolist()) for r in r_v]
    with compress(model, Oracle(keep=5, labels=write(tmp_path, *labels))) as compression:
        model(**zoo.together(prompts))
    assert [reduction.indices.tolist() for reduction in compression.reductions] == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": "nowhere"}, "no folder 'nowhere' with labels: write them with the same model"),
        ({"labels": ".", "question": "last"}, "question is first or all, got 'last'"),
        ({"labels": ".", "keep": 1.5}, "keep as a share"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Oracle(**given)


def test_a_folder_without_labels_and_no_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no labels at"):
        kept(Oracle(labels=str(tmp_path)), CAT, 3)
    with pytest.raises(TypeError, match="labels is the name of a folder, got 3"):
        Oracle(labels=3)


def test_its_labels_are_written_with_it(tmp_path):
    with pytest.raises(ValueError, match=r"oracle needs the setting 'labels': write oracle:labels=\.\.\."):
        MethodSpec.parse("oracle:keep=0.1")
    assert MethodSpec.parse(f"oracle:labels={tmp_path},question=all").build(8, 0.5) == Oracle(
        keep=0.5, labels=str(tmp_path), question="all"
    )
