import pytest

from pinhole.view.cells import cells, columns, count, labels, points, quantity, share_kept


def test_full_row_of_cells(results):
    full, _, lead = results["rows"]
    assert cells(lead, "MetaCompress", full) == [
        "MetaCompress",
        "14 of 144",
        "73.2 %",
        "71.2 %",
        "69.2 %",
        "71.2 % [68.2, 73.2]",
        "+11.1 [+9.1, +13.1]",
        "9.7 %",
        "9.7 %",
        "–",
    ]


def test_nulls_are_dashes_and_a_delta_may_lack_its_interval(row):
    full = row("full", 1.0, 144, 0.9, ttft_ms=31.25)
    assert cells(full, "Full", full)[-4:] == ["–", "100.0 %", "100.0 %", "31.2 ms"]
    alone = row("random", 0.1, 14, 0.5, delta=-0.004, delta_ci95=None)
    assert cells(alone, "Random", full)[6] == "−0.4"


def test_without_the_full_model_costs_are_absolute(row):
    only = row("sample", 0.1, 14, 0.6, flops=2.146e9, kv_bytes=999)
    assert cells(only, "Sample", None)[-3:-1] == ["2.15 GFLOP", "999 B"]
    assert columns([only])[-3:-1] == ["LLM FLOPs", "KV cache"]


def test_any_number_of_turns(row):
    only = row("full", 1.0, 144, 0.5, accuracy=[0.5] * 5)
    assert columns([only])[2:7] == [f"Turn {i}" for i in range(1, 6)]
    assert len(cells(only, "Full", only)) == len(columns([only]))


def test_labels_say_only_the_settings_that_differ(row):
    rows = [
        row("metacompress", 0.1, 14, 0.7, settings={"d_c": 64, "kernel": 3}),
        row("metacompress", 0.3, 43, 0.8, settings={"d_c": 64, "kernel": 1}),
        row("random", 0.1, 14, 0.5, settings={"seed": 0}),
        row("their:method", 0.1, 14, 0.5),
    ]
    assert labels(rows) == ["MetaCompress (kernel=3)", "MetaCompress (kernel=1)", "Random", "their:method"]


def test_labels_say_the_last_part_of_a_path(row):
    rows = [row("adsc", 0.1, 14, 0.7, settings={"adapter": path}) for path in (None, "out/learn/adsc")]
    assert labels(rows) == ["ADSC (adapter=None)", "ADSC (adapter=adsc)"]


@pytest.mark.parametrize(("tokens", "text"), [(14, "14"), (2880, "2,880"), (13.52, "13.5"), (14.0, "14")])
def test_counts(tokens, text):
    assert count(tokens) == text


def test_signs_and_prefixes():
    assert [points(0.0), points(0.1234), points(-0.05)] == ["+0.0", "+12.3", "−5.0"]
    assert [quantity(0, "B"), quantity(1000, "B"), quantity(3.4e12, "FLOP")] == ["0 B", "1 kB", "3.4 TFLOP"]
    assert quantity(1.25e18, "FLOP") == "1.25 EFLOP"


def test_keep_as_a_count_is_a_share_of_the_image(row):
    assert share_kept(row("sample", 36, 36, 0.6)) == 0.25
