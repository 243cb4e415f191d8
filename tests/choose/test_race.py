"""The decisions of a search on tables of answers that are made up: the guarantee by simulation, and each rule."""

from __future__ import annotations

import numpy as np
import pytest

from pinhole.choose.race import Race, looks

TURNS = 3


def table(losses, dialogues, rng, together=False):
    """Turns answered right by the uncompressed model and by settings that lose so much of them.

    What a setting loses and gains beside the net loss is a few percent, as compression does; `together`: all turns of a
    dialogue are lost or none.
    """
    full = rng.random((dialogues, TURNS)) < 0.97
    right = {}
    for i, loss in enumerate(losses):
        gain = 0.02
        shape = (dialogues, 1 if together else TURNS)
        lose = np.broadcast_to(rng.random(shape) < (loss + gain * 0.03) / 0.97, full.shape)
        win = rng.random((dialogues, TURNS)) < gain
        right[str(i)] = np.where(full, ~lose, win).sum(1)
    return full.sum(1), right


def winner(race, full, right, first=16):
    asked = np.full(len(full), TURNS)
    for size in looks(len(full), first):
        alive = race.alive
        if not alive:
            break
        race.look({name: right[name][:size] for name in alive}, full[:size], asked[:size])
    return race.chosen({name: float(scores.mean()) for name, scores in right.items()})


@pytest.mark.parametrize("together", [False, True])
def test_what_loses_more_than_the_bound_is_rarely_chosen(together):
    """Twelve cheap settings lose 5.2 % where 5 % is allowed, the dearest loses nothing: a wrong choice is an error."""
    losses, costs = [0.052] * 12 + [0.0], {str(i): 1.0 + i for i in range(13)}
    wrong = right_ones = 0
    for seed in range(100):
        full, right = table(losses, 600, np.random.default_rng(seed), together)
        best = winner(Race(costs, TURNS, 0.05), full, right)
        wrong += best is not None and best != "12"
        right_ones += best == "12"
    assert wrong <= 0.05 * 100
    assert right_ones >= 0.8 * 100


def test_without_the_correction_a_wrong_one_would_be_chosen_often():
    """The same, had each setting all of the error and no bets but a normal approximation at every look."""
    wrong = 0
    for seed in range(100):
        full, right = table([0.052] * 12, 600, np.random.default_rng(seed))
        for size in looks(600, 16):
            lost = np.stack([(full - one)[:size] / TURNS for one in right.values()])
            upper = lost.mean(1) + 1.645 * lost.std(1) / np.sqrt(size)
            if (upper <= 0.05).any():
                wrong += 1
                break
    assert wrong > 20


def test_the_cheapest_of_those_that_hold_is_found():
    costs = {"0": 10.0, "1": 5.0, "2": 1.0}
    found = []
    for seed in range(20):
        full, right = table([0.0, 0.005, 0.3], 600, np.random.default_rng(seed))
        race = Race(costs, TURNS, 0.06)
        found.append(winner(race, full, right))
        assert race.states["2"] == "loses"
    assert found.count("1") >= 18


def test_nothing_is_chosen_where_too_little_is_known():
    full, right = table([0.0], 20, np.random.default_rng(0))
    race = Race({"0": 1.0}, TURNS, 0.01)
    assert winner(race, full, right) is None
    assert race.states == {"0": "open"}


def test_what_is_as_dear_as_one_that_holds_leaves():
    full = np.full(400, TURNS)
    race = Race({"cheap": 1.0, "same": 1.0, "dear": 2.0}, TURNS, 0.1)
    half = np.where(np.arange(400) % 6 == 0, TURNS - 1, TURNS)
    race.look({"cheap": full, "same": half, "dear": half}, full, full)
    assert race.states["cheap"] == "holds"
    assert race.alive == []
    assert race.chosen({"cheap": 1.0, "same": 0.9, "dear": 0.9}) == "cheap"


def test_one_that_is_beaten_at_no_more_cost_leaves_and_the_cheaper_stays():
    full = np.full(60, TURNS)
    better, worse = full - (np.arange(60) % 3 == 0), full - 2
    race = Race({"better": 1.0, "worse": 1.0, "cheap": 0.5}, TURNS, 0.7)
    race.look({"better": better[:30], "worse": worse[:30], "cheap": worse[:30]}, full[:30], full[:30])
    assert race.states["worse"] == "beaten"
    assert race.states["cheap"] == "open"


def test_without_a_bound_the_most_accurate_is_chosen_whatever_it_costs():
    costs = {"0": 3.0, "1": 1.0, "2": 1.0}
    full, right = table([0.0, 0.1, 0.3], 400, np.random.default_rng(5))
    race = Race(costs, TURNS, None)
    assert winner(race, full, right) == "0"
    assert race.states["1"] == race.states["2"] == "beaten"


def test_of_equally_accurate_ones_the_cheapest_is_chosen():
    full = np.full(30, TURNS)
    race = Race({"dear": 2.0, "cheap": 1.0}, TURNS, None)
    race.look({"dear": full, "cheap": full}, full, full)
    assert race.chosen({"dear": 1.0, "cheap": 1.0}) == "cheap"


@pytest.mark.parametrize(
    ("dialogues", "first", "sizes"),
    [(100, 16, [16, 32, 64, 100]), (64, 16, [16, 32, 64]), (10, 16, [10]), (17, 16, [16, 17])],
)
def test_each_look_has_twice_as_many(dialogues, first, sizes):
    assert looks(dialogues, first) == sizes
