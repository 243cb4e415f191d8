from pinhole.view.headline import headline


def test_leading_method_beside_sample_and_the_uncompressed_model(results):
    assert headline(results) == (
        "MetaCompress keeps 14 of 144 visual tokens and answers 71.2 % of the turns correctly; "
        "equidistant sampling 60.1 %, the uncompressed model 94.3 %"
    )


def test_the_strongest_compression_leads_and_is_compared_at_its_own_keep(results, row):
    results["rows"] += [row("sample", 0.5, 72, 0.8), row("metacompress", 0.5, 72, 0.9)]
    assert headline(results).startswith("MetaCompress keeps 14 of 144")
    assert "equidistant sampling 60.1 %" in headline(results)


def test_a_better_baseline_is_named_as_such(results):
    results["rows"][1]["average"] = 0.8
    assert "answers 71.2 % of the turns correctly; equidistant sampling 80.0 %" in headline(results)


def test_sample_leads_where_nothing_else_was_run(results):
    results["rows"] = results["rows"][:2]
    assert headline(results) == (
        "Equidistant sampling keeps 14 of 144 visual tokens and answers 60.1 % of the turns correctly; "
        "the uncompressed model 94.3 %"
    )


def test_one_row_is_enough(results):
    results["rows"] = results["rows"][:1]
    assert headline(results) == (
        "The uncompressed model keeps 144 of 144 visual tokens and answers 94.3 % of the turns correctly"
    )
