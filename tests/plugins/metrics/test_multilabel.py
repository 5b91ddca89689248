"""Metrics of several labels against scikit-learn, and rows that published scorers made."""

import json
import math
import re

import numpy as np
import pytest
from affectkit_plugins.metrics import label_distribution, multilabel, multilabel_ranking
from published_files import REFERENCE

from affectkit.errors import InputError
from affectkit.evaluation import bootstrap
from affectkit.evaluation.prediction import Prediction

MODULES = (label_distribution, multilabel, multilabel_ranking)
PIECES = {p.name: p for module in MODULES for p in module.affectkit_pieces()}
VECTORS = REFERENCE / "vectors" / "metric_vectors.json"
CLASSES = ("a", "b", "c", "d")
F1 = ("micro", "macro", "samples", "weighted")


def metric(name, **settings):
    return PIECES[name].build(PIECES[name].settings(**settings))


def value(name, found, labels=CLASSES, **settings):
    return metric(name, **settings)(found, labels)["value"]


def answer(i, truth, labels=(), odds=None, state="scored"):
    """`truth` is a set of labels, or a mapping to weights."""
    weights = truth if isinstance(truth, dict) else dict.fromkeys(truth, 1.0)
    return Prediction(str(i), "labels", state, true_labels=weights, labels=tuple(labels), probabilities=odds or {})


def scored(truth, scores, classes=CLASSES):
    """Rows of 0 and 1, and of probabilities."""
    return [
        answer(i, dict(zip(classes, map(float, t), strict=True)), (), dict(zip(classes, map(float, s), strict=True)))
        for i, (t, s) in enumerate(zip(truth, scores, strict=True))
    ]


def drawn(seed, rows=60):
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, 4)) < (0.5, 0.3, 0.2, 0.6)
    scores = np.clip(truth * 0.3 + rng.random((rows, 4)) * 0.7, 0, 1).round(1)
    return truth.astype(int), scores


def vectors(section):
    if not VECTORS.is_file():
        pytest.skip(f"{VECTORS} is not here")
    return json.loads(VECTORS.read_text(encoding="utf-8"))[section]


def words(text):
    """As the published scorer splits a line: lower case, at commas and semicolons."""
    return [word.strip().lower() for word in re.split(r"[,;]", text)]


def test_rows_of_a_published_scorer_of_words_agree():
    for row in vectors("multi_label_words"):
        pairs = zip(row["answers"], row["responses"], strict=True)
        found = [answer(i, words(truth), words(said)) for i, (truth, said) in enumerate(pairs)]
        told = metric("multilabel_f1", outside="dropped")(found, row["classes"])
        expected = [row[f"f1_{n}"] for n in F1]
        assert [told[n] for n in F1] == pytest.approx(expected, abs=1e-12)
        jaccard = value("jaccard", found, row["classes"], outside="dropped", epsilon=1e-6)
        assert jaccard == pytest.approx(row["jaccard_with_1e6"], abs=1e-12)
        assert value("exact_match", found, row["classes"], outside="dropped") == pytest.approx(
            row["exact_match"], abs=1e-12
        )
        told = metric("mean_average_precision", scores="answers")(found, row["classes"])
        assert told["value"] == pytest.approx(row["map_hard_macro"], abs=1e-12)
        assert [p["value"] for p in told["parts"].values()] == pytest.approx(row["map_hard_per_label"], abs=1e-12)


def test_rows_of_scores_agree():
    for row in vectors("multi_label_scores"):
        found = scored(row["truth"], row["scores"])
        told = metric("mean_average_precision")(found, CLASSES)
        assert [p["value"] for p in told["parts"].values()] == [
            v if v is None else pytest.approx(v, abs=1e-12) for v in row["ap"]
        ]
        assert told["value"] == pytest.approx(row["map_sklearn_macro"], abs=1e-12)
        assert told["over_present"] == pytest.approx(row["map_over_present"], abs=1e-12)
        assert value("mean_auc", found) == pytest.approx(row["auc_mean_over_defined"], abs=1e-12)
        told = metric("multilabel_f1", threshold=0.5)(found, CLASSES)
        assert told["macro"] == pytest.approx(row["f1_macro_at_05"], abs=1e-12)
        assert told["micro"] == pytest.approx(row["f1_micro_at_05"], abs=1e-12)


def test_rows_of_distributions_agree():
    for row in vectors("ldl"):
        names = [f"label {i}" for i in range(len(row["truth"]))]
        found = [answer(0, dict(zip(names, row["truth"], strict=True)), (), dict(zip(names, row["pred"], strict=True)))]
        parts = {n: p["value"] for n, p in metric("label_distribution")(found, names)["parts"].items()}
        expected = {**row, "kullback_leibler": row["kl"]}
        assert parts == {n: pytest.approx(expected[n], abs=1e-12) if n in expected else parts[n] for n in parts}


def test_the_first_row_of_words():
    truth = (["anger", "fear"], ["happiness"], ["sadness", "anxiety"])
    said = (["fear", "anger."], ["happiness", "surprise"], ["sadness", "anxiety"])
    found = [answer(i, *row) for i, row in enumerate(zip(truth, said, strict=True))]
    classes = sorted({name for row in truth for name in row})
    told = metric("multilabel_f1", outside="dropped")(found, classes)
    assert [round(told[n], 4) for n in F1[:3]] == [0.8889, 0.8, 0.8889]
    assert value("jaccard", found, classes, outside="dropped") == pytest.approx(5 / 6, abs=1e-12)
    assert value("exact_match", found, classes, outside="dropped") == pytest.approx(2 / 3, abs=1e-12)


def test_the_first_row_of_distributions():
    found = [answer(0, {"a": 0.5, "b": 0.3, "c": 0.2}, (), {"a": 0.4, "b": 0.3, "c": 0.1, "d": 0.1, "e": 0.1})]
    parts = metric("label_distribution")(found, "abcde")["parts"]
    expected = {"chebyshev": 0.1, "clark": 1.45721, "canberra": 2.44444, "kullback_leibler": 0.25020, "cosine": 0.95037,
                "intersection": 0.8, "top1": 1.0}  # fmt: skip
    assert {n: parts[n]["value"] for n in expected} == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_learn(seed):
    from sklearn import metrics as sk

    truth, scores = drawn(seed)
    found, hard = scored(truth, scores), scores >= 0.5
    told = metric("multilabel_f1", threshold=0.5)(found, CLASSES)
    assert [told[n] for n in F1] == pytest.approx([sk.f1_score(truth, hard, average=n, zero_division=0) for n in F1])
    for name, expected in (
        ("jaccard", sk.jaccard_score(truth, hard, average="samples", zero_division=0)),
        ("exact_match", sk.accuracy_score(truth, hard)),
        ("hamming_loss", sk.hamming_loss(truth, hard)),
    ):
        assert value(name, found, threshold=0.5) == pytest.approx(expected, abs=1e-12)
    assert value("mean_average_precision", found) == pytest.approx(sk.average_precision_score(truth, scores), abs=1e-12)
    assert value("mean_auc", found) == pytest.approx(sk.roc_auc_score(truth, scores), abs=1e-12)


def test_a_label_outside_the_set_is_counted_and_wrong_unless_dropped():
    found = [answer(0, "ab", ("a", "b", "bored")), answer(1, "c", "c")]
    told = metric("multilabel_f1")(found, CLASSES)
    assert (told["outside"], told["outside_answers"]) == (1, 1)
    assert told["micro"] == pytest.approx(6 / 7)
    assert told["macro"] == 0.75  # class d is in neither truths nor answers
    assert told["macro_present"] == 1
    assert "1 answered labels outside the set" in told["protocol"]
    assert value("exact_match", found) == 0.5
    assert value("jaccard", found) == pytest.approx((2 / 3 + 1) / 2)
    dropped = metric("multilabel_f1", outside="dropped")(found, CLASSES)
    assert (dropped["micro"], dropped["outside"]) == (1, 1)
    assert value("exact_match", found, outside="dropped") == 1


def test_a_truth_outside_the_set_is_refused():
    with pytest.raises(InputError, match="bored"):
        value("multilabel_f1", [answer(0, ["bored"], "a")])


def test_an_answer_without_a_label_is_wrong_and_ranks_last():
    found = [answer(0, "a", "a", {"a": 0.2, "b": 0.1, "c": 0, "d": 0}), answer(1, "a", state="unparsed")]
    told = metric("multilabel_f1")(found, CLASSES)
    assert (told["unreadable"], told["parts"]["a"]["recall"], told["samples"]) == (1, 0.5, 0.5)
    assert metric("mean_average_precision")(found, CLASSES)["unreadable"] == 1
    worse = [*found, answer(2, "b", (), {"a": 0.1, "b": 0.9, "c": 0, "d": 0})]
    told = metric("mean_average_precision")(worse, CLASSES)
    assert told["parts"]["a"]["value"] == pytest.approx((1 + 2 / 3) / 2)


def test_votes_are_labels_above_a_share():
    found = [answer(0, {"a": 0.6, "b": 0.3, "c": 0.1}, "ab")]
    assert value("exact_match", found) == 0
    assert value("exact_match", found, true_above=0.2) == 1


def test_kullback_leibler_of_an_excluded_truth_has_no_value_without_a_floor_and_says_when_it_had_one():
    found = [answer(0, "a", (), {"a": 0.0, "b": 1.0}), answer(1, "a", (), {"a": 1.0, "b": 0.0})]
    told = metric("label_distribution")(found, "ab")
    assert told["value"] == pytest.approx(-math.log(1e-12) / 2)
    assert "1 answers exclude what is true: there a probability counts 1e-12" in told["protocol"]
    told = metric("label_distribution", floor=0.0)(found, "ab")
    assert told["value"] is None
    assert "infinite for 1 answers" in told["protocol"]
    assert told["parts"]["chebyshev"]["value"] == 0.5


@pytest.mark.parametrize("name", list(PIECES))
def test_draws_equal_calls_on_the_drawn_samples(name):
    found = [p if i % 7 else answer(p.id, p.true_labels, state="unparsed") for i, p in enumerate(scored(*drawn(4, 15)))]
    found = [
        Prediction(**{**vars(p), "labels": tuple(n for n, v in p.probabilities.items() if v > 0.5)}) for p in found
    ]
    made = metric(name)
    quick = bootstrap.draws(made, found, CLASSES, 0, clusters=np.arange(15), resamples=40)
    often = next(bootstrap.draw_weights(np.arange(15), 0, 40))
    slow = [made([p for p, n in zip(found, row, strict=True) for _ in range(n)], CLASSES)["value"] for row in often]
    assert quick == pytest.approx(slow, abs=1e-9)
    assert len(set(quick)) > 1


@pytest.mark.parametrize("name", list(PIECES))
def test_nothing_has_no_value(name):
    assert metric(name)([], CLASSES)["value"] is None
