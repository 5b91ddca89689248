"""`affectkit.score` on lists, mappings, rows and predictions: the figures that the command gives for the same in files."""

import csv
import inspect
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from score_runs import figures

import affectkit
from affectkit.errors import InputError
from affectkit.evaluation.prediction import Prediction, write_predictions
from affectkit.labels import scoring
from affectkit.reading import Reading

TRUTHS = {"a": "happy", "b": "sad", "c": "sad", "d": "happy"}
ANSWERS = {"a": "happy", "b": "", "c": "happy", "x": "sad"}
METRICS = ["uar", "war", "macro_f1", "confusion"]


def write(path, values):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *values.items()])
    return path


@pytest.fixture
def of_files(tmp_path):
    answers, truths = write(tmp_path / "answers.csv", ANSWERS), write(tmp_path / "truths.csv", TRUTHS)
    return figures(*METRICS, "--predictions", str(answers), "--labels", str(truths))


def test_mappings_give_the_figures_of_files(of_files, tmp_path):
    found = affectkit.score(ANSWERS, TRUTHS, METRICS)
    assert found == of_files
    assert found["war"]["value"] == 0.25
    assert (found["ledger"]["unparsed"], found["ledger"]["skipped"]) == (2, 1)
    assert affectkit.score(tmp_path / "answers.csv", str(tmp_path / "truths.csv"), METRICS) == of_files


def test_lists_are_in_the_same_order_and_arrays_are_lists():
    truths, answers = list(TRUTHS.values()), ["happy", None, float("nan"), "happy"]
    found = affectkit.score(answers, truths, "war")
    assert found["war"]["value"] == 0.5
    assert found["ledger"]["unparsed"] == 2
    assert affectkit.score(iter(answers), tuple(truths), ["war"]) == found
    ids = affectkit.score(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]), {"war": {}}, classes=["0", "1"])
    assert ids["war"]["value"] == 0.75
    assert ids["labels"] == ["0", "1"]


def test_rows_and_predictions_have_their_own_columns(of_files, tmp_path):
    rows = [{"name": i, "labels": [v] if v else []} for i, v in ANSWERS.items()]
    truths = [{"id": i, "emo": v} for i, v in TRUTHS.items()]
    assert affectkit.score(rows, truths, METRICS)["war"] == of_files["war"]
    assert affectkit.score(rows[:1], ["sad"], "war")["war"]["value"] == 0  # a list goes by the order of the answers
    made = [Prediction(i, "label", "scored", TRUTHS[i], "happy") for i in TRUTHS]
    assert affectkit.score(made, metrics="war")["war"]["value"] == 0.5
    two = [replace(p, split="conflict", label=p.truth) for p in made]
    assert affectkit.score([*made, *two], None, "war", split="conflict")["war"]["value"] == 1
    write_predictions(tmp_path / "predictions.jsonl", made)
    of_file = affectkit.score(tmp_path / "predictions.jsonl", metrics="war")
    assert affectkit.score(made, metrics="war") == of_file


def test_metrics_of_texts_read_them_and_lists_of_labels(tmp_path):
    answers, truths = {"a": ["happy", "sad"], "b": ["angry"]}, {"a": ["happy"], "b": ["calm", "angry"]}
    found = affectkit.score(answers, truths, {"mine": {"use": "ov_wheels", "guarded": False}, "ov_wheels": None})
    files = [
        write(tmp_path / f"{n}.csv", {i: str(v) for i, v in w.items()}) for n, w in (("a", answers), ("t", truths))
    ]
    of_files = figures("ov_wheels", "--predictions", str(files[0]), "--labels", str(files[1]))
    assert found["ov_wheels"] == of_files["ov_wheels"]
    assert 0 < found["mine"]["value"] < 1
    assert found["count"] == 2


def test_classes_seed_and_resamples_count():
    answers, truths = ["happy", "bored", "sad"], ["happy", "sad", "sad"]
    found = affectkit.score(answers, truths, "war", classes=["happy", "sad"], seed=3, resamples=10)
    assert found["bootstrap"] == {"resamples": 10, "seed": 3, "level": 0.95}
    assert found["ledger"]["out_of_vocabulary"] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((["a"], ["a", "b"], "war"), "truths: there are 2 of them, and 1 predictions"),
        ((["a"], None, "war"), "predictions: are answers alone, and there are no truths"),
        (([], ["a"], "war"), "predictions: holds nothing"),
        ((["a"], {"x": "a"}, "war"), "name the samples alike in both"),
        (({"x": ["a", "b"]}, {"x": ["a", "b"]}, "war"), "truths: x: has 2 labels"),
        (([{"id": "x"}], ["a"], "war"), r"predictions\[0\]: has no label"),
        (([{"id": "x", "label": "a"}] * 2, {"x": "a"}, "war"), r"predictions\[1\]: the id 'x' occurs twice"),
        (({"x": "a"}, {"x": "a"}, "wra"), "did you mean 'war'"),
        (({"x": "a"}, {"x": "a"}, {"war": {"sead": 1}}), "war.sead: unknown key 'sead'"),
        ((["a"], ["a"]), "names no metric"),
        ((["a"], ["a"], "war", ["a", "a"]), "classes: names a class twice: a, a"),
        (("none.csv", ["a"], "war"), "none.csv: there is no such file"),
        ((["a"], ["a"], "clue_overlap"), "no client is named"),
    ],
)
def test_what_cannot_be_scored_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        affectkit.score(*given)


def fresh(code):
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_scoring_labels_imports_no_torch():
    code = "import sys, affectkit; found = affectkit.score(['a'], ['a'], 'uar')\n"
    assert fresh(code + "print(found['uar']['value'], 'torch' in sys.modules)") == ["1.0", "False"]


@pytest.mark.parametrize("first", ["", "import affectkit.score\n", "import affectkit.score as old\n"])
def test_the_old_module_of_that_name_does_not_hide_the_function(first):
    code = f"{first}import affectkit, inspect\nfrom affectkit import score\n"
    code += "print(*[f(['a'], ['a'], 'uar')['uar']['value'] for f in (score, affectkit.score)])\n"
    code += "print(list(inspect.signature(score).parameters)[0])"
    assert fresh(code) == ["1.0", "1.0", "predictions"]


def test_names_of_the_old_module_are_found_through_it():
    with pytest.warns(DeprecationWarning, match="affectkit.score.Prediction is affectkit.evaluation.prediction"):
        assert affectkit.score.Prediction is Prediction
    assert inspect.unwrap(affectkit.score) is scoring.score


def test_a_reader_and_ranges_are_those_of_the_command():
    thoughts = ["<think>sad?</think><answer>happy</answer>", "<answer>sad</answer>"]
    for reader in ("tagged", {"use": "tagged"}, lambda text, _: Reading(text[:-9].rpartition(">")[2])):
        assert affectkit.score(thoughts, ["happy", "sad"], "war", reader=reader)["war"]["value"] == 1
    told = affectkit.score([0.5, 3.0], [0.1, 0.2], {"mae": {}}, ranges={"number": (-1, 1)}, reader="tagged")
    assert any("reader is not used" in remark for remark in told["remarks"])
    rows = [{"id": "a", "valence": 3.0, "true_valence": 0.2}, {"id": "b", "valence": 0.5, "true_valence": 0.1}]
    remarks = affectkit.score(rows, metrics="mae", ranges={"valence": (-1, 1)})["remarks"]
    assert any("valence" in remark and "3" in remark for remark in remarks)
    with pytest.raises(InputError, match="scale of valence ends where it begins"):
        affectkit.score(rows, metrics="mae", ranges={"valence": (1, -1)})
    with pytest.raises(InputError, match="unknown reader 'tagd'"):
        affectkit.score(thoughts, ["happy", "sad"], "war", reader="tagd")
