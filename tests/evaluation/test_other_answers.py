"""Paired differences and the figures of splits whose answers are numbers or several labels."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from affectkit_plugins.metrics import multilabel, multilabel_ranking, ratings, recall

from affectkit.evaluation import bootstrap
from affectkit.evaluation.prediction import Prediction
from affectkit.evaluation.protocol import BuiltMetric, figures
from affectkit.evaluation.score import compare, constant, without_metrics

PIECES = {p.name: p for module in (ratings, multilabel, multilabel_ranking) for p in module.affectkit_pieces()}
CLASSES = ("a", "b", "c")


def metric(name, **settings):
    return PIECES[name].build(PIECES[name].settings(**settings))


def rated(seed, noise, count=60):
    truths, rng = random.Random(0), random.Random(seed)
    return [
        Prediction(str(i), "numbers", "scored", true_numbers={"valence": t}, numbers={"valence": t + rng.gauss(0, noise)},
                   facts={"gender": ("female", "male")[i % 2]})
        for i, t in enumerate(truths.uniform(-1, 1) for _ in range(count))
    ]  # fmt: skip


def several(seed, count=40):
    truths, rng = random.Random(0), random.Random(seed)
    found = []
    for i in range(count):
        truth = {c: float(truths.random() < 0.5) for c in CLASSES}
        odds = {c: min(1.0, max(0.0, 0.4 * t + 0.6 * rng.random())) for c, t in truth.items()}
        named = tuple(c for c, v in odds.items() if v >= 0.5)
        found.append(Prediction(str(i), "labels", "scored", true_labels=truth, labels=named, probabilities=odds))
    return found


def by_calls(predictions, labels):
    """A metric that offers no quick way."""
    return {"value": float(np.mean([p.numbers["valence"] for p in predictions]))}


@pytest.mark.parametrize("name", ["mae", "ccc", "calls"])
@pytest.mark.parametrize("clusters", [None, np.arange(60) // 3], ids=["samples", "people"])
def test_a_pair_of_the_same_answers_differs_in_no_draw(name, clusters):
    made = by_calls if name == "calls" else metric(name)
    one = rated(1, 0.3)
    pair = bootstrap.paired({name: made}, [one], [one], (), 0, clusters, 50)[name]
    assert (pair.value, pair.low, pair.high, pair.ahead) == (0, 0, 0, 0.5)


def test_pairs_of_ranks_and_sets_are_drawn_alike_too():
    one = several(1)
    metrics = {name: metric(name) for name in ("mean_average_precision", "mean_auc", "multilabel_f1", "jaccard")}
    for pair in bootstrap.paired(metrics, [one], [one], CLASSES, 0, resamples=50).values():
        assert (pair.low, pair.high) == (0, 0)


def test_a_paired_interval_is_narrower_than_that_of_the_figures():
    one = rated(1, 0.3)
    two = [replace(p, numbers={"valence": p.numbers["valence"] + 0.01 * p.true_numbers["valence"]}) for p in one]
    pair = bootstrap.paired({"ccc": metric("ccc")}, [one], [two], (), 0)["ccc"]
    alone = bootstrap.figure(None, bootstrap.draws(metric("ccc"), one, (), 0))
    assert pair.high - pair.low < (alone.high - alone.low) / 5
    assert pair.value == pytest.approx(metric("ccc")(two, ())["value"] - metric("ccc")(one, ())["value"], abs=1e-12)


def test_the_quick_pair_is_the_slow_one():
    one, two = rated(1, 0.3), rated(2, 0.5)
    made, clusters = metric("mae"), np.arange(60)
    quick = bootstrap.paired({"mae": made}, [one], [two], (), 3, clusters, 300)["mae"]
    slow = bootstrap.paired({"mae": lambda p, labels: made(p, labels)}, [one], [two], (), 4, clusters, 300)["mae"]
    assert (quick.value, quick.first, quick.second) == pytest.approx((slow.value, slow.first, slow.second), abs=1e-12)
    assert (quick.low, quick.high) == pytest.approx((slow.low, slow.high), abs=0.02)


def test_a_lower_error_is_ahead():
    better, worse = rated(1, 0.1), rated(2, 0.6)
    found = compare(worse, better, {"mae": metric("mae"), "ccc": metric("ccc")}, (), task="numbers")
    assert found.metrics["mae"].value < 0 < found.metrics["ccc"].value
    assert (found.metrics["mae"].ahead, found.metrics["ccc"].ahead) == (1, 1)


def test_samples_of_another_truth_are_not_compared():
    one = rated(1, 0.1)
    two = [replace(one[0], true_numbers={"valence": 0.123}), *one[1:]]
    found = compare(one, two, {"mae": metric("mae")}, (), task="numbers")
    assert (found.count, found.left_out) == (59, 1)


def test_several_runs_of_a_side_are_averaged():
    one, two, three = rated(1, 0.1), rated(2, 0.3), rated(3, 0.6)
    pair = bootstrap.paired({"mae": metric("mae")}, [one], [two, three], (), 0)["mae"]
    each = [metric("mae")(side, ())["value"] for side in (two, three)]
    assert pair.second == pytest.approx(sum(each) / 2)


def test_the_always_same_answer_is_the_mean_of_numbers_and_the_common_labels():
    found = rated(1, 0.1)
    made = without_metrics("numbers", found, {"mae": metric("mae"), "ccc": metric("ccc")}, ())
    truths = [p.true_numbers["valence"] for p in found]
    spread = np.mean([abs(t - np.mean(truths)) for t in truths])
    assert made.majority.values == {"mae": pytest.approx(spread), "ccc": 0}
    unread = [replace(p, state="unparsed", numbers={}) if p.id in ("0", "1", "2") else p for p in found]
    read = [p.true_numbers["valence"] for p in unread if p.numbers]
    made = without_metrics("numbers", unread, {"mae": metric("mae")}, ())
    assert len(read) < len(found) == made.count
    assert made.majority.values["mae"] == pytest.approx(np.mean([abs(t - np.mean(read)) for t in read]))
    about, same = constant(
        "labels", [Prediction("1", "labels", "scored", true_labels={"a": 1.0, "b": 0.0}, labels=("b",))]
    )
    assert (about, same[0].labels, same[0].probabilities) == ("a", ("a",), {"a": 1.0, "b": 0.0})


def test_groups_of_ratings_have_figures_of_their_own():
    found = rated(1, 0.1)
    groups = without_metrics("numbers", found, {"mae": metric("mae")}, ()).groups["gender"]
    women = [p for p in found if p.facts["gender"] == "female"]
    assert groups["female"].count == len(women)
    assert groups["female"].metrics["mae"].value == metric("mae")(women, ())["value"]


def test_a_sweep_has_means_and_differences_of_ratings(tmp_path):
    from affectkit.evaluation.prediction import write_predictions
    from affectkit.evaluation.score import measure, write_metrics
    from affectkit.report.results import read_run
    from affectkit.studies.sweep_page import split_figures

    def run(name, seed, noise):
        folder, found = tmp_path / f"{name}-{seed}", rated(seed, noise)
        folder.mkdir()
        (folder / "recipe.yaml").write_text("name: x\nscore: {metrics: {mae: {use: mae}}}\n")
        write_predictions(folder / "predictions.jsonl", found)
        made = without_metrics("numbers", found, {}, (), resamples=20)
        write_metrics(
            folder, {"test": replace(made, by_metric={"mae": measure(metric("mae"), found, (), resamples=20)})}
        )
        return read_run(folder)

    done = {name: {s: run(name, s, noise) for s in (1, 2)} for name, noise in (("base", 0.5), ("better", 0.1))}
    found = split_figures(done, "base", "test").runs["better"]
    each = [metric("mae")(rated(s, 0.1), ())["value"] for s in (1, 2)]
    assert found.metrics["mae"].value == pytest.approx(sum(each) / 2)
    assert found.metrics["mae"].low < found.metrics["mae"].value < found.metrics["mae"].high
    assert found.difference.metrics["mae"].high < 0
    assert found.difference.metrics["mae"].ahead == 1
    assert set(found.groups["gender"]) == {"female", "male"}


def both_kinds(folder, seed, noise, part=slice(None)):
    """A run that answers a label and ratings of each sample."""
    from affectkit.evaluation.prediction import write_predictions
    from affectkit.evaluation.score import write_metrics
    from affectkit.report.results import read_run

    folder.mkdir()
    (folder / "recipe.yaml").write_text("name: x\nscore: {metrics: {uar: {use: uar}, mae: {use: mae}}}\n")
    labels = [Prediction(str(i), "label", "scored", "ab"[i % 2], "ab"[(i + seed) % 3 % 2]) for i in range(60)][part]
    answers = {("label", "candidates"): labels, ("numbers", "generate"): rated(seed, noise)[part]}
    score = SimpleNamespace(method="candidates", resamples=20, protocol="honest")
    plan = SimpleNamespace(score=score, run=SimpleNamespace(seed=0), method=lambda task: "candidates")
    uar = recall.build(recall.Settings())
    built = {
        "uar": BuiltMetric(("label", "candidates"), uar),
        "mae": BuiltMetric(("numbers", "generate"), metric("mae")),
    }
    write_predictions(folder / "predictions.jsonl", [p for own in answers.values() for p in own])
    write_metrics(folder, {"test": figures(plan, built, answers, ("a", "b"))})
    return read_run(folder)


def test_sweeps_and_folds_of_labels_and_ratings_tell_of_both(tmp_path):
    from affectkit.studies.folds import fold_figures
    from affectkit.studies.sweep_page import split_figures

    done = {
        name: {s: both_kinds(tmp_path / f"{name}{s}", s, noise) for s in (1, 2)}
        for name, noise in (("a", 0.5), ("b", 0.1))
    }
    found = split_figures(done, "a", "test").runs["b"]
    assert list(found.metrics) == list(found.differences) == ["uar", "mae"]
    assert found.metrics["mae"].low < found.metrics["mae"].value < found.metrics["mae"].high
    assert found.differences["mae"].high < 0
    folds = {str(i): both_kinds(tmp_path / f"fold{i}", 1, 0.5, slice(i, None, 2)) for i in range(2)}
    told = fold_figures(folds, "test")
    assert list(told.average) == list(told.pooled) == ["uar", "mae"]
    assert told.pooled["mae"].value == pytest.approx(metric("mae")(rated(1, 0.5), ())["value"])
    assert (told.count, set(told.per_class)) == (60, {"a", "b"})


def test_a_recipe_that_asks_numbers_alone_has_whole_figures_of_its_split():
    """A metric that refuses costs itself only."""
    score = SimpleNamespace(method="candidates", resamples=20, protocol="honest")
    plan = SimpleNamespace(score=score, run=SimpleNamespace(seed=0), method=lambda task: "candidates")
    query = ("numbers", "generate")
    metrics = {"mae": BuiltMetric(query, metric("mae")), "odd": BuiltMetric(query, metric("mae", numbers=("fear",)))}
    said = []
    found = figures(plan, metrics, {query: rated(1, 0.3)}, (), said.append)
    assert (found.count, found.ledger.scored, found.bootstrap.resamples) == (60, 60, 20)
    assert found.metrics["mae"].low < found.metrics["mae"].value
    assert set(found.majority.values) == {"mae"}
    assert set(found.groups["gender"]) == {"female", "male"}
    assert "fear" in found.metrics["odd"].error
    assert said[0].startswith("odd has no value")
    assert found.asked is None


def test_numbers_beside_labels_have_a_ledger_of_their_own():
    score = SimpleNamespace(method="candidates", resamples=20, protocol="honest")
    plan = SimpleNamespace(score=score, run=SimpleNamespace(seed=0), method=lambda task: "candidates")
    labels = [Prediction(str(i), "label", "scored", "ab"[i % 2], "a", notes={"tie": "x"}) for i in range(4)]
    noted = [replace(p, notes={"tie": "x", "outside": "y"}) if p.id in ("3", "7") else p for p in rated(1, 0.3)]
    answers = {("label", "candidates"): labels, ("numbers", "generate"): noted}
    found = figures(plan, {"mae": BuiltMetric(("numbers", "generate"), metric("mae"))}, answers, ("a", "b"))
    assert (found.count, found.matrix, found.asked[0].ledger.scored) == (4, None, 60)
    assert (found.notes["tie"], found.notes["outside"]) == (5, 2)  # a sample counts once
    assert found.metrics["mae"].value is not None


def test_a_rating_that_one_side_left_open_counts_on_neither():
    one, two = rated(1, 0.1), rated(2, 0.4)
    two = [replace(p, numbers={}, state="unparsed") if int(p.id) % 3 == 0 else p for p in two]
    found = compare(one, two, {"mae": metric("mae")}, (), task="numbers")
    common = [p for p in one if int(p.id) % 3]
    assert (found.count, found.left_out) == (len(common), 20)
    wanted = metric("mae")(two, ())["value"] - metric("mae")(common, ())["value"]
    assert found.metrics["mae"].value == pytest.approx(wanted)


def test_a_label_without_any_score_costs_the_others_nothing():
    found = several(1)
    lacking = [replace(p, probabilities={n: v for n, v in p.probabilities.items() if n != "c"}) for p in found]
    made, less = metric("mean_average_precision")(found, CLASSES), metric("mean_average_precision")(lacking, CLASSES)
    assert {n: less["parts"][n] for n in "ab"} == {n: made["parts"][n] for n in "ab"}
    assert "no answer has a score for c" in less["protocol"]
    assert less["unreadable"] == len(found)
