"""DFEW: folds, spellings of folders, numbers, codes, and clips that are folders of frames."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from affectkit_plugins.datasets.dfew import CODES, Settings, affectkit_pieces
from dataset_trees import build, dfew, survey, text
from PIL import Image

from affectkit.data import video as media
from affectkit.data.image import content
from affectkit.data.views import look
from affectkit.errors import InputError, MediaError
from affectkit.recipe.views import Frames, Wave
from affectkit.report.pictures import frames_for

FRAMES = "Clip/clip_224x224_16f"


@pytest.fixture
def root(tmp_path):
    dfew(tmp_path)
    return tmp_path


def told(settings, split="train"):
    with pytest.raises(InputError) as caught:
        build(settings, split)
    return [str(p) for p in caught.value.problems]


@pytest.mark.parametrize("spelling", ["(single-labeled)", "(single_labeled)", ""])
def test_folds_in_every_spelling(tmp_path, spelling):
    dfew(tmp_path, spelling, frames=False)
    for fold in (1, 5):
        settings = Settings(str(tmp_path), fold=fold)
        assert survey(settings).splits == {"train": 13, "val": 1, "test": 7}
        test = build(settings, "test")
        assert [s.id for s in test] == [f"{fold * 100 + i:05d}" for i in range(7)]
        assert tuple(s.label for s in test) == test.labels == tuple(CODES.values())
        assert [s.fact("published_label").value for s in test] == list("1234567")
        assert test[0].video == tmp_path / "Clip" / "original" / f"{fold * 100}.mp4"


def test_validation_is_cut_from_training(root):
    parts = {split: {s.id for s in build(Settings(str(root), val=0.5), split)} for split in ("train", "val", "test")}
    assert [len(p) for p in parts.values()] == [7, 7, 7]
    assert not parts["train"] & parts["val"]
    assert {s.label for s in build(Settings(str(root), val=0.5), "val")} == set(CODES.values())


def test_padded_names_and_avi(root):
    shutil.rmtree(root / "Clip" / "original")
    (root / "Clip" / "clip_224x224_avi").mkdir()
    (root / "Clip" / "clip_224x224_avi" / "00100.avi").touch()
    test = build(Settings(str(root), video="Clip/clip_224x224_avi"), "test")
    assert test[0].video.name == "00100.avi"
    assert not test[1].video.exists()
    assert "data.video: there is no folder" in told(Settings(str(root)))[0]


def test_a_folder_of_frames_is_a_clip(root):
    first = build(Settings(str(root), video=FRAMES), "test")[0]
    assert first.video == root / FRAMES / "00100"
    views = {"all": Frames(pick="all"), "last": Frames(count=1), "wave": Wave()}
    seen = look(first, views)
    # 10.png comes after 2.png
    assert [int(frame[0, 0, 0]) for frame in seen["all"].frames] == [20, 40, 200]
    assert seen["all"].indices.tolist() == [0, 1, 2]
    assert seen["last"].frames[0].shape == (12, 16, 3)
    assert seen["wave"] is None
    told_of = media.probe(first.video)
    assert (told_of.size, told_of.sound, told_of.seconds) == ((12, 16), False, None)


def test_a_report_shows_its_frames(root):
    assert len(frames_for(root / FRAMES / "00100", count=3)) == 3


def test_only_wanted_frames_are_decoded(root):
    folder = root / FRAMES / "00100"
    (folder / "2.png").write_bytes(b"broken")
    assert list(media.read(folder, lambda n: {0, n - 1}).frames) == [0, 2]
    with pytest.raises(MediaError, match=r"2\.png"):
        media.read(folder, range)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / ".2.png").touch()
    for read in (media.probe, lambda f: media.read(f, range), content):
        with pytest.raises(MediaError, match="holds no frame"):
            read(folder)


def test_the_content_of_a_folder_is_that_of_its_frames(root):
    folder = root / FRAMES / "00100"
    before = content(folder)
    shutil.copytree(folder, root / "copy")
    assert content(root / "copy") == before
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(root / "copy" / "10.png")
    assert content(root / "copy") != before


def test_copies_that_count_from_0(root):
    lists = root / "EmoLabel_DataSplit"
    for part in ("train", "test"):
        shutil.rmtree(lists / f"{part}(single-labeled)")
        text(root / f"{part}_set_1.csv", "video_name,label", *(f"{i:05d},{i % 7}" for i in range(7)))
    assert "label 0, which `data.codes: published` has not" in told(Settings(str(root)))[0]
    test = build(Settings(str(root), codes="minus_one"), "test")
    assert [(s.label, s.fact("published_label").value) for s in test[:2]] == [("happy", "1"), ("sad", "2")]
    text(root / "test_set_1.csv", "video_name,label", "1,7")
    assert "set `data.codes` to published" in told(Settings(str(root), codes="minus_one"))[0]


def test_faults(root, tmp_path):
    assert "set_1.csv: there is no such file" in told(Settings(str(root / "Clip"), video="original"))[0]
    text(root / "EmoLabel_DataSplit" / "test(single-labeled)" / "set_1.csv", "video_name,label", "1,8", "00001,2")
    found = told(Settings(str(root)))
    assert "set_1.csv:2: unknown published label '8'" in found[0]
    assert "set_1.csv:3: the clip '00001' is there already" in found[1]
    assert "write to the authors" in survey(Settings(str(tmp_path / "nowhere"))).note


HEAD = ["1happy", "2sad", "3neutral", "4angry", "5surprise", "6disgust", "7fear", "order", "label"]


@pytest.mark.parametrize("head", [HEAD, [*HEAD[7:], *HEAD[:7]], None])
def test_votes(root, head):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    order = [HEAD.index(name) for name in head or HEAD]
    if head:
        book.active.append(head)
    for i in range(8):  # the last one has no single label
        row = [*(8 if i == k else k % 2 for k in range(7)), 100 + i, (i + 1) % 8]
        book.active.append([row[k] for k in order])
    (root / "Annotation").mkdir()
    book.save(root / "Annotation" / "annotation.xlsx")
    settings = Settings(str(root), votes="Annotation/annotation.xlsx")
    test = build(settings, "test")
    assert test[2].fact("votes").value == (0, 1, 8, 1, 0, 1, 0)
    assert test.notes == ("14 clips have no row in Annotation/annotation.xlsx",)
    text(root / "EmoLabel_DataSplit" / "test(single-labeled)" / "set_1.csv", "video_name,label", "100,2")
    assert "the clip 00100 has the label 1 here and 2 in the fold" in told(settings)[0]
    assert "there is no such file" in told(Settings(str(root), votes="Annotation/annotations.xlsx"))[0]
    (root / "no.xlsx").write_bytes(b"no workbook")
    assert "no.xlsx: cannot be read as a workbook" in told(Settings(str(root), votes="no.xlsx"))[0]


def test_the_piece_belongs_to_the_module_that_offers_it():
    (piece,) = affectkit_pieces()
    assert piece.build.__module__ == piece.survey.__module__ == "affectkit_plugins.datasets.dfew"
