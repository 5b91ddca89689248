"""RAF-DB, FERPlus, AffectNet, FERV39k, MAFW and FERID in their published layouts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from affectkit_plugins.datasets import affectnet, ferid, ferplus, ferv39k, mafw, raf_db
from affectkit_plugins.datasets.ferplus import distribution
from dataset_trees import FER_VOTES, TREES, build, pictures, survey, text
from dataset_trees import raf_db as tree_raf_db

from affectkit.errors import InputError


def told(settings, split="train"):
    with pytest.raises(InputError) as caught:
        build(settings, split)
    return [str(p) for p in caught.value.problems]


def opened(name, root):
    TREES[name](root)
    return str(root)


def test_raf_db(tmp_path):
    settings = raf_db.Settings(opened("raf_db", tmp_path), attributes=True)
    assert survey(settings).splits == {"train": 6, "val": 1, "test": 7}
    test = build(settings, "test")
    assert tuple(s.label for s in test) == test.labels == raf_db.BASIC
    one = test[1]
    assert (one.id, one.image.name, one.image.is_file()) == ("test_0002", "test_0002_aligned.jpg", True)
    assert [one.fact(n).value for n in ("published_label", "gender", "race", "age")] == ["2", None, "Asian", "40-69"]
    assert one.video is None


def test_raf_db_compound_and_originals(tmp_path):
    tree_raf_db(tmp_path, "compound")
    pictures(tmp_path / "compound" / "Image" / "original", ["test_0001.jpg"])
    test = build(raf_db.Settings(str(tmp_path), part="compound", images="original"), "test")
    assert (len(test.labels), test[0].label, test[0].image.is_file()) == (11, "happily surprised", True)
    assert "list_patition_label.txt: there is no such file" in told(raf_db.Settings(str(tmp_path)))[0]
    list_ = tmp_path / "compound" / "EmoLabel" / "list_patition_label.txt"
    text(list_, "train_00001.jpg 12", "other_1.jpg 1", "train_00001.jpg 1")
    found = told(raf_db.Settings(str(tmp_path), part="compound", images="original"))
    assert [p.split("\n")[0].removeprefix(str(list_)) for p in found] == [
        ":1: unknown published label '12'",
        ":2: the name 'other_1.jpg' begins with neither train_ nor test_",
        f":3: the clip 'train_00001' is there already, at {list_}:1",
    ]


SHARES = {
    "majority": [{0: 1}, {1: 1}, None, None, {2: 1}],
    "probability": [{0: 1}, {1: 1}, {0: 0.4, 3: 0.3, 4: 0.3}, None, {2: 5 / 9, 6: 4 / 9}],
    "multi_target": [{0: 1}, {1: 1}, {0: 0.4, 3: 0.3, 4: 0.3}, None, {2: 5 / 9, 6: 4 / 9}],
    "most_votes": [
        {0: 0.8, 1: 0.2}, {0: 0.1, 1: 0.8, 2: 0.1}, {0: 0.4, 3: 0.3, 4: 0.3}, {0: 0.5, 1: 0.5}, {2: 5 / 9, 6: 4 / 9},
    ],
}  # fmt: skip


@pytest.mark.parametrize("rule", SHARES)
def test_votes_by_rule(rule):
    for votes, wanted in zip(FER_VOTES.values(), SHARES[rule], strict=True):
        found = distribution(votes, rule)
        assert found == (None if wanted is None else pytest.approx([wanted.get(i, 0) for i in range(8)]))


def test_votes_at_the_borders():
    assert distribution((4, 0, 0, 0, 0, 0, 0, 0, 4, 2), "probability") is None  # 4 of 10: the tie with unknown ends it
    assert distribution((6, 0, 0, 0, 0, 0, 0, 0, 4, 0), "probability") == (1, 0, 0, 0, 0, 0, 0, 0)
    assert distribution((3, 3, 2, 2, 0, 0, 0, 0, 0, 0), "probability") is None  # four: a tie may add too many
    assert distribution((5, 0, 0, 0, 0, 0, 0, 0, 5, 0), "multi_target") == (1, 0, 0, 0, 0, 0, 0, 0)
    assert distribution((5, 5, 0, 0, 0, 0, 0, 0, 0, 0), "majority") is None
    for rule in SHARES:
        assert distribution((0,) * 9 + (10,), rule) is None


def test_ferplus(tmp_path):
    settings = ferplus.Settings(opened("ferplus", tmp_path), rule="most_votes")
    assert survey(settings).splits == {"train": 5, "val": 5, "test": 5}
    val = build(settings, "val")
    assert val[1].image == tmp_path / "FER2013Valid" / "fer0000011.png"
    assert val[1].image.is_file()
    assert [s.label for s in val] == ["neutral", "happy", "neutral", "neutral", "surprise"]
    assert val[4].fact("votes").value == (0, 0, 5, 0, 0, 0, 4, 0, 0, 0)
    assert val[4].labels == {"surprise": pytest.approx(5 / 9), "fear": pytest.approx(4 / 9)}
    assert all(sum(s.labels.values()) == pytest.approx(1) for s in val)
    assert "'surprise' is not in `data.labels`" in "".join(told(replace(settings, labels=("neutral", "happy"))))
    assert "6 pictures are left out" in build(ferplus.Settings(str(tmp_path)), "val").notes[0]


def test_ferplus_from_the_table_of_votes(tmp_path):
    head = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    names = iter(FER_VOTES)
    rows = [f"{u},{n},{','.join(map(str, FER_VOTES[n]))}" for u, n in zip(ferplus.USAGES, names, strict=False)]
    text(tmp_path / "data" / "fer2013new.csv", head, *rows, "Training,,0,0,0,0,0,0,0,0,0,10")
    (tmp_path / "data" / "FER2013Test").mkdir()
    settings = ferplus.Settings(str(tmp_path), rule="most_votes")
    assert survey(settings).splits == {"train": 1, "val": 1, "test": 1}
    assert build(settings, "test")[0].image == tmp_path / "data" / "FER2013Test" / "fer0000002.png"
    text(tmp_path / "data" / "fer2013new.csv", head, "Training,a.png,1,2", "Public,b.png,1")
    assert ["ten counts" in p or "the usage 'Public' is unknown" in p for p in told(settings)] == [True, True]


def test_affectnet_arrays(tmp_path):
    settings = affectnet.Settings(opened("affectnet", tmp_path), dimensions=True)
    assert survey(settings).splits == {"train": 7, "val": 1, "test": 16}
    test = build(settings, "test")
    assert [s.id for s in test] == [str(n) for n in range(8, 24)]
    assert tuple(s.label for s in test)[:8] == test.labels == affectnet.LABELS
    assert [test[2].fact(n).value for n in ("published_label", "valence", "arousal")] == ["2", 0.1, -0.1]
    assert test[2].numbers == {"valence": 0.1, "arousal": -0.1}
    assert test.numbers == {"valence": (-1, 1), "arousal": (-1, 1)}
    assert test[2].image.is_file()
    seven = build(affectnet.Settings(str(tmp_path), classes=7, val=0), "train")
    assert (len(seven), "contempt" in seven.labels, seven[3].label) == (7, False, "surprise")
    assert seven.notes == ("pictures of other classes are left out: 3 contempt",)


def test_affectnet_is_read_anew_when_it_changes(tmp_path):
    settings = affectnet.Settings(opened("affectnet", tmp_path))
    build(settings, "test")
    np.save(tmp_path / "val_set" / "annotations" / "99_exp.npy", np.array(5.0))
    assert [(s.id, s.label) for s in build(settings, "test")][16:] == [("99", "disgust")]


@pytest.mark.parametrize("headed", [True, False])
def test_affectnet_lists(tmp_path, headed):
    marks = "1.5;2.5"
    rows = [
        f"1/a.jpg,10,20,30,40,{marks},0,0.5,-0.25", f"1/b.jpg,10,20,-1,0,{marks},7,0.1,0.1",
        "2/c.JPG,NULL,NULL,NULL,NULL,NULL,10,-2,-2", f"2/d.jpg,1,1,2,2,{marks},6,-2,-2",
    ]  # fmt: skip
    lists = tmp_path / "Manually_Annotated_file_lists"
    text(lists / "training.csv", ",".join(affectnet.COLUMNS), *rows)
    text(lists / "validation.csv", *([",".join(affectnet.COLUMNS)] if headed else []), *rows)
    test = build(affectnet.Settings(str(tmp_path), val=0), "test")
    assert [(s.id, s.label) for s in test] == [("1/a", "neutral"), ("1/b", "contempt"), ("2/d", "angry")]
    assert test[0].image == tmp_path / "Manually_Annotated_Images" / "1" / "a.jpg"
    assert test[0].fact("face_box").value == (10, 20, 40, 60)
    assert [test[0].fact(n).value for n in ("valence", "arousal")] == [0.5, -0.25]
    assert (test[0].numbers, test[2].numbers) == ({"valence": 0.5, "arousal": -0.25}, {})
    assert {test[1].fact("face_box").origin, test[2].fact("valence").origin} == {"missing"}
    assert test.notes == ("pictures of other classes are left out: 2 non-face",)
    text(lists / "validation.csv", rows[0].replace(",0,0.5", ",11,0.5"), "1/a.jpg,1,2")
    found = told(affectnet.Settings(str(tmp_path)))
    assert "validation.csv:1: unknown published label '11'" in found[0]
    assert "validation.csv:2: has 3 cells, not 9" in found[1]


def test_ferv39k(tmp_path):
    settings = ferv39k.Settings(opened("ferv39k", tmp_path))
    assert survey(settings).splits == {"train": 13, "val": 1, "test": 7}
    test = build(settings, "test")
    assert tuple(s.label for s in test) == test.labels == ferv39k.LABELS
    assert (test[5].id, test[5].fact("scene").value) == ("Action/Sad/0003", "Action")
    assert test[5].video == tmp_path / "2_ClipsforFaceCrop" / "Action" / "Sad" / "0003"
    assert len(build(ferv39k.Settings(str(tmp_path), scene="Action", val=0), "train")) == 7
    assert "train_War.csv: there is no such file" in told(ferv39k.Settings(str(tmp_path), scene="War"))[0]
    text(tmp_path / "4_setups" / "All_scenes" / "test_All.csv", "Action/Sad/0003 Happy")
    assert build(settings, "test").notes[0].startswith("1 clips have another label")


def test_mafw(tmp_path):
    settings = mafw.Settings(opened("mafw", tmp_path), fold=2, captions=True, val=0)
    assert survey(settings).splits == {"train": 22, "val": 0, "test": 11}
    test = build(settings, "test")
    assert tuple(s.label for s in test) == test.labels == mafw.LABELS
    assert [s.answers for s in test[3:5]] == [{"reason": "He happiness."}, {}]
    assert (test[0].id, test[0].video) == ("00012", tmp_path / "data" / "clips" / "00012.mp4")
    chinese = build(mafw.Settings(str(tmp_path), fold=2, captions=True, language="chinese"), "test")
    assert chinese[0].answers == {"reason": "他 00012.mp4"}
    assert "reason" not in build(mafw.Settings(str(tmp_path)), "test")[0].answers


def test_mafw_faults(tmp_path):
    settings = mafw.Settings(opened("mafw", tmp_path), captions=True)
    lists = tmp_path / "Train & Test Set" / "single"
    text(lists / "no_caption" / "set_1" / "test.txt", "00001.mp4 joy")
    assert "test.txt:1: unknown published label 'joy'" in told(settings)[0]
    (lists / "with_caption" / "set_1" / "train.txt").write_bytes(b"a\tb\n\xff\xff\tc\n")
    assert "train.txt:2: is neither UTF-8 nor GBK text" in told(settings)[0]
    assert "set_4" in told(mafw.Settings(str(tmp_path / "data"), fold=4, video="clips"))[0]


def test_ferid(tmp_path):
    settings = ferid.Settings(opened("ferid", tmp_path), val=0)
    train = build(settings, "train")
    assert len(train) == 12
    still, clip = train[1], train[9]
    assert (still.id, still.label, still.image) == ("t0", "happy", tmp_path / "RAF-DB" / "0.jpg")
    assert still.answers == {"reason": "The brows 0."}
    assert (clip.label, clip.video) == ("anxiety", tmp_path / "MAFW" / "0.mp4")
    assert clip.answers == {"reason": "The brows 4.", "reason_2": "Nobody knows 4."}
    assert (clip.fact("question").value, clip.fact("question_2").value) == ("Which expression?", "Why?")
    assert clip.turns == (("Which expression?", "The brows 4."), ("Why?", "Nobody knows 4."))
    assert (len(still.turns), train[0].turns) == (1, ())
    short = build(ferid.Settings(str(tmp_path), kinds=("category",), datasets=("MAFW",), val=0), "train")
    assert [(s.id, s.answers, s.fact("published_label").value) for s in short] == [
        ("c4", {}, "anxiety"), ("c5", {}, "anxiety"),
    ]  # fmt: skip


def test_ferid_keeps_the_items_of_a_picture_together(tmp_path):
    settings = ferid.Settings(opened("ferid", tmp_path), test=0.3, val=0.2)
    parts = [{s.image or s.video for s in build(settings, split)} for split in ("train", "val", "test")]
    assert [len(p) for p in parts] == [3, 1, 2]
    assert len(set.union(*parts)) == 6


def test_ferid_splits_and_faults(tmp_path):
    records = [
        {"id": i, "image": f"{i}.jpg", "label": "fear", "split": s} for i, s in enumerate(("train", "valid", "test"))
    ]
    text(tmp_path / "ferid.json", json.dumps(records))
    assert survey(ferid.Settings(str(tmp_path))).splits == {"train": 1, "val": 1, "test": 1}
    text(
        tmp_path / "ferid.json",
        json.dumps([*records, {"id": "x"}, {"image": "a.jpg", "label": "odd", "split": "exam"}]),
    )
    found = told(ferid.Settings(str(tmp_path)))
    assert [p.split("\n")[0].partition("ferid.json")[2] for p in found] == [
        " entry 4: names neither an image nor a video",
        " entry 5: unknown published label 'odd'",
        ": 1 records have the split 'exam'",
    ]
    text(tmp_path / "ferid.json", "{}")
    assert "wants a list of objects" in told(ferid.Settings(str(tmp_path)))[0]
