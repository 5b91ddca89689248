"""EMER, both versions, both languages."""

from __future__ import annotations

import pytest
from affectkit_plugins.datasets.emer import LABELS, Settings
from dataset_trees import NAMES, build, emer, survey, text

from affectkit.errors import InputError


@pytest.fixture
def root(tmp_path):
    emer(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("language", "code"), [("english", "worried"), ("chinese", "担心")])
def test_version_1(root, language, code):
    settings = Settings(str(root), language=language)
    assert survey(settings).splits == {"train": 0, "val": 0, "test": 5}
    test = build(settings, "test")
    assert [s.id for s in test] == list(NAMES[:5])
    assert [s.label for s in test] == ["angry", "happy", "worried", "sad", "surprise"]
    assert test.labels == LABELS
    assert (test[2].answers, test[2].subtitle) == ({"reason": f"reason 2, {code}"}, "said 2")
    assert test[2].fact("published_label").value == code


def test_version_2_has_no_labels(root):
    settings = Settings(str(root), version="v2")
    test = build(settings, "test")
    assert (test[1].answers["reason"], test[1].label, test.labels) == ("because 1", None, ())
    assert build(Settings(str(root), version="v2", language="chinese"), "test")[1].answers["reason"] == "理由 1"


def test_shares(root):
    settings = Settings(str(root), train=0.4, val=0.2)
    parts = {split: {s.id for s in build(settings, split)} for split in ("train", "val", "test")}
    assert [len(p) for p in parts.values()] == [2, 1, 2]
    assert set.union(*parts.values()) == set(NAMES[:5])
    assert [name for name, _ in Settings("x", train=0.5, val=0.5).problems()] == ["train"]


def test_words_that_the_table_has_not(root):
    text(root / "gt-chi.csv", "names,emotions,subtitles,reasons", "a,惊奇,,r")
    with pytest.raises(InputError, match="unknown published label '惊奇'"):
        build(Settings(str(root), language="chinese"), "test")
    (one,) = build(Settings(str(root), language="chinese", rename={"惊奇": "surprise"}), "test")
    assert (one.label, one.subtitle) == ("surprise", "")


def test_another_file_and_a_wrong_one(root):
    with pytest.raises(InputError, match="unknown column: 'emotions'"):
        build(Settings(str(root), annotations="final-EMER-reason.csv"), "test")
    with pytest.raises(InputError, match="unknown column: 'english'"):
        build(Settings(str(root), version="v2", annotations="gt-eng.csv"), "test")
