"""`affectkit score` on files."""

import subprocess
import sys

import pytest
from score_runs import figures, run

from affectkit.errors import InputError
from affectkit.evaluation.prediction import Prediction, write_predictions

TRUTH = "id,label\na,happy\nb,sad\nc,sad\nd,happy\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "truth.csv").write_text(TRUTH)
    (tmp_path / "matrix.json").write_text("[[8, 2], [1, 9]]")
    return tmp_path


def test_a_confusion_matrix_gives_every_digit(folder):
    found = figures("uar", "war", "accuracy", "weighted_f1", "macro_f1", "--confusion", "matrix.json")
    assert found["war"]["value"] == found["accuracy"]["value"] == 0.85
    assert found["uar"]["value"] == pytest.approx(0.85, abs=1e-15)
    assert found["macro_f1"]["value"] == pytest.approx((16 / 19 + 18 / 21) / 2, abs=1e-15)
    assert found["uar"]["low"] < 0.85 < found["uar"]["high"]
    assert "0.8500" in run("uar", "--confusion", "matrix.json").output


def test_a_column_more_holds_invalid_answers(folder):
    (folder / "matrix.json").write_text('{"labels": ["happy", "sad"], "rows": [[8, 2, 10], [1, 9, 0]]}')
    found = figures("uar", "--confusion", "matrix.json")
    assert found["uar"]["value"] == pytest.approx((0.4 + 0.9) / 2)
    assert found["labels"] == ["happy", "sad"]


def test_missing_and_empty_answers_count_as_wrong(folder):
    (folder / "answers.jsonl").write_text(
        '{"id": "a", "label": "happy"}\n{"id": "b", "label": ""}\n{"id": "x", "label": "sad"}\n'
    )
    found = figures("war", "--predictions", "answers.jsonl", "--labels", "truth.csv")
    assert found["war"]["value"] == 0.25
    assert found["ledger"]["unparsed"] == 3
    assert found["ledger"]["skipped"] == 1
    assert (
        "counted as wrong: 3 unparsed" in run("war", "--predictions", "answers.jsonl", "--labels", "truth.csv").output
    )


def test_rows_may_say_label_or_labels(folder):
    rows = ['{"id": "a", "label": "happy"}', '{"id": "b", "labels": ["sad"]}', '{"id": "c", "labels": "[\'sad\']"}']
    (folder / "answers.jsonl").write_text("\n".join([*rows, '{"id": "d", "text": "no idea"}']))
    (folder / "truth.jsonl").write_text("\n".join([*rows, '{"id": "d", "label": "sad"}']))
    found = figures("war", "--predictions", "answers.jsonl", "--labels", "truth.jsonl")
    assert found["war"]["value"] == 0.75
    assert (found["ledger"]["scored"], found["ledger"]["unparsed"]) == (3, 1)


def test_classes_name_the_label_set(folder):
    (folder / "answers.csv").write_text("\ufeffid,label\na,happy\nb,sad\nc,bored\nd,happy\n", encoding="utf-8")
    free = figures("macro_f1", "--predictions", "answers.csv", "--labels", "truth.csv")
    named = figures("macro_f1", "--predictions", "answers.csv", "--labels", "truth.csv", "--classes", "happy,sad")
    assert free["labels"] == ["bored", "happy", "sad"]
    assert named["ledger"]["out_of_vocabulary"] == 1
    assert free["macro_f1"]["value"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert named["macro_f1"]["value"] == pytest.approx((1 + 2 / 3) / 2)


def test_a_runs_predictions_hold_their_truths(folder):
    rows = [
        Prediction("a", "label", "scored", "sad", "sad"),
        Prediction("b", "label", "undecodable", "sad", error="broken"),
    ]
    rows += [Prediction("a", "label", "scored", "sad", "happy", split="conflict")]
    write_predictions(folder / "predictions.jsonl", rows)
    assert figures("uar", "--predictions", "predictions.jsonl", "--split", "test")["uar"]["value"] == 1
    assert figures("uar", "--predictions", "predictions.jsonl", "--split", "conflict")["uar"]["value"] == 0
    with pytest.raises(InputError, match="choose one: --split conflict"):
        run("uar", "--predictions", "predictions.jsonl")
    with pytest.raises(InputError, match="unknown split 'tset'"):
        run("uar", "--predictions", "predictions.jsonl", "--split", "tset")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("[[1, 2], [3]]", "row 1: has 1 counts beside 2 rows"),
        ("[[1, 2], [3, -1]]", "row 1: holds .*, which is no count"),
        ("[[1, 2], [3, 0.5]]", "row 1: holds .*, which is no count"),
        ("{}", "a confusion matrix is a list of rows"),
        ("[[1, 2]", "this is not JSON"),
        ('{"labels": ["a"], "rows": [[1, 2], [3, 4]]}', "has 2 rows, and there are 1 classes"),
    ],
)
def test_a_matrix_that_is_none(folder, matrix, message):
    (folder / "matrix.json").write_text(matrix)
    with pytest.raises(InputError, match=message):
        run("uar", "--confusion", "matrix.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\na,sad\na,happy\n", r"answers\.csv:3: the id 'a' occurs twice"),
        ("clip,label\na,sad\n", r"answers\.csv:2: has no id"),
        ("id,emotion\na,sad\n", r"answers\.csv:2: has no label"),
    ],
)
def test_answers_that_cannot_be_read(folder, text, message):
    (folder / "answers.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        run("uar", "--predictions", "answers.csv", "--labels", "truth.csv")


SLOW = """
from dataclasses import dataclass
from affectkit import Piece, hookimpl

@dataclass(frozen=True)
class Settings:
    \"\"\"A metric that wants every answer.\"\"\"

@hookimpl
def affectkit_pieces():
    return [Piece("metric", "slow", Settings, lambda settings: lambda predictions, labels: {"value": 1.0})]
"""


def test_what_does_not_go_together(folder):
    (folder / "slow.py").write_text(SLOW)
    with pytest.raises(InputError, match="either --predictions or --confusion"):
        run("uar")
    with pytest.raises(InputError, match="cannot be had from a confusion matrix"):
        run("slow", "--confusion", "matrix.json", "--plugin", "slow.py")
    with pytest.raises(InputError, match="no labels and splits"):
        run("uar", "--confusion", "matrix.json", "--labels", "truth.csv")
    with pytest.raises(InputError, match="did you mean 'uar'"):
        run("uarr", "--confusion", "matrix.json")
    with pytest.raises(InputError, match="there is no such file"):
        run("uar", "--predictions", "none.csv", "--labels", "truth.csv")
    with pytest.raises(InputError, match="holds no truths"):
        run("uar", "--predictions", "truth.csv")


def test_scoring_counts_imports_no_torch(folder):
    (folder / "answers.csv").write_text(TRUTH)
    code = "import sys; from affectkit.commands.score import command\n"
    code += "command.main(sys.argv[1:], standalone_mode=False); sys.exit('torch' in sys.modules)"
    for given in (["--confusion", "matrix.json"], ["--predictions", "answers.csv", "--labels", "truth.csv"]):
        subprocess.run([sys.executable, "-c", code, "uar", *given], check=True, capture_output=True, cwd=folder)


BAD = {
    "an empty file": ("", "is empty"),
    "a header alone": ("id,label\n", "holds no rows"),
    "other ids": ("id,label\nx,happy\n", "no id of it is among the ids of truth.csv"),
    "no answers": ("id,truth\na,happy\n", "holds no answers"),
    "other columns": ("clip,emotion\na,happy\n", "has no id"),
    "more cells": ("id,label\na,well, happy\n", r"answers\.csv:2: has 3 cells, the header 2"),
    "a state of no kind": ('{"id": "a", "label": "x", "state": ["x"]}\n', "unknown state"),
}


@pytest.mark.parametrize("fault", BAD)
def test_answers_that_cannot_be_scored_are_refused(folder, fault):
    text, line = BAD[fault]
    name = "answers.jsonl" if text.startswith("{") else "answers.csv"
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=line):
        run("uar", "--predictions", name, "--labels", "truth.csv")


def test_a_split_that_no_file_names_is_refused(folder):
    with pytest.raises(InputError, match="no column `split`"):
        run("uar", "--predictions", "truth.csv", "--labels", "truth.csv", "--split", "tset")


@pytest.mark.parametrize(
    "text",
    ["[]", "[[]]", "[[0, 0], [0, 0]]", "[[1, true], [1, 2]]", "[[1, Infinity], [1, 2]]", "[[1, 1e30], [1, 2]]",
     '[[1, "a"], [1, 2]]', '{"rows": [[1]], "labels": 3}'],
)  # fmt: skip
def test_what_is_no_confusion_matrix(folder, text):
    (folder / "m.json").write_text(text)
    with pytest.raises(InputError, match=r"m\.json"):
        run("uar", "--confusion", "m.json")


def test_a_confusion_matrix_is_printed_as_one(folder):
    matrix = {"labels": ["class 0", "class 1"], "columns": ["class 0", "class 1", "(invalid)"]}
    assert figures("confusion", "--confusion", "matrix.json")["confusion"] == {**matrix, "rows": [[8, 2, 0], [1, 9, 0]]}
    assert "class 1" in run("confusion", "--confusion", "matrix.json").output
    found = figures("confusion", "--predictions", "truth.csv", "--labels", "truth.csv")
    assert found["confusion"]["rows"] == [[2, 0, 0], [0, 2, 0]]


THOUGHTS = (
    "id,answer\na,<think>A smile?</think><answer>Happy.</answer>\nb,<answer>sad</answer>\n"
    "c,sad\nd,<answer>merry</answer>\n"
)


def test_a_reader_reads_answers_in_its_own_form(folder):
    (folder / "answers.csv").write_text(THOUGHTS)
    given = ("--predictions", "answers.csv", "--labels", "truth.csv", "--answer-column", "answer")
    given += ("--classes", "happy,sad")
    found = figures("war", *given, "--reader", "tagged")
    assert found["war"]["value"] == 0.5
    assert [found["ledger"][s] for s in ("scored", "unparsed", "out_of_vocabulary")] == [2, 1, 1]
    assert figures("war", *given)["war"]["value"] == 0.25  # without it the tags are no label
    (folder / "answers.csv").write_text(THOUGHTS.replace("answer>", "final>"))
    assert figures("war", *given, "--reader", "tagged", "reader.answer=final")["war"]["value"] == 0.5


def test_plain_reads_as_no_reader_does(folder):
    (folder / "answers.csv").write_text("id,label\na,**Happy**\nb,SAD.\nc,not sad\nd,I cannot tell\n")
    given = ("war", "--predictions", "answers.csv", "--labels", "truth.csv")
    assert figures(*given) == figures(*given, "--reader", "plain")


def test_a_reader_that_there_is_not_or_that_has_nothing_to_read(folder):
    (folder / "answers.csv").write_text(TRUTH)
    given = ("war", "--predictions", "answers.csv", "--labels", "truth.csv")
    for wrong, fix in (
        (("--reader", "taged"), "did you mean 'tagged'"),
        (("reader.answer=x",), "add --reader NAME"),
        (("--reader", "tagged", "reader.anser=x"), "did you mean 'answer'"),
    ):
        with pytest.raises(InputError, match=fix):
            run(*given, *wrong)
    assert "--reader is not used" in run("war", "--confusion", "matrix.json", "--reader", "plain").output
