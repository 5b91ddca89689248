"""MERBench's processed copies: any corpus, MER2023 and MER2024; nothing pickled is run."""

from __future__ import annotations

import numpy as np
import pytest
from affectkit_plugins.datasets import mer2023, mer2024, merbench
from affectkit_plugins.datasets._published import MER6
from dataset_trees import NAMES, build, clips, corpora, emotions, survey, text, transcripts, values
from dataset_trees import merbench as tree

from affectkit.errors import InputError
from affectkit.labels.npz import read_corpora
from affectkit.registry import Registry
from affectkit.studies.suite import load_suite, open_sets

FOUR = ("happy", "sad", "neutral", "angry")


def told(settings, split="train"):
    with pytest.raises(InputError) as caught:
        build(settings, split)
    return [str(p) for p in caught.value.problems]


def test_corpora_as_they_stand(tmp_path):
    path = corpora(tmp_path / "a.npz", train={"a": {"emo": 2, "val": -10}}, test={"b": {"emo": "sad"}})
    found = read_corpora(path)
    assert found == {
        "train": [(f"{path}: a", {"name": "a", "split": "train", "emo": 2})],
        "test": [(f"{path}: b", {"name": "b", "split": "test", "emo": "sad"})],
    }
    np.savez(tmp_path / "b.npz", filenames=np.array(["a"]))
    with pytest.raises(InputError, match="holds no corpora of labels"):
        read_corpora(tmp_path / "b.npz")


class Evil:
    def __reduce__(self):
        return (print, ("run!",))


def test_what_is_pickled_is_not_run(tmp_path, capsys):
    (tmp_path / "video").mkdir()
    np.savez(tmp_path / "label.npz", train_corpus=np.array({"a": Evil()}, dtype=object))
    assert "print" in told(merbench.Settings(str(tmp_path)))[0]
    assert "run!" not in capsys.readouterr().out


def test_a_whole_corpus_by_sessions(tmp_path):
    tree(tmp_path)
    settings = merbench.Settings(str(tmp_path), classes=FOUR, test="session2", val=0)
    assert survey(settings).splits == {"train": 8, "val": 0, "test": 2}
    test = build(settings, "test")
    assert {s.id[:5] for s in test} == {"Ses02"}
    assert [(s.label, s.fact("published_label").value) for s in test] == [("neutral", "2"), ("angry", "3")]
    assert (test.labels, test[0].subtitle) == (FOUR, "words, 2")
    chinese = build(merbench.Settings(str(tmp_path), classes=FOUR, language="chinese"), "test")
    assert (chinese[0].subtitle, chinese[1].subtitle) == ("话 8", "话")
    assert "unknown corpus 'session6'" in told(merbench.Settings(str(tmp_path), test="session6", classes=FOUR))[0]


def test_whole_numbers_must_be_named(tmp_path):
    tree(tmp_path)
    (problem,) = told(merbench.Settings(str(tmp_path)))
    assert problem.startswith("data.classes: the labels of label_4way.npz are whole numbers from 0 to 3")
    assert "unknown published label '3'" in told(merbench.Settings(str(tmp_path), classes=FOUR[:3]))[0]


def test_words_are_labels_and_values_sentiment(tmp_path):
    clips(tmp_path / "video", ("a", "b", "c"))
    corpora(tmp_path / "label.npz", train=emotions("ab", ("joy", "Rage")), test=emotions("c", ("joy",)))
    settings = merbench.Settings(str(tmp_path), val=0)
    assert build(settings, "train").labels == ("Rage", "joy")
    assert [s.label for s in build(settings, "train")] == ["joy", "Rage"]
    corpora(tmp_path / "label.npz", train=values("ab"), val=values("c"), test=values("d"))
    train = build(settings, "train")
    assert train.labels == ()
    assert [(s.label, s.answers) for s in train] == [(None, {"sentiment": "-3"}), (None, {"sentiment": "0"})]


@pytest.mark.parametrize("wanted", ["", "test3"])
def test_a_file_of_several_tests(tmp_path, wanted):
    clips(tmp_path / "video", NAMES)
    parts = {s: emotions((NAMES[i],), ("sad",)) for i, s in enumerate(("train", "test1", "test3"))}
    corpora(tmp_path / "label-6way.npz", **parts)
    settings = merbench.Settings(str(tmp_path), test=wanted, val=0)
    assert [s.id for s in build(settings, "test")] == [NAMES[2]]


def test_mer2023(tmp_path):
    clips(tmp_path / "video", NAMES)
    corpora(
        tmp_path / "label-6way.npz",
        train=emotions(NAMES[:6], MER6, 1.5),
        test1=emotions(NAMES[6:7], ("happy",), -2.25),
        test3=emotions(NAMES[7:9], ("sad", "angry")),
    )
    transcripts(tmp_path / "transcription-engchi-polish.csv", NAMES)
    settings = mer2023.Settings(str(tmp_path), val=0)
    assert survey(settings).splits == {"train": 6, "val": 0, "test1": 1, "test3": 2, "test": 2}
    (one,) = build(settings, "test1")
    assert (one.label, one.fact("valence").value, one.subtitle) == ("happy", -2.25, "words, 6")
    assert one.video == tmp_path / "video" / f"{NAMES[6]}.mp4"
    assert build(settings, "test")[0].fact("valence").origin == "missing"


def test_mer2024_and_labels_that_were_kept_back(tmp_path):
    clips(tmp_path / "video", NAMES)
    hidden = {n: {"emo": "neutral"} for n in NAMES[6:9]}
    corpora(tmp_path / "label-6way.npz", train=emotions(NAMES[:6], MER6), test1=hidden)
    transcripts(tmp_path / "transcription_merge.csv", NAMES)
    settings = mer2024.Settings(str(tmp_path), test="semi", val=0)
    test = build(settings, "test")
    assert [(s.label, s.subtitle) for s in test] == [(None, "words, 6"), (None, "words, 7"), (None, "")]
    assert test.notes == ("all 3 clips of test1 hold 'neutral': a placeholder, not a label",)
    corpora(tmp_path / "label-6way.npz", train=emotions(NAMES[:6], MER6), test1=emotions(NAMES[6:9], ("sad", "happy")))
    assert [s.label for s in build(settings, "test")] == ["sad", "happy", "sad"]


def unibench(root):
    """MER-UniBench's nine folders of processed copies, with the names that its loaders use: two clips a test."""
    turns = [f"Ses0{n}F_impro01_M00{i}" for n in (1, 5) for i in range(2)]
    folders = {
        "mer2023-dataset": ("label-6way", ("train", "test1", "test3"), "video", "audio", ("sad", "angry")),
        "mer2024-dataset": ("label-6way", ("train", "test1"), "video", "audio", ("happy", "worried")),
        "meld": ("label", ("train", "val", "test"), "subvideo", "subaudio", (1, 3)),
        "iemocap": ("label_4way", ("whole",), "subvideo-tgt", "subaudio", (0, 2)),
        "cmumosi": ("label", ("train", "val", "test"), "subvideo", "subaudio", None),
        "cmumosei": ("label", ("train", "val", "test"), "subvideo_new", "subaudio", None),
        "sims": ("label", ("train", "val", "test"), "video", "audio", None),
        "simsv2": ("label", ("train", "val", "test"), "video_new", "audio", None),
    }
    for corpus, (file, splits, video, audio, codes) in folders.items():
        folder = root / f"{corpus}-process"
        names = {s: turns if s == "whole" else [f"{s}_{corpus}_{i}" for i in range(2)] for s in splits}
        rows = {s: emotions(n, codes) if codes else values(n) for s, n in names.items()}
        corpora(folder / f"{file}.npz", **rows)
        every = tuple(n for part in names.values() for n in part)
        clips(folder / video, every)
        clips(folder / audio, every, ".wav")
        merged = "transcription_merge.csv" if corpus == "mer2024-dataset" else "transcription-engchi-polish.csv"
        transcripts(folder / merged, every)
    plus = root / "ovmerdplus-process"
    clips(plus / "video", NAMES[:2])
    text(plus / "ovlabel.csv", "name,openset", f"{NAMES[0]},\"['sad', 'hurt']\"", f"{NAMES[1]},[calm]")
    text(plus / "subtitle_eng.csv", "name,sentence", f"{NAMES[0]},well", f"{NAMES[1]},")


def test_mer_unibench_is_read_whole_as_its_loaders_have_it(tmp_path):
    unibench(tmp_path)
    found, missing = open_sets(load_suite("mer_unibench", [f"data.root={tmp_path}"], Registry.load()))
    assert missing == {}
    assert len(found) == 9
    truths = {}
    for name, samples in found.items():
        assert len(samples) == 2
        assert all(s.video.is_file() for s in samples), name
        assert samples[0].subtitle.startswith("w"), name
        one = samples[0]
        truths[name] = one.answers.get("open_labels") or one.answers.get("sentiment") or one.label
    assert list(truths.values()) == ["sad", "happy", "happy", "happy", "-3", "-3", "-3", "-3", "[sad, hurt]"]
    assert found["iemocap"][0].audio.parent.name == "subaudio"
