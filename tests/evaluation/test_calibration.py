"""Calibration errors against torchmetrics and rows worked out before; temperatures against a search over a grid."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from affectkit_plugins.metrics import accuracy, calibration
from published_files import REFERENCE

from affectkit.errors import InputError
from affectkit.evaluation import bootstrap
from affectkit.evaluation.calibration import (
    COLDEST,
    FIGURES,
    Confidences,
    at_temperature,
    fit_temperature,
    reliability,
    temperature_of,
)
from affectkit.evaluation.figures import SplitFigures
from affectkit.evaluation.prediction import Prediction
from affectkit.evaluation.score import score

LABELS = ("a", "b", "c")
VECTORS = REFERENCE / "vectors" / "metric_vectors.json"
ROWS = [  # confidence, right, ECE 15, ECE 10, MCE, Brier
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 0.95, 0.05], "001011011110", (0.283333, 0.283333, 0.7, 0.137917)),
    ([0.677, 0.976, 0.9, 0.465, 0.8, 0.053, 0.82, 0.276, 0.832, 0.267, 0.592, 0.621], "111000101010",
     (0.307083, 0.253250, 0.8, 0.144511)),
]  # fmt: skip


def certain(confidence, right):
    """Answers of a given confidence."""
    odds = np.stack([np.array(confidence, float), 1 - np.array(confidence, float)], 1)
    truth = np.array([1 - int(r) for r in right])
    return Confidences(odds, truth, np.zeros(len(truth), int), np.ones(len(truth), bool))


def drawn(seed=0, count=300, sharpness=3.0, start=0):
    """Answers whose probabilities are too sharp by a known factor."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, 1, (count, 3))
    true = at_temperature(np.exp(logs), 1.0)
    said = at_temperature(np.exp(logs), 1 / sharpness)
    found = []
    for i in range(count):
        truth = LABELS[rng.choice(3, p=true[i])]
        odds = dict(zip(LABELS, map(float, said[i]), strict=True))
        found.append(Prediction(str(start + i), "label", "scored", truth, max(odds, key=odds.get), probabilities=odds))
    return found


def figures(own):
    return {name: float(value[0]) for name, value in own.figures().items()}


@pytest.mark.parametrize(("confidence", "right", "expected"), ROWS)
def test_rows_on_the_edges_of_bins(confidence, right, expected):
    found = figures(certain(confidence, right))
    assert [found[n] for n in ("ece_15", "ece_10", "mce", "brier")] == pytest.approx(expected, abs=5e-7)


def test_all_rows_agree():
    if not VECTORS.is_file():
        pytest.skip(f"{VECTORS} is not here")
    for row in json.loads(VECTORS.read_text(encoding="utf-8"))["ece"]:
        found = figures(certain(row["confidence"], row["correct"]))
        names = {"ece_15": "ece15", "ece_10": "ece10", "mce": "mce15", "brier": "brier"}
        assert {n: found[n] for n in names} == pytest.approx({n: row[k] for n, k in names.items()}, abs=1e-12)


def test_equal_to_torchmetrics_and_scikit_learn():
    import torch
    from sklearn.metrics import brier_score_loss, log_loss
    from torchmetrics.functional.classification import multiclass_calibration_error

    own = Confidences.of(drawn(), LABELS)
    found = figures(own)
    odds, truth = torch.from_numpy(own.odds), torch.from_numpy(own.truth)
    for bins, name in ((15, "ece_15"), (10, "ece_10")):
        expected = float(multiclass_calibration_error(odds, truth, 3, n_bins=bins, norm="l1"))
        assert found[name] == pytest.approx(expected, abs=1e-6)
    assert found["mce"] == pytest.approx(
        float(multiclass_calibration_error(odds, truth, 3, n_bins=15, norm="max")), abs=1e-6
    )
    assert found["nll"] == pytest.approx(log_loss(own.truth, own.odds), abs=1e-12)
    assert found["brier"] == pytest.approx(brier_score_loss(own.correct, own.confidence), abs=1e-12)


def test_bins_of_equal_mass_hold_equally_many_and_share_no_confidence():
    own = certain(np.arange(1, 31) / 31, "01" * 15)
    pairs = (own.correct - own.confidence).reshape(15, 2).sum(1)
    assert figures(own)["ece_equal_mass"] == pytest.approx(abs(pairs).sum() / 30)
    same = certain([0.5] * 40, "01" * 20)
    assert figures(same)["ece_equal_mass"] == 0


def test_risk_by_coverage_is_the_mean_over_orders_of_equal_confidences():
    own = certain([0.9, 0.8, 0.8, 0.7], "1010")
    first = np.mean([0, 1 / 2, 1 / 3, 2 / 4])
    last = np.mean([0, 0, 1 / 3, 2 / 4])  # the wrong one of the two equal ones
    assert figures(own)["aurc"] == pytest.approx((first + last) / 2)
    assert own.curve() == ((0.25, 0.0), (0.75, pytest.approx(1 / 3)), (1.0, 0.5))


def test_figures_of_draws_are_those_of_the_drawn_answers():
    rounded = [{n: round(v, 1) or 0.05 for n, v in p.probabilities.items()} for p in drawn(count=40)]
    predictions = [replace(p, probabilities=odds) for p, odds in zip(drawn(count=40), rounded, strict=True)]
    own = Confidences.of(predictions, LABELS)
    often = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=20)
    quick = own.figures(often)
    for row, counts in enumerate(often):
        repeated = [p for p, n in zip(predictions, counts, strict=True) for _ in range(n)]
        slow = figures(Confidences.of(repeated, LABELS))
        assert {n: quick[n][row] for n in FIGURES} == pytest.approx(slow, abs=1e-10)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_a_temperature_is_the_best_of_a_grid_and_near_the_truth(sharpness):
    own = Confidences.of(drawn(3, 3000, sharpness), LABELS)
    found = fit_temperature(own.odds, own.truth)
    loss = {t: figures(own.at(t))["nll"] for t in (found, *np.geomspace(0.05, 20, 200))}
    assert min(loss, key=loss.get) == found
    assert found == pytest.approx(sharpness, rel=0.1)


def test_a_temperature_without_a_minimum_is_an_end_and_zeros_are_no_trouble():
    assert fit_temperature(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])) == COLDEST
    assert np.isfinite(fit_temperature(np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.4]]), np.array([0, 0, 1])))
    with pytest.raises(InputError, match="no sample to fit it on"):
        fit_temperature(np.empty((0, 2)), np.empty(0, int))


def test_a_temperature_from_validation_mends_the_test_split_and_changes_no_answer():
    validation, test = drawn(1, 800), drawn(2, 800, start=5000)
    before = reliability(test, LABELS, resamples=50)
    found = temperature_of(validation, test, LABELS, resamples=50)
    assert found.value == pytest.approx(3, rel=0.2)
    assert found.nll_after < found.nll_before
    assert found.figures["ece_15"].value < before.figures["ece_15"].value / 2
    own = Confidences.of(test, LABELS)
    np.testing.assert_array_equal(own.at(found.value).odds.argmax(1), own.odds.argmax(1))
    with pytest.raises(InputError, match="800 samples are in 'val'"):
        temperature_of(test, test, LABELS)


def test_answers_without_probabilities_are_counted():
    found = [*drawn(count=10), Prediction("x", "label", "unparsed", "a"), Prediction("y", "label", "scored", "a", "a")]
    told = reliability(found, LABELS, resamples=10)
    assert (told.count, told.without) == (10, 2)
    assert reliability(found[10:], LABELS) is None
    assert sum(one.count for one in told.bins) == 10
    made = calibration.build(calibration.Settings())(found, LABELS)
    assert made["value"] == told.figures["ece_15"].value
    assert (made["used"], made["unreadable"]) == (10, 2)
    assert calibration.build(calibration.Settings())([], LABELS)["value"] is None


def test_a_label_that_nobody_gave_a_probability_counts_nothing():
    answers = drawn()
    own, more = Confidences.of(answers, LABELS), Confidences.of(answers, (*LABELS, "never learned"))
    assert more.known.all()
    both = ({name: float(value[0]) for name, value in one.figures().items()} for one in (own, more))
    assert next(both) == pytest.approx(next(both))


def test_draws_of_answers_without_probabilities_have_no_figure():
    bare = [replace(p, probabilities={}) for p in drawn(count=5)]
    metric = calibration.build(calibration.Settings())
    assert np.isnan(metric.from_draws(bare, LABELS, np.ones((3, 5), int))).tolist() == [True] * 3


def test_figures_of_a_split_hold_it_and_files_keep_it():
    found = drawn(count=50)
    random.Random(0).shuffle(found)
    metrics = {p.name: p.build(p.settings()) for p in (*accuracy.affectkit_pieces(), *calibration.affectkit_pieces())}
    told = score(found, metrics, LABELS, resamples=20)
    assert told.metrics["calibration"].low < told.metrics["calibration"].value
    assert SplitFigures.from_dict(json.loads(json.dumps(told.to_dict()))).reliability == told.reliability
    assert told.reliability == reliability(sorted(found, key=lambda p: p.id), LABELS, resamples=20)


def test_a_pair_of_calibration_errors_is_drawn_alike():
    found = drawn(count=60)
    made = calibration.build(calibration.Settings("aurc"))
    pair = bootstrap.paired({"aurc": made}, [found], [found], LABELS, 0, resamples=30)["aurc"]
    assert (pair.low, pair.high) == (0, 0)
