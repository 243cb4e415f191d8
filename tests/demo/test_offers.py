"""The methods that can be chosen, and what a keep makes of them."""

import pytest

from pinhole.choose.candidates import default_methods
from pinhole.demo.offers import Offers
from pinhole.methods.metacompress import MetaCompress
from pinhole.view.cells import method_label


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    MetaCompress.create(192, d_c=8).save_pretrained(folder / "fits")
    MetaCompress.create(64, d_c=8).save_pretrained(folder / "other")
    return folder


def test_all_that_needs_no_training_can_be_chosen_or_is_left_out_with_a_reason(host, offers):
    left_out = [reason.partition(":")[0] for reason in offers.left_out]
    assert sorted([*offers.labels, *left_out]) == sorted(map(method_label, default_methods()))
    assert left_out == ["PruMerge", "PruMergePlus"]
    assert "cls_attention_joint+1" in offers.left_out[0]
    for label in offers.labels:
        assert offers.plan(label, 0.25).budget(144, 36, 4).before == 144


def test_compressors_come_first_and_those_of_other_models_are_left_out(host, weights):
    offers = Offers(host.family, folders=[weights])
    assert offers.labels[0] == f"MetaCompress from {weights.name}/fits"
    assert f"MetaCompress from {weights.name}/other: this metacompress was trained for an LLM of width 64" in str(
        offers.left_out
    )
    plan = offers.plan(offers.labels[0], 0.25)
    assert (plan.entry.d_c, plan.entry.keep) == (8, 0.25)


def test_what_is_asked_for_by_name_must_work(host):
    assert Offers(host.family, ["sample", "sample:keep=0.5+fastv:layer=1"]).labels == [
        "Sample",
        "sample:keep=0.5+fastv:layer=1",
    ]
    with pytest.raises(ValueError, match="prumerge needs cls_attention_joint"):
        Offers(host.family, ["sample", "prumerge"])
    with pytest.raises(ValueError, match="no method 'sampel'; did you mean 'sample'"):
        Offers(host.family, ["sampel"])
    with pytest.raises(ValueError, match="no method to choose"):
        Offers(host.family, [])


def test_a_keep_means_something_for_every_method(host):
    """Methods inside the LLM without a keep of their own become milder or harsher; what was written stays."""
    texts = ["vtw", "vtw:layer=3", "pyramiddrop", "fastv", "sample"]
    offers = Offers(host.family, texts)
    alive = {
        text: [offers.plan(label, keep).budget(144, 144, 4).per_layer for keep in (0.25, 1.0)]
        for text, label in zip(texts, offers.labels, strict=True)
    }
    assert alive["vtw"] == [(144, 0, 0, 0), (144, 144, 144, 0)]
    assert alive["vtw:layer=3"] == [(144, 144, 144, 0)] * 2
    assert alive["fastv"] == [(144, 144, 36, 36), (144,) * 4]
    assert alive["pyramiddrop"][0] < alive["pyramiddrop"][1] == (144,) * 4
    assert [offers.plan("Sample", keep).entry.count(144) for keep in (0.25, 1.0)] == [36, 144]


def test_an_unknown_method_is_refused(offers):
    with pytest.raises(ValueError, match="no method 'metacompress:/etc' here: choose one of the list"):
        offers.plan("metacompress:/etc", 0.1)


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.5])
def test_a_keep_beyond_the_slider_is_refused(offers, keep):
    with pytest.raises(ValueError, match=r"keep as a share lies in \(0, 1\]"):
        offers.plan("Sample", keep)
