"""The table data set: columns found, splits dealt out, every problem with its line."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from affectkit_plugins.datasets.table import Settings, build

from affectkit.errors import InputError

REAL = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "real"


@pytest.fixture
def table(tmp_path):
    """Writes a table and an (empty) file for every path that it names."""

    def write(text, name="data.csv", files=("a.mp4", "b.mp4", "c.jpg", "d.wav")):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def problems(settings, split="train"):
    with pytest.raises(InputError) as caught:
        build(settings, split)
    return [str(p) for p in caught.value.problems]


def test_columns_by_their_usual_names(table):
    path = table(
        "\ufeffFile Name,Emotion,Sentence,Set,Reason,Name,Age,Gender,x0,y0,x1,y1\n"
        'a.mp4,happy,"Well, yes",training,"Up go\nthe corners",one,20-29,female,1,2,30,40\n'
        "b.mp4,sad,,train,,two,,,,,,\n"
        "c.jpg,sad,,dev,,three,,,,,,\n"
        "d.wav,happy,,TEST,,four,,,,,,\n"
    )
    train = build(Settings(path), "train")
    assert (len(train), train.labels, train.splits) == (2, ("happy", "sad"), {"train": 2, "val": 1, "test": 1})
    one, two = train
    assert one.id == "one"
    assert one.video == Path(path).parent / "a.mp4"
    assert (one.label, one.subtitle, one.answers) == ("happy", "Well, yes", {"reason": "Up go\nthe corners"})
    assert {name: f.value for name, f in one.facts.items()} == {
        "age": "20-29", "gender": "female", "face_box": (1, 2, 30, 40),
    }  # fmt: skip
    assert (two.subtitle, two.answers, two.facts) == ("", {}, {})
    assert build(Settings(path), "val")[0].image.name == "c.jpg"
    assert build(Settings(path), "test")[0].audio.name == "d.wav"


def test_named_columns_root_labels_and_rename(table, tmp_path):
    path = table("who;clip;feeling;text\n1;b.mp4;0;x\n2;a.mp4;1;y\n", files=["deep/a.mp4", "deep/b.mp4"])
    settings = Settings(
        path, root=str(tmp_path / "deep"), columns={"label": "feeling", "subtitle": "", "id": "who"},
        labels=("neutral", "angry"), rename={"0": "neutral", "1": "angry"}, val=0, test=0, facts=("text",),
    )  # fmt: skip
    data = build(settings, "train")
    assert [s.label for s in data] == ["neutral", "angry"]
    assert [s.id for s in data] == ["1", "2"]
    assert [s.subtitle for s in data] == ["", ""]
    assert data[0].fact("text").value == "x"
    assert data.labels == ("neutral", "angry")
    assert data[0].video == tmp_path / "deep" / "b.mp4"


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "json", "parquet"])
def test_other_kinds_of_table(table, tmp_path, ending):
    rows = [
        {"path": "a.mp4", "label": "sad", "box": [1, 2, 3, 4], "split": "train", "english": None, "age": None},
        {"path": "b.mp4", "label": "fear", "split": "train", "age": "30"},
    ]
    path = table("", f"data.{ending}")
    if ending == "parquet":
        arrow = pytest.importorskip("pyarrow", reason="extra parquet", exc_type=ImportError)
        from pyarrow import parquet

        parquet.write_table(arrow.Table.from_pylist(rows), path)
    else:
        text = json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows))
        Path(path).write_text(text)
    one, two = build(Settings(path, val=0), "train")
    assert (one.id, two.id, two.label) == ("a", "b", "fear")
    assert two.facts["age"].value == "30"
    assert "face_box" not in two.facts
    assert one.facts["face_box"].value == (1, 2, 3, 4)
    assert one.subtitle == ""


def test_ids_from_files_are_made_unique(table):
    path = table("path,split,label\nx/a.mp4,train,1\ny/a.mp4,train,1\nb.mp4,train,2\nb.mp4,train,2\n",
                 files=["x/a.mp4", "y/a.mp4", "b.mp4"])  # fmt: skip
    assert [s.id for s in build(Settings(path, val=0), "train")] == ["x/a.mp4", "y/a.mp4", "b.mp4", "b.mp4#2"]


def numbered(count, people=0):
    head = "path,label" + (",speaker" if people else "")
    rows = [f"a.mp4,{'xy'[i % 2]}" + (f",p{i % people}" if people else "") for i in range(count)]
    return "\n".join([head, *rows]) + "\n"


def test_splits_by_hash(table):
    path = table(numbered(100))
    parts = {s: [x.id for x in build(Settings(path), s)] for s in ("train", "val", "test")}
    assert {s: len(p) for s, p in parts.items()} == {"train": 70, "val": 10, "test": 20}
    assert len({i for p in parts.values() for i in p}) == 100
    assert parts["test"] == [x.id for x in build(Settings(path), "test")]
    assert parts["test"] != [f"a#{i}" for i in range(81, 101)]  # not simply the last ones


def test_people_do_not_cross_splits(table):
    path = table(numbered(90, people=9))
    where = {}
    for split in ("train", "val", "test"):
        for line in build(Settings(path, facts=("speaker",)), split):
            assert line.fact("person") == line.fact("speaker")
            where.setdefault(line.fact("person").value, set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert Counter(next(iter(s)) for s in where.values())["train"] >= 6


def test_validation_is_cut_from_training_where_the_table_has_none(table):
    text = numbered(50).replace("label", "label,split").replace(",x", ",x,train").replace(",y", ",y,test")
    counts = build(Settings(table(text), val=0.2), "val").splits
    assert counts == {"train": 20, "val": 5, "test": 25}


def test_own_words_for_splits(table):
    path = table("path,label,fold\na.mp4,x,1\nb.mp4,y,2\nc.jpg,x,3\n")
    mapped = Settings(path, splits={"1": "train", "2": "conflict", "3": ""}, val=0)
    assert build(mapped, "conflict").splits == {"train": 1, "conflict": 1}
    assert len(found := problems(Settings(path))) == 3
    assert "data.csv:2: has '1' for a split" in found[0]


def test_missing_file_names_the_tables_beside_it(table):
    path = table(numbered(2))
    (text,) = problems(Settings(path.replace("data.csv", "date.csv")))
    assert "there is no such file" in text
    assert "data.csv" in text
    assert "unknown kind of table '.txt'" in problems(Settings(table("x", "a.txt")))[0]


def test_no_path_column_names_those_that_exist(table):
    (text,) = problems(Settings(table("who,label\n1,x\n")))
    assert "known: who, label" in text
    (text,) = problems(Settings(table(numbered(2)), columns={"path": "pth"}))
    assert "did you mean 'path'?" in text
    assert "unknown kind of column 'lable'" in problems(Settings(table(numbered(2)), columns={"lable": "path"}))[0]


def test_unknown_label_has_its_line_and_the_nearest(table):
    path = table("path,label\na.mp4,happy\nb.mp4,hapy\n")
    (text,) = problems(Settings(path, labels=("happy", "sad")))
    assert text.startswith(f"{path}:3: unknown label 'hapy'")
    assert "did you mean 'happy'?" in text


def test_labels_that_differ_in_case_only(table):
    (text,) = problems(Settings(table("path,label\na.mp4,Happy\nb.mp4,happy\n")))
    assert "Happy (1), happy (1)" in text
    assert build(Settings(table("path,label\na.mp4,Happy\nb.mp4,happy\n"), rename={"Happy": "happy"}, val=0, test=0),
                 "train").labels == ("happy",)  # fmt: skip


def test_duplicate_ids(table):
    path = table("id,path,label\n1,a.mp4,x\n1,b.mp4,y\n")
    (text,) = problems(Settings(path))
    assert text.startswith(f"{path}:3: the id '1' is taken already, at {path}:2")


def test_broken_lines_are_all_told_with_their_numbers(table):
    path = table('path,label\na.mp4,x\nb.mp4\nc.jpg,y,z\n"d.wav"x,y\n')
    found = problems(Settings(path))
    assert [f.split(": ")[0] for f in found] == [f"{path}:3", f"{path}:4", f"{path}:5"]
    path = table('{"path": "a.mp4"}\n{"path": \n[1]\n', "data.jsonl")
    assert [f.split(": ")[0] for f in problems(Settings(path))] == [f"{path}:2", f"{path}:3"]
    (text,) = problems(Settings(table("path,path\n1,2\n")))
    assert "more than once" in text
    Path(path := table("")).write_bytes(b"path,label\na.mp4,\xff\n")
    assert f"{path}:2: is not UTF-8" in problems(Settings(path))[0]


def test_several_problems_at_once_and_a_cap(table):
    found = problems(Settings(table("path,label,box\na.txt,x,\n,y,\nc.jpg,x,4 3 2 1\n")))
    assert len(found) == 3
    assert "'.txt' is of no video" in found[0]
    assert "has no path" in found[1]
    assert "'4 3 2 1'" in found[2]
    found = problems(Settings(table("path,label\n" + "a.txt,x\n" * 50)))
    assert len(found) == 21
    assert "30 more problems" in found[-1]


def test_empty_split_names_those_that_are_not(table):
    (text,) = problems(Settings(table("path,label,split\na.mp4,x,train\n"), val=0), "test")
    assert "the split 'test' is empty; the table has train (1)" in text
    assert "no rows at all" in problems(Settings(table("path,label\n")))[0]


def test_wrong_root_is_told_before_anything_runs(table, tmp_path):
    (text,) = problems(Settings(table(numbered(3)), root=str(tmp_path / "elsewhere")))
    assert "none of the first 3 media files is there" in text
    assert "set `data.root`" in text
    # one missing file costs its sample only
    assert len(build(Settings(table("path,label\na.mp4,x\nnone.mp4,y\n"), val=0, test=0), "train")) == 2


def test_settings_that_mean_nothing():
    assert Settings("x", val=0.6, test=0.6).problems()
    assert Settings("x", labels=("a", "a")).problems()
    assert not Settings("x").problems()


@pytest.mark.parametrize(
    ("name", "kind", "sizes", "labels"),
    [("photos", "image", (420, 79, 101), 6), ("speech", "audio", (16, 8, 8), 8)],
)
def test_real_tables_with_only_a_path(name, kind, sizes, labels):
    path = REAL / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    splits = [build(Settings(str(path)), s) for s in ("train", "val", "test")]
    assert tuple(map(len, splits)) == sizes
    assert len(splits[0].labels) == labels
    assert all(getattr(s, kind).is_file() for s in splits[2])


WHOLE = {"val": 0.0, "test": 0.0}


def test_words_for_nothing_are_nothing_and_said(table):
    path = table("path,label,subtitle,person,age\na.mp4,happy,nan,None,NULL\nb.mp4,nan,hello,p1,20-29\n")
    one, two = found = build(Settings(path, **WHOLE), "train")
    assert (found.labels, one.subtitle, one.facts, two.label) == (("happy",), "", {}, None)
    assert [note.partition(": ")[2] for note in found.notes] == [
        "cells of 'age' that say 'NULL' and count as empty: 1",
        "cells of 'label' that say 'nan' and count as empty: 1",
        "cells of 'person' that say 'None' and count as empty: 1",
        "cells of 'subtitle' that say 'nan' and count as empty: 1",
    ]
    named = build(Settings(path, labels=("happy", "nan"), **WHOLE), "train")
    assert named[1].label == "nan"  # somebody says that it is one


def test_whole_numbers_that_were_written_as_floats_meet_their_names(table):
    path = table("path,label\na.mp4,1.0\nb.mp4,0.0\nc.jpg,1\n")
    found = build(Settings(path, rename={"1": "happy", "0": "sad"}, **WHOLE), "train")
    assert [s.label for s in found] == ["happy", "sad", "happy"]


@pytest.mark.parametrize("other", ["happy.", "ｈａｐｐｙ", "h\u0430ppy", "“happy”"])
def test_labels_that_look_the_same_are_told_with_the_way_to_join_them(table, other):
    path = table(f"path,label\na.mp4,happy\nb.mp4,{other}\nc.jpg,happy\n")
    (text,) = problems(Settings(path, **WHOLE))
    assert f"happy (2), {other} (1)" in text
    joined = json.loads(text[text.index("rename: {") + 8 : -1])
    assert build(Settings(path, rename=joined, **WHOLE), "train").labels == ("happy",)


def test_signs_that_nobody_sees_are_no_part_of_a_label(table):
    path = table("path,label\na.mp4,happy\nb.mp4,happy\u200b\n")
    assert build(Settings(path, **WHOLE), "train").labels == ("happy",)


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("clips\\a.mp4", "clips/a.mp4"),
        ("clips/\u00e9.mp4", "clips/e\u0301.mp4"),
        ("clips/e\u0301.mp4", "clips/\u00e9.mp4"),
        ("Clips/A.MP4", "clips/a.mp4"),
        ("clips/a\u200b.mp4", "clips/a.mp4"),
        ("C:\\data\\clips\\a.mp4", "clips/a.mp4"),
        ("D:/data/clips/a.mp4", "clips/a.mp4"),
        ("/Volumes/USB/clips/a.mp4", "clips/a.mp4"),
        ("file://{root}/clips/a%20b.mp4", "clips/a b.mp4"),
    ],
)
def test_paths_as_other_systems_write_them_are_found(table, tmp_path, written, there):
    path = table(f"path,label\n{written.format(root=tmp_path)},happy\n", files=[there])
    found = build(Settings(path, **WHOLE), "train")
    assert found[0].video == tmp_path / there
    assert "otherwise than they are written" in found.notes[0]


@pytest.mark.parametrize("written", ["a:b.mp4", "{root}/b.mp4"])
def test_paths_that_are_of_this_machine_are_not_looked_for_elsewhere(table, tmp_path, written):
    path = table(
        f"path,label\n{written.format(root=tmp_path / 'other')},x\nc.mp4,y\n", files=["b.mp4", "c.mp4", "other/d.mp4"]
    )
    found = build(Settings(path, **WHOLE), "train")
    assert (found[0].video.name, found[0].video.exists()) == (written.split("/")[-1], False)


def test_a_path_that_could_be_two_files_is_left_as_it_is(table, tmp_path):
    path = table("path,label\nA.mp4,x\nb.mp4,y\n", files=["a.mp4", "ａ.mp4", "b.mp4", "A.MP4"])
    assert build(Settings(path, **WHOLE), "train")[0].video == tmp_path / "A.mp4"


def test_names_that_no_file_can_have(table):
    found = problems(Settings(table(f"path,label\na\0.mp4,x\n{'long' * 80}.mp4,y\n")))
    assert ":2: the path" in found[0]
    assert "NUL" in found[0]
    assert ":3: the path" in found[1]
    assert "255 bytes" in found[1]


@pytest.mark.parametrize("head", ["x,y,w,h", "xmin,ymin,width,height", "face_x,face_y,face_w,face_h"])
def test_boxes_as_a_corner_and_a_size(table, head):
    path = table(f"path,label,{head}\na.mp4,happy,40,50,20,30\nb.mp4,sad,,,,\n")
    one, two = build(Settings(path, **WHOLE), "train")
    assert one.facts["face_box"].value == (40, 50, 60, 80)
    assert "face_box" not in two.facts


def test_corners_that_are_counted_from_one(table):
    found = build(Settings(table("path,label,x1,y1,x2,y2\na.mp4,x,1,2,30,40\n"), **WHOLE), "train")
    assert (found[0].facts["face_box"].value, found.notes) == ((1, 2, 30, 40), ())


def test_boxes_that_mean_no_part_of_the_picture(table):
    found = problems(
        Settings(table("path,label,box\na.mp4,x,0.25 0.4 0.375 0.6\nb.mp4,x,-9 -9 -2 -2\nc.jpg,x,5 5 5 9\n"))
    )
    assert "fractions" in found[0]
    assert "outside the picture" in found[1]
    assert "x0 < x1" in found[2]


def test_half_a_box_and_a_second_column_of_labels_are_said(table):
    found = build(Settings(table("path,label,emotion,x0,y0\na.mp4,x,y,1,2\n"), **WHOLE), "train")
    assert found[0].label == "x"
    assert "the columns x0, y0 are no whole face box" in found.notes[0]
    assert "labels are those of the column 'label', not of 'emotion'" in found.notes[1]


def test_segments_of_longer_files(table):
    path = table("path,start,end,label\na.mp4,0.0,3,happy\na.mp4,3.0,0:00:06.5,sad\nb.mp4,,,sad\nb.mp4,1:02,,sad\n")
    found = build(Settings(path, **WHOLE), "train")
    assert [(s.start, s.end) for s in found] == [(0, 3), (3, 6.5), (None, None), (62, None)]
    assert len({s.id for s in found}) == 4
    assert "a part of their file, from `start` to `end`: 3" in found.notes[0]
    for odd in ("1_0", "0:-1:70", "1:2:3:4", "1e999", "nan:1"):
        assert "is no time" in problems(Settings(table(f"path,start,label\na.mp4,{odd},x\n")))[0]
    wrong = problems(Settings(table("path,start,end,label\na.mp4,3,2,x\nb.mp4,soon,9,x\nc.jpg,-1,2,x\n")))
    assert "ends at 2 s and starts at 3 s" in wrong[0]
    assert "the start 'soon' is no time" in wrong[1]
    assert "the start '-1' is no time" in wrong[2]


@pytest.mark.parametrize(
    ("head", "row", "told"),
    [("start_ms,end_ms", "0,500", "start_ms, end_ms"), ("start,duration", "1,2", "duration"), ("duration", "2", "")],
)
def test_columns_of_parts_that_are_not_read_are_said(table, head, row, told):
    notes = build(Settings(table(f"path,label,{head}\na.mp4,x,{row}\n"), **WHOLE), "train").notes
    said = [note for note in notes if "are not read as a part of a file" in note]
    assert [told in note for note in said] == ([True] if told else [])


def test_labels_that_are_nearly_the_same_are_said(table):
    notes = build(Settings(table("path,label\na.mp4,happy\nb.mp4,happpy\n"), **WHOLE), "train").notes
    assert "the labels 'happpy' and 'happy' are nearly the same" in notes[0]
