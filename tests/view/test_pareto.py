from hypothesis import given
from hypothesis import strategies as st

from pinhole.view.pareto import pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def dominates(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(POINTS)
def test_the_front_is_every_point_that_no_other_dominates(points):
    front = pareto_front([cost for cost, _ in points], [value for _, value in points])
    assert sorted(front) == [i for i, one in enumerate(points) if not any(dominates(other, one) for other in points)]
    costs = [points[i][0] for i in front]
    assert costs == sorted(costs)


def test_the_cheaper_of_equally_good_ones_and_equal_ones_together():
    assert pareto_front([14, 7, 14, 14], [0.6, 0.6, 0.7, 0.7]) == [1, 2, 3]
    assert pareto_front([], []) == []
