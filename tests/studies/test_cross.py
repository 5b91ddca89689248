"""Runs on data sets as a matrix: labels matched by name, what is left out, stills to clips, the page."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from dataset_trees import TREES
from media_files import picture, write_clip
from PIL import Image

from affectkit.api import evaluate, fit
from affectkit.commands.cross import command
from affectkit.errors import InputError
from affectkit.evaluation.prediction import read_predictions
from affectkit.registry import Registry
from affectkit.report import run as warned_runs
from affectkit.report.page import Paragraph
from affectkit.report.pictures import matrix_picture
from affectkit.sample import Sample
from affectkit.studies import cells as cells_of_runs
from affectkit.studies import cross as crossing
from affectkit.studies import cross_run
from affectkit.studies.cross import SharedLabels, map_labels
from affectkit.studies.cross_run import CrossOptions, cross
from affectkit.studies.matrix import open_columns
from affectkit.studies.suite import load_suite
from affectkit.train.run_folder import evaluated_run, open_run

SEVEN = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


QUIET = CrossOptions(say=lambda _: None)


class Split(list):
    def __init__(self, labels, wanted=()):
        super().__init__(Sample(f"{i}", label=label) for i, label in enumerate(wanted))
        self.labels = labels


def test_labels_are_matched_by_name():
    assert map_labels(("Happy", "sad", "afraid", "worried", "Contempt"), (*SEVEN, "contempt")) == {
        "Happy": "happiness", "sad": "sadness", "afraid": "fear", "Contempt": "contempt",
    }  # fmt: skip
    assert map_labels(("joy", "happy"), ("happy", "joy")) == {"joy": "joy", "happy": "happy"}
    assert map_labels(("happiness",), ("happy", "joy")) == {"happiness": "happy"}
    assert map_labels(("joy", "worry"), ("happy", "sad"), {"joy": "", "worry": "sad"}) == {"worry": "sad"}
    assert map_labels(("joy",), ("happy",), {"joy": "glad"}) == {}


def test_a_mapping_of_labels_that_nobody_has_is_told():
    ours, theirs = [SEVEN], [("joy", "fear"), ("worry",)]
    crossing.check_given({"joy": "surprise", "worry": ""}, ours, theirs, whole=True)
    with pytest.raises(InputError) as caught:
        crossing.check_given({"joi": "surprise", "worry": "feer"}, ours, theirs, whole=True)
    assert [str(p).split("\n")[0] for p in caught.value.problems] == [
        "--map: unknown label of the data sets 'joi'",
        "--map: unknown label of the runs 'feer'",
    ]
    crossing.check_given({"joi": "surprise"}, ours, theirs, whole=False)  # a data set that is not there may have it
    crossing.check_given({"joi": "feer"}, [*ours, ()], [*theirs, ()], whole=True)  # one may have any label


def test_a_cell_is_over_the_labels_that_both_share():
    shared = SharedLabels(
        Split(("happy", "fear", "helplessness"), ("happy", "fear", "helplessness", None)), (*SEVEN, "contempt")
    )
    assert shared.labels == ("fear", "happiness")  # in the run's order and words
    assert [(s.id, s.label) for s in shared] == [("0", "happiness"), ("1", "fear")]
    assert [s.id for s in shared.unmatched] == ["2", "3"]
    assert "contempt" in shared.strange


RECIPE = """
name: {name}
data: {{use: table, path: {table}, val: 0.1, test: 0.3}}
views: {{look: {{use: frames, pick: middle}}}}
streams:
  scene:
    steps:
      encoder: {{use: image_patches, pixels: look, size: 16, patch: 8, width: 16, layers: 1, heads: 2}}
      projector: {{use: linear}}
prompt:
  use: template
  parts:
    scene: {{use: slot, stream: scene}}
    ask: {{use: label_question, wording: "Emotion?"}}
backbone: {{use: causal_lm, width: 32, heads: 2, layers: 1}}
stages:
  all: {{train: [streams.scene, backbone.model], epochs: {epochs}, batch: 8, lr: 0.01}}
score: {{metrics: {{uar: uar, war: war, accuracy: accuracy}}, reasons: 0, resamples: 100}}
run: {{accelerator: cpu, folder: {folder}/runs, cache: {folder}/cache}}
"""
COLOURS = {"happy": (230, 200, 40), "sad": (30, 60, 200), "angry": (210, 20, 20), "contempt": (120, 120, 120)}
NOUNS = {"happy": "happiness", "sad": "sadness", "angry": "anger", "contempt": "fear"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on stills and one on clips; the colour tells the label, a fourth one differs between the sets."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("cross")
    rng, rows = np.random.default_rng(0), {"stills": [], "clips": []}
    for number in range(60):
        label = tuple(COLOURS)[number % 4]
        image = np.clip(picture((16, 16), COLOURS[label]) + rng.normal(0, 6, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(place / f"{number}.png")
        write_clip(place / f"{number}.mp4", [image] * 3)
        rows["stills"].append(f"{number}.png,{label}")
        rows["clips"].append(f"{number}.mp4,{NOUNS[label]}")
    runs = []
    for name, epochs in (("stills", 20), ("clips", 1)):
        table = place / f"{name}.csv"
        table.write_text("\n".join(["path,label", *rows[name]]))
        (place / f"{name}.yaml").write_text(RECIPE.format(name=name, table=table, folder=place, epochs=epochs))
        runs.append(fit(place / f"{name}.yaml", say=lambda _: None).folder)
    return place, runs


def test_from_stills_to_clips_and_back(trained, tmp_path):
    _, runs = trained
    told = cross(runs, tmp_path / "matrix.html", how=QUIET).to_dict()
    stills, clips = (run.name for run in runs)
    assert [c["name"] for c in told["columns"]] == [stills, clips]  # one reader: called like their runs
    assert [(c["stills"] > 0, c["clips"] > 0) for c in told["columns"]] == [(True, False), (False, True)]
    found = told["cells"][stills]
    assert (found[stills]["own"], found[clips]["own"]) == (True, False)
    assert found[stills]["uar"]["value"] > 0.9
    assert found[clips]["uar"]["value"] > 0.9  # trained on stills, tested on clips
    assert found[clips]["mapped"] == {"happiness": "happy", "sadness": "sad", "anger": "angry"}
    assert list(found[clips]["left_out"]) == ["fear"]
    assert found[clips]["strange"] == ["contempt"]
    assert sorted(found[clips]["labels"]) == ["angry", "happy", "sad"]
    assert found[clips]["war"] == found[clips]["accuracy"]
    assert found[clips]["count"] + found[clips]["left_out"]["fear"] == told["columns"][1]["samples"]
    assert found[clips]["ledger"]["skipped"] == found[clips]["left_out"]["fear"]
    for one in found.values():
        assert one["uar"]["low"] <= one["uar"]["value"] <= one["uar"]["high"]
    assert told["elsewhere"][stills]["uar"]["value"] == found[clips]["uar"]["value"]
    assert json.loads((tmp_path / "matrix.json").read_text())["cells"] == told["cells"]
    answers = read_predictions(tmp_path / "matrix" / f"{stills}--{clips}.jsonl")
    assert len(answers) == told["columns"][1]["samples"]
    assert {p.error for p in answers if p.state == "skipped"} == {"the run does not know its label 'fear'"}
    page = (tmp_path / "matrix.md").read_text()
    for words in (
        "Random weights",
        "mean elsewhere",
        "happiness = happy",
        "left out:",
        "Every run on every data set",
        "stills",
    ):
        assert words in page, words
    assert "data:image/png" in (tmp_path / "matrix.html").read_text()


def test_what_is_done_stays_done_while_nothing_changes(trained, tmp_path, monkeypatch):
    place, runs = trained
    copies = [shutil.copytree(run, tmp_path / name) for run, name in zip(runs, ("a", "b"), strict=True)]
    clips = tmp_path / "clips.csv"
    clips.write_text((place / "clips.csv").read_text().replace("\n", f"\n{place}/"))
    for name, table in (("mine", clips), ("stills", place / "stills.csv")):
        (tmp_path / f"{name}.yaml").write_text(f"data: {{use: table, path: {table}, val: 0.1, test: 0.3}}\n")
    on = [str(tmp_path / "mine.yaml"), str(tmp_path / "stills.yaml")]

    def asked(*overrides, given=None, again=False):
        """The cells that are asked, with the reason where they were done before."""
        said = []
        how = CrossOptions(given, again=again, say=said.append)
        told = cross(copies, tmp_path / "m.html", on, overrides, how=how).to_dict()
        done = [line for line in said if line.endswith(": done before")]
        assert len(said) == 4
        return told, [line.split(":")[0] + line.partition("asked again")[2] for line in said if line not in done]

    first, cells = asked()
    assert cells == ["a on mine", "a on stills", "b on mine", "b on stills"]
    with monkeypatch.context() as patched:
        patched.setattr(cells_of_runs, "load", None)  # nothing is loaded for what is done
        second, cells = asked("score.resamples=100", "score.metrics.accuracy=null", "run.workers=0")
    assert cells == []
    assert second["cells"]["a"]["mine"]["uar"] == first["cells"]["a"]["mine"]["uar"]
    assert second["metrics"] == ["uar", "war"]
    assert asked(again=True)[1] == ["a on mine", "a on stills", "b on mine", "b on stills"]
    told = asked("score.strict=true")[1]
    assert told == [f"{run} on {name}: the recipe changed" for run in "ab" for name in ("mine", "stills")]
    asked()
    assert asked(given={"fear": "contempt"})[1] == [
        f"{run} on mine: the labels that are shared changed" for run in "ab"
    ]
    asked()
    weights = copies[1] / "stages" / "all" / "weights.safetensors"
    shutil.copyfile(copies[0] / "stages" / "all" / "weights.safetensors", weights)
    assert asked()[1] == [f"b on {name}: the weights changed" for name in ("mine", "stills")]
    gone = Path(read_predictions(tmp_path / "m" / "a--mine.jsonl")[0].media)
    clips.write_text("\n".join(line for line in clips.read_text().split("\n") if str(gone) not in line))
    assert asked()[1] == ["a on mine: the data changed", "b on mine: the data changed"]
    (tmp_path / "m" / "a--mine.jsonl").unlink()
    (tmp_path / "m" / "b--mine.json").write_text("{}")
    assert asked()[1] == ["a on mine", "b on mine: what lay there cannot be read"]


def test_a_matrix_that_was_cut_off_goes_on(trained, tmp_path, monkeypatch):
    _, runs = trained
    real, calls = cross_run.predict, []

    def cut(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(cross_run, "predict", cut)
    arguments = [str(run) for run in runs] + ["--out", str(tmp_path / "m.html")]
    stopped = CliRunner().invoke(command, arguments)
    assert "stopped; the same command goes on with it" in stopped.output
    assert len(list((tmp_path / "m").glob("*.jsonl"))) == 2
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert done.output.count("done before") == 2
    assert len(calls) == 5


def test_figures_of_a_copied_run_stay_with_the_copy(trained, tmp_path, monkeypatch):
    place, runs = trained
    there = sorted((place / "runs").iterdir())
    copy = Path(shutil.copytree(runs[1], tmp_path / "mine" / "copy"))
    monkeypatch.chdir(tmp_path)
    assert evaluate(copy, say=lambda _: None).folder == copy
    fresh = evaluate(copy, ["score.splits=[val]"], say=lambda _: None).folder
    assert fresh.parent == copy.parent
    assert list(json.loads((fresh / "metrics.json").read_text())) == ["val"]
    other = evaluate(copy, ["score.splits=[val]", "run.folder=other"], say=lambda _: None).folder
    assert other.parent == Path("other")
    Path("mine").rename("moved")  # both of them: the evaluation finds its run beside it
    assert evaluated_run(open_run(Path("moved", fresh.name))).folder == tmp_path / "moved" / "copy"
    assert sorted((place / "runs").iterdir()) == there
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="no run folder can be made there"):
        evaluate("moved/copy", ["run.folder=file"], say=lambda _: None)


def test_the_command_on_files_that_hold_data(trained, tmp_path, monkeypatch):
    place, runs = trained
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump({"data": {"use": "table", "path": str(place / "clips.csv")}}))
    Path("gone.yaml").write_text("name: lost\ndata: {use: table, path: none.csv}\n")
    arguments = [str(runs[0]), "--on", "mine.yaml", "--on", "gone.yaml", "--on", str(place / "stills.yaml"),
                 "--map", "fear=contempt", "--map", "anger=", "score.metrics.accuracy=null"]  # fmt: skip
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    told = json.loads(Path("cross.json").read_text())
    assert [c["name"] for c in told["columns"]] == ["mine", "stills"]
    assert list(told["missing"]) == ["lost"]
    assert "lost is not there" in done.output
    cell = told["cells"][runs[0].name]["mine"]
    assert (cell["mapped"]["fear"], list(cell["left_out"])) == ("contempt", ["anger"])
    assert told["metrics"] == ["uar", "war"]
    assert told["cells"][runs[0].name]["stills"]["own"]
    assert "left out: " in done.output
    assert "not offered, since no label of the data set is taken for it: angry" in done.output  # left out, not absent


WRONG = {
    ("--on", "fre"): "unknown data set 'fre'",
    ("--on", "bad.yaml"): "unknown dataset 'tabel'",
    ("--on", "a.yaml", "--on", "b/a.yaml"): "two data sets are called 'a'",
    ("--on", "a.yaml", "data.root=."): "is an override of a suite, and `--on` names none",
    ("data.root=.",): "is for a suite",
    ("--map", "joy"): "'joy' is no THEIRS=OURS",
    ("--map", "angr=happy"): "unknown label of the data sets 'angr'",
    ("--map", "sad=hapy"): "unknown label of the runs 'hapy'",
    ("--on", "fer", "data.root=."): "there is no such",
    ("--out", "mine.txt"): "write --out mine.html",
}


@pytest.mark.parametrize(("arguments", "what"), WRONG.items())
def test_mistakes_are_told_before_anything_is_asked(arguments, what, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    Path("bad.yaml").write_text("data: {use: tabel}\n")
    for path in ("a.yaml", "b/a.yaml"):
        Path(path).write_text("data: {use: table, path: x.csv}\n")
    done = CliRunner().invoke(command, [str(trained[1][0]), *arguments])
    assert isinstance(done.exception, InputError), done.output
    assert what in str(done.exception)


def test_faces_that_nobody_finds_are_told_before_anything_is_asked(trained, tmp_path):
    """Of all runs and data sets at once; stills need no box, and data without a shared label are not asked."""
    place, runs = trained
    (tmp_path / "strange.csv").write_text(f"path,label\n{place}/0.mp4,bored\n{place}/1.mp4,curious\n")
    for name, table in (
        ("two", place / "clips.csv"),
        ("stills", place / "stills.csv"),
        ("strange", tmp_path / "strange.csv"),
    ):
        (tmp_path / f"{name}.yaml").write_text(f"data: {{use: table, path: {table}}}\n")
    on = [str(place / "clips.yaml"), *(str(tmp_path / f"{name}.yaml") for name in ("two", "stills", "strange"))]
    faces = ["views.all={use: frames, pick: uniform, count: 1}", "views.look={use: faces, of: all}"]
    said = []
    with pytest.raises(InputError) as raised:
        cross(runs, tmp_path / "out.html", on, faces, how=CrossOptions(say=said.append))
    found = [p.what for p in raised.value.problems]
    assert len(found) == 2  # one a run
    for what in found:
        assert "of clips has no fact `face_box`, nor have clips of two, and the view names no detector" in what
    assert not said
    assert not (tmp_path / "out").exists()


def test_a_data_set_that_nobody_knows_is_told_without_torch(tmp_path):
    code = """
import sys
from affectkit.commands.cross import command
from affectkit.errors import InputError
try:
    command(["a_run", "--on", "nowhere.yaml"], standalone_mode=False)
except InputError as error:
    assert "unknown data set 'nowhere.yaml'" in str(error), error
    assert "torch" not in sys.modules
    print("told")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "told\n", done.stderr


def test_a_warning_about_some_runs_names_them(monkeypatch):
    shared, one, rare = Paragraph("Random weights.", "warn"), Paragraph("Age was stated."), Paragraph("Odd.")
    told = {"a": [shared], "b": [shared, one], "c": [shared, one, rare]}
    monkeypatch.setattr(warned_runs, "warnings", told.get)
    assert list(warned_runs.shared_warnings([(f"run {n}", n) for n in "abc"])) == [
        shared, Paragraph("All but run a: Age was stated."), Paragraph("run c: Odd."),
    ]  # fmt: skip


def test_a_run_that_shares_no_label_has_no_figure(trained, tmp_path):
    place, runs = trained
    (tmp_path / "odd.csv").write_text(f"path,label,split\n{place}/0.png,bored,test\n{place}/1.png,sad,test\n")
    (tmp_path / "odd.yaml").write_text(f"data: {{use: table, path: {tmp_path}/odd.csv}}\n")
    told = cross(runs[:1], tmp_path / "odd.html", [str(tmp_path / "odd.yaml")], how=QUIET).to_dict()
    (cell,) = told["cells"][runs[0].name].values()
    assert "fewer than two labels" in cell["why"]
    assert cell["ledger"]["skipped"] == cell["ledger"]["total"] == 2
    page = (tmp_path / "odd.md").read_text()
    assert "no figure" in page
    assert "1 run on 1 data set\n" in page
    heads = [line for line, rule in itertools.pairwise(page.splitlines()) if rule.startswith("| ---")]
    assert heads
    assert not any("|  |" in head for head in heads), heads  # no column without a head


def test_all_six_expression_sets_are_in_one_suite(tmp_path):
    names = {"raf_db": "RAF-DB", "ferplus": "FERPlus", "affectnet": "AffectNet", "dfew": "DFEW", "ferv39k": "FERV39k",
             "mafw": "MAFW"}  # fmt: skip
    for name, folder in names.items():
        (tmp_path / folder).mkdir()
        TREES[name](tmp_path / folder)
    suite = load_suite("fer", [f"data.root={tmp_path}"], Registry.load())
    assert {n: list(e.metrics) for n, e in suite.sets.items()} == {n: ["uar", "war", "accuracy"] for n in names}
    columns = crossing.columns_on(["fer"], [f"data.root={tmp_path}"], "test", Registry.load())
    samples, missing = open_columns(columns)
    assert missing == {}
    kinds = {n: crossing.about_column(c, samples[n]) for n, c in zip(samples, columns, strict=True)}
    assert {n for n, k in kinds.items() if k.clips} == {"dfew", "ferv39k", "mafw"}
    run_labels = samples["affectnet"].labels
    shared = {name: SharedLabels(split, run_labels).labels for name, split in samples.items()}
    assert {n: len(labels) for n, labels in shared.items()} == {
        "raf_db": 7, "ferplus": 8, "affectnet": 8, "dfew": 7, "ferv39k": 7, "mafw": 8,
    }  # fmt: skip
    assert set(SharedLabels(samples["mafw"], run_labels).names) == {*map(str, samples["mafw"].labels)} - {
        "anxiety", "helplessness", "disappointment",
    }  # fmt: skip


def test_the_picture_has_cells_without_figures():
    png = matrix_picture(["a", "b"], ["x", "y"], [[0.5, None], [0.9, 0.1]], [[True, False], [False, False]])
    assert png.startswith(b"\x89PNG")
