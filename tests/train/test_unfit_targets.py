"""Data that a head cannot learn from or be scored on: one clear message each, from the command line as a user meets it."""

import json
import sys

import pytest
import wav_table

from affectkit.__main__ import main
from affectkit.files import read_json

RECIPE = """
name: heads
data: {use: table, path: t.csv}
views: {wave: {use: wave, seconds: 1}}
streams: {audio: {steps: {encoder: {use: log_mel, wave: wave}}}}
backbone: null
heads: {h: {use: linear_probe, tokens: [audio.encoder], folds: 2}}
stages: {h: {train: [heads.h], objective: heads.h, max_steps: 2}}
score: {metrics: {uar: uar}, resamples: 20}
run: {accelerator: cpu, folder: runs, cache: cache}
"""
CLASSIFIER = RECIPE.replace("linear_probe", "classifier").replace(", folds: 2", "")
MEAN = RECIPE.replace("linear_probe", "nearest_mean").replace(", folds: 2", "")
RATINGS = (
    RECIPE.replace("path: t.csv", "path: t.csv, numbers: {valence: [1, 5]}")
    .replace("linear_probe,", "linear_probe, answer: numbers,")
    .replace("uar: uar", "ccc: ccc")
)


@pytest.fixture
def affectkit(monkeypatch, capsys, tmp_path):
    """The command line in a folder of its own: exit code, output, errors."""

    def call(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["affectkit", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        return end.value.code, out.out, out.err

    return call


def one_message(err):
    """What is said in the end, which is no traceback and no list."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def labelled(words, train_only=""):
    def change(row, i):
        return {**row, "label": train_only if train_only and row["split"] == "train" else words[i % len(words)]}

    return change


def rated(values):
    return lambda row, i: {**row, "valence": values[i % len(values)]}


@pytest.mark.parametrize("recipe", [RECIPE, CLASSIFIER, MEAN], ids=["probe", "classifier", "mean"])
def test_one_label_in_training_is_nothing_to_tell_apart(affectkit, tmp_path, recipe):
    wav_table.write(tmp_path, labelled(["happy", "sad"], train_only="happy"), text=recipe)
    code, _, err = affectkit("fit", "r.yaml")
    assert code == 2
    assert "all 18 training samples with label have 'happy': the head 'h' has nothing to tell apart" in one_message(err)


def test_labels_that_the_head_does_not_know_are_refused_where_there_are_no_others(affectkit, tmp_path):
    wav_table.write(tmp_path, text=RECIPE)
    assert affectkit("fit", "r.yaml")[0] == 0
    other = tmp_path / "other"
    other.mkdir()
    wav_table.write(other, labelled(["calm", "joy"]))
    code, _, err = affectkit("evaluate", "runs/last", f"data.path={other / 't.csv'}")
    assert code == 2
    assert "the head 'h' answers angry, happy, sad, and the data has calm, joy: nothing of it" in one_message(err)
    wav_table.write(other, labelled(["calm", "happy"]))
    code, out, _ = affectkit("evaluate", "runs/last", f"data.path={other / 't.csv'}")
    assert code == 0
    assert "test: labels that this run was never taught: calm (taught: angry, happy, sad)" in out


def test_ratings_that_the_head_does_not_know_are_refused(affectkit, tmp_path):
    wav_table.write(tmp_path, rated([1, 2, 3, 4, 5]), text=RATINGS)
    assert affectkit("fit", "r.yaml")[0] == 0
    other = tmp_path / "other"
    other.mkdir()
    wav_table.write(other, lambda row, i: {**row, "arousal": 1 + i % 5})
    told = [f"data.path={other / 't.csv'}", "data.numbers=null", "data.numbers=[arousal]"]
    code, _, err = affectkit("evaluate", "runs/last", *told)
    assert code == 2
    assert "the head 'h' answers valence, and the data has arousal" in one_message(err)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["3"] * 7 + ["6"] + ["2"] * 22, "t.csv:9): the valence 6 (column 'valence') is outside its scale, 1 to 5"),
        (["3"] * 7 + ["inf"] + ["2"] * 22, "t.csv:9): the valence 'inf' (column 'valence') is no number"),
        (["3"] * 7 + ["high"] + ["2"] * 22, "t.csv:9): the valence 'high' (column 'valence') is no number"),
        ([""], "none of the 18 training samples has numbers, which the head 'h' is to learn"),
    ],
    ids=["outside its scale", "infinite", "a word", "none"],
)
def test_ratings_that_are_none_are_named_with_their_line(affectkit, tmp_path, values, told):
    wav_table.write(tmp_path, rated(values), text=RATINGS)
    code, _, err = affectkit("fit", "r.yaml")
    assert code == 2
    assert told in one_message(err)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("linear_probe, answer: numbers,", "no training sample has the rating arousal"),
        ("regression, numbers: [arousal],", "none of the 18 training samples has arousal"),
    ],
)
def test_a_rating_that_no_training_sample_has_is_named(affectkit, tmp_path, head, told):
    text = RATINGS.replace("{valence: [1, 5]}", "{valence: [1, 5], arousal: [1, 5]}")
    text = text.replace("linear_probe, answer: numbers,", head)
    text = text.replace(", folds: 2", "") if "regression" in head else text
    wav_table.write(
        tmp_path, lambda row, i: {**row, "valence": 3, "arousal": 2 if row["split"] == "test" else ""}, text=text
    )
    code, _, err = affectkit("fit", "r.yaml")
    assert code == 2
    assert f"{told}, which the head 'h' is to learn" in one_message(err)


def test_rows_with_other_ratings_alone_are_no_truth(affectkit, tmp_path):
    text = RATINGS.replace("{valence: [1, 5]}", "{valence: [1, 5], arousal: [1, 5]}").replace("ccc: ccc", "mae: mae")
    text = text.replace("linear_probe, answer: numbers,", "regression, numbers: [valence],").replace(", folds: 2", "")
    wav_table.write(tmp_path, lambda row, i: {**row, "valence": "" if i % 3 else 3, "arousal": 2}, text=text)
    code, out, _ = affectkit("fit", "r.yaml")
    assert code == 0
    assert ", 12 of 18 training samples have no truth for it and were left out" in out


@pytest.mark.parametrize(
    ("recipe", "change", "training", "test"),
    [
        (CLASSIFIER, lambda row, i: {**row, "label": "" if i % 4 == 0 else row["label"]}, 5, 2),
        (RECIPE, lambda row, i: {**row, "label": "nan" if i % 4 == 0 else row["label"]}, 5, 2),
        (RATINGS, rated(["nan", "2", "3"]), 6, 2),
    ],
    ids=["no label", "the label nan", "the rating nan"],
)
def test_rows_without_a_truth_are_left_out_and_counted(affectkit, tmp_path, recipe, change, training, test):
    wav_table.write(tmp_path, change, text=recipe)
    code, out, _ = affectkit("fit", "r.yaml")
    assert code == 0
    assert f", {training} of 18 training samples have no truth for it and were left out" in out
    assert f"test: {6 - test} scored, {test} skipped, 6 total" in out
    last = tmp_path / "runs" / "last"
    assert read_json(last / "run.json")["stages"]["h"]["without_target"] == training
    chosen = read_json(last / "run.json")["stages"]["h"].get("chosen")
    assert (chosen is None) == (recipe == CLASSIFIER)
    if chosen:
        told = f"tokens {chosen['tokens']}, strength {chosen['strength']}, rows {18 - training}, folds by person"
        assert f"; {told}" in out
        assert f"Stage h: {told}" in (last / "report.md").read_text()
    told = f"Stage h: {training} of 18 training samples have no truth for what it learns, and were left out."
    assert told in (last / "report.md").read_text()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("heads.h.folds=1", "heads.h.folds: must be at least 2, got 1"),
        ("heads.h.threshold=2", "heads.h.threshold: must be between 0 and 1"),
        ("heads.h.most_values=-1", "heads.h.most_values: must be at least 0, got -1"),
        ("heads.h.strengths=[-1]", "heads.h.strengths: must be above 0, at least one"),
        ("stages.h.lr=-1", "stages.h.lr: must be above 0, got -1.0"),
    ],
)
def test_settings_outside_their_range_are_named(affectkit, tmp_path, override, told):
    wav_table.write(tmp_path, text=RECIPE)
    code, _, err = affectkit("check", "r.yaml", override)
    assert code == 2
    assert told in one_message(err)


def test_data_without_answers_is_refused_before_anything_is_asked(affectkit, tmp_path):
    wav_table.write(tmp_path, text=RECIPE)
    assert affectkit("fit", "r.yaml")[0] == 0
    other = tmp_path / "other"
    other.mkdir()
    wav_table.write(other, lambda row, i: {k: v for k, v in row.items() if k != "label"})
    code, _, err = affectkit("evaluate", "runs/last", f"data.path={other / 't.csv'}")
    assert code == 2
    assert "the run answers label, and the data has none: nothing of it can be scored" in one_message(err)


def test_a_label_without_training_samples_is_never_answered_and_told(affectkit, tmp_path):
    names = ["happy", "sad", "angry"]
    wav_table.write(
        tmp_path,
        lambda row, i: {**row, "label": "rage" if row["split"] == "test" and i % 2 else names[i % 3]},
        text=CLASSIFIER,
    )
    code, out, _ = affectkit("fit", "r.yaml")
    assert code == 0
    assert "labels that this run was never taught: rage (taught: angry, happy, sad)" in out
    answers = [json.loads(line) for line in (tmp_path / "runs" / "last" / "predictions.jsonl").open()]
    assert "rage" not in {a["label"] for a in answers}
    assert "never taught rage" in (tmp_path / "runs" / "last" / "report.md").read_text()


def test_unlabelled_test_samples_are_asked_and_said_to_have_no_figure(affectkit, tmp_path):
    wav_table.write(
        tmp_path, lambda row, i: {**row, "label": "" if row["split"] == "test" else row["label"]}, text=RECIPE
    )
    code, out, _ = affectkit("fit", "r.yaml")
    assert code == 0
    assert "samples has what is scored; answers are in predictions.jsonl" in out
