"""MER2023 and MER2024: the release, and the copy of Emotion-LLaMA."""

from __future__ import annotations

import shutil

import pytest
from affectkit_plugins.datasets import mer2023, mer2024
from affectkit_plugins.datasets._published import MER6
from dataset_trees import NAMES, build, clips, survey, text
from dataset_trees import mer2023 as tree_2023
from dataset_trees import mer2024 as tree_2024

from affectkit.errors import InputError


def told(settings, split="train"):
    with pytest.raises(InputError) as caught:
        build(settings, split)
    return [str(p) for p in caught.value.problems]


@pytest.fixture
def root(tmp_path):
    tree_2023(tmp_path, 20)
    return tmp_path


def test_the_release(root):
    settings = mer2023.Settings(str(root))
    sizes = survey(settings).splits
    assert sizes == {"train": 18, "val": 2, "test1": 2, "test2": 2, "test3": 2, "test": 2}
    test = build(settings, "test")
    assert [s.id for s in test] == ["samplenew_30000000", "sample_30000001"]
    assert test.labels == MER6
    assert (test[0].label, test[0].video) == ("worried", root / "test3" / "samplenew_30000000.mp4")
    assert test[0].fact("published_label").value == "worried"
    train = build(settings, "train")
    assert train[0].video.parent.name == "train"
    assert not {s.id for s in train} & {s.id for s in build(settings, "val")}


def test_valence_is_a_fact_and_its_marks_are_none(root):
    settings = mer2023.Settings(str(root), test="test1")
    high, none = (s.fact("valence") for s in build(settings, "test"))
    assert (high.value, high.origin, none.value, none.origin) == (2.5, "label", None, "missing")
    low, empty = (s.fact("valence") for s in build(settings, "test2"))
    assert (low.value, empty.origin) == (-1.25, "missing")
    assert build(settings, "test3")[0].fact("valence").origin == "missing"


def test_the_copy_with_one_folder_and_a_list(root):
    clips(root / "video", ("samplenew_30000000",), ".avi")
    shutil.rmtree(root / "test3")
    text(root / "relative_test3_NCEV.txt", "samplenew_30000000 125 sad -10")
    settings = mer2023.Settings(str(root), files={"test3": "relative_test3_NCEV.txt"})
    (only,) = build(settings, "test")
    assert (only.label, only.video) == ("sad", root / "video" / "samplenew_30000000.avi")


def test_parts_that_are_not_there(root):
    for split in ("test1", "test2"):
        (root / f"{split}-label.csv").unlink()
    assert set(survey(mer2023.Settings(str(root))).splits) == {"train", "val", "test3", "test"}
    assert "there is no such file" in told(mer2023.Settings(str(root), files={"test1": "t1.csv"}))[0]
    assert "the split 'test' is empty" in told(mer2023.Settings(str(root), test="test2"), "test")[0]
    assert mer2023.Settings("x", files={"test4": "a"}).problems()[0][0] == "files"


def test_faults_come_with_their_line(root):
    text(root / "test3-label.csv", "name,discrete", "a,happy", "a,sad", "b,joy")
    file = root / "test3-label.csv"
    assert [p.split("\n")[0] for p in told(mer2023.Settings(str(root)))] == [
        f"{file}:3: the clip 'a' is there already, at {file}:2",
        f"{file}:4: unknown published label 'joy'",
    ]
    text(root / "test3-label.csv", "name,emotion", "a,happy")
    assert "unknown column: 'discrete'" in told(mer2023.Settings(str(root)))[0]


def test_a_wider_label_set(root):
    nine = (*MER6, "fear", "contempt", "doubt")
    assert build(mer2023.Settings(str(root), labels=nine), "test").labels == nine
    assert "is not in `data.labels`" in told(mer2023.Settings(str(root), labels=("happy",)))[0]


def test_2024(tmp_path):
    tree_2024(tmp_path)
    settings = mer2024.Settings(str(tmp_path), test="ov", ov_labels="check-openset.csv")
    assert survey(settings).splits == {"train": 5, "val": 1, "ov": 2, "test": 2}
    one, two = build(settings, "test")
    assert (one.label, one.fact("open_labels").value, two.fact("open_labels").value) == (None, ("sad", "hurt"), ())
    assert one.video == tmp_path / "video-unlabeled-with-test2noise" / f"{NAMES[6]}.mp4"
    train = build(settings, "train")
    assert {s.video.parent.name for s in train} == {"video-labeled"}
    text(tmp_path / "noise.csv", "name,discrete", f"{NAMES[8]},angry")
    noise = mer2024.Settings(str(tmp_path), noise_labels="noise.csv")
    assert [(s.id, s.label) for s in build(noise, "test")] == [(NAMES[8], "angry")]
    assert "unknown column: 'openset'" in told(mer2024.Settings(str(tmp_path), ov_labels="noise.csv"))[0]
