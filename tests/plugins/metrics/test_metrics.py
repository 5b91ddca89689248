"""Metric pieces against scikit-learn and against figures worked out by hand."""

import random

import numpy as np
import pytest
from affectkit_plugins.metrics import accuracy, confusion, f1, recall

from affectkit.evaluation.prediction import Prediction

PIECES = {p.name: p for module in (accuracy, confusion, f1, recall) for p in module.affectkit_pieces()}
LABELS = ("happy", "sad", "neutral", "angry")
SCALARS = ("uar", "war", "accuracy", "weighted_f1", "macro_f1")


def metric(name):
    return PIECES[name].build(PIECES[name].settings())


def answers(truth, predicted):
    """None is an answer that is no label."""
    return [
        Prediction(str(i), "label", "scored" if p else "unparsed", truth=t, label=p)
        for i, (t, p) in enumerate(zip(truth, predicted, strict=True))
    ]


def drawn(seed, count=200, invalid=0.1, truths=LABELS):
    rng = random.Random(seed)
    truth = [rng.choice(truths) for _ in range(count)]
    predicted = [None if rng.random() < invalid else t if rng.random() < 0.5 else rng.choice(LABELS) for t in truth]
    return truth, predicted


def test_the_pieces_are_these():
    assert sorted(PIECES) == ["accuracy", "confusion", "macro_f1", "uar", "war", "weighted_f1"]
    assert all(p.kind == "metric" and p.about for p in PIECES.values())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("truths", [LABELS, LABELS[:2]], ids=["all classes", "two classes absent from truth"])
def test_equal_to_sklearn_with_invalid_answers(seed, truths):
    from sklearn import metrics as sk

    truth, predicted = drawn(seed, truths=truths)
    told = [p or "(invalid)" for p in predicted]
    present = sorted(set(truth))
    named = sorted(set(truth) | {p for p in predicted if p})
    expected = {
        "accuracy": sk.accuracy_score(truth, told),
        "war": sk.accuracy_score(truth, told),
        "uar": sk.recall_score(truth, told, labels=present, average="macro", zero_division=0),
        "weighted_f1": sk.f1_score(truth, told, labels=named, average="weighted", zero_division=0),
        "macro_f1": sk.f1_score(truth, told, labels=named, average="macro", zero_division=0),
    }
    for name in SCALARS:
        assert metric(name)(answers(truth, predicted), LABELS)["value"] == pytest.approx(expected[name], abs=1e-12)


def test_equal_to_torchmetrics_within_float32_without_invalid_answers():
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

    truth, predicted = drawn(7, invalid=0)
    t, p = (torch.tensor([LABELS.index(x) for x in side]) for side in (truth, predicted))
    mine = {name: metric(name)(answers(truth, predicted), LABELS)["value"] for name in SCALARS}
    assert mine["uar"] == pytest.approx(multiclass_accuracy(p, t, 4, average="macro").item(), abs=1e-6)
    assert mine["war"] == pytest.approx(multiclass_accuracy(p, t, 4, average="micro").item(), abs=1e-6)
    assert mine["weighted_f1"] == pytest.approx(multiclass_f1_score(p, t, 4, average="weighted").item(), abs=1e-6)
    assert mine["macro_f1"] == pytest.approx(multiclass_f1_score(p, t, 4, average="macro").item(), abs=1e-6)


def test_an_invalid_answer_lowers_recall_and_accuses_no_class():
    truth = ["happy", "happy", "sad", "sad"]
    predicted = ["happy", None, "sad", "sad"]
    found = {name: metric(name)(answers(truth, predicted), LABELS)["value"] for name in SCALARS}
    assert found["uar"] == (0.5 + 1) / 2
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-15)


def test_confusion_keeps_invalid_answers_in_a_column_of_their_own():
    found = metric("confusion")(answers(["sad", "sad", "happy"], ["happy", None, "happy"]), LABELS)
    assert found["rows"][0] == [1, 0, 0, 0, 0]
    assert found["rows"][1] == [1, 0, 0, 0, 1]
    assert found["columns"] == [*LABELS, "(invalid)"]
    assert all(type(n) is int for row in found["rows"] for n in row)


@pytest.mark.parametrize("name", SCALARS)
def test_nothing_to_score_has_no_value(name):
    assert metric(name)([], LABELS)["value"] is None


@pytest.mark.parametrize("name", SCALARS)
def test_many_confusions_at_once_equal_one_by_one(name):
    counts = np.random.default_rng(0).integers(0, 6, (50, 4, 5))
    counts[0] = 0
    counts[1, 2] = 0
    found = metric(name)
    together = found.from_confusions(counts)
    assert together.dtype == np.float64
    assert together.shape == (50,)
    one = np.array([found.from_confusions(c) for c in counts])
    np.testing.assert_array_equal(together, one)
    assert np.isnan(together[0])
    assert np.isfinite(together[1:]).all()


@pytest.mark.parametrize("name", SCALARS)
def test_order_of_predictions_does_not_matter(name):
    truth, predicted = drawn(3)
    found = answers(truth, predicted)
    assert metric(name)(found, LABELS) == metric(name)(found[::-1], LABELS)


def test_weighted_f1_of_a_matrix_to_twelve_digits():
    # Worked out with exact fractions: rows truth, columns answer.
    from fractions import Fraction

    rows = [[150, 3, 20, 5, 1, 4], [2, 160, 5, 1, 0, 1], [6, 4, 148, 6, 0, 2], [3, 1, 9, 240, 0, 4]]
    rows += [[3, 2, 1, 0, 7, 1], [4, 0, 6, 3, 0, 32]]
    exact = Fraction(0)
    for i, row in enumerate(rows):
        answered = sum(r[i] for r in rows)
        exact += Fraction(2 * row[i], sum(row) + answered) * sum(row)
    exact /= sum(map(sum, rows))
    counts = np.array([[*row, 0] for row in rows])
    assert float(metric("weighted_f1").from_confusions(counts)) == pytest.approx(float(exact), abs=1e-15)
