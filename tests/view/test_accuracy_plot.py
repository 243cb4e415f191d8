import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pinhole.view.plot import accuracy_plot, spread


def texts(figure):
    return [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]


def assert_labels_apart(figure):
    """No label touches another, the axes or the edge of the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert box.x0 > figure.axes[0].get_window_extent().x1
        assert figure.bbox.x1 > box.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1


def test_one_label_per_method_and_the_uncompressed_model_as_a_dashed_line(results):
    figure = accuracy_plot(results["rows"])
    assert sorted(texts(figure)) == ["MetaCompress 71.2 %", "Sample 60.1 %", "uncompressed 94.3 %"]
    (dashed,) = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [0.943, 0.943]]
    assert dashed.get_linestyle() == "--"
    assert figure.axes[0].get_xlabel() == "visual tokens kept of 144"
    assert_labels_apart(figure)


def test_labels_of_equal_methods_do_not_overlap(row):
    names = [f"a_method_with_a_rather_long_name_{i}" for i in range(8)]
    assert_labels_apart(accuracy_plot([row(name, 0.1, 14, 0.6) for name in names] + [row("full", 1.0, 144, 0.61)]))


def test_several_keeps_of_a_method_are_one_line_in_order(row):
    figure = accuracy_plot([row("sample", k, m, a) for k, m, a in ((0.5, 72, 0.8), (0.05, 7, 0.4), (0.1, 14, 0.6))])
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3 and line.get_markersize() == 7]
    assert [list(line.get_xdata()) for line in lines] == [[7, 14, 72]]
    assert texts(figure) == ["Sample"]
    assert figure.axes[0].get_xscale() == "log"
    assert_labels_apart(figure)


def test_intervals_span_ci95_and_lie_inside_the_axes(results):
    axes = accuracy_plot(results["rows"]).axes[0]
    spans = [tuple(segment[:, 1]) for collection in axes.collections for segment in collection.get_segments()]
    assert sorted(spans) == [(pytest.approx(0.571), pytest.approx(0.621)), (pytest.approx(0.682), pytest.approx(0.732))]
    low, high = axes.get_ylim()
    assert low < 0.571
    assert high > 0.963


def test_the_uncompressed_model_alone(results):
    assert_labels_apart(accuracy_plot(results["rows"][:1]))


def test_spread_moves_boxes_only_as_far_as_needed():
    assert spread([0.9, 0.5], [0.1, 0.1]) == [0.9, 0.5]
    assert np.allclose(spread([0.5, 0.5, 0.5], [0.1, 0.2, 0.1]), [0.5, 0.35, 0.2])
    assert np.allclose(spread([0.02, 0.0], [0.1, 0.1]), [0.15, 0.05])
    assert np.allclose(spread([1.0], [0.1]), [0.95])
