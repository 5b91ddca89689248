"""Files that a user points at, and which face is looked at in them."""

from pathlib import Path

import pytest

from affectkit.errors import InputError
from affectkit.evaluation.user_input import overrides_for, samples_of
from affectkit.files import ENDINGS
from affectkit.plan.check import check
from affectkit.registry import Registry
from affectkit.sample import Sample


@pytest.fixture(scope="module")
def plan():
    return check("emo_llama")


STILL = [Sample("a", image=Path("a.jpg"))]


def test_folders_and_kinds(tmp_path):
    for name in ("b.mp4", "a.JPG", "c.wav", "notes.txt", "deep/d.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = samples_of([str(tmp_path)], "hello")
    assert [Path(s.id).name for s in found] == ["a.JPG", "b.mp4", "c.wav", "d.mkv"]
    assert found[0].image
    assert found[1].video
    assert found[2].audio
    assert found[1].subtitle == "hello"


def test_predict_takes_what_a_table_takes(tmp_path):
    names = [f"{i}{ending}" for i, ending in enumerate(e for endings in ENDINGS.values() for e in endings)]
    for name in names:
        (tmp_path / name).touch()
    rows = "\n".join(["path,label,split", *(f"{name},sad,train" for name in names)])
    (tmp_path / "mine.csv").write_text(rows)
    table = Registry.load().piece("dataset", "table")
    listed = table.build(table.settings(str(tmp_path / "mine.csv"), val=0.0), "train")
    told = {s.video or s.image or s.audio: (bool(s.video), bool(s.image)) for s in samples_of([str(tmp_path)])}
    assert told == {s.video or s.image or s.audio: (bool(s.video), bool(s.image)) for s in listed}
    assert len(told) == len(names)


def test_every_wrong_file_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError) as wrong:
        samples_of([str(tmp_path / n) for n in ("empty", "a.txt", "gone.mp4")])
    assert len(wrong.value.problems) == 3


def test_no_detector_names_the_extra(plan, monkeypatch):
    real = Registry.problem

    def problem(self, kind, name, place=""):
        return real(self, kind, "none of that name") if kind == "detector" else real(self, kind, name, place)

    monkeypatch.setattr(Registry, "problem", problem)
    with pytest.raises(InputError, match=r"affectkit\[face\]") as wrong:
        overrides_for(plan, STILL, "detect", None, None)
    assert wrong.value.exit_code == 2
    assert "--face whole" in str(wrong.value)


def test_whole_pictures_and_other_people(plan, monkeypatch):
    monkeypatch.setattr(Registry, "problem", lambda self, kind, name, place="": None)  # whatever is installed here
    assert overrides_for(plan, STILL, "whole", None, None) == ["views.faces.whole=always"]
    asked = overrides_for(plan, STILL, "detect", "haar", 2)
    assert asked == ["views.faces.detector={use: haar}", "views.faces.person=2"]
    assert overrides_for(plan, [Sample("a", audio=Path("a.wav"))], "detect", None, None) == []


def test_what_a_folder_holds_beside_media_is_said(tmp_path, caplog):
    for name in ("a.mp4", "b.MTS", "c.m4b", "d.amr", "e.caf", "f.HEIC", "g.m2ts", "deep/h.opus"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert len(samples_of([str(tmp_path)])) == 8
    assert not caplog.messages
    for name in ("one.txt", "two.txt", "README", "x.srt", "._a.mp4"):
        (tmp_path / name).touch()
    assert len(samples_of([str(tmp_path)])) == 8
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path}: left out")
    for part in ("2 .txt", "1 .srt", "1 without an ending", "1 hidden"):
        assert part in said


def test_a_folder_without_media_says_what_it_holds(tmp_path):
    (tmp_path / "a.xyz").touch()
    with pytest.raises(InputError, match=r"no clip, still or sound file \(but 1 \.xyz\)"):
        samples_of([str(tmp_path)])


def test_a_detector_whose_weights_would_be_random_is_not_taken(plan, monkeypatch):
    there = {"face_api": None, "haar": None}
    known = Registry.problem
    monkeypatch.setattr(
        Registry, "problem", lambda self, kind, name, place="": there.get(name, known(self, kind, "none of that name"))
    )
    assert overrides_for(plan, STILL, "detect", None, None) == ["views.faces.detector={use: haar}"]
    del there["haar"]
    with pytest.raises(InputError, match=r"affectkit\[face\]"):
        overrides_for(plan, STILL, "detect", None, None)
