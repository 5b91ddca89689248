"""The comparison of a sweep: means over seeds, paired differences, groups, costs; as page and in the terminal."""

import json

import numpy as np
import pytest
from affectkit_plugins.metrics import accuracy, recall

from affectkit.evaluation.prediction import Prediction, write_predictions
from affectkit.evaluation.score import compare, score, write_metrics
from affectkit.report.page import Bar
from affectkit.report.results import read_run
from affectkit.studies.sweep import load_sweep
from affectkit.studies.sweep_page import (
    Changes,
    costs,
    main_table,
    notes,
    number_text,
    print_comparison,
    seconds,
    split_figures,
    write_comparison,
)
from affectkit.studies.sweep_run import jobs_of

LABELS = ("happy", "sad", "neutral")
METRICS = {"uar": recall.build(recall.Settings()), "war": accuracy.build(accuracy.WarSettings())}
RECIPE = "name: small\nscore: {metrics: {uar: {use: uar}, war: {use: war}}}\n"
SWEEP = """
name: trial
about: A trial.
recipe: voice
base: plain
runs:
  better: {about: Better.}
  plain: {about: Plain., stages.train.epochs: 9}
  lost: {about: Never run.}
"""


def write(folder, skill, seed, n=120, skip=(), info=None, labels=LABELS):
    """A run folder with answers that are right with a probability of `skill`."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(99)
    rows = []
    for i in range(n):
        label, luck = str(truth.choice(labels)), rng.random()
        facts = {"evidence": "face" if i % 3 else "voice"}
        answer = label if luck < skill else str(rng.choice(labels))
        state = "undecodable" if i in skip else "scored"
        rows.append(Prediction(str(i), "label", state, label, None if i in skip else answer, facts=facts))
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "report.html").write_text("")
    write_predictions(folder / "predictions.jsonl", [*rows, Prediction("0", "reason", "scored", text="so")])
    write_metrics(folder, {"test": score(rows, METRICS, labels, resamples=50)})
    (folder / "run.json").write_text(json.dumps(info or {}))
    return read_run(folder)


def test_one_seed_is_the_run_itself_and_the_paired_comparison(tmp_path):
    runs = {"base": {0: write(tmp_path / "a", 0.4, 1)}, "more": {0: write(tmp_path / "b", 0.8, 2)}}
    found = split_figures(runs, "base", "test").to_dict()
    assert found["metrics"] == ["uar", "war"]
    for name, seeds in runs.items():
        own = json.loads((seeds[0].folder / "metrics.json").read_text())["test"]
        for metric in METRICS:
            one = found["runs"][name]["metrics"][metric]
            assert one["value"] == own[metric]["value"]
            assert one["low"] == pytest.approx(own[metric]["low"], abs=0.04)
            assert one["high"] == pytest.approx(own[metric]["high"], abs=0.04)
            assert one["deviation"] is None
    assert "difference" not in found["runs"]["base"]
    told = found["runs"]["more"]["difference"]
    known = compare(runs["base"][0].predictions[:-1], runs["more"][0].predictions[:-1], METRICS, LABELS).to_dict()
    assert told["count"] == known["count"] == 120
    for metric in METRICS:
        one, other = told["metrics"][metric], known["metrics"][metric]
        assert one["value"] == pytest.approx(other["value"], abs=1e-12)
        assert one["low"] == pytest.approx(other["low"], abs=0.03)
        assert one["high"] == pytest.approx(other["high"], abs=0.03)
        assert one["ahead"] == pytest.approx(other["ahead"], abs=0.02)


def test_figures_are_means_over_seeds(tmp_path):
    runs = {
        "base": {s: write(tmp_path / f"a{s}", 0.5, s) for s in range(4)},
        "same": {s: write(tmp_path / f"b{s}", 0.5, s) for s in range(4)},
        "more": {s: write(tmp_path / f"c{s}", 0.6, 10 + s) for s in range(3)},
    }
    found = split_figures(runs, "base", "test").to_dict()
    values = [r.metrics["test"].metrics["uar"].value for r in runs["base"].values()]
    one = found["runs"]["base"]["metrics"]["uar"]
    assert one["value"] == pytest.approx(np.mean(values), abs=1e-12)
    assert one["deviation"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert list(found["runs"]["base"]["seeds"].values())[2]["uar"] == values[2]
    alone = split_figures({"base": {0: runs["base"][0]}}, "base", "test").to_dict()["runs"]["base"]["metrics"]["uar"]
    assert one["high"] - one["low"] < 0.8 * (alone["high"] - alone["low"])
    same = found["runs"]["same"]["difference"]["metrics"]["uar"]
    assert (same["value"], same["low"], same["high"], same["ahead"]) == (0, 0, 0, 0.5)
    more = found["runs"]["more"]["difference"]
    assert more["seeds"] == 3  # seeds that both have
    third = [r.metrics["test"].metrics["uar"].value for r in runs["more"].values()]
    assert more["metrics"]["uar"]["value"] == pytest.approx(np.mean(third) - np.mean(values[:3]), abs=1e-12)


def test_groups_and_samples_that_one_of_them_lacks(tmp_path):
    runs = {"base": {0: write(tmp_path / "a", 0.5, 1)}, "more": {0: write(tmp_path / "b", 0.7, 2, skip=range(20))}}
    found = split_figures(runs, "base", "test").to_dict()
    assert found["runs"]["more"]["count"] == 100
    assert found["runs"]["more"]["difference"]["count"] == 100
    assert found["runs"]["more"]["difference"]["left_out"] == 20
    groups = runs["more"][0].metrics["test"].groups["evidence"]
    for value, one in found["runs"]["more"]["groups"]["evidence"].items():
        assert one["count"] == groups[value].count
        assert one["value"] == pytest.approx(groups[value].metrics["uar"].value, abs=1e-12)


def test_runs_on_other_data_have_figures_and_no_difference(tmp_path):
    runs = {"base": {0: write(tmp_path / "a", 0.5, 1)}, "other": {0: write(tmp_path / "b", 0.7, 2, labels=("x", "y"))}}
    found = split_figures(runs, "base", "test").to_dict()
    assert found["runs"]["other"]["metrics"]["uar"]["value"] > 0.5
    assert found["runs"]["other"]["difference"]["metrics"] == {}


def test_costs(tmp_path):
    stages = {"face": {"seconds": 30, "taken_from": "full-seed0"}, "instruct": {"seconds": 10}}
    info = {"parameters": {"total": 2_000_000, "trainable": 1500}, "stages": stages, "evaluation_seconds": 4}
    runs = [write(tmp_path / "a", 0.5, 1, info=info), write(tmp_path / "b", 0.5, 1, info={"stages": stages})]
    found = costs(runs, Changes("A run.", {})).to_dict()
    assert found["total"] == 2_000_000
    assert found["training_seconds"] == 40
    assert found["evaluation_seconds"] == 4
    assert found["stages"] == {"face": 30, "instruct": 10}
    assert found["taken_from"]["a"] == {"face": "full-seed0"}
    assert [number_text(n) for n in (None, 12, 1500, 1_934_000, 7_240_000_000)] == [
        "–",
        "12",
        "1.5 k",
        "1.93 M",
        "7.24 G",
    ]
    assert [seconds(n) for n in (None, 12, 750)] == ["–", "12 s", "12.5 min"]


@pytest.mark.parametrize("seeds", ["[0]", "[0, 1]"])
def test_the_page_and_the_terminal(tmp_path, capsys, seeds):
    (tmp_path / "trial.yaml").write_text(SWEEP)
    sweep = load_sweep(tmp_path / "trial.yaml", [f"seeds={seeds}"])
    out = tmp_path / "out"
    jobs = jobs_of(sweep, out)
    for job in jobs:
        if job.variant.name != "lost":
            skill = 0.9 if job.variant.name == "better" else 0.4
            write(job.run.folder, skill, job.plan.run.seed, info={"parameters": {"total": 1000, "trainable": 10}})
    jobs = jobs_of(sweep, out)
    jobs[2].state, jobs[2].error = "failed", "the LLM has a cold"
    page, figures = write_comparison(sweep, jobs, out)
    told = figures.to_dict()
    assert json.loads(page.with_suffix(".json").read_text()) == told
    text, html = page.with_suffix(".md").read_text(), page.read_text()
    better = told["splits"]["test"]["runs"]["better"]
    uar = str(Bar(better["metrics"]["uar"]["value"], better["metrics"]["uar"]["low"], better["metrics"]["uar"]["high"]))
    assert uar in text
    assert uar in html
    assert better["difference"]["metrics"]["uar"]["low"] > 0
    assert "lost-seed0: the LLM has a cold" in text
    assert "stages.train.epochs: 9" in text
    assert "UAR by evidence" in text
    assert ("One seed (0)" in text) is (seeds == "[0]")
    assert ("| run | UAR, seed 0 | UAR, seed 1 |" in text) is (seeds != "[0]")
    grid = main_table(figures, figures.splits["test"])
    head, rows = grid.head, grid.rows
    assert [row[0] for row in rows] == ["better", "plain"]
    assert ("between seeds" in head) is (seeds != "[0]")
    assert all(len(row) == len(head) for row in rows)
    print_comparison(figures, print)
    shown = capsys.readouterr().out
    assert f"{better['metrics']['uar']['value']:.3f} [" in shown
    assert "1 k" in shown
    assert all(line in shown for line in notes(figures))


def test_a_page_of_runs_without_any_figure(tmp_path, capsys):
    (tmp_path / "trial.yaml").write_text(SWEEP)
    sweep = load_sweep(tmp_path / "trial.yaml", ["seeds=[0, 1]"])
    for job in jobs_of(sweep, tmp_path / "out"):
        write(job.run.folder, 0.5, job.plan.run.seed, n=5, skip=range(5))
    page, figures = write_comparison(sweep, jobs_of(sweep, tmp_path / "out"), tmp_path / "out")
    assert all(one["metrics"]["uar"]["value"] is None for one in figures.to_dict()["splits"]["test"]["runs"].values())
    print_comparison(figures, print)
    for text in (page.read_text(), page.with_suffix(".md").read_text(), capsys.readouterr().out):
        assert "better" in text
        assert "nan" not in text.lower().replace("nano", "")


def test_before_any_run_is_done(tmp_path):
    (tmp_path / "trial.yaml").write_text(SWEEP)
    sweep = load_sweep(tmp_path / "trial.yaml")
    page, figures = write_comparison(sweep, jobs_of(sweep, tmp_path / "out"), tmp_path / "out")
    assert figures.splits == {}
    assert set(figures.missing.values()) == {"was not run"}
    assert "No run is done yet" in page.read_text()
