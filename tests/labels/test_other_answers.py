"""`affectkit.score` and its command for numbers and several labels, from files and in memory."""

import json

import pytest
from click.testing import CliRunner

import affectkit
from affectkit.commands.score import command
from affectkit.errors import InputError
from affectkit.evaluation.prediction import Prediction, write_predictions


@pytest.fixture
def file(tmp_path):
    def write(name, *lines):
        path = tmp_path / name
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


def run(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments), "--json"], catch_exceptions=False)


def test_a_column_a_rating_in_two_files(file):
    answers = file("answers.csv", "id,valence,arousal", "a,0.5,0.1", "b,-0.5,0.4", "c,0.1,0.3")
    truth = file("truth.csv", "id,valence,arousal,year", "a,0.25,0.1,1", "b,-0.5,0.2,2", "c,0.35,0.3,3")
    found = affectkit.score(answers, truth, ["mae", "ccc"])
    assert found["mae"]["parts"]["valence"]["value"] == pytest.approx(0.5 / 3)
    assert list(found["ccc"]["parts"]) == ["arousal", "valence"]
    assert found["ccc"]["parts"]["valence"]["low"] < found["ccc"]["parts"]["valence"]["high"]
    assert (found["count"], found["ledger"]["scored"]) == (3, 3)
    assert found["majority"]["label"] == "the mean of the truths"
    one = affectkit.score(answers, truth, {"mae": {"numbers": ["arousal"]}})
    assert list(one["mae"]["parts"]) == ["arousal"]


def test_answers_and_truths_in_one_file_by_prefix(file):
    both = file("both.csv", "id,true_valence,valence", "a,0.25,0.5", "b,1,0")
    told = file("told.csv", "id,valence,pred_valence", "a,0.25,0.5", "b,1,0")
    assert affectkit.score(both, metrics="mae")["mae"]["value"] == pytest.approx(0.625)
    assert affectkit.score(told, metrics="mae")["mae"]["value"] == pytest.approx(0.625)


def test_what_is_no_number_is_counted_and_told(file):
    answers = file("answers.csv", "id,valence", "a,0.5", "b,", "c,nan", "d,high", "e,3", "g,0.5")
    truth = file("truth.csv", "id,valence", "a,0", "b,0.5", "c,0.5", "d,0.5", "e,0.5", "f,0.5", "g,NaN")
    ran = run("mae", "--predictions", answers, "--labels", truth, "--range", "valence=-1,1")
    found = json.loads(ran.output)
    assert found["mae"]["value"] == pytest.approx((0.5 + 2.5) / 2)
    assert found["mae"]["parts"]["valence"] | {"low": 0, "high": 0} == {
        "value": 1.5, "low": 0, "high": 0, "used": 2, "unreadable": 4, "zeros": 1}  # fmt: skip
    assert {k: v for k, v in found["ledger"].items() if v} == {
        "scored": 2,
        "unparsed": 3,
        "invalid": 1,
        "skipped": 1,
        "total": 7,
    }
    told = "\n".join(found["remarks"])
    assert "answers without a number for valence, never taken for 0: 3, for example an empty one (b)" in told
    assert "answers of valence outside its range, -1 to 1; they count as they are: 1, for example 3 (e)" in told
    assert "truths of valence that are not finite and count as missing: 1" in told


@pytest.mark.parametrize(
    ("lines", "metric", "message"),
    [
        (("id,valence", "a,high", "b,1"), "mae", r"truth.csv:2.*the true valence 'high' is no number"),
        (("id,arousal", "a,1"), {"mae": {"numbers": ["valence"]}}, r"no column of truths for the rating 'valence'.*true_valence"),
        (("id,arousal", "a,1"), "mae", "has no rating with answers and truths"),
        (("id,valence", "a,"), {"mae": {"numbers": ["valence"]}}, "holds no true numbers"),
        (("id,valence", "x,1"), "mae", "no id of it is among the ids"),
    ],
)  # fmt: skip
def test_mistakes_in_files_of_numbers(file, lines, metric, message):
    answers, truth = file("answers.csv", "id,valence", "a,0.5"), file("truth.csv", *lines)
    with pytest.raises(InputError, match=f"(?s){message}"):
        affectkit.score(answers, truth, metric)


@pytest.mark.parametrize(("said", "message"), [("valence", "cannot read"), ("valence=1,-1", "ends where it begins"),
                                               ("fear=0,1", "rating")])  # fmt: skip
def test_a_range_that_is_none(file, said, message):
    both = file("both.csv", "id,true_valence,valence", "a,0.25,0.5")
    with pytest.raises(InputError, match=message):
        run("mae", "--predictions", both, "--range", said)


def test_numbers_in_memory():
    found = affectkit.score([0.5, -1, None], [0.25, -1, 1], "mae")
    assert (found["mae"]["value"], found["mae"]["parts"]["number"]["unreadable"]) == (0.125, 1)
    told = affectkit.score({"a": 2.4, "b": -1}, {"a": 2, "b": -2}, "sentiment_regression")
    assert told["sentiment_regression"]["parts"]["Acc-7"]["published"] == 0.5


def test_predictions_of_a_run(tmp_path):
    made = [
        Prediction("a", "numbers", "scored", true_numbers={"valence": 1.0}, numbers={"valence": 0.5}),
        Prediction("b", "numbers", "unparsed", true_numbers={"valence": 1.0}, text="fine"),
        Prediction("a", "labels", "scored", true_labels={"x": 1.0}, labels=("x", "y")),
        Prediction("b", "labels", "scored", true_labels={"y": 1.0}, labels=(), probabilities={"x": 0.1, "y": 0.3}),
    ]
    write_predictions(tmp_path / "predictions.jsonl", made)
    found = affectkit.score(tmp_path / "predictions.jsonl", metrics=["mae", "jaccard"])
    assert found["mae"]["value"] == 0.5
    assert found["jaccard"]["value"] == 0.25
    assert affectkit.score(made, metrics="multilabel_f1")["multilabel_f1"]["micro"] == pytest.approx(0.5)


@pytest.mark.parametrize("separator", ["|", ",", ";", "/", " ; "])
def test_several_labels_in_a_cell(file, separator):
    answers = file("answers.csv", "id,labels", f'a,"Happy{separator}sad"', "b,sad", 'c,"bored"')
    truth = file("truth.csv", "id,labels", f'a,"happy{separator}sad"', f'b,"sad{separator}angry"', "c,angry")
    found = affectkit.score(answers, truth, ["multilabel_f1", "exact_match"])
    assert list(found["labels"]) == ["angry", "happy", "sad"]
    assert found["exact_match"]["value"] == pytest.approx(1 / 3)
    assert found["multilabel_f1"]["outside"] == 1
    assert "answered labels that are none of the set: 1, for example 'bored' (c)" in found["remarks"]


def test_lists_weights_and_the_empty_set(file):
    truth = file(
        "truth.jsonl", '{"id": "a", "labels": {"x": 0.75, "y": 0.25}}', '{"id": "b", "labels": []}', '{"id": "c"}'
    )
    answers = file("answers.csv", "id,labels", 'a,"{""x"": 0.5, ""y"": 0.5}"', 'b,"[]"', "c,x")
    found = affectkit.score(answers, truth, ["exact_match", "label_distribution"])
    assert found["exact_match"]["value"] == 1  # of a and b; c has no truth
    assert found["label_distribution"]["parts"]["chebyshev"]["value"] == 0.25
    assert found["ledger"]["skipped"] == 1


def test_a_label_with_a_separator_in_it_stays_whole(file):
    answers = file("answers.csv", "id,labels", "a,joy/love|fear", "b,fear")
    found = affectkit.score(answers, {"a": "joy/love|fear", "b": "fear"}, "exact_match", classes=["joy/love", "fear"])
    assert found["exact_match"]["value"] == 1


def test_an_answer_without_a_label_and_a_refusal_are_counted():
    truths = {"a": "x|y", "b": "x", "c": "y"}
    found = affectkit.score({"a": "x|y", "b": "", "c": "I cannot judge emotions"}, truths, "exact_match")
    assert found["exact_match"]["value"] == pytest.approx(1 / 3)
    assert (found["ledger"]["unparsed"], found["ledger"]["refused"]) == (1, 1)


@pytest.mark.parametrize(
    ("truths", "classes", "message"),
    [
        ({"a": "x|z"}, ["x", "y"], "true label 'z'"),
        ({"a": {"labels": {"x": -1}}}, None, "weight of 'x' is -1"),
        ({"a": ""}, None, "no true labels"),
    ],
)
def test_mistakes_in_true_labels(truths, classes, message):
    with pytest.raises(InputError, match=message):
        affectkit.score({"a": "x"}, truths, "exact_match", classes=classes)


def test_labels_and_numbers_side_by_side(file):
    both = file("both.jsonl", json.dumps({"id": "a", "label": "x", "truth": "x", "valence": 1, "true_valence": 0.5}))
    found = affectkit.score(both, metrics=["accuracy", "mae"])
    assert (found["accuracy"]["value"], found["mae"]["value"], found["labels"]) == (1, 0.5, ["x"])


def test_ratings_in_words_are_read_by_the_reader(file):
    answers = file("said.csv", "id,text", "a,valence 0.5 and arousal 0.1", "b,valence -0.5", "c,I cannot say")
    truth = file("truth.csv", "id,valence,arousal", "a,0.25,0.1", "b,-0.5,0.2", "c,0.35,0.3")
    found = affectkit.score(answers, truth, ["mae"], reader="numbers")
    assert found["mae"]["parts"]["valence"] == {
        **found["mae"]["parts"]["valence"],
        "value": 0.125,
        "used": 2,
        "unreadable": 1,
    }
    assert found["mae"]["parts"]["arousal"]["used"] == 1


def test_sets_that_are_all_empty_want_their_labels_named(file):
    both = file("empty.csv", "id,labels", "a,[]", "b,[]")
    with pytest.raises(InputError, match="every set is empty"):
        affectkit.score(both, both, ["multilabel_f1"])
    assert affectkit.score(both, both, ["multilabel_f1"], classes=["joy", "sad"])["count"] == 2


def test_a_weight_below_zero_is_no_answer(file):
    answers = file(
        "odds.jsonl", '{"id": "a", "labels": {"joy": 2, "sad": -1}}', '{"id": "b", "labels": {"joy": 0.9, "sad": 0.2}}'
    )
    truth = file("true.csv", "id,labels", "a,joy", "b,sad")
    assert affectkit.score(answers, truth, ["multilabel_f1"])["ledger"]["invalid"] == 1
    with pytest.raises(InputError, match="above 0 and at most 1"):
        affectkit.score(answers, truth, {"multilabel_f1": {"threshold": 1.5}})
