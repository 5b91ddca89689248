"""MER2025, MER2026, OV-MERD and MER-Caption."""

from __future__ import annotations

import pytest
from affectkit_plugins.datasets.mer_tracks import Mer2025, Mer2026
from affectkit_plugins.datasets.open_labels import MerCaption, OvMerd
from dataset_trees import NAMES, NINE, build, clips, emer, mer2025, mer2026, ov_merd, survey, text

from affectkit.errors import InputError
from affectkit.labels.wheels import string_to_list


def test_2025_emotions(tmp_path):
    mer2025(tmp_path)
    settings = Mer2025(str(tmp_path), val=0)
    assert survey(settings).splits == {"train": 6, "val": 0, "test": 1, "candidates": 2}
    train = build(settings, "train")
    assert tuple(s.label for s in train) == train.labels == NINE[:6]
    assert (train[0].subtitle, train[0].video.is_file()) == ("words, 0", True)
    assert [s.id for s in build(settings, "candidates")] == list(NAMES[7:9])
    assert build(settings, "test")[0].label == "sad"


@pytest.mark.parametrize("training", ["people", "models"])
def test_2025_words_and_descriptions(tmp_path, training):
    mer2025(tmp_path)
    settings = Mer2025(str(tmp_path), track=2, training=training, val=0)
    train = build(settings, "train")
    assert train.labels == ()
    assert [s.answers["open_labels"] for s in train][::5] == ["[sad, hurt 0]", "[]"]
    assert string_to_list(train[0].answers["open_labels"]) == ["sad", "hurt 0"]
    assert train[0].fact("open_labels").value == ("sad", "hurt 0")
    assert build(settings, "test")[0].answers == {"open_labels": "[calm]"}
    reasons = build(Mer2025(str(tmp_path), track=3, training=training, val=0), "train")
    assert reasons[1].answers == {"reason": "because, 1"}


def test_an_empty_list_is_neutral_in_training_alone(tmp_path):
    mer2025(tmp_path)
    text(tmp_path / "track2_test.csv", "name,openset", f"{NAMES[6]},[]")
    settings = Mer2025(str(tmp_path), track=2, val=0, empty="neutral")
    assert build(settings, "train")[5].answers["open_labels"] == "[neutral]"
    assert build(settings, "test")[0].answers["open_labels"] == "[]"


def test_2026_emotions_and_words(tmp_path):
    mer2026(tmp_path)
    assert survey(Mer2026(str(tmp_path))).splits == {"train": 5, "val": 1, "test": 1, "candidates": 2}
    words = Mer2026(str(tmp_path), track=2, val=0)
    assert build(words, "train")[0].answers == {"open_labels": "[sad, hurt 0]"}


def test_2026_preferences(tmp_path):
    mer2026(tmp_path)
    settings = Mer2026(str(tmp_path), track=3, val=0)
    train = build(settings, "train")
    assert train.labels == ("a1", "a2", "same")
    assert [(s.id, s.label) for s in train] == [(NAMES[0], "a1"), (f"{NAMES[0]}#2", "a2"), (NAMES[1], "same")]
    assert train[1].answers == {"a1": "one line 1", "a2": "another, 1"}
    assert train[1].video == tmp_path / "video" / f"{NAMES[0]}.mp4"
    assert [s.id for s in build(settings, "candidates")] == [NAMES[6], f"{NAMES[6]}#2"]
    assert build(settings, "candidates")[0].label is None
    both = build(Mer2026(str(tmp_path), track=3, val=0, preferences="both", ties=False), "train")
    assert [(s.id, s.label) for s in both][:3] == [(NAMES[0], "a1"), (f"{NAMES[0]}#2", "a2"), (f"{NAMES[0]}#3", "a2")]
    assert {s.label for s in both} == {"a1", "a2"}


def test_2026_pairs_of_one_clip_stay_together(tmp_path):
    mer2026(tmp_path)
    settings = Mer2026(str(tmp_path), track=3, preferences="both", val=0.5)
    parts = [{s.fact("clip").value for s in build(settings, split)} for split in ("train", "val")]
    assert [len(p) for p in parts] == [1, 1]
    assert parts[0] | parts[1] == set(NAMES[:2])


def test_what_is_missing(tmp_path):
    mer2026(tmp_path)
    (tmp_path / "track1_test.csv").unlink()
    with pytest.raises(InputError, match="the split 'test' is empty"):
        build(Mer2026(str(tmp_path)), "test")
    with pytest.raises(InputError, match=r"track1_train_disdim\.csv: there is no such file"):
        build(Mer2025(str(tmp_path)), "train")
    with pytest.raises(InputError, match=r"hidden\.csv: there is no such file"):
        build(Mer2026(str(tmp_path), test_labels="hidden.csv"), "train")
    with pytest.raises(InputError, match="unknown column: 'openset'"):
        build(Mer2026(str(tmp_path), track=2, annotations="track1_train.csv"), "train")
    assert "CC BY-NC" in survey(Mer2026(str(tmp_path / "no"), track=3)).note


def test_ov_merd(tmp_path):
    ov_merd(tmp_path)
    test = build(OvMerd(str(tmp_path)), "test")
    assert [s.id for s in test] == list(NAMES[:6])
    assert test[0].answers == {"open_labels": "[sad, hurt 0]", "reason": "because, 0"}
    plus = build(OvMerd(str(tmp_path), version="ov_merd_plus", reasons=None), "test")
    assert [(s.id, s.answers["open_labels"]) for s in plus] == [(n, "[calm]") for n in NAMES[6:]]
    parts = survey(OvMerd(str(tmp_path), train=0.5)).splits
    assert parts == {"train": 3, "val": 0, "test": 3}


def test_ov_merd_plus_as_mer_unibench_has_it(tmp_path):
    clips(tmp_path / "video", NAMES[:2])
    text(tmp_path / "ovlabel.csv", "name,openset", f'{NAMES[0]},"[""calm"", \'at ease\']"', f"{NAMES[1]},")
    text(tmp_path / "subtitle_eng.csv", "name,sentence", f'{NAMES[0]},"well, yes"')
    test = build(OvMerd(str(tmp_path), version="ov_merd_plus"), "test")
    assert [(s.answers["open_labels"], s.subtitle) for s in test] == [("[calm, at ease]", "well, yes"), ("[]", "")]
    assert test.notes == ("1 clips have no row in subtitle_eng.csv",)


def test_ov_merd_with_emer_s_reasons(tmp_path):
    emer(tmp_path)
    text(tmp_path / "check-openset.csv", "name,openset", *(f"{n},['sad']" for n in NAMES[:6]))
    test = build(OvMerd(str(tmp_path), language="chinese"), "test")
    assert [s.answers.get("reason") for s in test][4:] == ["理由 4", None]
    assert test.notes == ("1 clips of check-openset.csv have no description",)


def test_mer_caption(tmp_path):
    mer2025(tmp_path)
    text(tmp_path / "tested.csv", "name", NAMES[0])
    settings = MerCaption(str(tmp_path), without=("tested.csv",), val=0, empty="neutral")
    train = build(settings, "train")
    assert [s.id for s in train] == list(NAMES[1:6])
    assert train[4].answers == {"open_labels": "[neutral]", "reason": "because, 5"}
    assert train[0].fact("open_labels").origin == "estimate"
    assert [name for name, _ in MerCaption("x", val=0.5, test=0.5).problems()] == ["test"]
    (tmp_path / "track3_train_mercaptionplus.csv").unlink()  # as in MER2026
    assert "reason" not in build(settings, "train")[0].answers
