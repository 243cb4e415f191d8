"""The labels' folder: whole or absent rows, runs that go on, and the training target."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinhole.explain.labels import Label, LabelStore, read_labels, read_settings, tally, target

SETTINGS = {"model": "embedded", "data": "0123", "weighting": "gradient"}
MADE_WITH = {"commit": "abc", "versions": {"torch": "2"}}


def made(number: int, correct: bool = True) -> Label:
    """The first question of dialogue `number`, about two images."""
    relevance = (torch.arange(3) / 7 + number, torch.rand(number + 1)) if correct else ()
    return Label(
        f"d{number:02d}", 0, "what?", f"a{number}", correct, relevance, (3, number + 1), (7, 2**32 - 1) * correct
    )


def same(one: Label, other: Label) -> bool:
    plain = [
        (label.dialogue, label.turn, label.question, label.answer, label.correct, label.sizes, label.fingerprints)
        for label in (one, other)
    ]
    pairs = zip(one.relevance, other.relevance, strict=True)
    return plain[0] == plain[1] and all(torch.equal(a, b) and a.dtype == torch.float32 for a, b in pairs)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_labels_are_read_as_they_were_written(tmp_path):
    labels = [made(0), made(1, correct=False), made(2)]
    with LabelStore(tmp_path / "labels", SETTINGS, MADE_WITH, rows=2) as store:
        for label in labels:
            store.add(label)
    read = read_labels(tmp_path / "labels")
    assert all(same(one, other) for one, other in zip(read, labels, strict=True))
    assert names(tmp_path / "labels") == ["labels.json", "part-0000-000000.parquet", "part-0000-000001.parquet"]
    assert read_settings(tmp_path / "labels") == SETTINGS
    assert tally(tmp_path / "labels") == (3, 2)
    assert json.loads((tmp_path / "labels" / "labels.json").read_text())["made_with"] == [MADE_WITH]


def test_a_killed_run_loses_no_more_than_its_last_file(tmp_path):
    store = LabelStore(tmp_path, SETTINGS, MADE_WITH, rows=2)
    for number in range(5):
        store.add(made(number))
    del store  # as a process that is killed: nothing else is written
    (tmp_path / "part-0000-000002.parquet.0.part").write_bytes(b"half of a file")
    with LabelStore(tmp_path, SETTINGS, MADE_WITH, rows=2) as store:
        assert store.done == {(f"d{number:02d}", 0) for number in range(4)}
        store.add(made(4))
    assert [label.answer for label in read_labels(tmp_path)] == [f"a{number}" for number in range(5)]
    assert not [name for name in names(tmp_path) if name.endswith(".part")]


def test_what_is_done_is_kept_where_a_run_fails(tmp_path):
    def fail() -> None:
        with LabelStore(tmp_path, SETTINGS, MADE_WITH) as store:
            store.add(made(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [label.dialogue for label in read_labels(tmp_path)] == ["d00"]


def test_processes_write_files_of_their_own_and_any_number_goes_on(tmp_path):
    stores = [LabelStore(tmp_path, SETTINGS, MADE_WITH, rank) for rank in range(2)]
    for number in (3, 0, 2):
        with stores[number % 2] as store:
            store.add(made(number))
    assert sum(name.startswith("part-0001") for name in names(tmp_path)) == 1
    with LabelStore(tmp_path, SETTINGS, {**MADE_WITH, "commit": "def"}) as store:
        assert store.done == {("d00", 0), ("d02", 0), ("d03", 0)}
        store.add(made(1))
    assert [label.dialogue for label in read_labels(tmp_path)] == ["d00", "d01", "d02", "d03"]
    runs = json.loads((tmp_path / "labels.json").read_text())["made_with"]
    assert [run["commit"] for run in runs] == ["abc", "def"]


def test_other_settings_are_refused(tmp_path):
    with LabelStore(tmp_path, SETTINGS, MADE_WITH) as store:
        store.add(made(0))
    with pytest.raises(ValueError, match=r"other settings \(weighting was 'gradient', is 'mean'\): give another --out"):
        LabelStore(tmp_path, {**SETTINGS, "weighting": "mean"}, MADE_WITH)
    assert len(read_labels(tmp_path)) == 1


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no labels at .*: give a folder that `pinhole label` wrote"):
        read_labels(tmp_path)


def test_the_target_by_hand():
    r_v = torch.tensor([0.1, 0.6, 0.0, 0.2, 0.5])
    torch.testing.assert_close(target(r_v), torch.tensor([0.0, 6, 0, 2, 5]) / 13)
    torch.testing.assert_close(target(r_v, masked=0), r_v / 1.4)
    torch.testing.assert_close(target(r_v, masked=0.8), torch.tensor([0.0, 1, 0, 0, 0]))
    torch.testing.assert_close(target(torch.ones(4)), torch.tensor([0.5, 0.5, 0, 0]), msg="ties go to the earlier one")
    torch.testing.assert_close(target(torch.tensor([3.0])), torch.ones(1))


@given(
    st.lists(st.floats(0, 1, width=32, allow_subnormal=False), min_size=1, max_size=40).filter(any),
    st.sampled_from([2.0**-9, 0.5, 8.0, 1024.0]),
)
def test_the_target_is_the_top_half_as_shares(values, scale):
    r_v = torch.tensor(values, dtype=torch.float64)
    result = target(r_v)
    assert result.sum() == pytest.approx(1)
    kept, count = result > 0, len(values) - len(values) // 2
    assert kept.sum() == min(count, int((r_v > 0).sum()))
    assert not (~kept).any() or r_v[~kept].max() <= r_v[kept].min()
    torch.testing.assert_close(result, r_v * kept / (r_v * kept).sum())
    torch.testing.assert_close(target(r_v * scale), result)


@pytest.mark.parametrize("r_v", [torch.zeros(4), torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.inf])])
def test_relevance_without_shares_is_refused(r_v):
    with pytest.raises(ValueError, match="has no shares: leave this image out"):
        target(r_v)


@pytest.mark.parametrize("masked", [-0.1, 1.0])
def test_a_share_outside_its_range_is_refused(masked):
    with pytest.raises(ValueError, match=r"masked is a share in \[0, 1\)"):
        target(torch.ones(4), masked)
