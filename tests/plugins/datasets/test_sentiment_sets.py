"""CMU-MOSI, CMU-MOSEI, CH-SIMS and CH-SIMS v2 in the forms in which they are handed out."""

from __future__ import annotations

import pytest
from affectkit_plugins.datasets.sentiment import CORPORA, affectkit_pieces
from affectkit_plugins.metrics._polarity import as_value
from dataset_trees import TREES, ch_sims_v2, corpora, mmsa, text, values

from affectkit.errors import InputError

PIECES = {p.name: p for p in affectkit_pieces()}
ONLY = {"val": values(("v",)), "test": values(("t",))}


def opened(name, root, split="train", **settings):
    given = TREES[name](root)
    return PIECES[name].build(CORPORA[name][0](**{**given, **settings}), split)


def told(name, root, **settings):
    with pytest.raises(InputError) as caught:
        PIECES[name].build(CORPORA[name][0](str(root), **settings), "train")
    return [str(p) for p in caught.value.problems]


@pytest.mark.parametrize("name", CORPORA)
def test_the_value_is_an_answer_that_metrics_read(name, tmp_path):
    for split in ("train", "val", "test"):
        clips = opened(name, tmp_path, split)
        assert clips.labels == ()
        assert clips.numbers == {"sentiment": (-1, 1) if name.startswith("ch_") else (-3, 3)}
        for clip in clips:
            assert clip.label is None
            assert as_value(clip.answers["sentiment"]) == pytest.approx(float(clip.fact("published_label").value))
            value = as_value(clip.answers["sentiment"])
            assert clip.numbers == ({"sentiment": value} if abs(value) <= clips.numbers["sentiment"][1] else {})
            assert clip.video.is_file(), clip.video


def test_labels_of_the_sign(tmp_path):
    train = opened("cmu_mosi", tmp_path, classes="three")
    assert train.labels == ("negative", "neutral", "positive") == tuple(s.label for s in train)
    train = opened("cmu_mosi", tmp_path, classes="two")
    assert train.labels == ("negative", "positive")
    assert [s.label for s in train] == ["negative", None, "positive"]


def test_a_processed_copy(tmp_path):
    test = opened("cmu_mosi", tmp_path, "test")
    assert [s.answers["sentiment"] for s in test] == ["-3", "0", "1.5"]
    assert (test[0].id, test[0].subtitle, test[2].subtitle) == ("-test_x_1", "words, 6", "")
    assert test[0].audio == tmp_path / "subaudio" / "-test_x_1.wav"


def test_mmsa_and_the_release_s_transcripts(tmp_path):
    val = opened("cmu_mosei", tmp_path, "val")
    assert [(s.id, s.subtitle) for s in val] == [("-a_b__3", "a ___ heard 3"), ("-a_b__4", "a ___ heard 4")]
    assert val[0].fact("sentiment_of_text").value == 0.2
    assert val[0].fact("sentiment_of_sound").origin == "missing"
    assert opened("cmu_mosei", tmp_path, "val", transcripts=None)[0].subtitle == "words, 3"
    text(tmp_path / "Raw" / "Transcript" / "Segmented" / "Combined" / "b.txt", "b___1___no")
    assert (
        "b.txt:1: is no line video___number"
        in told("cmu_mosei", tmp_path, transcripts="Raw/Transcript/Segmented/Combined")[0]
    )


def test_sims_metadata(tmp_path):
    train = opened("ch_sims", tmp_path)
    assert [s.id for s in train] == ["video_0001_0001", "video_0001_0002", "video_0001_0006"]
    assert [s.subtitle for s in train] == ["words 1", "words 2", "words 6"]
    assert opened("ch_sims", tmp_path, language="chinese")[0].subtitle == "话 1"
    text(tmp_path / "metadata" / "val_index.csv", "index", "6")
    assert "val_index.csv:2: '6' is no row of label_M.csv, which has 6" in told("ch_sims", tmp_path)[0]


def test_sims_in_mmsa_s_form_pads_numbers(tmp_path):
    given = mmsa(tmp_path, [("video_0001", "1", "0001", "train"), ("video_0001", "2", "0002", "valid")])
    (one,) = PIECES["ch_sims"].build(CORPORA["ch_sims"][0](**given), "train")
    assert (one.id, one.video.name, one.video.is_file()) == ("video_0001_0001", "0001.mp4", True)


def test_sims_2_keeps_zeros(tmp_path):
    every = [s for split in ("train", "val", "test") for s in opened("ch_sims_v2", tmp_path, split)]
    assert [s.id for s in every][2:] == [
        "video_0001_00012_1", "aqgy1_0001_00001", "aqgy1_0001_0001", "test1_1",
    ]  # fmt: skip
    assert len({s.video.read_bytes() for s in every}) == 6


def test_clips_without_a_value_are_counted(tmp_path):
    ch_sims_v2(tmp_path)
    path = tmp_path / "ch-simsv2s" / "meta.csv"
    path.write_text(path.read_text().replace(",-0.8,", ",,"), encoding="utf-8")
    train = PIECES["ch_sims_v2"].build(CORPORA["ch_sims_v2"][0](str(tmp_path)), "train")
    assert [s.answers for s in train] == [{}, {"sentiment": "0"}, {"sentiment": "1"}]
    assert [s.numbers for s in train] == [{}, {"sentiment": 0}, {"sentiment": 1}]
    assert train.notes == ("2 clips have no value",)


def test_faults(tmp_path):
    assert "name the file of labels" in told("ch_sims", tmp_path)[0]
    mmsa(tmp_path, [("v", "1", "0001", "training"), ("v", "2", "0002", "train")])
    assert "label.csv:2: unknown split 'training'" in told("ch_sims", tmp_path)[0]
    corpora(tmp_path / "mine.npz", train={}, **ONLY)
    assert "there is no folder" in told("ch_sims", tmp_path, annotations="mine.npz")[0]
    path = tmp_path / "label.csv"
    path.write_text(path.read_text().replace("training", "train").replace("-0.8", "low"))
    assert "the sentiment 'low' is no number" in told("ch_sims", tmp_path)[0]
    path.write_text(path.read_text().replace("low", "1.2"))
    clips = PIECES["ch_sims"].build(CORPORA["ch_sims"][0](str(tmp_path), val=0), "train")
    assert (clips[0].answers["sentiment"], clips[0].numbers) == ("1.2", {})
    assert "1 clips have a value outside the scale (-1 to 1), and no number" in clips.notes
    survey = PIECES["ch_sims"].survey(CORPORA["ch_sims"][0](str(tmp_path / "nowhere"), classes="two"))
    assert survey.labels == ("negative", "positive")
    assert "authors of CH-SIMS" in survey.note
