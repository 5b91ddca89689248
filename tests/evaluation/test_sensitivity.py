"""Label order, frames and transcript as variants of an evaluation; a judge and a protocol inside one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import still_recipe
from chat_server import serving

from affectkit.api import build_for, evaluate
from affectkit.errors import InputError
from affectkit.evaluation import clients as access
from affectkit.evaluation import run as evaluation
from affectkit.evaluation import sensitivity
from affectkit.evaluation.run import predictor_for
from affectkit.model.model import with_plan
from affectkit.plan.check import check, plan_recipe
from affectkit.recipe.load import load_recipe
from affectkit.sample import Sample, labels_in

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = f"""{still_recipe.LOOKS}{still_recipe.ASKS}
stages: {{all: {{train: [backbone.model]}}}}
score: {{metrics: {{uar: uar, war: war}}, reasons: 2, max_new_tokens: 4, resamples: 20}}
"""


@pytest.fixture
def recipe(tmp_path):
    return still_recipe.write(tmp_path, RECIPE)


LABELS = ("happy", "sad", "neutral", "angry")


def test_variants_are_found_in_the_recipe(recipe):
    plan = check(recipe)
    orders = sensitivity.variants(plan, "labels", LABELS)
    assert orders == sensitivity.variants(plan, "labels", LABELS)
    assert orders[0].name == "reversed"
    assert len({o.overrides for o in orders}) == sensitivity.ORDERS
    said = [json.loads(o.overrides[0].partition("=")[2]) for o in orders]
    assert said[0] == list(LABELS[::-1])
    assert all(sorted(s) == sorted(LABELS) != s != list(LABELS) for s in said)
    frames = sensitivity.variants(plan, "frames", LABELS)
    assert [f.overrides for f in frames] == [("views.look.pick=middle",), ("views.look.pick=peak",)]
    assert sensitivity.variants(plan, "transcript", LABELS) == [
        sensitivity.SensitivityVariant("no transcript", words=False)
    ]
    for variant in (*orders, *frames):
        _, problems = plan_recipe(load_recipe(recipe, variant.overrides), plan.registry)
        assert problems == []


def test_two_labels_have_one_other_order(recipe):
    assert [v.name for v in sensitivity.variants(check(recipe), "labels", ("a", "b"))] == ["reversed"]


@pytest.mark.parametrize(
    ("kind", "override"),
    [
        ("transcript", "prompt.parts.says=null"),
        ("labels", "prompt.parts.ask.wording=Emotion?"),
        ("frames", "views.look.use=wave"),
        ("sound", ""),
    ],
)
def test_what_cannot_be_varied_is_said(kind, override, recipe):
    overrides = [override] if override else []
    if kind == "frames":
        overrides = ["streams=null", "prompt.parts.scene=null", "views=null"]
    plan, _ = plan_recipe(load_recipe(recipe, overrides), check(recipe).registry)
    with pytest.raises(InputError, match=r"nothing to vary here|unknown kind of variant 'sound'"):
        sensitivity.variants(plan, kind, LABELS)


def test_views_of_several_frames_are_varied_where_none_shows_one(recipe):
    plan = check(recipe, ["views.look.pick=uniform"])
    assert [v.name for v in sensitivity.variants(plan, "frames", ())] == ["first frame", "middle frame", "peak frame"]


def test_wordless_samples_keep_all_else():
    class Split(list):
        labels = ("a", "b")

    bare = sensitivity.Wordless(Split([Sample("x", subtitle="hm", label="a")]))
    assert bare[0] == Sample("x", label="a")
    assert (len(bare), bare.labels) == (1, ("a", "b"))


def test_the_same_weights_answer_under_another_plan(recipe, tmp_path):
    """What a variant gives is what a recipe that says so gives, with the same weights."""
    from affectkit.data.splits import open_split
    from affectkit.encode.cache import Cache
    from affectkit.train.run_folder import start

    plan = check(recipe)
    model, _ = build_for(plan, start(plan))
    samples, cache = open_split(plan.data, "test", ""), Cache(tmp_path / "cache")
    asked = "label", "candidates", None
    found = {}
    for override in ("views.look.pick=middle", "prompt.parts.ask.labels=[fear, sad, happy]"):
        other, _ = plan_recipe(load_recipe(recipe, [override]), plan.registry)
        found[override] = predictor_for(with_plan(model, other), samples, cache)(*asked)
    wordless = predictor_for(model, sensitivity.Wordless(samples), cache)(*asked)
    base = predictor_for(model, samples, cache)(*asked)
    again = check(recipe, ["views.look.pick=middle"])
    fresh, _ = build_for(again, start(again))
    fresh.load_state_dict(model.state_dict())
    direct = predictor_for(fresh, samples, cache)(*asked)
    assert scores(found["views.look.pick=middle"]) == pytest.approx(scores(direct), abs=1e-12)
    for other in (*found.values(), wordless):
        assert np.abs(scores(other) - scores(base)).max() > 1e-6
    assert labels_in(samples) == tuple(samples.labels)
    assert base[0].facts["subtitle"]
    assert "subtitle" not in wordless[0].facts


def scores(predictions):
    return np.array([list(p.probabilities.values()) for p in predictions])


@pytest.fixture
def speaking(monkeypatch):
    """An untrained model says nothing: let it say something, but of one sample."""
    real = evaluation.predict

    def predict(model, samples, labels, cache, question):
        found = real(model, samples, labels, cache, question)
        if question.method != "generate":
            return found
        return [replace(p, text=f"{p.id}: sad") if i else p for i, p in enumerate(found)]

    monkeypatch.setattr(evaluation, "predict", predict)


@pytest.mark.usefixtures("speaking")
def test_an_evaluation_with_variants_a_protocol_and_a_judge(recipe):
    seven = "[happy, sad, neutral, angry, surprise, disgust, fear]"
    judge = "{use: clue_overlap, client: {use: openai_compatible, model: m, parallel: 1, tries: 1, url: URL}}"
    said = []
    with serving(lambda body: '{"score": 6}') as server:
        overrides = [
            f"score.metrics.published={{use: mer2023_upstream, labels: {seven}}}",
            f"score.metrics.clues={judge.replace('URL', server.url)}",
        ]
        with pytest.raises(InputError, match="which you have not allowed"):
            evaluate(recipe, overrides, say=said.append)
        with access.allowing(server.url):
            run = evaluate(recipe, overrides, say=said.append, vary=["labels", "frames", "transcript"])
    found = json.loads((run.folder / "metrics.json").read_text())["test"]
    rows = [json.loads(line) for line in (run.folder / "predictions.jsonl").read_text().splitlines()]
    assert [sum(r["task"] == task for r in rows) for task in ("label", "reason")] == [8, 8]
    assert (run.folder / "predictions-label-generate.jsonl").is_file()
    assert (found["clues"]["judged"], found["clues"]["empty"]) == (8, 1)
    assert found["clues"]["value"] == (7 * 6 + 1) / 8
    assert sorted(found["clues"]["each"]) == sorted(r["id"] for r in rows if r["task"] == "reason")
    assert found["published"]["turned"] == 1
    assert {(a["task"], a["method"]) for a in found["asked"]} == {("label", "generate"), ("reason", "generate")}
    varied = found["sensitivity"]
    assert [len(varied[k]["variants"]) for k in ("labels", "frames", "transcript")] == [5, 3, 2]
    assert varied["labels"]["variants"][0]["uar"]["value"] == found["uar"]["value"]
    values = [v["war"]["value"] for v in varied["frames"]["variants"]]
    assert varied["frames"]["spread"]["war"] == pytest.approx(max(values) - min(values), abs=1e-12)
    text = (run.folder / "report.md").read_text()
    for words in (
        "published has a protocol of its own: as published for MER2023-SEMI",
        "clue overlap, mean of 8 samples",
        "labels: the order in which the question offers the labels",
        "no transcript",
        "test: label, generate",
    ):
        assert words in text, words
    assert any("labels: reversed" in line for line in said)


@pytest.mark.usefixtures("speaking")
def test_a_silent_judge_costs_its_own_figure_only(recipe):
    said = []
    with serving(lambda body: 500) as server, access.allowing(server.url):
        block = (
            f"{{use: clue_overlap, client: {{use: openai_compatible, model: m, tries: 1, wait: 0, url: {server.url}}}}}"
        )
        run = evaluate(recipe, [f"score.metrics.clues={block}", "data.count=42"], say=said.append)
    found = json.loads((run.folder / "metrics.json").read_text())["test"]
    assert found["uar"]["value"] is not None
    assert found["clues"]["value"] is None
    assert "the server says 500" in found["clues"]["error"]
    assert "has no value" in (run.folder / "report.md").read_text()
    assert any("clues has no value" in line for line in said)


def test_a_metric_of_a_task_that_nobody_asks_is_told(recipe):
    block = "{use: clue_overlap, task: clues, client: {use: openai_compatible, model: m}}"
    with pytest.raises(InputError, match="scores the task 'clues', which no part of the prompt asks"):
        check(recipe, [f"score.metrics.clues={block}"])
    with pytest.raises(InputError, match="asks another model, and no client is named"):
        check(recipe, ["score.metrics.clues=clue_overlap"])
    with pytest.raises(InputError, match="did you mean 'openai_compatible'"):
        check(recipe, ["score.metrics.clues={use: clue_overlap, client: openai_compatibel}"])
    plan = check(recipe, ["score.metrics.clues={use: clue_overlap, client: {use: local_hf, folder: judge}}"])
    assert plan.metrics["clues"].settings.client == {"use": "local_hf", "folder": "judge"}
