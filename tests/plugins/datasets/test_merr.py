"""MERR as it is published, and as its copies are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affectkit_plugins.datasets._annotations import lenient_json, ncev, string_list, units
from affectkit_plugins.datasets.merr import LABELS, Settings
from dataset_trees import NAMES, NINE, build, clips, clue, merr, survey, text

from affectkit.data.views import look, pick
from affectkit.errors import InputError
from affectkit.recipe.views import Features, Frames


@pytest.fixture
def root(tmp_path):
    merr(tmp_path)
    return tmp_path


def everything(settings):
    """All samples by id."""
    splits = [s for s, n in survey(settings).splits.items() if n]
    return {sample.id: sample for split in splits for sample in build(settings, split)}


def told(settings, split="train"):
    with pytest.raises(InputError) as caught:
        build(settings, split)
    return [str(p) for p in caught.value.problems]


def test_the_fine_json_with_its_trailing_commas(root):
    with pytest.raises(json.JSONDecodeError):
        json.loads((root / "MERR_fine_grained.json").read_text())
    found = everything(Settings(str(root)))
    assert set(found) == set(NAMES)
    assert [found[n].label for n in NAMES] == list(NINE)
    one = found[NAMES[1]]
    assert (one.answers, one.subtitle) == ({"reason": "reason 1"}, "words of clip 1")
    facts = {name: fact.value for name, fact in one.facts.items()}
    assert facts == {
        "published_label": "angry", "action_unit_names": ("AU05", "AU12"), "peak_frame": 4,
        "peak_action_units": ("AU05", "AU12", "AU25"), "visual_clues": ("eyes wide", "lips up"),
        "audio_clues": "a low voice",
    }  # fmt: skip
    assert {fact.origin for fact in one.facts.values()} == {"estimate"}


def test_commas_in_sentences_stay(tmp_path):
    path = text(tmp_path / "a.json", '{"a": {"text": "so ,} and \\",] too",}, "b": {},}')
    assert lenient_json(path) == {"a": {"text": 'so ,} and ",] too'}, "b": {}}


def test_broken_json_keeps_its_line(tmp_path):
    path = text(tmp_path / "a.json", "{", '"a": {"x": 1,},', '"b" {}', "}")
    with pytest.raises(InputError, match=r"a\.json:3:5: broken JSON"):
        lenient_json(path)


def test_the_coarse_json_gives_its_captions(root):
    found = everything(Settings(str(root), annotations="MERR_coarse_grained.json"))
    assert found[NAMES[0]].answers == {"reason": "caption 0"}


def test_older_fine_releases_call_it_reason_caption(root):
    text(root / "old.json", json.dumps({"a": clue(0, reason_caption="why", caption="what")}))
    assert build(Settings(str(root), annotations="old.json"), "train")[0].answers == {"reason": "why"}


def test_a_list_alone_and_with_the_json(root):
    alone = Settings(str(root), annotations=None, index="MERR_fine_grained.txt")
    found = everything(alone)
    assert [found[n].label for n in NAMES] == list(NINE)
    assert not found[NAMES[0]].answers
    assert (found[NAMES[2]].fact("valence").value, found[NAMES[2]].fact("frame_count").value) == (0.5, 32)
    assert found[NAMES[1]].fact("valence").origin == "missing"
    text(root / "few.txt", f"{NAMES[0]} sad", "unknown_clip 12 happy -10")
    both = Settings(str(root), index="few.txt", val=0)
    one, other = build(both, "train")
    assert (one.label, one.answers["reason"], other.label, other.answers) == ("sad", "reason 0", "happy", {})
    assert build(both, "train").notes == (
        "1 clips of few.txt have no entry in MERR_fine_grained.json",
        "1 clips have another label in MERR_fine_grained.json than in few.txt",
    )


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("a 12 happy", ":2: has 3 words"),
        ("a twelve happy -10", ":2: is no line of name, frames, emotion, valence"),
        ("a 12 hapy -10", ":2: unknown published label 'hapy'"),
        ("x 12 happy -10", ":2: the clip 'x' is there already, at"),
    ],
)
def test_a_fault_of_a_list_has_its_line(root, line, what):
    text(root / "list.txt", "x 3 sad -10", line)
    assert what in told(Settings(str(root), annotations=None, index="list.txt"))[0]


def test_transcripts_by_id_missing_and_nan(root):
    settings = Settings(str(root), transcripts="transcription_en_all.csv", val=0)
    train = build(settings, "train")
    said = {s.id: s.subtitle for s in train}
    assert [said[n] for n in NAMES] == ["", "", *(f"heard {i}" for i in range(5)), "", ""]
    assert train.notes == ("2 clips have no row in transcription_en_all.csv",)
    wrong = told(Settings(str(root), transcripts="transcription_en_all.csv", column="sentance"))
    assert "did you mean 'sentence'?" in wrong[0]


def test_features_and_clips(root):
    settings = Settings(str(root), features={"face": "mae_340_UTT", "audio": "HL-UTT"}, val=0)
    found = everything(settings)
    first, last = found[NAMES[0]], found[NAMES[-1]]
    assert first.video == root / "video" / f"{NAMES[0]}.mp4"
    assert last.video == root / "video" / f"{NAMES[-1]}.avi"
    seen = look(found[NAMES[3]], {"face": Features("face", 8)})["face"]
    assert seen.shape == (1, 1, 8)
    assert np.all(seen == 3)
    assert "data.features.face: there is no folder" in told(Settings(str(root), features={"face": "mae"}))[0]


def test_features_do_without_clips(root):
    settings = Settings(str(root), features={"face": "mae_340_UTT"}, video="clips", val=0)
    train = build(settings, "train")
    assert train[0].video is None
    assert "features only" in train.notes[0]
    assert "data.video: there is no folder" in told(Settings(str(root), video="clips"))[0]


def test_a_clip_that_is_not_there_costs_nobody_else(root):
    (root / "video" / f"{NAMES[0]}.mp4").unlink()
    found = everything(Settings(str(root)))
    assert found[NAMES[0]].video == root / "video" / f"{NAMES[0]}.mp4"


def test_the_peak_frame_is_looked_at(root):
    sample = everything(Settings(str(root)))[NAMES[2]]
    assert pick(Frames(pick="peak"), 40, sample) == [5]
    assert pick(Frames(pick="peak"), 4, sample) == [3]


def test_labels_and_clips_left_out(root):
    assert set(LABELS) - {s.label for s in everything(Settings(str(root), leave_out=("neutral",))).values()} == {
        "neutral"
    }
    text(root / "test3-label.csv", "name,discrete", f"{NAMES[0]},happy")
    text(root / "more.txt", f"{NAMES[1]} 12 happy -10")
    found = everything(Settings(str(root), without=("test3-label.csv", "more.txt")))
    assert set(found) == set(NAMES[2:])


def test_shares_are_drawn_by_the_seed(tmp_path):
    names = [f"sample_{i:08d}" for i in range(200)]
    clips(tmp_path / "video", ())
    text(tmp_path / "a.txt", *(f"{n} {NINE[i % 4]}" for i, n in enumerate(names)))
    text(tmp_path / "b.txt", *(f"{n} {NINE[i % 4]}" for i, n in reversed(list(enumerate(names)))))

    def drawn(seed, index="a.txt"):
        settings = Settings(str(tmp_path), annotations=None, index=index, test=0.2, seed=seed)
        return {split: {s.id for s in build(settings, split)} for split in ("train", "val", "test")}

    one = drawn(0)
    assert {k: len(v) for k, v in one.items()} == {"train": 140, "val": 20, "test": 40}
    assert set.union(*one.values()) == set(names)
    assert drawn(0, "b.txt") == one
    assert drawn(1) != one
    settings = Settings(str(tmp_path), annotations=None, index="a.txt", test=0.2)
    assert sorted(s.label for s in build(settings, "val")).count("angry") == 5


def test_what_is_not_there(tmp_path, root):
    note = survey(Settings(str(tmp_path / "nowhere"))).note
    assert "is not there yet: ask the organisers" in note
    assert "ask the organisers" in told(Settings(str(tmp_path / "nowhere")))[0]
    assert "did you mean 'MERR_fine_grained.json'?" in told(Settings(str(root), annotations="MERR_fine_graned.json"))[0]
    assert "the split 'test' is empty" in told(Settings(str(root)), "test")[0]
    assert "unknown split 'tset'" in told(Settings(str(root)), "tset")[0]


def test_settings_that_mean_nothing():
    assert [name for name, _ in Settings("x", None, None).problems()] == []
    wrong = Settings("x", annotations=None, val=0.6, test=0.5, leave_out=("joy",), seed=-1)
    assert {name for name, _ in wrong.problems()} == {"annotations", "test", "leave_out", "seed"}


def test_texts_of_lists():
    assert string_list("['sad', \"hurt\"]") == ("sad", "hurt")
    assert string_list("[sad, hurt]") == string_list(["sad", "hurt", ""]) == ("sad", "hurt")
    assert string_list("[]") == string_list("") == string_list(float("nan")) == ()
    assert units("['AU5', 'AU12_c']") == units(["AU05", "AU12"]) == ("AU05", "AU12")


def test_a_two_column_list(tmp_path):
    lines = ncev(text(tmp_path / "a.txt", "one happy", "", "two 12 sad -10.0", "three 9 sad -1.174107"))
    assert [(x.name, x.frames, x.valence) for x in lines] == [
        ("one", None, None),
        ("two", 12, None),
        ("three", 9, -1.174107),
    ]
