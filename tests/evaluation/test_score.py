"""Intervals, baselines, groups, the ledger, paired differences, and the files."""

import json
import random
import time
from dataclasses import replace

import numpy as np
import pytest
from affectkit_plugins.metrics import accuracy, confusion, f1, recall

from affectkit import files
from affectkit.errors import InputError
from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import MetricFigure, SplitFigures
from affectkit.evaluation.prediction import STATES, Prediction, read_predictions, write_predictions
from affectkit.evaluation.score import compare, count, ledger, score, write_metrics

LABELS = ("happy", "sad", "neutral")
METRICS = {
    p.name: p.build(p.settings()) for module in (recall, accuracy, f1, confusion) for p in module.affectkit_pieces()
}


def drawn(seed, count=300, right=0.6):
    rng = random.Random(seed)
    found = []
    for i in range(count):
        truth = rng.choice(("happy", "happy", "sad", "neutral"))
        label = truth if rng.random() < right else rng.choice(LABELS)
        facts = {"evidence": rng.choice(("face", "voice")), "clip": str(i), "set": "one"}
        found.append(Prediction(str(i), "label", "scored", truth=truth, label=label, facts=facts))
    found[0] = replace(found[0], state="unparsed", label=None, text="hm", error="no label in 'hm'")
    found[1] = replace(found[1], state="undecodable", label=None, error="broken file")
    found[2] = replace(found[2], state="out_of_vocabulary", label="bored")
    found[3] = replace(found[3], state="skipped", label=None, truth=None)
    return found


def test_figures_of_a_split():
    predictions = drawn(0)
    found = score(predictions, METRICS, LABELS, seed=1).to_dict()
    answered = [p for p in predictions if p.state not in ("undecodable", "skipped")]
    right = sum(p.state == "scored" and p.label == p.truth for p in answered)
    assert found["war"]["value"] == right / len(answered)
    assert found["war"]["low"] < found["war"]["value"] < found["war"]["high"]
    assert found["count"] == 298
    assert found["ledger"] == {
        "scored": 296, "undecodable": 1, "unparsed": 1, "out_of_vocabulary": 1, "refused": 0, "invalid": 0,
        "skipped": 1, "total": 300,
    }  # fmt: skip
    assert found["confusion"]["rows"] == count(answered, LABELS).tolist()
    assert "matrix" not in found
    assert sum(c["support"] for c in found["per_class"].values()) == 298
    recalls = [c["recall"] for c in found["per_class"].values()]
    assert found["uar"]["value"] == pytest.approx(np.mean(recalls), abs=1e-15)
    assert all(c["recall_low"] < c["recall"] < c["recall_high"] for c in found["per_class"].values())
    json.dumps(found, allow_nan=False)


def test_guessing_stands_beside_every_figure():
    found = score(drawn(0), METRICS, LABELS).to_dict()
    assert found["chance"]["uar"] == pytest.approx(1 / 3, abs=1e-15)
    assert found["chance"]["war"] == pytest.approx(1 / 3, abs=1e-15)
    assert found["majority"]["label"] == "happy"
    assert found["majority"]["uar"] == pytest.approx(1 / 3, abs=1e-15)
    assert found["majority"]["war"] == found["per_class"]["happy"]["support"] / found["count"]


def test_the_same_seed_gives_the_same_figures_in_any_order():
    predictions = drawn(0)
    assert score(predictions, METRICS, LABELS, seed=3) == score(predictions, METRICS, LABELS, seed=3)
    assert score(predictions[::-1], METRICS, LABELS, seed=3) == score(predictions, METRICS, LABELS, seed=3)
    one, other = (score(predictions, METRICS, LABELS, seed=s).to_dict()["uar"]["low"] for s in (3, 4))
    assert one != other


def test_draws_over_cells_are_the_bootstrap_over_samples():
    predictions = [p for p in drawn(2) if p.state == "scored"]
    truth, answer = bootstrap.indices(predictions, LABELS)
    counts = bootstrap.confusion(truth, answer, 3)
    fast = METRICS["uar"].from_confusions(bootstrap.resample(counts, 4000, 0))
    picks = np.random.default_rng(1).integers(0, len(truth), (4000, len(truth)))
    slow = METRICS["uar"].from_confusions(np.stack([bootstrap.confusion(truth[i], answer[i], 3) for i in picks]))
    assert fast.mean() == pytest.approx(slow.mean(), abs=0.003)
    assert fast.std() == pytest.approx(slow.std(), rel=0.06)
    np.testing.assert_allclose(np.quantile(fast, [0.025, 0.975]), np.quantile(slow, [0.025, 0.975]), atol=0.006)


class Hits:
    """Accuracy without counts, as a mean over samples."""

    def __call__(self, predictions, labels):
        return {"value": float(self.per_sample(predictions, labels).mean())}

    def per_sample(self, predictions, labels):
        return np.array([p.label == p.truth for p in predictions], float)


def test_clusters_are_drawn_whole_whatever_a_metric_offers():
    one = [p for p in drawn(2, count=40) if p.state == "scored"]
    people = [replace(p, id=f"{p.id}/{clip}") for p in one for clip in range(5)]
    clusters = np.repeat(np.arange(len(one)), 5)

    def calls(predictions, labels):
        return Hits()(predictions, labels)

    for metric in (METRICS["war"], Hits(), calls):
        clips = bootstrap.draws(metric, people, LABELS, 0, resamples=1500)
        whole = bootstrap.draws(metric, people, LABELS, 0, clusters, resamples=1500)
        alone = bootstrap.draws(metric, one, LABELS, 0, resamples=1500)
        assert whole.shape == (1500,)
        assert whole.std() == pytest.approx(alone.std(), rel=0.1)  # clips that are all alike tell nothing new
        assert clips.std() == pytest.approx(alone.std() / 5**0.5, rel=0.1)


def test_answers_drawn_together_are_of_the_same_samples():
    one = [p for p in drawn(2) if p.state == "scored"]
    for clusters in (None, np.arange(len(one))):
        first, second = bootstrap.tables([one, one], LABELS, 0, clusters, resamples=150)
        np.testing.assert_array_equal(first, second)
        assert set(first.sum((1, 2))) == {len(one)}


def test_a_metric_without_counts_gets_an_interval_too():
    def share_of_happy(predictions, labels):
        return {
            "value": sum(p.label == "happy" for p in predictions) / len(predictions),
            "protocol": "made up",
        }

    found = score(drawn(0), {"happiness": share_of_happy}, LABELS, resamples=200).to_dict()
    assert found["happiness"]["low"] < found["happiness"]["value"] < found["happiness"]["high"]
    assert found["happiness"]["protocol"] == "made up"
    assert "happiness" not in found["chance"]
    assert np.sum(found["matrix"]["rows"]) == 298


def test_groups_by_facts_but_not_by_ids():
    found = score(drawn(0), METRICS, LABELS).to_dict()["groups"]
    assert list(found) == ["evidence"]
    assert sorted(found["evidence"]) == ["face", "voice"]
    assert sum(g["count"] for g in found["evidence"].values()) == 298
    assert found["evidence"]["face"]["uar"]["low"] < found["evidence"]["face"]["uar"]["high"]


def test_groups_with_numbers_in_their_names_stand_in_the_order_of_the_numbers():
    tones = [f"tone {1 + i % 10}" for i in range(40)]
    people = [
        Prediction(str(i), "label", "scored", truth="sad", label="sad", facts={"tone": tone})
        for i, tone in enumerate(tones)
    ]
    assert list(score(people, METRICS, LABELS, resamples=10).to_dict()["groups"]["tone"]) == tones[:10]


def test_a_class_that_never_occurs_has_no_recall_and_does_not_lower_uar():
    found = score([Prediction("a", "label", "scored", truth="sad", label="sad")], METRICS, LABELS).to_dict()
    assert found["per_class"]["happy"]["recall"] is None
    assert found["per_class"]["happy"]["recall_low"] is None
    assert found["uar"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_nothing_scored_gives_no_figures_and_no_warning():
    found = score([Prediction("a", "label", "undecodable", truth="sad")], METRICS, LABELS).to_dict()
    assert found["uar"] == {"value": None, "low": None, "high": None}
    assert found["ledger"]["undecodable"] == 1
    assert found["chance"] == found["majority"] == {}


def test_wrong_labels_and_repeated_samples_are_named():
    one = Prediction("clip7", "label", "scored", truth="sad", label="sad")
    with pytest.raises(InputError, match=r"sample clip7: its truth 'bored' is not in the label set"):
        score([replace(one, truth="bored")], METRICS, LABELS)
    with pytest.raises(InputError, match=r"sample clip7: its answer 'bored' is not in the label set"):
        score([replace(one, label="bored")], METRICS, LABELS)
    with pytest.raises(InputError, match="sample clip7: occurs more than once"):
        ledger([one, one])
    ledger([one, replace(one, split="conflict"), replace(one, task="reason")])


def test_paired_differences_are_narrower_than_apart():
    first = drawn(0)
    rng = random.Random(5)
    second = [replace(p, label=p.truth) if p.state == "scored" and rng.random() < 0.3 else p for p in first]
    found = compare(first, second[:-10], METRICS, LABELS).to_dict()
    assert found["count"] == 288
    assert found["left_out"] == 10
    uar = found["metrics"]["uar"]
    assert uar["value"] == pytest.approx(uar["second"] - uar["first"], abs=1e-15)
    assert 0 < uar["low"] < uar["value"] < uar["high"]
    assert uar["ahead"] == 1.0
    alone = score(first, METRICS, LABELS).to_dict()["uar"]
    assert uar["high"] - uar["low"] < alone["high"] - alone["low"]
    back = compare(second, first, METRICS, LABELS).to_dict()["metrics"]["uar"]
    assert back["value"] < 0
    same = compare(first, first, METRICS, LABELS).to_dict()["metrics"]["uar"]
    assert (same["value"], same["low"], same["high"], same["ahead"]) == (0, 0, 0, 0.5)


def test_other_truth_for_the_same_sample_is_left_out():
    one = [Prediction("a", "label", "scored", truth="sad", label="sad")]
    two = [Prediction("a", "label", "scored", truth="happy", label="sad")]
    found = compare(one, two, METRICS, LABELS).to_dict()
    assert found["count"] == 0
    assert found["metrics"]["uar"]["value"] is None


def test_two_thousand_samples_and_five_metrics_take_about_a_second():
    predictions = drawn(0, count=2000)
    score(drawn(0, count=10), METRICS, LABELS, resamples=2)  # imports torchmetrics
    start = time.process_time()
    score(predictions, METRICS, LABELS, resamples=1000)
    assert time.process_time() - start < 20  # no bomb goes off; speed is for benchmarks/


def test_predictions_come_back_as_they_were_written(tmp_path):
    predictions = [replace(p, probabilities={"sad": 0.25}, text="line\u2028break é") for p in drawn(0, count=10)]
    write_predictions(tmp_path / "predictions.jsonl", predictions)
    assert read_predictions(tmp_path / "predictions.jsonl") == predictions
    odd = MetricFigure(float("nan"), np.float32(0.5), 1)
    write_metrics(tmp_path, {"test": SplitFigures(labels=("x",), by_metric={"uar": odd})})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "test": {"labels": ["x"], "uar": {"value": None, "low": 0.5, "high": 1}}
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "predictions.jsonl"]


def test_broken_predictions_are_named_by_line(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text(
        '{"id": "a", "task": "label", "state": "scored"}\n\n{"id": "b", "task": "label", "state": "scord"}\n'
    )
    with pytest.raises(InputError) as error:
        read_predictions(path)
    assert f"{path}:3: unknown state 'scord'" in str(error.value)
    assert "did you mean 'scored'?" in str(error.value)
    path.write_text('{"id": "a", "task":')
    with pytest.raises(InputError, match=r"predictions\.jsonl:1: this is not JSON"):
        read_predictions(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_predictions(tmp_path / "none.jsonl")


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json_atomic(path, {"a": 1})

    def full(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        files.write_json_atomic(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_every_state_is_explained():
    assert set(ledger([]).to_dict()) == {*STATES, "total"}
