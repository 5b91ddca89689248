"""Published protocols to the digit, metrics that want other answers, and scoring files as they are published."""

import json
import math
import random

import numpy as np
import pytest
from affectkit_plugins.metrics import accuracy, f1, mer2023_upstream, recall
from chat_server import serving
from click.testing import CliRunner
from sklearn import metrics as sk

from affectkit.commands.score import command
from affectkit.errors import InputError
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.prediction import ANSWERED, Prediction
from affectkit.evaluation.score import measure
from affectkit.labels.answers import parse_labels

SIX = ("neutral", "angry", "happy", "sad", "worried", "surprise")
SUPPORT = {"neutral": 166, "angry": 183, "happy": 169, "sad": 257, "worried": 45, "surprise": 14}
DFEW = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
FOLD_1 = (489, 379, 534, 435, 294, 29, 181)
SEVERAL = {"weighted_f1": f1, "macro_f1": f1, "accuracy": accuracy, "war": accuracy, "uar": recall}
METRICS = {name: p.build(p.settings()) for name, m in SEVERAL.items() for p in m.affectkit_pieces() if p.name == name}


def figures(*arguments):
    found = CliRunner().invoke(command, [*map(str, arguments), "--json"])
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return json.loads(found.output)


def matrix(support, seed, right=0.8):
    """Confusion counts with these supports; the last classes are hardly ever answered."""
    rng = np.random.default_rng(seed)
    k = len(support)
    rows = []
    for i, n in enumerate(support):
        odds = np.full(k, (1 - right) / (k - 1))
        odds[i] = right
        odds[-1] *= 0 if i != k - 1 else 0.3
        rows.append(rng.multinomial(n, odds / odds.sum()).tolist())
    return rows


def spread(rows, labels):
    """Truths and answers of a matrix."""
    pairs = [(labels[i], labels[j]) for i, row in enumerate(rows) for j, n in enumerate(row) for _ in range(n)]
    random.Random(0).shuffle(pairs)
    return pairs


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("labels", [SIX, DFEW], ids=["mer2023", "dfew"])
def test_figures_of_a_matrix_are_sklearns(labels, seed, tmp_path):
    rows = matrix(SUPPORT.values() if labels == SIX else FOLD_1, seed)
    (tmp_path / "matrix.json").write_text(json.dumps({"labels": labels, "rows": rows}))
    found = figures(*SEVERAL, "--confusion", tmp_path / "matrix.json")
    truth, answer = zip(*spread(rows, labels), strict=True)
    wanted = {
        "weighted_f1": sk.f1_score(truth, answer, average="weighted", zero_division=0),
        "macro_f1": sk.f1_score(truth, answer, average="macro", zero_division=0),
        "accuracy": sk.accuracy_score(truth, answer),
        "war": sk.recall_score(truth, answer, average="weighted"),
        "uar": sk.balanced_accuracy_score(truth, answer),
    }
    assert {n: found[n]["value"] for n in wanted} == pytest.approx(wanted, abs=1e-12)


def by_hand(rows):
    """Weighted F1 in exact arithmetic."""
    from fractions import Fraction

    k, total = len(rows), sum(map(sum, rows))
    answered = [sum(row[j] for row in rows) for j in range(k)]
    parts = [Fraction(2 * rows[i][i], sum(rows[i]) + answered[i]) * sum(rows[i]) for i in range(k)]
    return float(sum(parts) / total)


@pytest.mark.parametrize("seed", range(4))
def test_weighted_f1_of_published_supports_is_exact(seed, tmp_path):
    rows = matrix(SUPPORT.values(), seed, 0.9)
    (tmp_path / "matrix.json").write_text(json.dumps(rows))
    found = figures("weighted_f1", "--confusion", tmp_path / "matrix.json")
    assert found["count"] == 834
    assert abs(found["weighted_f1"]["value"] - by_hand(rows)) < 1e-15


# Published rows (happy, sad, neutral, angry, surprise, disgust, fear | UAR, WAR), all of fold 1's test set.
PUBLISHED = {
    "Qwen-Audio": (25.97, 12.93, 67.04, 29.20, 6.12, 0.00, 35.36, 25.23, 31.74),
    "LLaVA-NeXT": (57.46, 79.42, 38.95, 0.00, 0.00, 0.00, 0.00, 25.12, 33.75),
    "MiniGPT-v2": (84.25, 47.23, 22.28, 20.69, 2.04, 0.00, 0.55, 25.29, 34.47),
    "Video-LLaMA": (20.25, 67.55, 80.15, 5.29, 4.76, 0.00, 9.39, 26.77, 35.75),
    "Emotion-LLaMA zero-shot": (71.98, 76.25, 61.99, 71.95, 33.67, 0.00, 3.31, 45.59, 59.37),
    "Emotion-LLaMA": (93.05, 79.42, 72.47, 84.14, 72.79, 3.45, 44.20, 64.21, 77.06),
}


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_dfew_rows_follow_from_counts(row, tmp_path):
    """Each recall is a count over its class; the counts give UAR and WAR back, to the digits that were published."""
    *recalls, uar, war = PUBLISHED[row]
    hits = [round(r * n / 100) for r, n in zip(recalls, FOLD_1, strict=True)]
    rows = [[h if j == i else 0 for j in range(7)] + [n - h] for i, (h, n) in enumerate(zip(hits, FOLD_1, strict=True))]
    (tmp_path / "matrix.json").write_text(json.dumps({"labels": DFEW, "rows": rows}))
    found = figures("uar", "war", "--confusion", tmp_path / "matrix.json")
    assert found["count"] == 2341
    told = [found["per_class"][label]["recall"] * 100 for label in DFEW]
    assert told == pytest.approx(recalls, abs=0.0051)
    for name, published in (("uar", uar), ("war", war)):
        exact = found[name]["value"] * 100  # some rows were rounded (45.587 to 45.59), some cut (59.376 to 59.37)
        assert published in (round(exact, 2), math.floor(exact * 100) / 100)


def answered(rows, seed=0):
    """Generated answers as the published evaluation meets them: sentences, and words that are no label."""
    rng = random.Random(seed)
    found = []
    for i, (truth, answer) in enumerate(spread(rows, SIX)):
        text = rng.choice(["{}", "the person feels {}", "emotion: {}"]).format(answer)
        if rng.random() < 0.1:
            text = rng.choice(["", "fear", "contempt", "Happy", "happy.", "i do not know", "sad\nor"])
        state = "scored" if text in SIX else "unparsed" if not text else "out_of_vocabulary"
        found.append(Prediction(f"{i}", "label", state, truth, text or None, text=text))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_mer2023_as_published(seed):
    predictions = answered(matrix(SUPPORT.values(), seed), seed)
    metric = mer2023_upstream.build(mer2023_upstream.Settings())
    found = measure(metric, predictions, SIX).to_dict()
    truth = [p.truth for p in predictions]
    last = [p.text.split(" ")[-1] for p in predictions]
    answer = [word if word in SIX else "neutral" for word in last]
    average = {"average": "weighted", "zero_division": 0}
    assert abs(found["value"] - sk.f1_score(truth, answer, **average)) < 1e-12
    assert abs(found["accuracy"] - sk.accuracy_score(truth, answer)) < 1e-12
    assert abs(found["weighted_precision"] - sk.precision_score(truth, answer, **average)) < 1e-12
    assert abs(found["weighted_recall"] - sk.recall_score(truth, answer, **average)) < 1e-12
    assert found["confusion"] == sk.confusion_matrix(truth, answer, labels=SIX).tolist()
    assert found["turned"] == sum(word not in SIX for word in last) > 50
    turned = [t for t, word in zip(truth, last, strict=True) if word not in SIX]
    assert found["credited"] == turned.count("neutral")
    assert f"{found['turned']} of 834 were none of the 6 labels" in found["protocol"]
    assert found["low"] < found["value"] < found["high"]


def test_the_interval_of_the_protocol_is_that_of_its_matrix():
    predictions = answered(matrix(SUPPORT.values(), 1), 1)
    metric = mer2023_upstream.build(mer2023_upstream.Settings())
    found = measure(metric, predictions, SIX, seed=0, resamples=2000).to_dict()
    rng = np.random.default_rng(5)
    slow = []
    for _ in range(200):
        drawn = [predictions[i] for i in rng.integers(0, 834, 834)]
        slow.append(metric(drawn, SIX)["value"])
    low, high = np.quantile(slow, [0.025, 0.975])
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=0.008)


def test_a_truth_outside_the_protocol_is_told():
    metric = mer2023_upstream.build(mer2023_upstream.Settings())
    with pytest.raises(InputError, match="'fear' is none of the protocol's labels"):
        metric([Prediction("a", "label", "scored", "fear", "fear", text="fear")], SIX)


def test_the_same_answers_by_both_protocols(tmp_path):
    """What is no label is wrong in the one and neutral in the other, and both say so."""
    predictions = answered(matrix(SUPPORT.values(), 2), 2)
    lines = [json.dumps({"id": p.id, "label": p.text}) for p in predictions]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    (tmp_path / "truth.csv").write_text("name,discrete\n" + "".join(f"{p.id},{p.truth}\n" for p in predictions))
    found = figures(
        "mer2023_upstream", "weighted_f1", "--predictions", tmp_path / "answers.jsonl", "--labels",
        tmp_path / "truth.csv", "--classes", ",".join(SIX),
    )  # fmt: skip
    wanted = measure(mer2023_upstream.build(mer2023_upstream.Settings()), predictions, SIX).to_dict()
    assert found["mer2023_upstream"]["value"] == wanted["value"]
    assert found["ledger"]["out_of_vocabulary"] + found["ledger"]["unparsed"] > 400  # words, and sentences
    assert found["weighted_f1"]["value"] < found["mer2023_upstream"]["value"]
    changed = figures(
        "mer2023_upstream", "mer2023_upstream.otherwise=sad", "--predictions", tmp_path / "answers.jsonl",
        "--labels", tmp_path / "truth.csv",
    )  # fmt: skip
    assert "count as sad" in changed["mer2023_upstream"]["protocol"]


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("sad", ("sad",)), ("['sad', 'angry']", ("sad", "angry")), ('["sad"]', ("sad",)), ("[sad,angry]", ("sad", "angry")),
        ("[]", ()), ("", ()), (None, ()), (["sad", " "], ("sad",)), ("['so-so', \"at ease\"]", ("so-so", "at ease")),
        ("__import__('os')", ("__import__('os')",)),
    ],
)  # fmt: skip
def test_labels_as_published_files_hold_them(value, labels):
    assert parse_labels(value) == labels


def test_lists_of_labels_in_files(tmp_path):
    (tmp_path / "truth.csv").write_text("names,labels\na,['happy']\nb,\"['sad']\"\nc,[sad]\nd,[]\n")
    rows = [
        {"name": "a", "labels": ["happy"]},
        {"name": "b", "labels": "['happy', 'sad']"},
        {"name": "c", "labels": "sad"},
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = figures("war", "--predictions", tmp_path / "answers.jsonl", "--labels", tmp_path / "truth.csv")
    assert found["war"]["value"] == 2 / 3
    assert (found["ledger"]["unparsed"], found["ledger"]["skipped"]) == (1, 1)
    (tmp_path / "truth.csv").write_text("name,labels\na,\"['happy', 'sad']\"\n")
    with pytest.raises(InputError, match="a: has 2 labels, and these metrics score one"):
        figures("war", "--predictions", tmp_path / "answers.jsonl", "--labels", tmp_path / "truth.csv")


def emer(tmp_path, truths=3):
    (tmp_path / "gt.csv").write_text(
        "names,emotions,subtitles,reasons\n" + "".join(f"s{i},angry,hm,reason {i}\n" for i in range(truths))
    )
    (tmp_path / "answers.csv").write_text("names,chi_reasons\ns0,answer 0\ns1,\ns9,answer 9\n")
    return "--predictions", tmp_path / "answers.csv", "--labels", tmp_path / "gt.csv"


def test_judging_files_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE", "the key")
    files = emer(tmp_path)
    with serving(lambda body: '{"score": 8}') as server:
        asked = ["clue_overlap", *files, "--client", "openai_compatible", "client.model=m", f"client.url={server.url}"]
        found = figures(*asked, "--api-key-env", "JUDGE")
        assert len(server.seen) == 1
        assert server.seen[0][1]["Authorization"] == "Bearer the key"
        assert figures(*asked, "clue_overlap.scale=0-10")["clue_overlap"]["each"] == {"s0": 8, "s1": 0, "s2": 0}
        text = CliRunner().invoke(command, list(map(str, asked))).output
        key = [line for path in tmp_path.rglob("*") if path.is_file() for line in path.read_text().split("\n")]
        assert "the key" not in "".join(key)
    assert found["clue_overlap"]["each"] == {"s0": 8, "s1": 1, "s2": 1}
    assert found["clue_overlap"]["value"] == 10 / 3
    assert found["ledger"] == {
        "scored": 1, "undecodable": 0, "unparsed": 2, "out_of_vocabulary": 0, "refused": 0, "invalid": 0,
        "skipped": 1, "total": 4,
    }  # fmt: skip
    assert "clue overlap, mean of 3 samples on a scale from 1 to 10" in text


def test_what_is_missing_to_judge_is_said(tmp_path):
    files = emer(tmp_path)
    with pytest.raises(InputError, match="asks another model, and no client is named"):
        figures("clue_overlap", *files)
    with pytest.raises(InputError, match="did you mean 'openai_compatible'"):
        figures("clue_overlap", *files, "--client", "openai_compatibel")
    with pytest.raises(InputError, match=r"client: missing key 'model'"):
        figures("clue_overlap", *files, "--client", "openai_compatible")
    with pytest.raises(InputError, match="did you mean 'language'"):
        figures(
            "clue_overlap", *files, "--client", "openai_compatible", "client.model=m", "clue_overlap.langage=english"
        )
    with pytest.raises(InputError, match="unknown metric 'clue'"):
        figures("clue_overlap", *files, "clue.language=english")
    (tmp_path / "gt.csv").write_text("name,chinese,english\ns0,a,b\n")
    with pytest.raises(InputError, match="several columns of texts"):
        figures(
            "clue_overlap", *files, "--client", "openai_compatible", "client.model=m", "client.url=http://127.0.0.1:1"
        )


class Plan:
    """As much of a plan as questions need."""

    def __init__(self, tasks=("label", "reason"), method="candidates"):
        self.tasks = tasks
        self.score = type("Score", (), {"method": method, "protocol": "honest", "resamples": 50})
        self.run = type("Run", (), {"seed": 0})
        self.heads = {}

    def method(self, task):
        return self.score.method if task == "label" else "generate"


class Texts:
    """The share of texts that are as long as the reference."""

    def __call__(self, predictions, labels):
        rows = self.per_sample(predictions, labels)
        return {"value": float(rows.mean()) if len(rows) else None, "protocol": "length"}

    def per_sample(self, predictions, labels):
        return np.array([[len(p.text) >= len(p.truth)] for p in predictions], float)


def answer(asked):
    def answers(task, method, most):
        asked.append((task, method, most))
        rows = []
        for i in range(4 if most is None else most):
            truth = None if i == 3 else "sad" if task == "label" else "abc"
            text = "" if i == 2 else "abcd"
            state = "scored" if method == "candidates" or task != "label" else "out_of_vocabulary"
            label = "sad" if task == "label" and (text or method == "candidates") else None
            rows.append(Prediction(f"{i}", task, state, truth, label, text))
        return rows

    return answers


def test_every_question_is_asked_once_and_has_its_ledger(tmp_path):
    asked, plan = [], Plan()
    metrics = {
        "war": protocols.BuiltMetric(("label", "candidates"), METRICS["war"]),
        "uar": protocols.BuiltMetric(("label", "candidates"), METRICS["uar"]),
        "up": protocols.BuiltMetric(("label", "generate"), mer2023_upstream.build(mer2023_upstream.Settings())),
        "long": protocols.BuiltMetric(("reason", "generate"), Texts()),
        "longer": protocols.BuiltMetric(("reason", "generate"), Texts()),
    }
    answers = protocols.collect(plan, metrics, answer(asked), show=2)
    assert asked == [("label", "candidates", None), ("label", "generate", None), ("reason", "generate", None)]
    found = protocols.figures(plan, metrics, answers, ("happy", "sad")).to_dict()
    assert found["war"]["value"] == 1
    assert found["ledger"]["skipped"] == 1
    assert (found["up"]["turned"], found["up"]["value"]) == (3, 0)
    assert found["long"]["value"] == found["longer"]["value"] == 2 / 3
    ledgers = {(a["task"], a["method"]): a["ledger"] for a in found["asked"]}
    assert ledgers["label", "generate"]["out_of_vocabulary"] == 3
    assert ledgers["reason", "generate"] == {
        "scored": 2, "undecodable": 0, "unparsed": 1, "out_of_vocabulary": 0, "refused": 0, "invalid": 0,
        "skipped": 1, "total": 4,
    }  # fmt: skip
    protocols.write_answers(tmp_path, plan, {"test": answers})
    tasks = [json.loads(line)["task"] for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert tasks == ["label"] * 4 + ["reason"] * 4
    apart = (tmp_path / "predictions-label-generate.jsonl").read_text().splitlines()
    assert [json.loads(line)["split"] for line in apart] == ["test"] * 4
    again = figures("war", "--predictions", tmp_path / "predictions.jsonl")
    assert again["war"]["value"] == 1


def test_a_truth_that_a_protocol_does_not_know_costs_its_figure_only():
    said, plan = [], Plan()
    published = mer2023_upstream.build(mer2023_upstream.Settings(("neutral", "happy")))
    metrics = {
        "war": protocols.BuiltMetric(("label", "candidates"), METRICS["war"]),
        "up": protocols.BuiltMetric(("label", "generate"), published),
    }
    answers = protocols.collect(plan, metrics, answer([]), show=0)
    found = protocols.figures(plan, metrics, answers, ("happy", "sad"), said.append).to_dict()
    assert (found["war"]["value"], found["up"]["value"]) == (1, None)
    assert "'sad' is none of the protocol's labels" in found["up"]["error"]
    assert said[0].startswith("up has no value")


def test_without_a_metric_a_few_reasons_are_shown_and_not_scored():
    asked = []
    answers = protocols.collect(Plan(), {}, answer(asked), show=2)
    assert asked == [("label", "candidates", None), ("reason", "generate", 2)]
    assert {p.state for p in answers["reason", "generate"]} == {"scored"}
    assert all(p.state in ANSWERED or p.truth is None for p in answers["label", "candidates"])
    assert protocols.collect(Plan(tasks=("reason",)), {}, answer([]), show=0) == {}
