"""`affectkit data check`: what is missing, broken, unknown or there twice, before anything is trained."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dataset_trees import BARE, MORE, NAMES, TREES, WITHOUT_LABELS, merr, text
from faults import BASE
from media_files import picture, write_clip
from PIL import Image

from affectkit.__main__ import cli
from affectkit.data.check import as_json, check_data, check_data_set, finding_lines, label_rows, lengths, split_rows
from affectkit.errors import InputError
from affectkit.pieces import Piece, Survey
from affectkit.plan.check import check, plan_recipe
from affectkit.plan.survey import survey_data
from affectkit.plan.use import Use
from affectkit.recipe.load import load_recipe
from affectkit.registry import Plugin, Registry
from affectkit.sample import Fact, Sample

COLUMNS = "path,label,split,subtitle,id"
ROWS = ("a.mp4,sad,train,oh,a", "b.mp4,happy,train,,b", "c.mp4,sad,val,ah,c", "d.mp4,happy,test,well,d")
TABLE = "{use: table, path: mine.csv}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four clips of 5, 10, 15 and 20 frames with sound, and a table of them."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("abcd"):
        images = [picture((16, 16), (40 * i, 0, 200))] * (5 * (i + 1))
        write_clip(tmp_path / f"{name}.mp4", images, tone=(440, 0.2 * (i + 1)))
    text(tmp_path / "mine.csv", COLUMNS, *ROWS)
    return tmp_path


def recipe(data=TABLE, of_stage=""):
    """A recipe of that data; its stage may have data of its own."""
    written = BASE.replace("{use: puppets}", data)
    if of_stage:
        written = written.replace("    epochs: 2\n", f"    epochs: 2\n    data: {of_stage}\n")
    Path("a.yaml").write_text(written, encoding="utf-8")
    return "a.yaml"


def looked(data=TABLE, of_stage="", quick=False):
    return check_data(check(recipe(data, of_stage), data=True), quick)


def kinds(report):
    return [(f.kind, f.split, f.id) for f in report.findings]


def test_nothing_wrong(folder):
    report = looked()
    assert report.ok
    assert [(s.split, len(s.clips), s.labels) for s in report.splits] == [
        ("train", 2, {"happy": 1, "sad": 1}), ("val", 1, {"happy": 0, "sad": 1}), ("test", 1, {"happy": 1, "sad": 0}),
    ]  # fmt: skip
    assert [s.empty_subtitles for s in report.splits] == [1, 0, 0]
    seconds = lengths(report.splits[0])
    assert (seconds["least"], seconds["most"]) == (pytest.approx(0.2, abs=0.1), pytest.approx(0.4, abs=0.1))
    assert lengths(looked(quick=True).splits[0]) is None


def test_missing_and_broken_media(folder):
    (folder / "b.mp4").unlink()
    (folder / "d.mp4").write_bytes(b"no clip at all")
    report = looked()
    assert kinds(report) == [("missing media", "train", "b"), ("broken media", "test", "d")]
    assert [s.missing_media for s in report.splits] == [1, 0, 0]
    assert kinds(looked(quick=True)) == [("missing media", "train", "b")]


def test_a_broken_still(folder):
    for name in ("whole", "cut"):
        Image.fromarray(picture((16, 16), (200, len(name) * 9, 0))).save(folder / f"{name}.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:50])
    text(folder / "mine.csv", COLUMNS, *ROWS, "whole.png,sad,val,,e", "cut.png,sad,val,,f")
    assert kinds(looked()) == [("broken media", "val", "f")]
    assert looked(quick=True).ok


def test_the_same_clip_in_two_splits(folder):
    shutil.copy("a.mp4", "d.mp4")
    (found,) = looked().findings
    assert (found.kind, found.split, found.id) == ("duplicate", "test", "d")
    assert found.what == "the same file is in train as 'a'"
    assert looked(quick=True).ok
    text(folder / "mine.csv", COLUMNS, *ROWS, "a.mp4,sad,val,,e")
    assert kinds(looked(quick=True)) == [("duplicate", "val", "e")]


def test_the_same_clip_twice_in_a_split_is_a_note(folder):
    shutil.copy("a.mp4", "b.mp4")
    report = looked()
    assert report.ok
    assert report.notes == ["1 files stand behind more than one sample of the same split"]


def test_training_on_another_set_s_test_clips(folder):
    text(
        folder / "more.csv",
        COLUMNS,
        "d.mp4,happy,train,,x",
        "c.mp4,sad,val,,c",
        "a.mp4,sad,val,,y",
        "b.mp4,sad,test,,b",
    )
    report = looked(of_stage="{use: table, path: more.csv}")
    # its test split is never used, and a clip that validates both is no leak
    assert report.notes == [
        "1 files are in data train and in stages.train.data val: one stage trains on what the other validates by"
    ]
    assert [(s.data, s.split) for s in report.splits][3:] == [
        ("stages.train.data", "train"),
        ("stages.train.data", "val"),
    ]
    assert [(f.data, f.id, f.what) for f in report.findings] == [
        ("stages.train.data", "x", "the same file is in data test as 'd'")
    ]


@dataclass(frozen=True)
class Odd:
    """A stranger's data set."""


def odd_plan(survey=None, **splits):
    """A plan whose data holds these samples."""

    def build(settings, split):
        if split not in splits:
            raise InputError(f"no split {split}")
        return splits[split]

    pieces = [*Registry.load().pieces(), Piece("dataset", "odd", Odd, build, survey=survey)]
    plan, problems = plan_recipe(
        load_recipe(recipe("{use: odd}")), Registry([Plugin("odd", "stranger", pieces=pieces)])
    )
    return replace(plan, surveys=survey_data(plan, problems))


class Named(list):
    labels = ("sad", "happy")
    notes = ("a note of its own",)


def test_a_data_set_that_tells_nothing_of_itself(folder):
    train = Named([Sample("a", video=Path("a.mp4"), label="sad"), Sample("x", label="joy"), Sample("y", label="joy")])
    report = check_data(odd_plan(train=train, test=Named([Sample("a", video=Path("b.mp4"))])))
    assert kinds(report) == [
        ("label outside the set", "train", "x"), ("missing media", "train", "x"), ("missing media", "train", "y"),
        ("duplicate", "test", "a"),
    ]  # fmt: skip
    assert report.findings[0].what == "2 samples have the label 'joy'"
    assert report.findings[-1].what == "the same id is in train"
    assert report.notes == ["data: a note of its own"]
    assert [s.no_label for s in report.splits] == [0, 1]
    assert label_rows(report)[1] == [["sad", "1", "0"], ["happy", "0", "0"], ["joy", "2", ""], ["(no label)", "0", "1"]]


def test_a_second_name_of_a_split_is_no_duplicate(folder):
    samples = [Sample("a", video=Path("a.mp4"), label="sad")]
    sizes = {"train": 1, "final": 1, "test": 1, "val": 0}
    other = [Sample("b", video=Path("b.mp4"))]
    plan = odd_plan(
        lambda s: Survey(Named.labels, sizes), train=Named(other), final=Named(samples), test=Named(samples)
    )
    report = check_data(plan)
    assert report.ok
    assert [(s.split, s.same_as) for s in report.splits] == [("train", ""), ("final", ""), ("test", "final")]
    assert split_rows(report)[2][3] == "same as final"


def test_features_that_a_view_wants(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    merr(tmp_path)
    (tmp_path / "HL-UTT" / f"{NAMES[0]}.npy").unlink()
    (tmp_path / "mae_340_UTT" / f"{NAMES[1]}.npy").unlink()
    shutil.rmtree(tmp_path / "video")
    data = "{use: merr, root: ., val: 0, test: 0.3, features: {audio: HL-UTT, face: mae_340_UTT}}"
    views = "views:\n  sound: {use: features, name: audio, width: 8}\n  gone: {use: features, name: text, width: 8}\n"
    views += "  ready: {use: features, name: motion, width: 8}\n"  # for a line of a recipe that is not there yet
    written = BASE.replace("{use: puppets}", data)
    start, end = written.index("views:"), written.index("prompt:")
    streams = "streams:\n  voice: {steps: {projector: {use: linear, tokens: sound}}}\n"
    streams += "  words: {steps: {projector: {use: linear, tokens: gone}}}\n"
    written = (written[:start] + views + streams + written[end:]).replace("slot, stream: face}", "slot, stream: words}")
    Path("a.yaml").write_text(written)
    report = check_data(check("a.yaml", data=True))
    missing = [f for f in report.findings if f.id == NAMES[0]]
    assert [(f.kind, f.what) for f in missing] == [
        ("missing features", f"there is no HL-UTT/{NAMES[0]}.npy"), ("missing features", "the data set names none called 'text'"),
    ]  # fmt: skip
    assert len(report.findings) == 10
    assert any("features only" in note for note in report.notes)
    assert sum("1 feature files are missing that no view looks at" in note for note in report.notes) == 1


def test_data_that_is_not_there_yet(folder):
    report = looked("{use: dfew, root: nowhere}")
    assert kinds(report) == [("no data", "", "")]
    assert "write to the authors" in report.findings[0].what
    assert report.notes == []  # said once


@pytest.mark.parametrize("name", TREES)
def test_every_published_data_set(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {**TREES[name](tmp_path), **MORE.get(name, {}), "root": "."}
    written = recipe(json.dumps({"use": name, **given}))
    report = check_data(check(written, WITHOUT_LABELS if name in BARE else [], data=True), quick=True)
    assert report.ok, [str(f) for f in report.findings]
    assert sum(len(s.clips) for s in report.splits if not s.same_as) >= 5


def run(*arguments):
    return CliRunner().invoke(cli, ["data", "check", *arguments])


def test_the_command_and_its_exit_codes(folder):
    ran = run(recipe())
    assert ran.exit_code == 0, ran.output
    assert "nothing wrong" in ran.output
    (folder / "b.mp4").unlink()
    ran = run("a.yaml")
    assert ran.exit_code == 1
    assert "missing media: data train (1)\n    b: there is no b.mp4" in ran.output
    told = json.loads(run("a.yaml", "--json").output)
    assert (told["ok"], told["findings"][0]["id"], told["splits"][0]["labels"]) == (False, "b", {"happy": 1, "sad": 1})
    assert told == json.loads(json.dumps(as_json(check_data(check("a.yaml", data=True)))))
    broken = [sys.executable, "-m", "affectkit", "data", "check", "a.yaml", "data.path=nope.csv"]
    ran = subprocess.run(broken, capture_output=True, text=True, check=False)
    assert (ran.returncode, "there is no such file" in ran.stderr) == (2, True)


def test_a_name_that_is_neither_data_set_nor_recipe(folder):
    said = str(run("raf").exception)
    assert "unknown data set or recipe 'raf'" in said
    assert "did you mean 'raf_db'?" in said
    assert "unknown recipe 'raf.yaml'" in str(run("raf.yaml").exception)


def test_one_thing_is_one(folder):
    assert run("raf_db", "root=nowhere").output.endswith("\n1 thing is wrong\n")


def test_long_lists_are_cut(folder):
    text(folder / "mine.csv", COLUMNS, *ROWS, *(f"none{i}.mp4,sad,train,,n{i}" for i in range(20)))
    lines = list(finding_lines(looked().findings))
    assert len(lines) == 7
    assert lines[0] == "missing media: data train (20)"
    assert lines[-1] == "    and 15 more (--json lists all)"


def test_no_torch_and_nothing_decoded(folder):
    recipe()
    code = (
        "import sys\nfrom affectkit import media, stills\nmedia.read = stills.read_still = None\n"
        "from affectkit.data.check import check_data\nfrom affectkit.plan.check import check\n"
        "print(check_data(check('a.yaml', data=True)).ok, [m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True []"


def test_many_clips_take_seconds(tmp_path, monkeypatch):
    """3,000 files of one size are hashed, none is compared with all others."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(picture((2, 2), (9, 9, 9))).save(tmp_path / "one.png")
    whole = (tmp_path / "one.png").read_bytes()
    rows = []
    for i in range(3000):
        (tmp_path / "faces" / f"{i}.png").write_bytes(whole + rng.bytes(64))
        rows.append(f"faces/{i}.png,{('sad', 'happy')[i % 2]},{('train', 'test')[i % 10 == 0]},,{i}")
    text(tmp_path / "mine.csv", COLUMNS, *rows)
    begun = time.monotonic()
    assert looked().ok
    assert time.monotonic() - begun < 10


def test_one_file_with_two_labels(folder):
    text(folder / "mine.csv", COLUMNS, *ROWS, "a.mp4,happy,train,,a again", "b.mp4,happy,train,,b again")
    found = [f for f in looked().findings if f.kind == "contradiction"]
    assert [(f.split, f.id) for f in found] == [("train", "a again")]
    assert "a.mp4" in found[0].what
    assert "'happy'" in found[0].what
    assert "'sad'" in found[0].what
    assert [f.id for f in looked(quick=True).findings] == ["a again"]
    (folder / "link.mp4").symlink_to(folder / "d.mp4")
    text(folder / "mine.csv", COLUMNS, *ROWS, "link.mp4,sad,test,,link")
    assert [(f.kind, f.id) for f in looked().findings] == [("contradiction", "link")]


SEGMENTS = "path,start,end,label,split,id"


def test_segments_of_one_file_contradict_and_repeat_each_other_only_where_they_overlap(folder):
    (*rows,) = (
        "d.mp4,0,0.3,sad,train,a",
        "d.mp4,0.3,0.5,happy,train,b",
        "d.mp4,0.5,0.7,sad,val,c",
        "a.mp4,,,sad,test,d",
    )
    text(folder / "mine.csv", SEGMENTS, *rows)
    report = looked()
    assert report.findings == []
    assert not any("stand behind more than one" in note for note in report.notes)
    text(folder / "mine.csv", SEGMENTS, *rows, "d.mp4,0.2,0.4,happy,val,e")
    assert sorted((f.kind, f.id) for f in looked().findings) == [("contradiction", "e"), ("duplicate", "e")]


def test_segments_behind_the_end_of_their_file(folder):
    rows = ("d.mp4,0,0.5,sad,train,a", "d.mp4,3,4,sad,train,b", "d.mp4,0.5,9,sad,val,c", "a.mp4,,,sad,test,d")
    text(folder / "mine.csv", SEGMENTS, *rows)
    report = looked()
    found = [f for f in report.findings if f.kind == "segment outside the file"]
    assert [f.id for f in found] == ["b", "c"]
    assert "3 to 4 s" in found[0].what
    assert report.splits[0].seconds == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize(
    ("box", "outside"),
    [
        ((2, 2, 14, 14), False),
        ((-4, -4, 12, 12), False),
        ((20, 0, 28, 8), False),  # of a picture that is stored lying down
        ((100, 2, 120, 14), True),
        ((24, 12, 60, 40), True),
        ((-20, 0, -4, 16), True),
        ((float("nan"),) * 4, False),
    ],
)
def test_a_box_outside_its_picture(folder, box, outside):
    Image.fromarray(picture((16, 32), (1, 2, 3))).save(folder / "still.png")
    write_clip(folder / "wide.mp4", [picture((16, 32), (1, 2, 3))] * 3)
    clips = [
        Sample("still", image=folder / "still.png", facts={"face_box": Fact(list(box))}),
        Sample("clip", video=folder / "wide.mp4", facts={"face_box": Fact([[0, 0, 9, 9], box], per_frame=True)}),
    ]
    piece = Piece("dataset", "boxes", type("Settings", (), {}), lambda settings, split: clips)
    found = [f.id for f in check_data_set(Use(piece, None)).findings if f.kind == "box outside the picture"]
    assert found == (["still", "clip"] if outside else [])


def test_ids_of_two_splits_that_look_alike(folder):
    text(folder / "mine.csv", COLUMNS, *ROWS[:3], "d.mp4,happy,test,well,A")
    (note,) = (note for note in looked().notes if "ids of two splits" in note)
    assert "case only" in note
    assert "'a' in train" in note
    assert "'A' in test" in note
