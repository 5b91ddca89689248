"""What `check` is told of the data, before anything of it is decoded."""

# ruff: noqa: E501 -- each fault in one line, as a user meets it
import subprocess
import sys
from dataclasses import dataclass

import pytest
from faults import BASE, REGISTRY, broken

from affectkit.data.splits import open_splits
from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Survey
from affectkit.plan.check import check, plan_recipe
from affectkit.plan.survey import survey_data
from affectkit.recipe.load import load_recipe
from affectkit.registry import Plugin, Registry

ROWS = "path,label,split\na.jpg,happy,train\nb.jpg,sad,train\nc.jpg,sad,test\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "faces.csv").write_text(ROWS)
    return tmp_path


def told(text, *overrides):
    """Problems as a user sees them, or nothing."""
    with open("a.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    try:
        check("a.yaml", overrides, data=True)
    except InputError as error:
        return [f"{p.place}: {p.what}" + (f" => {p.fix}" if p.fix else "") for p in error.problems]
    return []


def table(path="faces.csv", more=""):
    return broken(("{use: puppets}", f"{{use: table, path: {path}{more}}}"))


def test_a_table_that_is_right(folder):
    assert told(table()) == []
    plan = check("a.yaml", data=True)
    assert plan.surveys[("data",)] == Survey(("happy", "sad"), {"train": 1, "val": 1, "test": 1})
    assert check("a.yaml").surveys == {}


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("face.csv", None, "(face.csv): there is no such file => did you mean 'faces.csv'?"),
        ("faces.csv", ROWS.replace("path", "pth"), "(faces.csv): has no column with the path of a clip, still or sound => name it: `data.columns: {path: …}`"),
        ("faces.csv", "path,label\n", "(faces.csv): holds no rows => a row for each clip, still or sound, below the header"),
        ("faces.csv", ROWS + "d.jpg,sad\n", "(faces.csv:5): has 2 cells, the header 3"),
        ("faces.csv", ROWS + "d.jpg,sad,traning\n", "(faces.csv:5): has 'traning' for a split"),
        ("./faces.csv", ROWS + "d.xyz,sad,train\n", "(faces.csv:5): 'd.xyz': the extension '.xyz' is of no video, image or sound known here"),
    ],
)  # fmt: skip
def test_a_fault_of_the_table_stands_at_its_path(folder, path, text, line):
    if text:
        (folder / "faces.csv").write_text(text)
    found = told(table(path))
    assert len(found) == 1
    assert found[0].startswith(f"a.yaml:2:20: data.path {line}")


def test_a_fault_of_a_setting_stands_at_that_setting(folder):
    assert told(table(more=", columns: {label: lable}")) == [
        "a.yaml:2:47: data.columns.label: unknown column of faces.csv: 'lable' => did you mean 'label'?"
    ]
    assert told(table(more=", labels: [happy, sed]"))[0].startswith(
        "a.yaml:2:20: data.path (faces.csv:3): unknown label 'sad' (2 rows, this one first) => did you mean 'sed'?"
    )


def test_faults_of_data_and_recipe_come_together(folder):
    found = told(table("nope.csv"), "score.batch=0", "stages.train.epoch=1")
    assert [f.split(": ")[1] for f in found if "override" in f] == ["score.batch", "stages.train.epoch"]
    assert any("data.path (nope.csv)" in f for f in found)


def test_a_stage_s_own_data_is_asked_too(folder):
    text = broken(("epochs: 2", "epochs: 2\n    data: {use: table, path: nope.csv}"))
    assert told(text)[0].startswith("a.yaml:27:24: stages.train.data.path (nope.csv): there is no such file")


@pytest.mark.parametrize(
    ("split", "line"),
    [
        ("tset", "unknown split to evaluate 'tset' => did you mean 'test'?"),
        ("test", "the split 'test' is empty => evaluate another one, or let the data's settings fill it"),
    ],
)
def test_splits_to_evaluate_must_be_there(folder, split, line):
    (folder / "faces.csv").write_text(ROWS.replace("test", "train"))
    assert told(table(), f"score.splits=[{split}]") == [f"override 'score.splits=[{split}]': score.splits.0: {line}"]


def test_nothing_to_train_on(folder):
    (folder / "faces.csv").write_text(ROWS.replace("train", "test"))
    assert told(table()) == ["a.yaml:2:1: data: the split 'train' of data set 'table' is empty"]


def test_data_that_is_only_tested_on_needs_no_training_split(folder):
    (folder / "faces.csv").write_text(ROWS.replace("train", "test"))
    (folder / "more.csv").write_text(ROWS)
    assert told(table(), "stages.train.data={use: table, path: more.csv}") == []


def test_labels_that_the_data_has_not(folder):
    ask = broken(("use: label_question", "use: label_question, labels: [happy, sadd, bored]"))
    place = "a.yaml:21:{}: prompt.parts.ask.labels.{}: unknown label (the data has not got it) "
    assert told(ask) == [
        place.format(48, 1) + "'sadd' => did you mean 'sad'?",
        place.format(54, 2) + "'bored' => the labels of the data are offered where none are given",
    ]
    found = told(broken(("use: label_question", "use: label_question, labels: [happy, sad]")))
    assert len(found) == 1
    assert "prompt.parts.ask.labels: leaves out neutral, angry, surprise, disgust, fear" in found[0]


def test_labels_that_a_stage_s_own_data_has_may_be_offered(folder):
    ask = ("use: label_question", "use: label_question, labels: [sad, happy]")
    one = broken(("{use: puppets}", "{use: table, path: faces.csv, labels: [sad]}"), ask)
    (folder / "faces.csv").write_text(ROWS.replace("happy", "sad"))
    assert "unknown label (the data has not got it) 'happy'" in told(one)[0]
    (folder / "more.csv").write_text(ROWS)
    assert told(one, "stages.train.data={use: table, path: more.csv}") == []


def test_labels_are_looked_at_again_when_the_data_is_opened(folder):
    """A data set that says nothing beforehand is caught there."""
    (folder / "a.yaml").write_text(table().replace("use: label_question", "use: label_question, labels: [happy, sadd]"))
    plan = check("a.yaml")
    with pytest.raises(InputError, match="did you mean 'sad'"):
        open_splits(plan, plan.stages["train"])


def test_a_task_without_labels(folder):
    (folder / "faces.csv").write_text("path,split\na.jpg,train\nb.jpg,train\nc.jpg,test\n")
    assert told(table()) == [
        "a.yaml:2:1: data: has no labels, but the prompt asks for one and a stage trains its answer "
        "=> say which column holds them, or leave the task out"
    ]


def test_data_that_has_to_be_fetched_is_a_note(folder):
    assert told(table("dfew.csv", ", obtain: ask its authors")) == []
    assert check("a.yaml", data=True).surveys[("data",)].note == "dfew.csv is not there yet: ask its authors"
    plan = check("a.yaml")
    with pytest.raises(InputError, match=r"no such file(.*\n)+.*ask its authors"):
        open_splits(plan, plan.stages["train"])


@dataclass(frozen=True)
class Odd:
    """A stranger's data set."""

    where: str = "x"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("oh"), "survey() of the data set 'odd' from stranger failed: ValueError: oh"),
        (InputError(Problem("", "is closed today")), "is closed today"),
    ],
)
def test_a_stranger_s_survey_costs_one_message(error, line):
    def survey(settings):
        raise error

    pieces = [*REGISTRY.pieces(), Piece("dataset", "odd", Odd, lambda s, split: [], survey=survey)]
    registry = Registry([Plugin("odd", "stranger", pieces=pieces)])
    with open("a.yaml", "w", encoding="utf-8") as file:
        file.write(BASE.replace("use: puppets", "use: odd"))
    plan, problems = plan_recipe(load_recipe("a.yaml"), registry)
    survey_data(plan, problems)
    assert [f"{p.place}: {p.what}" for p in problems] == [f"a.yaml:2:1: data: {line}"]


def test_no_torch_and_no_clips(folder):
    code = (
        "import sys, os; os.environ['AFFECTKIT_CACHE'] = 'cache'\n"
        "from affectkit.plan.check import check\n"
        "check('a.yaml', data=True); check('a.yaml', ['data.use=puppets'], data=True)\n"
        "print([m for m in ('torch', 'pyarrow', 'av', 'numpy') if m in sys.modules], os.path.exists('cache'))"
    )
    (folder / "a.yaml").write_text(table())
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[] False"


@pytest.mark.parametrize(("key", "where"), [("folder", "a.jpg/runs"), ("cache", "a.jpg")])
def test_folders_must_be_writable(folder, key, where):
    assert told(BASE, "run.folder=x/deep/runs", "run.cache=x/cache") == []
    assert told(BASE, f"run.{key}={where}") == [
        f"override 'run.{key}={where}': run.{key}: {where} cannot be written to: a.jpg is no folder => name another one: run.{key}=…"
    ]


def test_a_seed_that_no_generator_takes(folder):
    assert told(BASE, "run.seed=5e9") == ["override 'run.seed=5e9': run.seed: must be below 2**32, got 5e+09"]
    assert "wants a whole number from" in told(BASE, "run.seed=1e99")[0]


def test_a_machine_that_is_not_there_is_an_input_error(folder):
    from affectkit.train.checkpoint import Progress
    from affectkit.train.trainer import make_trainer, quiet_lightning

    plan = check(folder / "a.yaml" if (folder / "a.yaml").write_text(BASE) else "", ["run.accelerator=mps"])
    with quiet_lightning(), pytest.raises(InputError, match="Lightning refuses"):
        make_trainer(plan, plan.stages["train"], Progress(), [])


def test_wrong_labels_are_told_once_each_with_how_many():
    from affectkit.data.splits import check_labels
    from affectkit.errors import InputError
    from affectkit.sample import Sample

    samples = [Sample(f"c{i}", label=label) for i, label in enumerate(["sad", "sadd", "sadd", "hapy", "sadd"])]
    with pytest.raises(InputError) as told:
        check_labels(samples, ("sad", "happy"), "recipe.yaml:3")
    text = str(told.value)
    assert text.count("is not in the label set") == 2
    assert "sample c1 and 2 more" in text
    assert "did you mean 'happy'" in text


def test_labels_that_a_run_was_never_taught_are_named(tmp_path):
    import json

    from affectkit.evaluation.run import print_untaught
    from affectkit.train.run_folder import Run

    run = Run(tmp_path)
    run.about.write_text(json.dumps({"labels": ["sad", "happy"]}))
    said = []
    print_untaught(run, "test", ("sad", "calm"), said.append)
    assert said == ["test: labels that this run was never taught: calm (taught: sad, happy)"]
    print_untaught(run, "test", ("sad",), said.append)
    assert len(said) == 1


def with_head(head):
    """The recipe on the table, with a head `guess` that its stage trains."""
    text = table().replace("backbone:", f"heads:\n  guess: {{{head}}}\nbackbone:")
    trained = "    objective: heads.guess\n    train: [streams.*.projector, heads.guess]"
    return text.replace("    train: [streams.*.projector, backbone.model]", trained)


def test_a_head_is_told_that_its_data_cannot_teach_it(folder):
    assert told(with_head("use: classifier, tokens: [face.projector]")) == []
    rated = with_head("use: regression, tokens: [face.projector]")
    assert told(rated) == [
        "a.yaml:23:3: heads.guess: answers ratings, and the data has none => say which columns hold them, or leave the head out"
    ]
    (folder / "faces.csv").write_text(
        ROWS.replace("split", "split,valence").replace("train\n", "train,0.5\n").replace("test\n", "test,0.1\n")
    )
    rated = rated.replace("faces.csv", "faces.csv, numbers: [valence]")
    assert told(rated) == []
    found = told(rated.replace("tokens:", "numbers: [arousal], tokens:"))
    assert found == ["a.yaml:23:3: heads.guess: unknown rating (the data has not got it) 'arousal'"]
