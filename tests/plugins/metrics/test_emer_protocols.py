"""EMER's judge and OV-MERD's set metrics beside each other on one run, by the recipe that the document gives."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from chat_server import serving
from dataset_trees import NAMES, clips, text
from score_runs import figures

from affectkit.data.splits import open_split
from affectkit.evaluation import clients as access
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.predict import AnswerOptions, blank
from affectkit.plan.check import check
from affectkit.recipe.load import load_recipe

PAGE = (Path(__file__).parents[3] / "docs" / "open-vocabulary.md").read_text()
BLOCK = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)[0])
REST = {
    "name": "emer",
    "views": {"wave": {"use": "wave", "seconds": 2}},
    "streams": {
        "audio": {"steps": {"encoder": {"use": "log_mel", "wave": "wave"}, "projector": {"use": "mlp"}}},
    },
    "backbone": {"use": "causal_lm", "width": 32, "heads": 2, "layers": 1},
}
LABELS = ("[happy, excited]", "[angry]", "[sad]", "[worried, afraid]")
SAID = {
    "reason": ("She beams: happy.", "He frowns, furious.", "Nobody knows.", "She trembles, anxious."),
    "open_labels": ("This person feels happy, excited.", "This person feels annoyed.", "[happy]", ""),
}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "OV-MERD"
    clips(root / "video", NAMES[:4])
    rows = [f'{name},"{labels}"' for name, labels in zip(NAMES, LABELS, strict=False)]
    text(root / "check-openset.csv", "name,openset", *rows)
    text(root / "final-EMER-reason.csv", "name,chinese,english", *(f"{n},理由,because of {n}" for n in NAMES[:4]))
    parts = {"audio": {"use": "slot", "stream": "audio"}, **BLOCK["prompt"]["parts"]}
    recipe = {
        **REST,
        **BLOCK,
        "data": {**BLOCK["data"], "root": str(root)},
        "prompt": {"use": "template", "parts": parts},
    }

    def made(url):
        whole = json.dumps(recipe).replace("http://127.0.0.1:8000/v1", url)
        (tmp_path / "emer.yaml").write_text(yaml.safe_dump(json.loads(whole)))
        return check(load_recipe(tmp_path / "emer.yaml"))

    return made


def reply(body):
    """A judge that finds everything half right, and a reader that knows the last word."""
    material = json.loads(body["messages"][0]["content"].rsplit("\n\n", 1)[1])
    if set(material) == {"text"} and "square brackets" in body["messages"][0]["content"]:
        return f"[{material['text'].rstrip('.').split()[-1]}]"
    return json.dumps({"emotions": ["sad"]} if "text" in material else {"score": 5})


def test_one_run_shows_both(plan, tmp_path):
    with serving(reply) as server:
        made = plan(server.url)
        samples = open_split(made.data, "test", "data")

        def answer(task, method, most):
            pairs = zip((samples[i] for i in range(len(samples))), SAID[task], strict=True)
            return [replace(blank(sample, AnswerOptions(task, method)), text=words) for sample, words in pairs]

        with access.allowing(server.url):
            metrics = protocols.build_metrics(made)
        answers = protocols.collect(made, metrics, answer, 0)
        found = protocols.figures(made, metrics, answers, ()).to_dict()
        protocols.write_answers(tmp_path, made, {"test": answers})
        client = ("--client", "openai_compatible", "client.model=judge", f"client.url={server.url}")
        by_file = ("ov_wheels.task=reason", "ov_wheels.truth=open_labels", "ov_wheels.read=client")
        again = figures("clue_overlap", "ov_wheels", *by_file, "--predictions", "predictions.jsonl", *client)
    assert found["clues"]["value"] == found["labels"]["value"] == 5
    assert found["ov"]["read"] == {"how": "auto", "sentence": 2, "list": 1, "empty": 1}
    ring = found["ov"]["parts"]["W1-L1"]
    assert (ring["precision"], ring["recall"], ring["used"]) == (pytest.approx(0.5), pytest.approx(0.5), 4)
    reasons = found["ov_of_reasons"]
    assert reasons["parts"]["W1-L1"]["precision"] == pytest.approx(3 / 4)
    assert (reasons["read"]["client"], reasons["unknown_words"]) == (4, {"knows": 1})
    assert {(a["task"], a["ledger"]["unparsed"]) for a in found["asked"]} == {("reason", 0), ("open_labels", 1)}
    assert again["ov_wheels"]["value"] == reasons["value"]
    assert again["clue_overlap"]["value"] == 5


def test_the_truth_of_another_task_is_what_is_compared(plan):
    with serving(reply) as server:
        made = plan(server.url)
        one = open_split(made.data, "test", "data")[0]
    prediction = blank(one, AnswerOptions("reason", "generate"))
    assert prediction.truth.startswith("because of")
    assert prediction.truths == {"open_labels": LABELS[0]}
    assert protocols.with_reference(prediction, ("label", "open_labels")).truth == LABELS[0]
    assert protocols.with_reference(prediction, ()) is prediction
    bare = replace(prediction, truth=None, truths={})
    assert protocols.finalise(bare, ("open_labels",)).state == "skipped"
    assert protocols.finalise(replace(prediction, facts={}, text="x"), ("open_labels",)).state == "scored"
