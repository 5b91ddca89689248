"""MELD and IEMOCAP: releases and MERBench's copies."""

from __future__ import annotations

import shutil

import pytest
from affectkit_plugins.datasets import iemocap, meld
from dataset_trees import build, clips, corpora, emotions, survey, text
from dataset_trees import iemocap as tree_iemocap
from dataset_trees import meld as tree_meld

from affectkit.errors import InputError


def told(settings, split="train"):
    with pytest.raises(InputError) as caught:
        build(settings, split)
    return [str(p) for p in caught.value.problems]


def test_meld(tmp_path):
    tree_meld(tmp_path)
    settings = meld.Settings(str(tmp_path))
    assert survey(settings).splits == {"train": 7, "val": 7, "test": 7}
    val = build(settings, "val")
    assert val.labels == ("angry", "happy", "sad", "neutral", "disgust", "fear", "surprise")
    assert tuple(s.label for s in val) == val.labels
    one = val[1]
    assert (one.id, one.subtitle, one.answers) == ("val_dia0_utt1", "Oh, dev 1.", {"sentiment": "positive"})
    assert one.video == tmp_path / "dev_splits_complete" / "dia0_utt1.mp4"
    assert (one.fact("published_label").value, one.fact("person").value) == ("joy", "Nobody")
    assert build(settings, "train")[0].video.parent.name == "train_splits"


def test_meld_in_other_folders_and_less_of_it(tmp_path):
    tree_meld(tmp_path)
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "train_sent_emo.csv").unlink()
    (tmp_path / "dev_sent_emo.csv").unlink()
    (tmp_path / "output_repeated_splits_test").rename(tmp_path / "test")
    settings = meld.Settings(str(tmp_path), without=("test_dia0_utt6",))
    assert survey(settings).splits == {"train": 0, "val": 0, "test": 6}
    assert build(settings, "test")[0].video == tmp_path / "test" / "dia0_utt0.mp4"
    assert "no clip 'test_dia9_utt9'" in told(meld.Settings(str(tmp_path), without=("test_dia9_utt9",)), "test")[0]
    (tmp_path / "test_sent_emo.csv").unlink()
    assert "train_sent_emo.csv: there is no such file" in told(settings)[0]


def test_meld_processed(tmp_path):
    names = {s: [f"{s}_dia0_utt{i}" for i in range(7)] for s in ("train", "val", "test")}
    corpora(tmp_path / "label.npz", **{s: emotions(n, range(7)) for s, n in names.items()})
    clips(tmp_path / "subvideo", tuple(n for part in names.values() for n in part))
    test = build(meld.Settings(str(tmp_path)), "test")
    assert tuple(s.label for s in test) == test.labels
    assert test[3].video == tmp_path / "subvideo" / "test_dia0_utt3.mp4"


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        ("four", ["angry", "happy", "happy", "sad", "neutral"]),
        ("six", ["angry", "happy", "excited", "sad", "neutral", "frustrated"]),
    ],
)
def test_iemocap(tmp_path, classes, labels):
    tree_iemocap(tmp_path)
    test = build(iemocap.Settings(str(tmp_path), classes=classes, session=2), "test")
    assert [s.label for s in test] == labels
    assert {s.id[:5] for s in test} == {"Ses02"}
    one = test[1]
    assert (one.id, one.subtitle, one.video) == ("Ses02F_impro01_M001", "words 1", None)
    assert one.fact("person").value == "Ses02M"
    assert one.audio.is_file()
    assert [one.fact(n).value for n in ("published_label", "valence", "arousal", "dominance")] == ["hap", 2.5, 3.0, 1.0]
    assert one.numbers == {"valence": 2.5, "arousal": 3.0, "dominance": 1.0}
    assert test.numbers == dict.fromkeys(one.numbers, (1, 5))
    assert any("5 xxx" in note for note in test.notes)


def test_iemocap_with_cut_clips(tmp_path):
    root = tmp_path / "IEMOCAP_full_release"
    tree_iemocap(tmp_path)
    clips(root / "cut", ("Ses05F_impro01_F000",), ".avi")
    test = build(iemocap.Settings(str(root), video="cut"), "test")
    assert test[0].video == root / "cut" / "Ses05F_impro01_F000.avi"
    assert not test[1].video.exists()
    assert test.labels == ("happy", "sad", "neutral", "angry")


def test_iemocap_processed(tmp_path):
    names = [f"Ses0{s}M_script01_1_F00{i}" for s in range(1, 6) for i in range(4)]
    corpora(tmp_path / "label_4way.npz", whole=emotions(names, range(4)))
    clips(tmp_path / "subvideo-tgt", tuple(names))
    clips(tmp_path / "subaudio", tuple(names), ".wav")
    settings = iemocap.Settings(str(tmp_path))
    assert survey(settings).splits == {"train": 14, "val": 2, "test": 4}
    test = build(settings, "test")
    assert tuple(s.label for s in test) == test.labels
    assert (test.numbers, test[0].numbers) == ({}, {})  # the npz holds none
    assert (test[0].video.parent.name, test[0].audio.parent.name) == ("subvideo-tgt", "subaudio")
    corpora(tmp_path / "label_4way.npz", whole=emotions(["Other_1"], (0,)))
    assert "tells of no session" in told(settings)[0]


def test_iemocap_faults(tmp_path):
    assert "there is neither label_4way.npz nor" in told(iemocap.Settings(str(tmp_path)))[0]
    tree_iemocap(tmp_path)
    file = tmp_path / "IEMOCAP_full_release" / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    text(file, "[1.0 - 2.0]\tSes01F_impro01_F000\tzzz\t[1, 2, 3]")
    assert f"{file}:1: unknown published label 'zzz'" in told(iemocap.Settings(str(tmp_path)))[0]
    assert "USC" in survey(iemocap.Settings(str(tmp_path / "nowhere"))).note
