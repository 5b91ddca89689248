"""What annotators may know of a sample beside its media: who it is, and what a network estimated; labels never."""

import json
from pathlib import Path

import numpy as np
import pytest

from affectkit.annotate.clips import blinded
from affectkit.annotate.plan import ESTIMATES, check_annotation
from affectkit.annotate.run import annotate
from affectkit.errors import InputError
from affectkit.sample import Fact, Sample

RECIPE = """\
name: tried
data: {use: DATA}
views: {words: {use: subtitle}}
annotators:
  measured: {use: action_units}
  peak: {use: peak_frame, units: measured.units}
  seen: {use: unit_phrases, units: peak.units}
items: {why: {task: reason, answer: seen}}
run: {folder: runs, cache: cache}
"""
DATA = "table, path: t.csv, val: 0"
OWN = '''"""Names the model that runs."""

from dataclasses import dataclass
from pathlib import Path

from affectkit import Piece, Port, hookimpl


@dataclass(frozen=True)
class Settings:
    """Tells its model."""

    weights: str = "w"
    """A file."""


class Look:
    def __init__(self, settings):
        self.model = Path(settings.weights).read_text()

    def __call__(self, rows):
        return [{"text": self.model} for row in rows]


@hookimpl
def affectkit_pieces():
    ports = (Port("words", "text", "the words"), Port("FACT", "fact", "a fact", optional=True))
    return [Piece("annotator", "own", Settings, Look, ports=ports, tells=("text",))]
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = "frame, face_id, timestamp, confidence, success, AU06_r, AU12_r, AU12_c"
    for name, high in (("a", 4.0), ("b", 0.2)):
        rows = [f"{i + 1}, 0, {i / 10}, 0.98, {int(i != 2)}, 0.5, {high if i == 3 else 0.1}, 1" for i in range(5)]
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    rows = [
        "subtitle,label,split,id,openface",
        "oh well,happy,train,a,a.csv",
        "oh no,sad,train,b,b.csv",
        "oh,sad,train,c,",
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def run(text, plugins=()):
    Path("a.yaml").write_text(text)
    out = annotate(check_annotation("a.yaml", plugins=plugins, data=True))
    return [json.loads(line) for line in (out / "records.jsonl").open()]


def values(record):
    return {name: {n: one["value"] for n, one in own.items()} for name, own in record["findings"].items()}


def test_estimates_of_action_units_reach_annotators():
    first, second, third = run(RECIPE.replace("DATA", DATA))
    found = values(first)
    assert found["measured"] == {
        "units": {"AU06": [0.5, 0.5, None, 0.5, 0.5], "AU12": [0.1, 0.1, None, 4.0, 0.1]},
        "names": ["AU06", "AU12"],
    }
    assert found["peak"] == {"frame": 3, "units": {"AU12": 4.0}, "intensity": 4.5, "frames": [3]}
    assert found["seen"]["units"] == ["AU12"]
    assert first["items"][0]["answer"] == found["seen"]["text"]
    assert second["rejected"]["reason"] == "the face does not move"
    assert third["rejected"]["reason"] == "nothing to look at: action_units"


def test_labelled_action_units_do_not():
    """Puppets know theirs: such facts are labels."""
    data = "puppets, count: 14, size: 64, fps: 8, seconds: 1.0"
    records = run(RECIPE.replace("DATA", data))
    assert records
    assert {record["rejected"]["reason"] for record in records} == {"nothing to look at: action_units"}


@pytest.mark.parametrize("name", ESTIMATES)
def test_only_estimates_are_left(name):
    for origin, left in (("estimate", True), ("label", False), ("missing", False)):
        sample = Sample(
            "a", label="sad", facts={name: Fact(np.ones((2, 1)), origin), "evidence": Fact("face", "estimate")}
        )
        assert set(blinded(sample).facts) == ({name} if left else set())
        assert blinded(sample).label is None


def test_a_fact_that_annotators_may_not_know_is_named(folder):
    (folder / "own.py").write_text(OWN.replace("FACT", "age"))
    Path("a.yaml").write_text(RECIPE.replace("DATA", DATA).replace("{use: action_units}", "{use: own, words: words}"))
    with pytest.raises(InputError, match="unknown fact that annotators may know 'age'"):
        check_annotation("a.yaml", plugins=["own.py"])


def test_findings_depend_on_the_model_that_runs(folder):
    (folder / "own.py").write_text(OWN.replace("FACT", "person"))
    text = RECIPE.replace("DATA", DATA).partition("annotators:")[0]
    text += "annotators: {own: {use: own, words: words}}\nitems: {why: {task: reason, answer: own}}\n"
    text += "run: {folder: runs, cache: cache}\n"
    for weights in ("one", "two", "one"):
        (folder / "w").write_text(weights)
        assert {values(record)["own"]["text"] for record in run(text, ["own.py"])} == {weights}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ((" AU12_r", " AU12_r, AU12_r"), "is no row of numbers"),
        (("AU06_r, AU12_r", "AU06_x, AU12_x"), "has no intensities of action units"),
        (("\n5, 0", "\n4, 0"), "has the frame 4 twice: several faces?"),
        (("0.98", "high"), "is no row of numbers"),
    ],
)
def test_a_broken_file_of_action_units_is_named(edit, said, folder):
    path = folder / "a.csv"
    path.write_text(path.read_text().replace(*edit))
    Path("a.yaml").write_text(RECIPE.replace("DATA", DATA))
    with pytest.raises(InputError, match=rf"t\.csv:2 .*a\.csv.*{said.replace('?', '.')}"):
        check_annotation("a.yaml", data=True)


def test_a_file_of_action_units_that_is_not_there_is_named(folder):
    (folder / "b.csv").unlink()
    Path("a.yaml").write_text(RECIPE.replace("DATA", DATA))
    with pytest.raises(InputError, match=r"b\.csv.*no such file of action units"):
        check_annotation("a.yaml", data=True)
