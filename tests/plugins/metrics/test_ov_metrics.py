"""Metrics over open labels: the published toy example, quirks, and `affectkit score` on files of every form."""

import json
import random
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from affectkit_plugins.metrics import mer_unibench, ov_gpt_groups, ov_wheels, sentiment_waf
from affectkit_plugins.metrics._groups import parse_groups, quoted
from score_runs import figures, run
from wheel_files import TABLES, published

from affectkit.errors import InputError
from affectkit.evaluation.clients import CachedClient
from affectkit.evaluation.prediction import Prediction
from affectkit.evaluation.score import measure
from affectkit.labels.wheels import string_to_list

TRUTH = {"a": "[happy, grateful]", "b": "[angry, worried]", "c": "[neutral]", "d": "[confused]", "e": "[sad]"}
ANSWER = {
    "a": "[joyful, excited]", "b": "[furious, annoyed, calm]", "c": "[happy]", "d": "[]", "e": '["Sad", disappointed, blorp]',
}  # fmt: skip
SINGLE = {"a": "happy", "b": "angry", "c": "neutral", "d": "surprise", "e": "sad"}


def said(truths, answers, task="open_labels"):
    return [Prediction(i, task, "scored", text=answers[i], truth=t) for i, t in truths.items()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))
    lines = [json.dumps({"name": i, "openset": t}) for i, t in TRUTH.items()]
    (tmp_path / "truth.jsonl").write_text("\n".join(lines))
    (tmp_path / "truth.csv").write_text("name,openset\n" + "".join(f'{i},"{t}"\n' for i, t in TRUTH.items()))
    (tmp_path / "single.csv").write_text("name,discrete\n" + "".join(f"{i},{t}\n" for i, t in SINGLE.items()))
    np.savez(tmp_path / "p-openset.npz", filenames=list(ANSWER), fileitems=list(ANSWER.values()))
    return tmp_path


@published
@pytest.mark.parametrize("labels", ["truth.jsonl", "truth.csv"])
def test_the_toy_example(folder, labels):
    files = ("--predictions", "p-openset.npz", "--labels", labels, "--wheels", str(TABLES))
    found = figures("ov_wheels", "mer_unibench", *files)
    parts, one = found["ov_wheels"]["parts"], found["ov_wheels"]
    wanted = {
        "M1": (0.125, 0.25, 1 / 6), "M2": (0.25, 0.375, 0.3), "W1-L1": (0.5, 0.625, 5 / 9), "W2-L1": (0.625, 0.625, 0.625),
        "W3-L1": (0.5, 0.5, 0.5), "W4-L1": (0.5, 0.625, 5 / 9), "W5-L1": (0.375, 0.625, 0.46875),
    }  # fmt: skip
    for name, (precision, recall, f) in wanted.items():
        assert (parts[name]["precision"], parts[name]["recall"]) == (precision, recall)
        assert parts[name]["value"] == pytest.approx(f, abs=1e-12)
        assert (parts[name]["used"], parts[name]["skipped"]) == (4, 1)
    second = [parts[f"W{i}-L2"]["value"] for i in range(1, 6)]
    assert second == pytest.approx([0.267857, 0.3, 0.428571, 0.478261, 0.428571], abs=5e-7)
    assert one["mean_L1"] == pytest.approx({"value": 0.540972, "precision": 0.5, "recall": 0.6}, abs=5e-7)
    assert one["mean_L2"] == pytest.approx({"value": 0.380652, "precision": 1 / 3, "recall": 0.45}, abs=5e-7)
    assert one["value"] == pytest.approx(np.mean([p["value"] for p in parts.values()]), abs=1e-12)
    assert one["low"] < one["value"] < one["high"]
    assert one["unknown_words"] == {"blorp": 1}
    assert "original form table" in one["protocol"]
    assert (found["mer_unibench"]["value"], found["mer_unibench"]["truths"]) == (one["mean_L1"]["value"], "open")


@published
def test_the_toy_example_of_hits(folder):
    files = ("--predictions", "p-openset.npz", "--labels", "single.csv", "--wheels", str(TABLES))
    found = figures("hit_rate", "mscore", "mer_unibench", *files)
    assert [p["value"] for p in found["hit_rate"]["parts"].values()] == [0.75, 0.75, 0.75, 0.75, 1.0]
    assert [p["used"] for p in found["hit_rate"]["parts"].values()] == [4, 4, 4, 4, 3]
    assert found["hit_rate"]["value"] == pytest.approx(0.8, abs=1e-12)
    assert found["mscore"]["value"] == pytest.approx(0.7, abs=1e-12)
    assert (found["mer_unibench"]["value"], found["mer_unibench"]["truths"]) == (found["hit_rate"]["value"], "basic")


@published
def test_every_result_names_its_form_table(folder):
    files = ("--predictions", "p-openset.npz", "--labels", "truth.csv", "--wheels", str(TABLES))
    found = figures("hit_rate", "hit_rate.forms=mer2026", *files)["hit_rate"]
    assert "mer2026 form table" in found["protocol"]
    assert found["tables"]["comparable"]
    assert "mer2026 form table" in run("hit_rate", "hit_rate.forms=mer2026", *files).output


def test_without_tables_our_own_lexicon_serves_and_says_so(folder):
    found = figures("ov_wheels", "--predictions", "p-openset.npz", "--labels", "truth.csv")["ov_wheels"]
    assert "NOT comparable" in found["protocol"]
    assert not found["tables"]["comparable"]
    assert list(found["parts"]) == ["M1", "M2", "W1-L1", "W1-L2"]
    assert found["parts"]["W1-L1"]["recall"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)


def test_nothing_right_is_nought_or_unguarded_nothing(folder):
    wrong = said({"a": "[happy]"}, {"a": "[sad]"})
    assert measure(ov_wheels.build(ov_wheels.Settings()), wrong, ()).to_dict()["value"] == 0
    found = measure(ov_wheels.build(ov_wheels.Settings(guarded=False)), wrong, ()).to_dict()
    assert found["value"] is None
    assert found["parts"]["M1"]["precision"] == 0


@published
def test_a_wheel_that_knows_no_truth_counts_0_as_in_the_code_of_mer2026(folder):
    """`surprise` is on four wheels of five: 1, 1, 1, 1 and 0; before MER2026 such a mean had no value."""
    both = {"a": "[surprise]", "b": "[neutral]"}

    def level(answers, **more):
        settings = ov_wheels.Settings(wheels=str(TABLES), level="L1", **more)
        return measure(ov_wheels.build(settings), said(both, answers), (), resamples=50).to_dict()

    found = level(both)
    assert (found["value"], found["value_of_known"], found["precision"]) == (0.8, 1, 0.8)
    assert (found["parts"]["W5-L1"]["value"], found["parts"]["W5-L1"]["used"]) == (0, 0)
    assert "W5-L1 know no truth and count 0, as in MER2026's code" in found["protocol"]
    assert (found["low"], found["high"]) == (0.8, 0.8)
    assert level(both, guarded=False)["value"] is None
    assert level({"a": "[sad]", "b": "[sad]"})["value"] == 0
    nothing = measure(
        ov_wheels.build(ov_wheels.Settings(wheels=str(TABLES))), said({"b": "[neutral]"}, both), ()
    ).to_dict()
    assert nothing["value"] is None


def test_an_answer_that_is_not_there_counts(folder):
    (folder / "few.csv").write_text("name,openset\na,[happy]\n")
    found = figures("ov_wheels", "--predictions", "few.csv", "--labels", "truth.csv")
    part = found["ov_wheels"]["parts"]["W1-L1"]
    assert (part["precision"], part["used"]) == (0.25, 4)
    assert found["ledger"]["unparsed"] == 4


@pytest.mark.parametrize("seed", range(3))
def test_sentiment_is_that_of_scikit_learn(seed):
    from sklearn.metrics import accuracy_score, f1_score

    draw = random.Random(seed)
    truths = {str(i): str(draw.choice([-1.2, 0.0, 0.4, 2.0])) for i in range(200)}
    words = {"positive": 1, "negative": -1, "neutral": 0, "Positive": 0, "": 0, "mixed": 0}
    answers = {i: draw.choice(list(words)) for i in truths}
    found = measure(sentiment_waf.build(sentiment_waf.Settings()), said(truths, answers, "sentiment"), ()).to_dict()
    kept = [i for i, t in truths.items() if float(t) != 0]
    y, p = [float(truths[i]) > 0 for i in kept], [words[answers[i]] > 0 for i in kept]
    assert found["value"] == pytest.approx(f1_score(y, p, average="weighted"), abs=1e-12)
    assert found["accuracy"] == pytest.approx(accuracy_score(y, p), abs=1e-12)
    assert (found["used"], found["skipped"]) == (len(kept), 200 - len(kept))
    primary = mer_unibench.build(mer_unibench.Settings())(said(truths, answers), ())
    assert (primary["value"], primary["truths"]) == (found["value"], "sentiment")


def test_sentiment_from_a_published_corpus(folder):
    values = {i: {"emo": 0, "val": v} for i, v in {"a": 1.0, "b": -0.5, "c": 0.0, "d": 2.5}.items()}
    np.savez("label.npz", test_corpus=values, val_corpus={"z": {"emo": 0, "val": 1.0}})
    items = ["positive", "negative", "negative", "neutral"]
    np.savez("p.npz", filenames=np.array(list("abcd"), object), fileitems=np.array(items, object))
    files = ("--predictions", "p.npz", "--labels", "label.npz", "--split", "test")
    found = figures("sentiment_waf", "mer_unibench", *files)
    assert found["sentiment_waf"]["accuracy"] == pytest.approx(2 / 3)
    assert (found["sentiment_waf"]["used"], found["sentiment_waf"]["neutral"]) == (3, 1)
    assert found["mer_unibench"]["value"] == found["sentiment_waf"]["value"]


def test_labels_of_a_corpus_are_scored_too(folder):
    np.savez("label.npz", test1_corpus={i: {"emo": e} for i, e in SINGLE.items()}, train_corpus={"z": {"emo": "sad"}})
    files = ("--labels", "label.npz", "--split", "test1")
    assert figures("war", "--predictions", "single.csv", *files)["war"]["value"] == 1
    found = figures("hit_rate", "--predictions", "p-openset.npz", *files)["hit_rate"]
    assert found["parts"]["W1-L1"]["used"] == 4


def test_free_text_is_not_taken_for_labels(folder):
    np.savez("reason.npz", name2reason={"a": "She smiles, so she is happy."})
    with pytest.raises(InputError, match="affectkit extract labels"):
        run("ov_wheels", "--predictions", "reason.npz", "--labels", "truth.csv")
    with pytest.raises(InputError, match="has no label"):
        run("ov_wheels", "--predictions", "p-openset.npz", "--labels", "reason.npz")


def test_fixed_sentences_in_published_answers_are_read(folder):
    names = {i: string_to_list(a) for i, a in ANSWER.items()}
    said = {
        i: f"The character's emotional state is {', '.join(n)}." if n else "I cannot tell." for i, n in names.items()
    }
    np.savez("reason.npz", name2reason=said)
    np.savez("label.npz", test_corpus={i: {"emo": e} for i, e in SINGLE.items()})
    for metric, *labels in (("ov_wheels", "truth.csv"), ("mer_unibench", "label.npz", "--split", "test")):
        one, other = (
            figures(metric, "--predictions", p, "--labels", *labels)[metric] for p in ("reason.npz", "p-openset.npz")
        )
        assert one["value"] == other["value"] > 0
        assert one["read"]["sentence"] == 4
    asked = figures("ov_wheels", "ov_wheels.read=sentence", "--predictions", "reason.npz", "--labels", "truth.csv")
    assert asked["ov_wheels"]["read"]["unread"] == 1


def test_lists_without_brackets_are_lists(folder):
    rows = ((i, t.strip("[]")) for i, t in TRUTH.items())
    (folder / "bare.csv").write_text("name,openset\n" + "".join(f'{i},"{t}"\n' for i, t in rows))
    one, other = (
        figures("mer_unibench", "--predictions", "p-openset.npz", "--labels", t)["mer_unibench"]
        for t in ("bare.csv", "truth.csv")
    )
    assert (one["truths"], one["value"]) == ("open", other["value"])


@pytest.mark.parametrize("metric", ["war", "sentiment_waf"])
def test_an_option_that_no_metric_takes_is_left_aside_with_a_note(folder, metric):
    (folder / "s.csv").write_text("id,label\na,positive\nb,negative\n")
    files = ("--predictions", "s.csv", "--labels", "s.csv")
    found = figures(metric, *files, "--wheels", "nowhere")
    assert found.pop("remarks") == [f"--wheels is not used: no setting 'wheels' in {metric}"]
    assert found == figures(metric, *files)
    assert "note: --wheels is not used" in run(metric, *files, "--wheels", "nowhere").output


# groups of synonyms -------------------------------------------------------------------------------------------------

GROUPS = {
    "a": "[['happy', 'joyful'], ['grateful']]",
    "b": "[['furious', 'angry', 'annoyed'], ['worried'], ['calm']]",
    "d": "[[]]",
}


def stored(folder):
    folder.mkdir()
    for name, text in GROUPS.items():
        np.save(folder / f"{name}.npy", text)
    return folder


def test_stored_groups_are_replayed(folder):
    groups = stored(folder / "openset-synonym")
    found = figures("ov_gpt_groups", "--predictions", "p-openset.npz", "--labels", "truth.csv", "--groups", str(groups))
    one = found["ov_gpt_groups"]
    assert one["precision"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert one["recall"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert (one["used"], one["ungrouped"]) == (3, 2)
    assert one["value"] == pytest.approx(1 / 3)
    with zipfile.ZipFile("openset-synonym.zip", "w") as archive:
        for path in groups.iterdir():
            archive.write(path, f"openset-synonym/{path.name}")
    packed = ("--predictions", "p-openset.npz", "--labels", "truth.csv", "--groups", "openset-synonym.zip")
    assert figures("ov_gpt_groups", *packed)["ov_gpt_groups"]["value"] == one["value"]


def test_replies_are_taken_apart_as_published():
    assert parse_groups("[['a', 'b'],\n [\"c\"]]") == (("a", "b"), ("c",))
    assert parse_groups("[]") == ()
    assert quoted("['sad', 'a, b']") == ("sad", "a, b")
    assert quoted("[sad, b]") == ("sad", "b")


def test_no_groups_and_no_model_is_an_error(folder):
    files = ("--predictions", "p-openset.npz", "--labels", "truth.csv")
    with pytest.raises(InputError, match="no client is named"):
        run("ov_gpt_groups", *files)
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="holds no stored groups"):
        run("ov_gpt_groups", *files, "--groups", "empty")


class Grouper:
    """A model that knows one pair of synonyms, and once forgets a word."""

    parallel, tries = 1, 1
    identity = {"model": "fake"}  # noqa: RUF012

    def __init__(self):
        self.asked = 0

    def ask(self, messages):
        self.asked += 1
        words = json.loads(messages[0].text.split("as JSON: ")[1].split("\n")[0])
        if self.asked == 1:
            return json.dumps({"groups": [words[:-1]]})
        pair = [w for w in words if w in ("happy", "joyful")]
        return json.dumps({"groups": [g for g in (pair, *([w] for w in words if w not in pair)) if g]})


def test_a_model_groups_once_and_its_groups_are_replayed(folder):
    model = Grouper()
    settings = ov_gpt_groups.Settings(groups=str(folder / "made"), client={"use": "fake"})
    found = measure(ov_gpt_groups.build(settings, CachedClient(model, folder)), said(TRUTH, ANSWER), ()).to_dict()
    assert model.asked == 6  # five clips, and one again because a word was missing
    assert (found["used"], found["ungrouped"]) == (5, 0)
    again = measure(
        ov_gpt_groups.build(ov_gpt_groups.Settings(groups=str(folder / "made"))), said(TRUTH, ANSWER), ()
    ).to_dict()
    assert (again["value"], again["low"], again["high"]) == (found["value"], found["low"], found["high"])
    other = said(TRUTH, {**ANSWER, "a": "[glum]"})
    assert ov_gpt_groups.build(ov_gpt_groups.Settings(groups=str(folder / "made")))(other, ())["ungrouped"] == 1


# time -----------------------------------------------------------------------------------------------------------------


def many(folder, count=2610):
    draw = random.Random(0)
    words = [*SINGLE.values(), "joyful", "excited", "furious", "calm", "nervous", "grateful", "blorp"]
    names = [f"test_dia{i}_utt0" for i in range(count)]
    items = [f"[{', '.join(draw.sample(words, draw.randint(0, 5)))}]" for _ in names]
    np.savez(folder / "many.npz", filenames=names, fileitems=items)
    np.savez(folder / "label.npz", test_corpus={n: {"emo": draw.randint(0, 6), "val": -10} for n in names})
    return names, items


def test_thousands_of_clips_take_under_a_second(folder):
    names, items = many(folder)
    metric = ov_wheels.build(ov_wheels.Settings())
    found = said(dict(zip(names, reversed(items), strict=True)), dict(zip(names, items, strict=True)))
    start = time.perf_counter()
    measure(metric, found, ())
    assert time.perf_counter() - start < 2  # 0.3 s on a quiet machine


def test_scoring_imports_no_torch(folder):
    many(folder, 40)
    code = (
        "import sys; from affectkit.commands.score import command; command(sys.argv[1:], standalone_mode=False);"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    arguments = ["hit_rate", "mer_unibench", "--predictions", "many.npz", "--labels", "label.npz", "--split", "test"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
