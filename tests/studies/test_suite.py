"""Suites: what a file says, one command on several sets and checkpoints, each clip encoded once, files to hand in."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import still_recipe
import torch
from click.testing import CliRunner
from dataset_trees import TREES, mer2026

from affectkit.api import fit, load
from affectkit.commands.evaluate import command
from affectkit.encode.cache import Cache
from affectkit.errors import InputError
from affectkit.evaluation.figures import Figure
from affectkit.evaluation.prediction import Prediction
from affectkit.files import write_json_atomic
from affectkit.labels.submission import Submission, submission_set, write_submission
from affectkit.recipe.load import SUITES, shipped_in
from affectkit.registry import Registry
from affectkit.report.render import markdown
from affectkit.report.suite import Encodings, SetFigures, blocks, print_suite
from affectkit.studies import suite_figures, suite_run
from affectkit.studies.cells import CellStore
from affectkit.studies.matrix import CrossOptions
from affectkit.studies.suite import load_suite, open_sets, split_overrides
from affectkit.studies.suite_checkpoints import CheckpointedRun, changing, checkpoints_of, points_of
from affectkit.studies.suite_protocol import plan_for
from affectkit.studies.suite_run import evaluate_suite
from affectkit.train.run_folder import open_run

RECIPE = f"""{still_recipe.LOOKS}{still_recipe.ASKS}
stages:
  align: {{train: [streams.scene.projector], max_steps: 1}}
  tune: {{train: [streams.scene.projector, backbone.model], epochs: 2, keep_every: 1, batch: 8, lr: 0.01}}
score: {{metrics: {{war: war}}, reasons: 0, max_new_tokens: 4, resamples: 40}}
"""
SUITE = """
name: two
about: Puppets, twice, and a table that nobody has.
data: {root: null, other: "${data.root}/other"}
defaults: {task: label}
sets:
  basic:
    column: Basic
    data: {use: puppets, count: 42}
    metrics: {war: war, uar: uar}
  misled:
    column: Misled
    data: {use: puppets, count: 42}
    split: conflict
    metrics: {weighted_f1: weighted_f1}
  again:
    data: {use: puppets, count: 42}
    task: words
    question: {use: reason_question, wordings: ["Say it in a word."], answer: open_labels}
    metrics: {wheels: {use: ov_wheels, task: words, truth: open_labels, level: L1}}
    also: {P: precision}
  lost:
    column: Lost
    data: {use: table, path: "${data.other}/none.csv"}
    metrics: {war: war}
published:
  old: {name: An old one, values: {basic: 50, misled: 20, again: 20, lost: 70}, overall: 40, source: "made up, Table 1"}
"""
ARGUMENTS = ("data.root=.",)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two stages that kept its epochs."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("trained")
    (place / "trial.yaml").write_text(RECIPE)
    run = fit(place / "trial.yaml", [f"run.folder={place}/runs", f"run.cache={place}/fit"], say=lambda _: None)
    return run.folder


def suite(overrides=ARGUMENTS, source="suite.yaml"):
    return load_suite(source, list(overrides), Registry.load())


def evaluated(trained, folder, *overrides, **more):
    """The summary and the folder of an evaluation with a cache of its own."""
    own = [*ARGUMENTS, f"run.cache={folder}/cache", f"run.folder={folder}/runs", *overrides]
    run = evaluate_suite([trained], "suite.yaml", own, say=lambda _: None, **more)
    return json.loads((run.folder / "suite.json").read_text()), run.folder


@pytest.mark.parametrize("name", shipped_in(SUITES))
def test_shipped_suites_are_right(name, folder):
    found = suite(["data.root=."], name)
    assert found.name == name
    assert found.about.endswith(".")
    samples, missing = open_sets(found)
    assert not samples
    assert set(missing) == set(found.sets)
    assert all("there is no such" in why for why in missing.values())


def test_unibench_has_the_published_columns_and_means(folder):
    found = suite(["data.root=."], "mer_unibench")
    titles = ["MER2023", "MER2024", "MELD", "IEMOCAP", "MOSI", "MOSEI", "SIMS", "SIMSv2", "OV-MERD+"]
    assert [e.column for e in found.sets.values()] == titles
    for row in found.published.values():
        assert list(row.values) == list(found.sets)
        assert np.mean(list(row.values.values())) == pytest.approx(row.overall, abs=0.011)
    assert found.published["affectgpt_avt"].overall == 74.77
    assert {e.settings.task for e in found.sets.values()} == {"open_labels"}
    assert {e.settings.task for e in suite(["data.root=.", "defaults.task=label"], "mer_unibench").sets.values()} == {
        "label"
    }


def test_defaults_fill_what_a_set_does_not_say(folder):
    found = suite([*ARGUMENTS, "sets.lost=null", "sets.basic.data={use: table, path: x.csv}"])
    assert [e.settings.task for e in found.sets.values()] == ["label", "label", "words"]
    assert found.sets["basic"].data.settings.path == "x.csv"
    assert (found.sets["basic"].primary, found.sets["again"].column) == ("war", "again")


WRONG = {
    "data.root=nowhere": "override 'data.root=nowhere': data.root: there is no folder 'nowhere'",
    "data.rot=.": "data.rot: unknown folder of the suite 'rot'",
    "sets.basic.taks=label": "sets.basic.taks: unknown key 'taks'",
    "sets.basic.primary=wra": "unknown metric of the set 'wra'",
    "sets.basic.data.use=pupets": "unknown dataset 'pupets'",
    "sets.basic.choices={a: b}": "one text is no choice",
    "sets.again.method=candidates": "the task 'words' has no candidates",
    "sets.basic.metrics={x: clue_overlap}": "asks another model, and no client is named",
    "published.old.values.basik=3": "unknown set of the suite 'basik'",
    "sets.basic.submission={form: csv, columns: {name: ids}}": "'ids' is nothing that a column may hold",
    "show.overall=median": "is none of average, none",
}


@pytest.mark.parametrize(("override", "what"), WRONG.items())
def test_what_is_wrong_with_a_suite_is_said_with_its_place(override, what, folder):
    with pytest.raises(InputError) as error:
        suite([*ARGUMENTS, override])
    assert what in str(error.value)


def test_a_files_own_mistakes_have_lines(folder):
    (folder / "suite.yaml").write_text(
        SUITE.replace("column: Basic", "colum: Basic").replace("  old:", "  old: 3\n  no:")
    )
    with pytest.raises(InputError) as error:
        suite()
    assert "suite.yaml:8:5: sets.basic.colum: unknown key 'colum'" in str(error.value)
    assert "published.old: wants a mapping of settings" in str(error.value)
    with pytest.raises(InputError, match=r"suite\.yaml:4:8: data\.root: the folder of the data sets is not given"):
        suite([])
    with pytest.raises(InputError, match="did you mean 'mer_unibench'"):
        suite(source="mer_unibensh")


def test_the_page_shows_a_suite_that_is_right(folder):
    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text()
    tasks, block = re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)
    (folder / "tasks.yaml").write_text(tasks)
    own = {name: one.settings.task for name, one in suite([], "tasks.yaml").sets.items()}
    assert own == {"ratings": "numbers", "several": "labels"}
    (folder / "my_suite.yaml").write_text(block)
    found = suite(["data.root=."], "my_suite.yaml")
    assert list(found.sets) == ["calls", "films"]
    assert found.published["old"].values == {"calls": 61.2, "films": 40.0}
    assert all(f"| `{name}` |" in page for name in shipped_in(SUITES))


def test_overrides_are_parted():
    assert split_overrides(["data.root=x", "score.batch=3", "sets.a.task=b"]) == (
        ["data.root=x", "sets.a.task=b"],
        ["score.batch=3"],
    )


def test_one_command_on_all_checkpoints(trained, folder):
    told, place = evaluated(trained, folder, checkpoints="all")
    names = [row["checkpoint"] for row in told["checkpoints"]]
    assert names == ["align", "tune/epoch-1", "tune"]
    assert told["figure"]["checkpoint"] == "tune"
    assert told["encodings"] == {
        "clips": 12,
        "encoded": 12,
        "per_clip": 1.0,
        "most": 1,
    }  # "again" has the clips of "basic"
    metrics = json.loads((place / "metrics.json").read_text())
    assert list(metrics) == ["basic", "misled", "again"]
    for name, primary in (("basic", "war"), ("misled", "weighted_f1"), ("again", "wheels")):
        assert metrics[name][primary]["value"] == told["figure"]["sets"][name]["value"]
        assert {"low", "high"} <= set(metrics[name][primary])
    values = [told["figure"]["sets"][n]["value"] for n in metrics]
    assert told["figure"]["overall"]["value"] == pytest.approx(np.mean(values), abs=1e-12)
    assert (told["figure"]["overall"]["sets"], told["figure"]["overall"]["of"]) == (3, 4)
    assert set(told["missing"]) == {"lost"}
    assert told["published"][0]["same"] == pytest.approx(30)
    best = told["best_of"]
    for name, one in best["sets"].items():
        assert one["value"] == max(row["sets"][name]["value"] for row in told["checkpoints"])
    assert best["above"] == pytest.approx(best["overall"] - told["figure"]["overall"]["value"], abs=1e-12)
    assert "not a figure to report" in best["name"]
    text = (place / "report.md").read_text()
    for words in ("Suite two", "An old one", "made up, Table 1", "lost is missing", "best of 3 on test", "same sets"):
        assert words in text, words
    assert text.index("this run") < text.index("best of 3 on test")
    assert len(list((place / "checkpoints").iterdir())) == 3
    rows = [json.loads(line) for line in (place / "predictions.jsonl").read_text().splitlines()]
    assert {(r["split"], r["task"]) for r in rows} == {("basic", "label"), ("misled", "label"), ("again", "words")}
    again, _ = evaluated(trained, folder)
    assert again["figure"] == told["figure"]  # another way to the same weights
    assert "best_of" not in again


def test_a_suite_that_was_cut_off_goes_on(trained, folder, monkeypatch):
    """Finished cells are not asked again, and the figures are those of a suite that was not cut off."""
    arguments = [str(trained), "--suite", "suite.yaml", "--checkpoints", "all", *ARGUMENTS, f"run.cache={folder}/cache"]
    whole = CliRunner().invoke(command, [*arguments, "run.folder=whole"])
    assert whole.exit_code == 0, whole.output
    real, asked = suite_run.predict, []

    def cut(model, samples, *others):
        asked.append(len(samples))
        if len(asked) == 5:
            raise KeyboardInterrupt
        return real(model, samples, *others)

    monkeypatch.setattr(suite_run, "predict", cut)
    stopped = CliRunner().invoke(command, [*arguments, "run.folder=cut"])
    assert "stopped; the same command goes on with it" in stopped.output
    done = CliRunner().invoke(command, [*arguments, "run.folder=cut"])
    assert done.exit_code == 0, done.output
    assert len(asked) == 5 + 9 - 4  # nine cells, of which four were done
    assert done.output.count("done before") == 4
    told, other = ((Path(name, "last", "suite.json")).read_text() for name in ("cut", "whole"))
    same = [json.loads(text)[key] for text in (told, other) for key in ("figure", "checkpoints", "best_of")]
    assert same[:3] == same[3:]
    assert Path("cut/last/predictions.jsonl").read_text() == Path("whole/last/predictions.jsonl").read_text()


def test_a_cell_of_a_suite_is_asked_again_where_what_it_hangs_on_changed(trained, folder, monkeypatch):
    copy = shutil.copytree(trained, folder / "copy")
    real, asked = suite_run.predict, []
    monkeypatch.setattr(suite_run, "predict", lambda *given: asked.append(1) or real(*given))

    def cells(*overrides, again=False):
        """The reasons for which sets are asked that were asked before, and how many are asked."""
        said, before = [], len(asked)
        own = [*ARGUMENTS, f"run.cache={folder}/cache", f"run.folder={folder}/runs", *overrides]
        evaluate_suite([copy], "suite.yaml", own, CrossOptions(say=said.append, again=again))
        return [line for line in said if "asked again" in line], len(asked) - before

    assert cells() == ([], 3)
    assert cells("score.resamples=20", "sets.basic.metrics.accuracy=accuracy") == ([], 0)
    assert cells(again=True) == ([], 3)
    assert cells("sets.basic.split=val") == (["basic: asked again: the data changed"], 1)
    assert cells("sets.basic.method=generate") == (
        ["basic: asked again: what is asked and the data changed"],
        1,
    )
    reworded = "sets.again.question.wordings=[Say it.]"
    assert cells("sets.basic.method=generate", reworded) == (["again: asked again: what is asked changed"], 1)
    weights = copy / "stages" / "tune"
    shutil.copyfile(weights / "epoch-1.safetensors", weights / "weights.safetensors")
    told, count = cells("sets.again=null", "sets.basic.method=generate")
    assert (told, count) == ([f"{name}: asked again: the weights changed" for name in ("basic", "misled")], 2)


def test_a_cell_that_two_processes_wrote_is_asked_again(tmp_path):
    """The answers of one and the note of the other: what was asked otherwise is not taken for what is asked now."""
    first, second = {"asked": "candidates"}, {"asked": "generate"}
    mine, theirs = (
        [Prediction("a", "label", "scored", label="sad")],
        [Prediction("a", "label", "scored", label="happy")],
    )
    kept = CellStore(tmp_path, "run", "set")
    kept.write(mine, first)
    assert kept.read(first) == (mine, "")
    assert kept.read(second) == (None, "what is asked changed")
    note = kept.note.read_text()
    kept.write(theirs, second)
    kept.note.write_text(note)
    assert kept.read(first) == (None, "other answers lay there")
    kept.note.write_text(json.dumps({"hangs_on": second}))  # as it was written before notes knew the answers
    assert kept.read(second) == (theirs, "")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".jsonl"]


def test_several_runs_share_what_is_frozen(trained, folder):
    other = folder / "other"
    shutil.copytree(trained, other)
    own = [*ARGUMENTS, f"run.cache={folder}/cache", f"run.folder={folder}/runs", "sets.again=null"]
    run = evaluate_suite([trained, other], "suite.yaml", own, say=lambda _: None)
    told = json.loads((run.folder / "suite.json").read_text())
    assert [row["run"] for row in told["checkpoints"]] == [trained.name, "other"]
    assert told["figure"]["run"] == trained.name
    assert told["encodings"]["most"] == 1
    assert told["checkpoints"][0]["sets"] == told["checkpoints"][1]["sets"]


def test_a_shared_head_gives_what_the_whole_gives(trained, tmp_path):
    """The scores of an early checkpoint do not depend on where its stream is cut, and are not those of the end."""
    from affectkit.data.splits import open_split
    from affectkit.evaluation.predict import AnswerOptions, predict

    loaded = load(trained)
    weights = CheckpointedRun(loaded, *points_of(trained, loaded.run, loaded.plan, "all"))
    samples = open_split(loaded.plan.data, "test", "")
    cache = Cache(tmp_path / "cache")
    keys = [weights.keys(point, cache.memo) for point in weights.points]
    moving = changing(loaded.plan, keys[1], [keys[0], keys[2]])
    assert moving == ["scene.projector"]
    assert changing(loaded.plan, keys[1], []) == []
    alike = changing(loaded.plan, keys[1], [keys[0], dict(keys[1]), keys[2]])
    assert alike == moving, "two that are alike keep what the third shares with them"
    assert changing(loaded.plan, keys[1], [dict(keys[1])]) == []
    found = []
    for point, cut in ((weights.points[1], moving), (weights.points[1], ()), (weights.points[2], moving)):
        weights.put(point)
        answers = predict(loaded.model, samples, loaded.labels, cache, AnswerOptions(), cut)
        found.append(np.array([list(p.probabilities.values()) for p in answers]))
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert np.abs(found[2] - found[0]).max() > 1e-4


def test_an_epoch_of_a_run_that_started_from_another_has_its_encoder(trained, folder):
    started = fit(
        trained / "recipe.yaml",
        [f"run.start={trained}", "stages.align=null", f"run.folder={folder}/more", f"run.cache={folder}/fit"],
        say=lambda _: None,
    )
    loaded = load(started.folder)
    weights = CheckpointedRun(loaded, *points_of(started.folder, loaded.run, loaded.plan, "all"))
    keys = [weights.keys(point, Cache(folder / "keys").memo) for point in weights.points]
    assert [point.name for point in weights.points] == ["tune/epoch-1", "tune"]
    assert keys[0]["scene.encoder"] == keys[1]["scene.encoder"]
    assert keys[0]["scene.projector"] != keys[1]["scene.projector"]


def test_a_question_of_a_set_keeps_the_overrides_of_the_recipe(trained, folder):
    loaded = load(trained, ["views.look.pick=middle"])
    plan = plan_for(loaded.plan, loaded.run, suite().sets["again"])
    assert "words" in plan.tasks
    assert plan.graph.views["look"].settings.pick == "middle"


def test_checkpoints_are_known_by_name(trained, folder):
    run = open_run(trained)
    assert [c.name for c in checkpoints_of(run, load(trained).plan)] == ["align", "tune/epoch-1", "tune"]
    with pytest.raises(InputError, match="did you mean 'tune/epoch-1'"):
        evaluated(trained, folder, checkpoints="tune/epoch-7")
    told, _ = evaluated(trained, folder, "sets.again=null", "sets.misled=null", checkpoints="align")
    every, _ = evaluated(trained, folder, "sets.again=null", "sets.misled=null", checkpoints="all")
    assert told["figure"]["sets"] == every["checkpoints"][0]["sets"]


def test_a_task_that_nobody_asks_and_no_set_at_all(trained, folder):
    with pytest.raises(InputError, match="is asked the task 'clues', which no part of the recipe's prompt asks"):
        evaluated(trained, folder, "sets.basic.task=clues")
    with pytest.raises(InputError, match="is not there"):
        evaluated(trained, folder, "sets.basic=null", "sets.misled=null", "sets.again=null")


BARE = """
name: bare
data: {root: null}
defaults: {metrics: {war: war}}
sets:
  still: {data: {use: table, path: "${data.root}/still.csv"}}
  one: {data: {use: table, path: "${data.root}/clip.csv"}}
  two: {data: {use: table, path: "${data.root}/clip.csv"}}
"""


def test_clips_without_boxes_are_told_of_all_sets_before_anything_is_encoded(trained, folder):
    Path("bare.yaml").write_text(BARE)
    for kind, ending in (("still", "png"), ("clip", "mp4")):  # the files are not opened
        rows = [f"{i}.{ending},{label},test" for i, label in enumerate(("sad", "happy"))]
        Path(f"{kind}.csv").write_text("\n".join(["path,label,split", *rows]))
        for i in range(2):
            Path(f"{i}.{ending}").write_bytes(b"no picture")
    before = set(trained.parent.iterdir())
    own = ["data.root=.", "views.all={use: frames, pick: uniform, count: 1}", "views.look={use: faces, of: all}"]
    with pytest.raises(InputError) as raised:
        evaluate_suite([trained], "bare.yaml", own, say=lambda _: None)
    (problem,) = raised.value.problems
    assert "of one has no fact `face_box`, nor have clips of two, and the view names no detector" in problem.what
    assert "views.look.detector" in problem.fix
    assert set(trained.parent.iterdir()) == before  # no folder of a run that comes to nothing


WORDS = """
name: words
data: {use: puppets, count: 42}
prompt: {use: template, parts: {says: {use: subtitle}, ask: {use: label_question}, why: {use: reason_question}}}
backbone: {use: causal_lm, width: 16, heads: 2, layers: 1}
stages: {tune: {train: [backbone.model], max_steps: 2, tasks: {label: 1, reason: 1}}}
score: {metrics: {war: war}, max_new_tokens: 4, resamples: 10}
run: {accelerator: cpu}
"""


@pytest.fixture
def words(folder):
    (folder / "words.yaml").write_text(WORDS)
    (folder / "mer").mkdir()
    mer2026(folder / "mer")
    return folder


def tracked(folder, track, *overrides, submission=None):
    own = ["data.root=mer", f"run.folder={folder}/runs", f"run.cache={folder}/cache", *overrides]
    run = evaluate_suite(["words.yaml"], f"mer2026_track{track}", own, say=lambda _: None, submission=submission)
    return json.loads((run.folder / "suite.json").read_text()), run.folder


def test_the_likelier_description_is_preferred(words):
    """Both ways to compare agree with log-probabilities that are worked out one by one; `same` is left out."""
    torch.set_num_threads(1)
    found = {}
    for likelihood in ("token", "text"):
        told, place = tracked(
            words, 3, "sets.mer2026_track3.split=train", f"sets.mer2026_track3.likelihood={likelihood}"
        )
        rows = [json.loads(line) for line in (place / "predictions.jsonl").read_text().splitlines()]
        figures = json.loads((place / "metrics.json").read_text())["mer2026_track3"]
        assert {r["label"] for r in rows} <= {"a1", "a2"}
        assert figures["labels"] == ["a1", "a2"]
        assert figures["count"] == sum(r["state"] == "scored" for r in rows)
        assert [r["state"] for r in rows if "'same'" in r["error"]] == ["skipped"] * figures["ledger"]["skipped"]
        assert figures["weighted_f1"]["value"] == told["figure"]["sets"]["mer2026_track3"]["value"]
        assert figures["accuracy"]["low"] is not None
        found[likelihood] = {r["id"]: r["probabilities"]["a1"] for r in rows}
    assert found["token"] != found["text"]
    assert odds(words) == pytest.approx(found["token"], abs=1e-5)


def odds(folder):
    """The chance of a1 by the mean log-probability of the tokens of each description, a sequence at a time."""
    from affectkit.api import starting
    from affectkit.data.splits import open_split
    from affectkit.model.packing import assemble, tokenise
    from affectkit.prompt import Ask

    loaded = starting("words.yaml", [f"run.folder={folder}/runs", f"run.cache={folder}/c"], say=lambda _: None)
    use = load_suite("mer2026_track3", ["data.root=mer"], Registry.load()).sets["mer2026_track3"].data
    out = {}
    llm = loaded.model.llm
    for sample in open_split(use, "train", ""):
        means = []
        asked = tokenise(loaded.model.prompt.segments(sample, Ask("reason", "infer")), llm, {})
        for name in ("a1", "a2"):
            taught = replace(sample, answers={"reason": sample.answers[name]})
            said = [s for s in loaded.model.prompt.segments(taught, Ask("reason")) if s.trained]
            ids = [i for chunk in tokenise(tuple(said), llm, {}) for i in chunk.ids]
            row = assemble([asked], {}, llm, torch.device("cpu"))
            means.append(llm.score(row, [[ids]])[0][0] / len(ids))
        out[sample.id] = float(torch.tensor(means, dtype=torch.float64).softmax(0)[0])
    return out


def table(name):
    return list(csv.reader(Path(name).read_text().splitlines()))


NINE = ("mer2023", "meld", "iemocap", "cmu_mosi", "cmu_mosei", "ch_sims", "ch_sims_v2")


def test_unibench_runs_on_what_is_there(folder):
    """A run that knows only labels, on copies in other layouts than the published one; two sets are not there."""
    (folder / "words.yaml").write_text(WORDS)
    given = []
    for name in NINE:
        (folder / name).mkdir()
        given.append(f"data.{name}={TREES[name](folder / name)['root']}")
    own = [f"run.folder={folder}/runs", f"run.cache={folder}/cache"]
    overrides = [*own, "data.root=.", "defaults.task=label", *given]
    with pytest.raises(InputError, match=r"sets\.cmu_mosi: the data set has no labels to choose from"):
        evaluate_suite(["words.yaml"], "mer_unibench", overrides, say=lambda _: None)
    known = fit("words.yaml", own, say=lambda _: None)
    run = evaluate_suite([known.folder], "mer_unibench", overrides, say=lambda _: None)
    told = json.loads((run.folder / "suite.json").read_text())
    assert set(told["missing"]) == {"mer2024", "ov_merd_plus"}
    assert list(told["figure"]["sets"]) == list(NINE)
    assert told["figure"]["overall"]["sets"] == 7
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["mer2023"]["hit_rate"]["clips"] == 2
    assert metrics["cmu_mosi"]["waf"]["used"] + metrics["cmu_mosi"]["waf"]["skipped"] == metrics["cmu_mosi"]["count"]
    assert "lexicon" in metrics["cmu_mosi"]["waf"]["protocol"]
    assert (
        "NOT comparable with published figures, as their protocols below say: mer2023, meld"
        in (run.folder / "report.md").read_text()
    )
    assert set(told["figure"]["sets"]["cmu_mosi"]["also"]) == {"ACC"}
    row = next(r for r in told["published"] if r["name"] == "AffectGPT (A+V+T)")
    assert row["same"] == pytest.approx(np.mean([row["values"][n] for n in NINE]), abs=1e-9)


def test_answers_are_handed_in_as_published(words):
    told, place = tracked(words, 1, submission="submission.csv")
    rows = table("submission.csv")
    assert rows[0] == ["name", "discrete"]
    assert (
        len(rows) - 1
        == told["submission"]["rows"]
        == len((place / "predictions-submission.jsonl").read_text().splitlines())
    )
    assert {r[1] for r in rows[1:]} <= {"neutral", "angry", "happy", "sad", "worried", "surprise"}
    assert any("20,000 rows" in note for note in told["submission"]["notes"])
    told, _ = tracked(words, 3, submission="preferences.csv")
    pairs = table("preferences.csv")
    assert pairs[0] == ["name", "preference"]
    assert all(name and "#" not in name for name, _ in pairs[1:]), "a pair is handed in under its clip's name"
    with pytest.raises(InputError, match=r"ends in '-openset\.npz'"):
        tracked(words, 2, submission="words.npz")


def test_recipes_as_they_start_have_a_folder_each_and_keep_their_answers(words):
    (words / "more.yaml").write_text(WORDS.replace("name: words", "name: more").replace("width: 16", "width: 32"))
    own = ["data.root=mer", f"run.folder={words}/runs", f"run.cache={words}/cache"]
    said = []
    found = []
    for _ in range(2):
        run = evaluate_suite(["words.yaml", "more.yaml"], "mer2026_track1", own, say=said.append)
        found.append(json.loads((run.folder / "suite.json").read_text())["checkpoints"])
    folders = [p for p in (words / "runs").iterdir() if (p / "run.json").is_file() and not p.is_symlink()]
    assert len(folders) == 4
    assert said.count("mer2026_track1: done before") == 2
    assert [row["sets"] for row in found[0]] == [row["sets"] for row in found[1]]


def test_lists_of_words_go_into_an_npz_without_pickle(tmp_path):
    form = Submission("npz", {"filenames": "id", "fileitems": "labels"}, "-openset.npz", 3)
    answers = ["[happy, joyful]", "This person feels sad and hurt.", ""]
    found = [Prediction(f"c{i}", "open_labels", "scored", text=t) for i, t in enumerate(answers)]
    assert submission_set({"a": form, "b": None}, tmp_path / "x-openset.npz") == "a"
    told = write_submission(form, found, tmp_path / "x-openset.npz")
    with np.load(tmp_path / "x-openset.npz", allow_pickle=False) as arrays:
        assert list(arrays["filenames"]) == ["c0", "c1", "c2"]
        assert list(arrays["fileitems"]) == ["[happy, joyful]", "[sad, hurt]", "[]"]
    assert told["notes"] == ["1 of 3 rows have nothing in 'fileitems'"]
    with pytest.raises(InputError, match="several data sets"):
        submission_set({"a": form, "b": form}, tmp_path / "x-openset.npz")


def test_what_needs_a_suite_says_so(folder):
    for arguments, what in (
        (["runs/last", "--checkpoints", "all"], "is for --suite"),
        (["runs/last", "--again"], "is for --suite"),
        (["runs/last", "runs/first"], "several runs are evaluated together with --suite only"),
        (["runs/last", "--suite", "x", "--vary", "labels"], "cannot be had with --suite"),
        (["runs/last", "--suite", "suite.yaml"], "the folder of the data sets is not given"),
    ):
        found = CliRunner().invoke(command, arguments)
        assert isinstance(found.exception, InputError)
        assert what in str(found.exception)


def test_a_page_of_a_suite_without_any_figure(folder, tmp_path, capsys):
    two = suite()
    none = {name: SetFigures(None, None, None, None, "", {}, "no clip could be decoded") for name in two.sets}
    points = [suite_figures.CheckpointAnswers(name, "run", sets=none) for name in ("epoch-1", "last")]
    found = suite_figures.summary(two, points[1], points, {}, Encodings(0, 0, 0.0, 0), 0.0)
    write_json_atomic(tmp_path / "suite.json", found.to_dict())
    print_suite(tmp_path, print)
    for text in ("\n".join(map(markdown, blocks(tmp_path))), capsys.readouterr().out):
        assert "no clip could be decoded" in text
        assert not {"nan", "None"} & set(re.findall(r"\w+", text))


def test_further_figures_have_intervals():
    class Half:
        def __call__(self, predictions, labels):
            return {"value": 0.0, "precision": sum(p.text == "a" for p in predictions) / len(predictions)}

    some = [Prediction(str(i), "x", "scored", text="ab"[i % 2]) for i in range(40)]
    found = suite_figures.further(Half(), {"P": "precision", "Q": "none"}, some, (), 100, 0)
    assert found["P"].value == 0.5
    assert 0.3 < found["P"].low < 0.5 < found["P"].high < 0.7
    assert found["Q"] == Figure(None, None, None)
