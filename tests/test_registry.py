from __future__ import annotations

from types import SimpleNamespace

import pytest

from pinhole import MetaCompress, Random, Sample, Spatial
from pinhole.method import InputMethod
from pinhole.methods.adsc import ADSC
from pinhole.methods.pyramiddrop import PyramidDrop
from pinhole.methods.sparsevlm import SparseVLM
from pinhole.plan import Method
from pinhole.registry import METHODS, MethodSpec, method_class, method_names, required_of, settings_of


@pytest.mark.parametrize("name", METHODS)
def test_every_name_is_its_class_own(name):
    kind = method_class(name)
    assert issubclass(kind, Method)
    assert kind.stage == ("input" if issubclass(kind, InputMethod) else "llm")
    assert kind.name == name
    assert kind.paper


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_built_with_a_given_keep_and_lists_settings_that_build_it_again(name):
    required = ",".join(f"{setting}=." for setting in required_of(method_class(name)))
    method = MethodSpec.parse(f"{name}:{required}").build(width=8, keep=0.5)
    if "keep" in settings_of(type(method)):
        assert method.keep == 0.5
    again = MethodSpec(name, None, method.settings()).build(width=8, keep=0.5)
    assert again.settings() == method.settings()
    assert set(method.settings()) == set(settings_of(type(method))) - ({"keep"} if method.stage == "input" else set())


def test_a_specification_sets_what_it_names():
    assert MethodSpec.parse("random:seed=3,keep=0.25").build(8) == Random(keep=0.25, seed=3)
    assert MethodSpec.parse("sample").build(8, keep=7) == Sample(keep=7)
    assert MethodSpec.parse("spatial: keep = 9").build(8) == Spatial(keep=9)


def test_a_keep_in_the_specification_counts_more_than_the_one_given():
    assert MethodSpec.parse("sample:keep=0.25").build(8, keep=0.5).keep == 0.25


def test_values_are_read_as_python_reads_them_or_as_words():
    spec = MethodSpec.parse("metacompress:normalize=none,temperature=None,d_c=4,init_std=1e-2")
    assert spec.given["d_c"] == 4
    assert spec.given["temperature"] is None
    assert spec.given["init_std"] == 0.01


def test_the_setting_none_reaches_a_method_that_calls_a_choice_so():
    method = MethodSpec.parse("metacompress:normalize='none',positions=\"none\"").build(8)
    assert (method.normalize, method.positions) == ("none", "none")


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("pyramiddrop:layers=(2,4,6),ratio=0.25", PyramidDrop(layers=(2, 4, 6), ratio=0.25)),
        ("pyramiddrop:ratio=0.25,layers=[2, 4]", PyramidDrop(layers=(2, 4), ratio=0.25)),
        ("adsc:schedule={8:0.5,16:0.25},positions=compact", ADSC("compact", ((8, 0.5), (16, 0.25)))),
        ("adsc:schedule=((8,0.5),(16,0.25))", ADSC(schedule={8: 0.5, 16: 0.25})),
        ("sparsevlm:retain=(0.5,0.25),layers=(2,3),recycle=false", SparseVLM("compact", (2, 3), (0.5, 0.25), False)),
    ],
)
def test_commas_in_brackets_belong_to_a_value(text, method):
    assert MethodSpec.parse(text).build(8) == method


def test_untrained_weights_depend_on_width_and_seed():
    spec = MethodSpec.parse("metacompress:d_c=4")
    assert spec.build(8).w_q.shape == (8, 4)
    assert (spec.build(8, seed=1).w_q != spec.build(8, seed=2).w_q).any()


def test_weights_come_from_a_folder(tmp_path):
    saved = MetaCompress.create(8, seed=5, keep=0.2, d_c=4)
    saved.save_pretrained(tmp_path)
    spec = MethodSpec.parse(f"metacompress:{tmp_path},keep=0.4")
    assert spec.source == str(tmp_path)
    loaded = spec.build(width=99)
    assert (loaded.w_q == saved.w_q).all()
    assert (loaded.keep, loaded.width) == (0.4, 8)


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no folder 'nowhere' with metacompress weights"):
        MethodSpec.parse("metacompress:nowhere").build(8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sampel", "no method 'sampel'; did you mean 'sample'?"),
        ("", "no method ''"),
        ("zzz", r"no method 'zzz' \(there are full, random"),
        ("random:sede=1", "random has no setting 'sede'; did you mean 'seed'?"),
        ("full:keep=0.1", r"full has no setting 'keep' \(there is none\)"),
        ("metacompress:width=8", "has no setting 'width'"),
        ("sample:keep=1.5", "keep as a share lies in"),
        ("sample:keep=0", "keep as a count is at least 1"),
        ("sample:some/folder", "cannot read 'some/folder'"),
        ("metacompress:keep=0.1,some/folder", "cannot read 'some/folder'"),
        ("pyramiddrop:layers=2,4,6", "cannot read '4'"),
        ("oracle:question=all", "oracle needs the setting 'labels': write oracle:labels="),
    ],
)
def test_a_specification_that_cannot_be_read_says_why(text, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        MethodSpec.parse(text)


def test_a_keep_of_another_type_is_refused():
    with pytest.raises(TypeError, match="keep is a share"):
        MethodSpec.parse("sample:keep=most")


class Mine(Sample):
    name = "mine"


def test_packages_add_methods_but_never_replace_pinholes_own(monkeypatch):
    points = [SimpleNamespace(name="mine", load=lambda: Mine), SimpleNamespace(name="sample", load=lambda: Mine)]
    monkeypatch.setattr("pinhole.registry.entry_points", lambda group: points if group == "pinhole.methods" else [])
    assert method_names() == [*METHODS, "mine"]
    assert method_class("sample") is Sample
    assert MethodSpec.parse("mine:keep=3").build(8) == Mine(keep=3)
    with pytest.raises(ValueError, match="did you mean 'mine'"):
        MethodSpec.parse("mien")


def test_every_method_is_there_by_its_class_name():
    import pinhole

    for name in METHODS:
        assert getattr(pinhole, METHODS[name].partition(":")[2]) is method_class(name)
    with pytest.raises(AttributeError, match="no attribute 'FastW'"):
        _ = pinhole.FastW
