"""Several losses in one stage: gradients of one big batch however it is cut, curves, and what ends a stage."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import wav_table

from affectkit import api
from affectkit.errors import InputError, RunError
from affectkit.train import stage as stages

LOSSES = {"llm": 1.0, "align": {"use": "label_words", "tokens": "audio.projector", "weight": 0.1},
          "rate": {"use": "head_loss", "head": "rating", "weight": 0.5}}  # fmt: skip
CALM = ["backbone.dropout=0", "stages.one.lr=1e-9", "stages.one.epochs=1"]
"""Nothing is drawn, and weights stay where they are: each step's gradient can be compared."""


def sparse(row, i):
    """Answers of unlike length to all, labels to two of three, ratings to every other."""
    row |= {"reason": "because " * (1 + i % 4), "valence": str(1 + i % 5) if i % 2 else ""}
    return {**row, "label": row["label"] if i % 3 else ""}


def write(folder):
    wav_table.write(folder, sparse)
    recipe = api.load_recipe(str(folder / "r.yaml"))
    recipe["data"] = {"use": "table", "path": "t.csv", "numbers": {"valence": [1, 5]}}
    recipe["heads"] = {"rating": {"use": "regression", "tokens": ["audio.projector"], "dropout": 0.0}}
    recipe["stages.one"] = {"objective": LOSSES, "tasks": {"reason": 1}, "train": ["*", "backbone.model"]}
    return recipe


@pytest.fixture
def here(tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def recipe(here):
    return write(here)


def fit(recipe, *overrides):
    """The stages alone: nothing is scored. A second process gets the run of the first by its environment."""
    plan = api.planning.check(recipe, overrides)
    shared = os.environ.get(api.RUN_OF_RANKS)
    run = api.open_run(shared) if shared else api.start(plan)
    if "run.devices=2" in overrides:
        os.environ[api.RUN_OF_RANKS] = str(run.folder)
    api.train(plan, run, lambda _: None)
    return run


def rows(run, kind="train"):
    return [row for row in map(json.loads, Path(run.folder, "curves.jsonl").open()) if row["kind"] == kind]


def keep_gradients(found):
    """Lets each optimiser step add its gradients, before clipping, by name of the parameter."""
    real = stages.Training.on_before_optimizer_step

    def keep(self, optimizer):
        real(self, optimizer)
        found.append({n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None})

    stages.Training.on_before_optimizer_step = keep
    return real


def gradients(recipe, *overrides):
    """Of each optimiser step."""
    found = []
    real = keep_gradients(found)
    try:
        fit(recipe, *CALM, *overrides)
    finally:
        stages.Training.on_before_optimizer_step = real
    return found


def same(one, two):
    assert len(one) == len(two) == 3
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        assert {n.split(".")[0] for n in first} == {"steps", "backbone", "objectives"}
        assert all(bool(g.any()) for n, g in first.items() if "projector" in n)
        for name, gradient in first.items():
            torch.testing.assert_close(second[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_accumulated_batches_give_the_gradient_of_one(recipe):
    """The last step of the epoch has fewer samples (8, 8, 2), and the counts of the losses are unlike."""
    whole = gradients(recipe, "stages.one.batch=8")
    same(whole, gradients(recipe, "stages.one.batch=2", "stages.one.accumulate=4"))
    same(whole, gradients(recipe, "stages.one.batch=4", "stages.one.accumulate=2", "run.workers=1"))


TWO = """
import os, sys
import torch
sys.path[:0] = {path!r}
from test_losses import CALM, fit, keep_gradients, write
from pathlib import Path
found = []
keep_gradients(found)
torch.set_num_threads(1)
fit({recipe!r}, *CALM, "stages.one.batch=2", "stages.one.accumulate=2", "run.devices=2", "run.strategy=ddp")
torch.save(found, "gradients-" + os.environ.get("LOCAL_RANK", "0") + ".pt")
"""


def test_two_ranks_give_the_gradient_of_one(here, recipe):
    whole = gradients(recipe, "stages.one.batch=8")
    Path("written.yaml").write_text(json.dumps(recipe.values))
    helpers = [str(Path(__file__).parent), str(Path(wav_table.__file__).parent)]
    Path("two.py").write_text(TWO.format(path=helpers, recipe="written.yaml"))
    ran = subprocess.run([sys.executable, "two.py"], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    for rank in (0, 1):
        same(whole, torch.load(f"gradients-{rank}.pt", weights_only=True))


def test_each_loss_has_its_curve_and_all_are_in_the_sum(recipe):
    run = fit(recipe, "stages.one.batch=18", "stages.one.epochs=1", "stages.one.lr=1e-9")
    (train,), (val,) = rows(run), rows(run, "val")
    for row in (train, val):
        each = row["losses"]
        assert list(each) == ["llm", "align", "rate"]
        assert row["loss"] == pytest.approx(each["llm"] + 0.1 * each["align"] + 0.5 * each["rate"], rel=1e-5)


def test_a_loss_without_a_term_in_a_batch_has_no_point_there(recipe):
    run = fit(recipe, "stages.one.batch=1", "stages.one.epochs=1")
    seen = [set(row["losses"]) for row in rows(run)]
    assert {"llm"} in seen
    assert {"llm", "align", "rate"} in seen
    assert all(math.isfinite(row["loss"]) for row in rows(run))


def test_an_alignment_alone_runs_no_llm(recipe, monkeypatch):
    from affectkit_plugins.backbones.causal_lm_net import CausalLM

    monkeypatch.setattr(CausalLM, "loss", lambda *_: pytest.fail("the LLM's forward ran"))
    run = fit(
        recipe, "stages.one.objective.llm=null", "stages.one.train=[audio.projector]", "stages.one.epochs=12",
        "stages.one.lr=1e-2", "stages.one.objective.rate=null", "heads.rating=null",
    )  # fmt: skip
    first, *_, last = (row["losses"]["align"] for row in rows(run, "val"))
    assert last < first
    assert len(rows(run)) == 12 * 3  # the 12 of 18 samples that have a label


def test_a_loss_that_is_not_finite_is_named(recipe, monkeypatch):
    from affectkit_plugins.objectives.label_words_net import LabelWords

    real = LabelWords.forward
    monkeypatch.setattr(LabelWords, "forward", lambda *given: real(*given) * math.nan)
    with pytest.raises(
        RunError, match=r"stage one, epoch 1, step 1: the loss 'align' is not finite \(nan\); samples: c"
    ):
        fit(recipe)


def test_a_loss_that_no_sample_can_teach_is_named_before_training(recipe):
    """The head's is looked for where the data is opened, that of an objective when it is known what can be decoded."""
    table = Path("t.csv")
    for label in ("happy", "sad", "angry"):
        table.write_text(table.read_text().replace(f",{label},train", ",,train"))
    with pytest.raises(
        InputError, match=r"objective\.align: none of the 18 training samples has anything for this loss"
    ):
        fit(recipe, "data.labels=[happy, sad, angry]")


def test_what_an_objective_learned_is_saved_and_gone_on_from(recipe, monkeypatch):
    run = fit(recipe, "stages.one.save_every=1")
    names = set(api.read_weights(run.weights("one")))
    assert "objectives.objectives__one__align.similarity.log_scale" in names
    assert api.load(run.folder).model.objective("objectives.one.align").similarity.log_scale.requires_grad
    whole = run.weights("one").read_bytes(), Path(run.curves).read_text()
    real = stages.Training.training_step

    def stop(self, *given):
        if self.done.step == 7:
            raise RuntimeError("cut off")
        return real(self, *given)

    monkeypatch.setattr(stages.Training, "training_step", stop)
    with pytest.raises(RuntimeError, match="cut off"):
        fit(recipe, "stages.one.save_every=1", "run.folder=cut")
    monkeypatch.setattr(stages.Training, "training_step", real)
    (folder,) = (path for path in Path("cut").iterdir() if not path.is_symlink())
    cut = api.open_run(folder)
    assert (cut.stage("one") / "state.pt").exists()
    api.train(api.planning.check(cut.recipe), cut, lambda _: None)
    assert (cut.weights("one").read_bytes(), Path(cut.curves).read_text()) == whole
