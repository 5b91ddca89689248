"""Every tool on heads, ratings and several labels: it works, or says by name that it does not, before anything is made."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from headed_runs import KINDS, METRICS, TASKS, Runs, quiet, recipe
from score_runs import figures

from affectkit import InputError, check, evaluate, fit, load
from affectkit.__main__ import main
from affectkit.evaluation.prediction import read_predictions, write_predictions
from affectkit.evaluation.score import read_metrics, write_metrics
from affectkit.evaluation.sensitivity import variants
from affectkit.interop.export import export
from affectkit.report.compare import compare_report
from affectkit.report.results import read_run
from affectkit.report.run import write_report
from affectkit.studies.cross_run import cross
from affectkit.studies.folds import fold_report
from affectkit.studies.matrix import CrossOptions
from affectkit.studies.suite_run import evaluate_suite
from affectkit.studies.sweep import load_sweep
from affectkit.studies.sweep_page import split_figures
from affectkit.train.run_folder import open_run

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


def value(run, kind):
    return read_metrics(run.folder)["test"].metrics[METRICS[kind]].value


@every_kind
def test_score(runs, kind):
    run = runs.fit(kind)
    found = figures(METRICS[kind], "--predictions", str(run.folder / "predictions.jsonl"))
    assert found[METRICS[kind]]["value"] == pytest.approx(value(run, kind), abs=1e-12)


@every_kind
def test_report(runs, kind):
    run = runs.fit(kind)
    page = write_report(run.folder).with_suffix(".md").read_text()
    assert f"{value(run, kind):.3f}" in page
    assert "Beside heads on the same samples" in page
    beside = read_predictions(run.folder / f"predictions-{TASKS[kind]}-probe.jsonl")
    assert len(beside) == len(read_predictions(run.folder / "predictions.jsonl")) == 13
    assert read_metrics(run.folder)["test"].others["probe"].apart[METRICS[kind]].second == value(run, kind)


@every_kind
def test_compare(runs, kind, tmp_path):
    page = compare_report([runs.fit(kind).folder, runs.probe(kind).folder], tmp_path / "page.html")
    assert "Paired bootstrap on 13 common samples" in page.with_suffix(".md").read_text()


@every_kind
def test_folds(runs, kind, tmp_path):
    run = runs.fit(kind)
    answers, folders = read_predictions(run.folder / "predictions.jsonl"), []
    for number in range(2):
        folders.append(tmp_path / f"fold{number}")
        folders[-1].mkdir()
        shutil.copy(run.folder / "recipe.yaml", folders[-1])
        write_predictions(folders[-1] / "predictions.jsonl", answers[number::2])
        write_metrics(folders[-1], {"test": replace(read_metrics(run.folder)["test"])})
    page, found = fold_report(folders, tmp_path / "folds.html")
    name = METRICS[kind]
    assert (found.count, [row.count for row in found.folds]) == (13, [7, 6])
    assert found.pooled[name].value == pytest.approx(value(run, kind), abs=1e-12)
    mean = sum(row.metrics[name].value for row in found.folds) / 2
    assert found.average[name].value == pytest.approx(mean)
    assert found.average[name].low <= mean <= found.average[name].high
    assert ("By class" in page.with_suffix(".md").read_text()) == (kind == "heads")
    with pytest.raises(InputError, match="a run is named twice"):
        fold_report([folders[0], folders[0]], tmp_path / "twice.html")


@every_kind
def test_cross(runs, kind, tmp_path):
    how = CrossOptions(say=quiet)
    if kind != "heads":
        with pytest.raises(InputError, match=f"runs that answer one label, and this one answers {TASKS[kind]}"):
            cross([runs.fit(kind).folder], tmp_path / "cross.html", how=how)
        assert not list(tmp_path.iterdir())
        return
    other = tmp_path / "other.yaml"
    other.write_text("data: {use: puppets, count: 42, val: 0.2, test: 0.3}\nname: other\n")
    told = cross([runs.fit(kind).folder], tmp_path / "cross.html", [str(other)], how=how)
    (cell,) = told.cells[told.rows[0].name].values()
    assert (cell.count, cell.metrics["uar"].value) == (13, value(runs.fit(kind), kind))


def test_cross_asks_a_head_for_shared_labels_only(runs, tmp_path):
    given = {"happy": "", "fear": ""}
    told = cross([runs.fit("heads").folder], tmp_path / "cross.html", how=CrossOptions(given=given, say=quiet))
    (cell,) = told.cells[told.rows[0].name].values()
    assert cell.left_out == {"happy": 2, "fear": 1}
    answers = read_predictions(next((tmp_path / "cross").glob("*.jsonl")))
    assert {p.label for p in answers if p.state == "scored"} <= set(cell.labels)
    assert all(p.probabilities.keys() == set(cell.labels) for p in answers if p.state == "scored")


@every_kind
def test_sweep(runs, kind, tmp_path):
    (tmp_path / "base.yaml").write_text(recipe(kind))
    (tmp_path / "sweep.yaml").write_text("recipe: base.yaml\nruns: {full: {}, probe: {score.method: probe}}\n")
    sweep = load_sweep(str(tmp_path / "sweep.yaml"))
    assert [v.plan.method(TASKS[kind]) for v in sweep.variants.values()] == ["first", "probe"]
    done = {"full": {0: read_run(runs.fit(kind).folder)}, "probe": {0: read_run(runs.probe(kind).folder)}}
    found = split_figures(done, "full", "test").runs
    name = METRICS[kind]
    apart = found["probe"].differences[name]
    assert apart.value == pytest.approx(value(runs.probe(kind), kind) - value(runs.fit(kind), kind))
    assert apart.low <= apart.value <= apart.high


@every_kind
def test_suite(runs, kind, tmp_path):
    task, name = TASKS[kind], METRICS[kind]
    suite = tmp_path / "suite.yaml"
    one = f"data: {{use: puppets, count: 42, val: 0.2, test: 0.3}}, task: {task}, metrics: {{{name}: {name}}}"
    suite.write_text(f"sets: {{own: {{{one}}}}}\n")
    own = [f"run.folder={tmp_path / 'runs'}"]
    run = evaluate_suite([runs.fit(kind).folder], suite, own, CrossOptions(say=quiet, checkpoints="all"))
    assert read_metrics(run.folder)["own"].metrics[name].value == value(runs.fit(kind), kind)
    assert "first of " in (run.folder / "report.md").read_text()  # the checkpoint by its stage
    asked = "numbers" if kind != "numbers" else "labels"
    other = "mae" if kind != "numbers" else "multilabel_f1"
    suite.write_text(f"sets: {{own: {{{one.replace(task, asked).replace(name, other)}}}}}\n")
    with pytest.raises(InputError, match=f"asked the task '{asked}', which no head of .* answers"):
        evaluate_suite([runs.fit(kind).folder], suite, own, CrossOptions(say=quiet))
    suite.write_text(f"sets: {{own: {{{one.replace(f'task: {task}', 'task: reason')}}}}}\n")
    if kind != "heads":
        with pytest.raises(
            InputError, match=f"the metric '{name}' scores {task}, and the set is asked the task 'reason'"
        ):
            evaluate_suite([runs.fit(kind).folder], suite, own, CrossOptions(say=quiet))


@every_kind
def test_bias(runs, kind, tmp_path):
    own = [f"run.folder={tmp_path}"]
    if kind != "heads":
        with pytest.raises(InputError, match=f"one label, and this one answers {TASKS[kind]}"):
            evaluate(runs.fit(kind).folder, own, say=quiet, by_people=True)
        assert not list(tmp_path.iterdir())
        return
    found = read_metrics(evaluate(runs.fit(kind).folder, own, say=quiet, by_people=True).folder)["test"].bias
    assert set(found.groups) >= {"age", "gender"}
    assert found.flips.note.startswith("the head 'first' answers, which reads no prompt")


@every_kind
def test_sensitivity(runs, kind, tmp_path):
    own = [f"run.folder={tmp_path}"]
    with pytest.raises(InputError, match=r"nothing to vary here.*the head 'first' answers, which reads no prompt"):
        evaluate(runs.fit(kind).folder, own, say=quiet, vary=["labels"])
    assert not list(tmp_path.iterdir())
    run = evaluate(runs.fit(kind).folder, own, say=quiet, vary=["frames"])
    found = read_metrics(run.folder)["test"].sensitivity["frames"]
    assert [row.name for row in found.variants] == ["as in the recipe", "first frame", "peak frame"]
    own_figure, first, peak = (row.metrics[METRICS[kind]].value for row in found.variants)
    assert own_figure == value(runs.fit(kind), kind)
    assert found.variants[1].apart[METRICS[kind]].value == pytest.approx(first - own_figure)
    assert found.spread[METRICS[kind]] == max(own_figure, first, peak) - min(own_figure, first, peak)


def test_the_order_of_several_labels_is_varied_in_their_own_question(runs, tmp_path):
    run = evaluate(runs.llm("several labels").folder, [f"run.folder={tmp_path}"], say=quiet, vary=["labels"])
    found = read_metrics(run.folder)["test"].sensitivity["labels"]
    assert [row.name for row in found.variants][:2] == ["as in the recipe", "reversed"]
    assert set(found.variants[1].metrics) == {"multilabel_f1"}


def test_the_question_is_varied_for_heads_that_read_it_only():
    text = """
name: hidden
data: {use: puppets, count: 42}
views: {wave: {use: wave, seconds: 2}}
streams: {audio: {steps: {encoder: {use: log_mel, wave: wave}, projector: {use: mlp}}}}
prompt:
  use: template
  parts: {audio: {use: slot, stream: audio}, ask: {use: label_question, wording: "{options}?"}, said: {use: subtitle}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
heads: {last: {use: classifier, tokens: llm.hidden}, voice: {use: classifier, tokens: audio.encoder}}
score: {metrics: {uar: uar}, method: last}
"""
    plan = check(text)
    for kind in ("labels", "transcript"):
        assert variants(plan, kind, ("happy", "sad", "angry"))
        with pytest.raises(InputError, match="the head 'voice' answers, which reads no prompt"):
            variants(check(text, ["score.method=voice"]), kind, ("happy", "sad", "angry"))


@every_kind
def test_export(runs, kind, tmp_path):
    from affectkit_plugins.converters import hf

    exporter = hf.build(hf.Settings())
    with pytest.raises(InputError, match="no language model, which is all that hf writes: first, probe answer alone"):
        export(load(runs.fit(kind).folder), exporter, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if kind != "heads":
        export(load(runs.llm(kind).folder), exporter, tmp_path / "out")
        assert re.search(rf"^\| {METRICS[kind]} \|", (tmp_path / "out/README.md").read_text(), re.M)


@every_kind
def test_predict(runs, kind, capsys, monkeypatch):
    run = runs.fit(kind)
    clip = load(run.folder).samples("test")[0].video
    monkeypatch.setattr("sys.argv", ["affectkit", "predict", str(run.folder), str(clip), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    before = next(p for p in read_predictions(run.folder / "predictions.jsonl") if Path(p.media).name == clip.name)
    assert (ended.value.code, row["state"]) == (0, "scored")
    answer = {"heads": before.label, "numbers": before.numbers, "several labels": list(before.labels)}[kind]
    key = {"heads": "label", "numbers": "numbers", "several labels": "labels"}[kind]
    assert row[key] == (pytest.approx(answer) if kind == "numbers" else answer)
    with pytest.raises(InputError, match="unknown task 'reason'"):
        load(run.folder).predict(clip, "reason")


@every_kind
def test_resume(runs, kind, tmp_path):
    run = open_run(shutil.copytree(runs.fit(kind).folder, tmp_path / "run"))
    weights, figure = run.weights("first").read_bytes(), value(run, kind)
    run.weights("first").unlink()
    run.weights("probe").unlink()
    (run.folder / "metrics.json").unlink()
    fit("", resume=run.folder, say=quiet)
    assert (run.weights("first").read_bytes(), value(run, kind)) == (weights, figure)
