"""Metrics of numbers against scikit-learn, torchmetrics, and rows that the published code made."""

import json
import random

import numpy as np
import pytest
from affectkit_plugins.metrics import ratings, sentiment_regression
from published_files import REFERENCE

from affectkit.errors import InputError
from affectkit.evaluation import bootstrap
from affectkit.evaluation.prediction import Prediction

PIECES = {p.name: p for module in (ratings, sentiment_regression) for p in module.affectkit_pieces()}
VECTORS = REFERENCE / "vectors" / "metric_vectors.json"
PUBLISHED = {"Has0 Acc-2": "Has0_acc_2", "Has0 F1": "Has0_F1_score", "Non0 Acc-2": "Non0_acc_2", "Non0 F1": "Non0_F1_score",
             "Acc-5": "Mult_acc_5", "Acc-7": "Mult_acc_7", "MAE": "MAE", "Corr": "Corr"}  # fmt: skip
SIMS = {
    "Acc-2": "Mult_acc_2",
    "Acc-3": "Mult_acc_3",
    "Acc-5": "Mult_acc_5",
    "F1": "F1_score",
    "MAE": "MAE",
    "Corr": "Corr",
}
THREE = {"Acc-3": "Acc_3", "F1-3": "F1_score_3", "Has0 Acc-2": "Has0_acc_2", "Has0 F1": "Has0_F1_score",
         "Non0 Acc-2": "Non0_acc_2", "Non0 F1": "Non0_F1_score"}  # fmt: skip
MOSI_ROWS = [  # truth, answer, MAE, Corr, Acc-7, Acc-5, Has0 accuracy and F1, Non0 accuracy and F1, CCC
    ([-3, -2, -1, 0, 1, 2, 3], [-2.6, -2.5, -0.5, 0.2, 1.5, 2.5, 3.4],
     (0.4286, 0.9901, 0.7143, 0.7143, 1.0, 1.0, 1.0, 1.0, 0.977836)),
    ([0.5, -0.5, 1.5, -1.5, 2.5, -2.5], [0.4, -0.6, 2.5, -0.5, 1.5, -2.5],
     (0.5333, 0.9133, 0.6667, 0.6667, 1.0, 1.0, 1.0, 1.0, 0.908540)),
    ([0, 0, 0, 1, -1], [0, -0.1, 0.1, 0, -0.2], (0.4, 0.6202, 0.6, 0.6, 0.8, 0.819, 0.5, 0.3333, 0.194175)),
    ([2.4, -1.8, 0.6, 3, -3, 0.2], [5, -4, 0.49, 2.51, -2.49, -0.2],
     (1.0517, 0.8973, 0.3333, 0.8333, 0.8333, 0.8381, 0.8333, 0.8381, 0.847680)),
    ([1, 2, 3, -1, -2], [0.1, 0.2, 0.3, -0.1, -0.2], (1.62, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.182687)),
]  # fmt: skip
SIMS_ROWS = [  # truth, answer, Acc-2, Acc-3, Acc-5, F1, MAE, Corr
    ([-1, -0.8, -0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 1],
     [-0.71, -0.7, -0.69, -0.11, -0.1, -0.09, 0.1, 0.11, 0.7, 0.71, 1.4], (1, 0.9091, 0.9091, 1, 0.14, 0.9666)),
    ([0, 0, 0.2, -0.2], [0, 0.05, -0.05, -0.3], (0.5, 0.75, 0.75, 0.5, 0.1, 0.6565)),
    ([0.6, -0.6, 1], [2, -2, 0.9], (1, 1, 0.3333, 1, 0.3, 0.9591)),
]  # fmt: skip


def metric(name, **settings):
    return PIECES[name].build(PIECES[name].settings(**settings))


def rated(truth, answer, name="sentiment"):
    """None is an answer without a number."""
    return [
        Prediction(str(i), "numbers", "unparsed" if a is None else "scored", true_numbers={name: float(t)},
                   numbers={} if a is None else {name: float(a)})
        for i, (t, a) in enumerate(zip(truth, answer, strict=True))
    ]  # fmt: skip


def two_ratings(seed, count=80):
    rng = random.Random(seed)
    found = []
    for i in range(count):
        truth = {"valence": rng.uniform(1, 5), "arousal": 3 + rng.gauss(0, 0.5)}
        answer = {name: value + rng.gauss(0.3, 0.6) for name, value in truth.items()}
        found.append(Prediction(str(i), "numbers", "scored", true_numbers=truth, numbers=answer))
    return found


def sides(found, name):
    return [p.true_numbers[name] for p in found], [p.numbers[name] for p in found]


def vectors(section):
    if not VECTORS.is_file():
        pytest.skip(f"{VECTORS} is not here")
    return json.loads(VECTORS.read_text(encoding="utf-8"))[section]


def parts(found, column="published"):
    return {name: part[column] for name, part in found["parts"].items()}


def test_rows_of_the_published_regression_code_agree_to_the_digit():
    for row in vectors("regression_mosi_mosei"):
        found = rated(row["truth"], row["pred"])
        told = metric("sentiment_regression")(found, ())
        assert {theirs: parts(told)[ours] for ours, theirs in PUBLISHED.items()} == row["mmsa_mosei"]
        ours = parts(told, "value")
        assert [ours[n] for n in ("CCC", "Corr", "RMSE", "same sign")] == pytest.approx(
            [row[n] for n in ("ccc", "pcc", "rmse", "sagr")], abs=1e-12
        )
        told = metric("sentiment_regression", convention="mertools")(found, ())
        assert [parts(told)[n] for n in ("Non0 Acc-2", "Non0 F1")] == pytest.approx(row["mertools_acc_f1"], abs=1e-12)


def test_rows_of_the_published_code_for_sims_agree_to_the_digits_given():
    for row in vectors("regression_sims"):
        told = parts(metric("sentiment_regression", convention="sims")(rated(row["truth"], row["pred"]), ()))
        assert {n: round(told[ours], 4) for ours, n in SIMS.items()} == row["mmsa_sims"]


def test_rows_of_the_published_code_for_three_labels_agree_to_the_digits_given():
    labels = ("negative", "neutral", "positive")
    for row in vectors("three_way_classification"):
        found = [
            Prediction(str(i), "label", "scored", labels[t], "x", probabilities=dict(zip(labels, odds, strict=True)))
            for i, (t, odds) in enumerate(zip(row["truth"], row["scores"], strict=True))
        ]
        told = metric("sentiment_three_way")(found, labels)
        assert {n: round(parts(told)[ours], 4) for ours, n in THREE.items()} == row["mmsa"]


def test_positive_truths_are_wrong_in_the_published_code_for_three_labels_and_right_in_ours():
    odds = [(0.1, 0.5, 0.4), (0.6, 0.3, 0.1), (0.2, 0.2, 0.6)]
    labels = ("negative", "neutral", "positive")
    found = [
        Prediction(str(i), "label", "scored", truth, "x", probabilities=dict(zip(labels, row, strict=True)))
        for i, (truth, row) in enumerate(zip(("positive", "negative", "neutral"), odds, strict=True))
    ]
    told = metric("sentiment_three_way", figure="Non0 Acc-2")(found, labels)
    assert (told["value"], told["parts"]["Non0 Acc-2"]["published"]) == (1.0, 0.5)
    assert told["parts"]["Has0 Acc-2"]["value"] == pytest.approx(2 / 3)  # a neutral truth is negative there


@pytest.mark.parametrize(("truth", "answer", "expected"), MOSI_ROWS)
def test_edge_cases_of_the_seven_point_scale(truth, answer, expected):
    told = metric("sentiment_regression")(rated(truth, answer), ())
    names = ("MAE", "Corr", "Acc-7", "Acc-5", "Has0 Acc-2", "Has0 F1", "Non0 Acc-2", "Non0 F1")
    assert tuple(parts(told)[n] for n in names) == expected[:-1]
    assert metric("ccc")(rated(truth, answer), ())["value"] == pytest.approx(expected[-1], abs=5e-7)


@pytest.mark.parametrize(("truth", "answer", "expected"), SIMS_ROWS)
def test_edge_cases_of_the_clipped_scale(truth, answer, expected):
    told = parts(metric("sentiment_regression", convention="sims")(rated(truth, answer), ()))
    assert [told[n] for n in ("Acc-2", "Acc-3", "Acc-5", "F1", "MAE", "Corr")] == pytest.approx(expected, abs=5e-5)


def test_halves_are_rounded_to_even_as_published_and_away_from_zero_beside():
    told = parts(metric("sentiment_regression")(rated([2, 3, -1, -2], [2.5, 2.5, -0.5, -1.5]), ()), "value")
    assert (told["Acc-7"], told["Acc-7, halves away from 0"]) == (0.5, 0.75)


@pytest.mark.parametrize("seed", range(3))
def test_errors_and_correlations_equal_scikit_learn_and_torchmetrics(seed):
    import torch
    from sklearn import metrics as sk
    from torchmetrics.functional.regression import concordance_corrcoef, pearson_corrcoef

    found = two_ratings(seed)
    for name in ("valence", "arousal"):
        truth, answer = sides(found, name)
        t, a = torch.tensor(truth, dtype=torch.float64), torch.tensor(answer, dtype=torch.float64)
        expected = {"mae": sk.mean_absolute_error(truth, answer), "rmse": sk.root_mean_squared_error(truth, answer),
                    "pearson": float(pearson_corrcoef(a, t))}  # fmt: skip
        for key, value in expected.items():
            assert metric(key, numbers=(name,))(found, ())["value"] == pytest.approx(value, abs=1e-12)
        # torchmetrics takes variances with n - 1: the same for many samples, apart from the shift
        assert metric("ccc", numbers=(name,))(found, ())["value"] == pytest.approx(
            float(concordance_corrcoef(a, t)), abs=0.01
        )


def test_ccc_is_its_definition_and_not_blind_to_a_shift_of_both():
    found = two_ratings(5)
    t, a = (np.array(side) for side in sides(found, "valence"))
    expected = 2 * np.cov(t, a, bias=True)[0, 1] / (t.var() + a.var() + (t.mean() - a.mean()) ** 2)
    assert metric("ccc")(rated(t, a), ())["value"] == pytest.approx(expected, abs=1e-13)
    assert metric("ccc")(rated(t + 1e4, a + 1e4), ())["value"] == pytest.approx(expected, abs=1e-9)
    assert metric("ccc")(rated(t, a + 1), ())["value"] < expected


def test_the_value_is_the_mean_of_the_ratings_and_parts_have_each():
    found = two_ratings(1)
    told = metric("mae")(found, ())
    assert list(told["parts"]) == ["arousal", "valence"]
    assert told["value"] == pytest.approx(sum(p["value"] for p in told["parts"].values()) / 2, abs=1e-15)
    assert "mean of arousal, valence" in told["protocol"]
    assert not told["higher_is_better"]


def test_ccc_of_a_constant_side_is_zero_and_a_correlation_there_is_none():
    found = rated([0.1, 0.7, 0.4], [0.3, 0.3, 0.3])
    ccc, pearson = (metric(name)(found, ()) for name in ("ccc", "pearson"))
    assert ccc["value"] == 0
    assert "all answers are the same, so the CCC is 0" in ccc["protocol"]
    assert pearson["value"] is None
    assert "all answers are the same" in pearson["protocol"]
    same = rated([0.3, 0.3], [0.3, 0.3])
    assert metric("ccc")(same, ())["value"] == 0


def test_an_answer_without_a_number_is_counted_and_never_zero():
    full, holes = rated([0.5, -1, 0, 2], [0.25, -1, 0, None]), rated([0.5, -1, 0], [0.25, -1, 0])
    for name in ("ccc", "mae", "pearson", "rmse"):
        told = metric(name)(full, ())
        assert told["value"] == metric(name)(holes, ())["value"]
        counts = {"used": 3, "unreadable": 1, "zeros": 1}
        assert told["parts"]["sentiment"] == {"value": told["value"], **counts}
        assert "1 answers without a number" in told["protocol"]
    told = metric("sentiment_regression")(full, ())
    assert (told["unreadable"], told["zeros"]) == (1, 1)
    assert parts(told, "value")["Acc-7"] == 0.75
    assert parts(told)["Acc-7"] == 1.0


def test_an_answer_that_is_not_finite_is_unreadable():
    found = rated([1, 2], [1.5, float("nan")])
    assert metric("mae")(found, ())["parts"]["sentiment"]["unreadable"] == 1


def test_a_rating_that_no_sample_has_is_refused_by_name():
    for name, settings in (("mae", {"numbers": ("valance",)}), ("sentiment_regression", {"number": "valance"})):
        with pytest.raises(InputError, match="valance"):
            metric(name, **settings)(two_ratings(0, 3), ())


@pytest.mark.parametrize("name", [n for n in PIECES if n != "sentiment_three_way"])
def test_means_give_what_the_call_gives_and_nothing_has_no_value(name):
    found = rated(*np.random.default_rng(0).normal(size=(2, 40)).round(1))
    made = metric(name)
    means = np.nanmean(made.per_sample(found, ()), axis=0)[None]
    told = made(found, ())
    assert float(made.from_means(means)[0]) == pytest.approx(told["value"], abs=1e-12)
    each = [part["value"] for part in told["parts"].values()]
    assert made.parts_from_means(means)[0] == pytest.approx(each, abs=1e-12)
    assert made([], ())["value"] is None


def test_draws_of_a_metric_equal_calls_on_the_drawn_samples():
    found = two_ratings(2, 12)
    found = [*found[:11], Prediction("11", "numbers", "unparsed", true_numbers=found[11].true_numbers)]
    made = metric("ccc")
    quick = bootstrap.draws(made, found, (), 0, clusters=np.arange(12), resamples=50)
    often = next(bootstrap.draw_weights(np.arange(12), 0, 50))
    slow = [made([p for p, n in zip(found, row, strict=True) for _ in range(n)], ())["value"] for row in often]
    assert quick == pytest.approx(slow, abs=1e-10)
