"""Sweep files, what runs share, and the runs themselves: resumed, failing, several at a time."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from affectkit.commands.check import command as check_command
from affectkit.commands.sweep import command
from affectkit.errors import InputError, RunError
from affectkit.plan.check import check
from affectkit.recipe.load import SWEEPS, load_recipe, shipped_in
from affectkit.studies.sweep import is_sweep, load_sweep
from affectkit.studies.sweep_run import (
    Runner,
    adopt_stages,
    check_folder,
    devices_for,
    finished_stages,
    folder_of,
    gpus,
    jobs_of,
    stage_keys,
    stages_to_train,
)

RECIPE = """
name: small
data: {use: puppets, count: 14, size: 64, seconds: 1, fps: 8}
views:
  wave: {use: wave, seconds: 1}
streams:
  audio:
    steps:
      encoder: {use: log_mel, wave: wave, prosody: true}
      adapter: {use: voice_analysis}
      projector: {use: mlp, hidden: "${backbone.width}"}
prompt:
  use: template
  parts:
    audio: {use: slot, stream: audio}
    words: {use: subtitle}
    ask: {use: label_question, wording: "Emotion?"}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages:
  voice: {train: [streams.audio.adapter], objective: audio.adapter, batch: 8}
  instruct: {train: [streams.audio.projector, backbone.model], batch: 8, save_every: 1}
score: {metrics: {uar: uar, war: war}, resamples: 20}
run: {accelerator: cpu}
"""
SWEEP = """
name: trial
about: A trial.
recipe: small.yaml
runs:
  full: {about: As it is.}
  deaf:
    about: Without words.
    prompt.parts.words: null
  twice: {stages.instruct.epochs: 2, score: {resamples: 30}}
"""
STANDIN = """
import json, sys, time
from pathlib import Path
run, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
name = run.name.partition("-")[0]
(run / "tries").open("a").write("x")
for stage in plan["stages"]:
    weights = run / "stages" / stage / "weights.safetensors"
    if weights.exists():
        print(f"stage {stage}: done before", flush=True)
        continue
    weights.parent.mkdir(parents=True, exist_ok=True)
    if stage == "voice":
        time.sleep(plan["seconds"])
    (run.parent / "order").open("a").write(f"{run.name} {stage}\\n")
    weights.write_bytes((2).to_bytes(8, "little") + b"{}")
    print(f"stage {stage}: 0 s", flush=True)
    if name in plan["hang"] and len((run / "tries").read_text()) == 1:
        time.sleep(60)
if name in plan["fail"] and len((run / "tries").read_text()) == 1:
    print("error: the LLM has a cold", file=sys.stderr)
    sys.exit(1)
(run / "metrics.json").write_text('{"test": {"uar": {"value": 0.5, "low": 0.4, "high": 0.6}, "labels": []}}')
(run / "report.html").write_text("")
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A recipe and a sweep over it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    (tmp_path / "trial.yaml").write_text(SWEEP)
    return "trial.yaml"


class Standin(Runner):
    """Runs a stand-in for `affectkit fit`, which writes what a run would leave."""

    def __init__(self, sweep, folder, fail=(), hang=(), seconds=0.0, devices=(None,), others=()):
        self.said = []
        super().__init__(jobs_of(sweep, folder), folder, [], self.said.append, devices, others)
        self.what = {"fail": fail, "hang": hang, "seconds": seconds}

    def words(self, job):
        plan = json.dumps({**self.what, "stages": list(job.plan.stages)})
        return [sys.executable, "-c", STANDIN, str(job.run.folder), plan]

    def states(self):
        return {job.name: job.state for job in self.jobs}


# -- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_in(SWEEPS))
def test_shipped_sweeps_are_right(name, tmp_path):
    photos = tmp_path / "photos.csv"
    photos.write_text(
        "path,label,split\n" + "".join(f"{s}.png,happy,{s}\nb{s}.png,sad,{s}\n" for s in ("train", "test"))
    )
    for stem in ("train", "test", "btrain", "btest"):
        (tmp_path / f"{stem}.png").write_bytes(b"")
    overrides = [f"data.path={photos}"] if "photos" in name else []
    sweep = load_sweep(name, overrides)
    assert sweep.name == name
    assert sweep.about.endswith(".")
    assert all(v.about.endswith(".") for v in sweep.variants.values())
    plans = {n: v.plan for n, v in sweep.variants.items()}
    assert [n for n, p in plans.items() if "priors.net" not in p.graph.steps] == [sweep.base]
    assert "scene.miner" not in plans[sweep.base].graph.steps
    assert "who" not in plans["both"].parts
    assert "who" in plans["full"].parts
    inject = {n: p.graph.steps["scene.miner"].settings.inject for n, p in plans.items() if n in ("both", "tokens")}
    assert inject == {"both": "both", "tokens": "tokens"}


def test_the_grid_of_puppets_trains_one_face_network_for_all():
    plans = {n: v.plan for n, v in load_sweep("emo_llama_ablation").variants.items()}
    assert "who" in plans["attributes"].parts
    assert "scene.miner" not in plans["attributes"].graph.steps
    assert str(plans["tokens"].graph.steps["scene.tokens"].inputs["tokens"]) == "scene.miner.enriched"
    assert "face" not in plans["enrich"].slots
    assert (
        len({json.dumps(stage_keys(p).get("face")) for p in plans.values()}) == 2
    )  # none in the base, else one for all


def test_every_run_is_the_recipe_with_its_changes(file):
    sweep = load_sweep(file)
    assert list(sweep.variants) == ["full", "deaf", "twice"]
    assert sweep.base == "full"
    assert list(sweep.variants["deaf"].plan.parts) == ["audio", "ask"]
    assert sweep.variants["deaf"].plan.name == "small_deaf"
    assert sweep.variants["deaf"].changes == {"prompt.parts.words": "null"}
    assert sweep.variants["twice"].plan.stages["instruct"].settings.epochs == 2
    assert sweep.variants["full"].plan.stages["instruct"].settings.epochs == 1
    assert sweep.variants["twice"].plan.score.resamples == 30


def test_changes_come_before_interpolation_and_overrides_last(file):
    sweep = load_sweep(file, ["runs.wide.backbone.width=48", "stages.instruct.epochs=3", "seeds=[3,4]"])
    wide = sweep.variants["wide"].plan
    assert wide.width == wide.graph.steps["audio.projector"].settings.hidden == 48
    assert sweep.variants["twice"].plan.stages["instruct"].settings.epochs == 3
    assert [j.plan.run.seed for j in jobs_of(sweep, folder_of(sweep, None))] == [3] * 4 + [4] * 4


def test_a_change_of_piece_drops_its_settings_whatever_the_order(file, tmp_path):
    (tmp_path / "other.yaml").write_text(
        "recipe: small.yaml\nruns:\n  linear:\n    streams.audio.steps.projector.bias: false\n"
        "    streams.audio.steps.projector: {use: linear}\n"
    )
    step = load_sweep("other.yaml").variants["linear"].plan.graph.steps["audio.projector"]
    assert step.piece.name == "linear"
    assert step.settings.bias is False


def test_a_sweep_extends_another(file, tmp_path):
    (tmp_path / "more.yaml").write_text(
        "extends: trial.yaml\nname: more\nall: {backbone.layers: 2}\nruns: {deaf: null, mute: {streams.audio.off: true,"
        " stages.instruct.train: [backbone.model]}}\n"
    )
    sweep = load_sweep("more.yaml")
    assert list(sweep.variants) == ["full", "twice", "mute"]
    assert {v.plan.backbone.settings.layers for v in sweep.variants.values()} == {2}
    assert list(sweep.variants["mute"].plan.parts) == ["words", "ask"]


def problems(source, *overrides):
    with pytest.raises(InputError) as caught:
        load_sweep(source, overrides)
    return [(p.place, p.what) for p in caught.value.problems]


def test_everything_that_is_wrong_is_told_at_once_with_its_place(file, tmp_path):
    (tmp_path / "wrong.yaml").write_text(
        "recipe: small.yaml\nbase: ful\nseeds: [0, 0]\nruns:\n"
        "  full: {stages.instruct.epoch: 2}\n  deaf: {promt.parts: null}\n  a b: {}\n"
        "  seeded: {run.seed: 3, run: {folder: x}}\n  named: {name: x}\n  list: [1]\n  wide: {backbone.width: wide}\n"
    )
    found = problems("wrong.yaml")
    assert ("wrong.yaml:3:1: seeds", "names a seed twice") in found
    found = problems("wrong.yaml", "seeds=[0]", "stages.instruct.lr=0", "nonsense=1")
    told = "\n".join(f"{place}: {what}" for place, what in found)
    for line in (
        "wrong.yaml:2:1: base: unknown run of the sweep 'ful'",
        "wrong.yaml:5:10: stages.instruct.epoch: unknown key 'epoch'",
        "wrong.yaml:6:10: runs.deaf.promt.parts: unknown section 'promt'",
        "wrong.yaml:7:3: runs.a b: the run 'a b' is to be a folder",
        "wrong.yaml:8:12: runs.seeded.run.seed: run.seed is set by the sweep",
        "wrong.yaml:8:25: runs.seeded.run: run.folder is set by the sweep",
        "wrong.yaml:9:11: runs.named.name: 'name' cannot be changed here",
        "wrong.yaml:10:3: runs.list: wants a mapping of what changes",
        "wrong.yaml:11:10: backbone.width: wants a whole number or null, got text 'wide'",
        "override 'stages.instruct.lr=0': stages.instruct.lr: in run full, wide: must be above 0, got 0",
        "override 'nonsense=1': in run full, wide: unknown section 'nonsense'",
    ):
        assert line in told, told
    places = [int(p.split(":")[1]) for p, _ in found if p.startswith("wrong.yaml")]
    assert places == sorted(places)


def test_a_number_of_seeds_is_no_list_of_them(file):
    with pytest.raises(InputError) as caught:
        load_sweep(file, ["seeds=2"])
    (problem,) = caught.value.problems
    assert problem.what == "wants a list of seeds, got 2"
    assert "seeds=[0,1] for two of them, seeds=[2] for seed 2 alone" in problem.fix


def test_mistakes_common_to_all_runs_hide_no_others(file, tmp_path):
    lines = ["recipe: small.yaml", "all: {run.seed: 4}", "runs:", "  a: {promt.parts: null}", "  b: {run.folder: x}"]
    (tmp_path / "both.yaml").write_text("\n".join(lines) + "\n")
    assert [place.split(": ")[1] for place, _ in problems("both.yaml")] == [
        "all.run.seed", "runs.a.promt.parts", "runs.b.run.folder",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("seeds: [0, 0]", "names a seed twice"),
        ("seeds: soon", "wants a list"),
        ("devices: many", "must be auto or at least 1"),
        ("share: perhaps", "wants true or false"),
        ("sedes: [0]", "unknown section 'sedes'"),
        ("seeds: [1]\nseeds: [0]", "duplicate key 'seeds'"),
        ("recipe: no.yaml", "there is no recipe 'no.yaml'"),
        ("recipe: 3", "there is no recipe '3'"),
        ("recipe: [3]", "wants text"),
        ("", "missing key 'recipe'"),
    ],
)
def test_a_mistake_of_the_sweep_hides_none_of_its_runs(line, first, file, tmp_path):
    recipe = "" if "recipe" in line or not line else "recipe: small.yaml\n"
    runs = "base: c\nruns:\n  a: {promt.parts: null}\n  b: {stages.instruct.epoch: 2}\n"
    (tmp_path / "wrong.yaml").write_text(f"{recipe}{line}\n{runs}")
    told = "\n".join(what for _, what in problems("wrong.yaml"))
    wanted = [first, "unknown run of the sweep 'c'", "unknown section 'promt'"]
    for what in (*wanted, "unknown key 'epoch'") if recipe else wanted:
        assert what in told, told


def test_what_is_no_sweep(file, tmp_path):
    assert problems("trail")[0][1] == "unknown sweep 'trail'"
    (tmp_path / "none.yaml").write_text("recipe: no.yaml\nruns: {}\n")
    told = [what for _, what in problems("none.yaml")]
    assert "there is no recipe 'no.yaml'" in told
    assert any(what.startswith("a sweep has `runs`") for what in told)
    assert problems("small.yaml")[0] == ("small.yaml", "is no sweep: it has none of a sweep's sections")
    assert is_sweep(file)
    assert is_sweep("emo_llama_photos")
    assert not is_sweep("small.yaml")
    assert not is_sweep("emo_llama")


# -- what runs share ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("prompt.parts.words=null", True),
        ("stages.instruct.epochs=9", True),
        ("backbone.layers=2", True),
        ("streams.audio.cache=none", True),
        ("data.count=21", False),
        ("run.seed=1", False),
        ("views.wave.seconds=2", False),
        ("stages.voice.lr=0.5", False),
        ("streams.audio.steps.adapter.channels=16", False),
        ("streams.audio.steps.encoder.prosody=false", False),
        ("run.precision=bf16-mixed", False),
    ],
)
def test_a_stage_is_the_same_where_nothing_that_it_hangs_on_differs(file, override, same):
    keys = stage_keys(check("small.yaml"))
    assert list(keys) == ["voice"]  # a stage that trains the LLM hangs on everything
    assert (stage_keys(check("small.yaml", [override])) == keys) is same


def test_a_stage_hangs_on_those_before_it_that_train_its_steps(file):
    before = "stages={first: {train: [streams.audio.adapter], objective: audio.adapter, epochs: 2}}"
    recipe = load_recipe("small.yaml", [before])
    recipe.values["stages"] = {n: recipe.values["stages"][n] for n in ("first", "voice", "instruct")}
    keys = stage_keys(check(recipe))
    assert list(keys) == ["first", "voice"]
    assert keys["voice"] != stage_keys(check("small.yaml"))["voice"]


def test_a_stage_is_taken_over_as_if_it_had_been_trained_here(file, tmp_path):
    first, second, third = jobs_of(load_sweep(file), tmp_path / "out")
    tensors = {
        f"steps.built.audio__adapter.t{i}": torch.randn(i + 1, 3).to(kind)
        for i, kind in enumerate((torch.float32, torch.bfloat16, torch.half))
    }
    tensors["steps.built.audio__adapter.none"] = torch.zeros(0, 3)
    others = {"steps.built.audio__projector.t": torch.ones(2), "backbone.model.t": torch.ones(2)}
    first.run.stage("voice").mkdir(parents=True)
    second.run.stage("voice").mkdir(parents=True)
    save_file({**tensors, **others}, first.run.weights("voice"), metadata={"format": "pt"})
    first.run.note({"stage_keys": first.keys, "stages": {"voice": {"seconds": 3}, "instruct": {"seconds": 4}}})
    first.run.curves.write_text('{"stage": "voice", "loss": 1}\n{"stage": "instruct", "loss": 2}\n')
    second.run.note({"stages": {"instruct": {"seconds": 5}}})
    second.run.curves.write_text('{"stage": "voice", "loss": 8}\n{"stage": "instruct", "loss": 9}\n')
    (second.run.stage("voice") / "state.pt").write_text("cut off")
    assert adopt_stages(second, finished_stages([tmp_path / "out"])) == {"voice": "full-seed0"}
    found = load_file(second.run.weights("voice"))
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in found)
    assert second.run.notes()["stages"] == {
        "instruct": {"seconds": 5},
        "voice": {"seconds": 3, "taken_from": "full-seed0"},
    }
    rows = [json.loads(line) for line in second.run.curves.read_text().splitlines()]
    assert rows == [{"stage": "instruct", "loss": 9}, {"stage": "voice", "loss": 1}]
    assert [p.name for p in second.run.stage("voice").iterdir()] == ["weights.safetensors"]
    second.run.note({"stage_keys": second.keys})
    assert adopt_stages(third, finished_stages([tmp_path / "no", tmp_path / "out"])) == {"voice": "full-seed0"}
    assert adopt_stages(third, {}) == {}


def test_a_stage_whose_weights_are_cut_is_named_and_nothing_taken(file, tmp_path):
    first, second, _ = jobs_of(load_sweep(file), tmp_path / "out")
    path = first.run.weights("voice")
    path.parent.mkdir(parents=True)
    save_file({"steps.built.audio__adapter.t": torch.ones(400)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    first.run.curves.write_text('{"stage": "voice", "loss": 1}\n')
    with pytest.raises(InputError, match=r"full-seed0/stages/voice/weights\.safetensors: is cut"):
        adopt_stages(second, {("voice", second.keys["voice"]): first.run})
    assert not second.run.curves.exists()
    assert not second.run.about.exists()


def test_what_is_planned(file, tmp_path):
    sweep = load_sweep(file)
    folder = folder_of(sweep, None)
    jobs = jobs_of(sweep, folder)
    assert stages_to_train(jobs, folder) == [
        (["voice", "instruct"], []),
        (["instruct"], ["voice"]),
        (["instruct"], ["voice"]),
    ]
    done = CliRunner().invoke(command, [file, "--dry-run"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "prompt.parts.words=null" in done.output
    assert "3 runs in runs/trial, 1 at a time; compared with full" in done.output
    assert not (tmp_path / "runs").exists()
    gone = CliRunner().invoke(command, [file, "--dry-run", "runs.deaf.backbone.source=models/gone"])
    assert "deaf-seed0: backbone.source models/gone is not here yet" in gone.output
    assert gone.output.count("not here yet") == 1
    assert "3 runs in runs/trial" in CliRunner().invoke(check_command, [file], catch_exceptions=False).output
    assert CliRunner().invoke(check_command, [file, "--full"]).exit_code == 2


def test_planning_imports_no_torch(file):
    code = "import sys\nfrom affectkit.__main__ import cli\ncli.main(sys.argv[1:], standalone_mode=False)\n"
    code += "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    for words in ([file, "--dry-run"], ["--help"]):
        ran = subprocess.run([sys.executable, "-c", code, "sweep", *words], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr


# -- running --------------------------------------------------------------------------------------------------------


def test_runs_one_after_another_and_trains_what_they_share_once(file, tmp_path):
    sweep = load_sweep(file, ["seeds=[0,1]"])
    runner = Standin(sweep, tmp_path / "out")
    runner.run()
    assert set(runner.states().values()) == {"done"}
    order = (tmp_path / "out" / "order").read_text().split("\n")[:-1]
    assert order[:4] == ["full-seed0 voice", "full-seed0 instruct", "deaf-seed0 instruct", "twice-seed0 instruct"]
    assert [line for line in order if "voice" in line] == ["full-seed0 voice", "full-seed1 voice"]
    deaf = json.loads((tmp_path / "out" / "deaf-seed1" / "run.json").read_text())
    assert deaf["stages"]["voice"]["taken_from"] == "full-seed1"
    assert deaf["sweep"]["changes"] == {"prompt.parts.words": "null"}
    assert deaf["seed"] == 1
    assert any("[2/6] deaf-seed0: starts; stage voice is that of full-seed0" in line for line in runner.said)
    assert any("about" in line and "left" in line for line in runner.said)
    again = Standin(sweep, tmp_path / "out")
    again.run()
    assert again.said == []
    assert {p.read_text() for p in (tmp_path / "out").glob("*/tries")} == {"x"}


def test_a_run_that_fails_costs_itself_and_is_tried_again(file, tmp_path):
    sweep = load_sweep(file)
    runner = Standin(sweep, tmp_path / "out", fail=["deaf"])
    runner.run()
    assert runner.states() == {"full-seed0": "done", "deaf-seed0": "failed", "twice-seed0": "done"}
    noted = json.loads((tmp_path / "out" / "sweep.json").read_text())["runs"]
    assert noted["deaf-seed0"]["state"] == "failed"
    assert noted["deaf-seed0"]["error"] == "the LLM has a cold"
    again = Standin(sweep, tmp_path / "out", fail=["deaf"])
    again.run()
    assert set(again.states().values()) == {"done"}
    tries = {p.parent.name: len(p.read_text()) for p in (tmp_path / "out").glob("*/tries")}
    assert tries == {"full-seed0": 1, "deaf-seed0": 2, "twice-seed0": 1}
    assert not any("stage voice: 0 s" in line for line in again.said)


def test_several_at_a_time_wait_for_a_stage_that_one_of_them_trains(file, tmp_path):
    runner = Standin(load_sweep(file, ["seeds=[0,1]"]), tmp_path / "out", seconds=0.6, devices=["0", "1"])
    runner.run()
    order = (tmp_path / "out" / "order").read_text()
    assert order.count("voice") == 2  # once for each seed
    starts = [line for line in runner.said if "starts" in line]
    assert "full-seed0: starts on device 0" in starts[0]
    assert "full-seed1: starts on device 1" in starts[1]  # the first that need not wait
    assert set(runner.states().values()) == {"done"}


def test_where_the_giver_fails_another_trains(file, tmp_path):
    runner = Standin(load_sweep(file), tmp_path / "out")
    runner.words = lambda job: (
        [sys.executable, "-c", "raise SystemExit('lost')"] if "full" in job.name else Standin.words(runner, job)
    )
    runner.run()
    assert runner.states() == {"full-seed0": "failed", "deaf-seed0": "done", "twice-seed0": "done"}
    assert (tmp_path / "out" / "order").read_text().split()[:2] == ["deaf-seed0", "voice"]
    assert runner.jobs[0].error == "lost"


def test_another_sweep_gives_its_stages(file, tmp_path):
    Standin(load_sweep(file), tmp_path / "first").run()
    sweep = load_sweep(file, ["runs.full=null", "stages.instruct.epochs=4"])
    runner = Standin(sweep, tmp_path / "second", others=[tmp_path / "first"])
    runner.run()
    assert "voice" not in (tmp_path / "second" / "order").read_text()
    keys = [
        json.loads((tmp_path / run / "run.json").read_text())["stage_keys"]
        for run in ("second/deaf-seed0", "first/full-seed0")
    ]
    assert keys[0] == keys[1]
    assert list(keys[0]) == ["voice"]
    alone = Standin(load_sweep(file, ["share=false"]), tmp_path / "third")
    alone.run()
    assert (tmp_path / "third" / "order").read_text().count("voice") == 3


def test_a_folder_of_another_recipe_is_refused(file, tmp_path):
    Standin(load_sweep(file), tmp_path / "out").run()
    jobs = jobs_of(load_sweep(file, ["stages.instruct.lr=1e-4", "run.workers=2"]), tmp_path / "out")
    with pytest.raises(
        InputError, match=r"full-seed0: was made by another recipe: stages.instruct.lr differ"
    ) as caught:
        check_folder(jobs)
    assert len(caught.value.problems) == 3
    check_folder(jobs_of(load_sweep(file, ["run.workers=2", "runs.extra={backbone.layers: 2}"]), tmp_path / "out"))


def test_a_sweep_that_is_told_to_end_ends_its_runs(file, tmp_path):
    sweep = load_sweep(file)
    runner = Standin(sweep, tmp_path / "out", hang=["deaf"])
    runner.say = lambda line: os.kill(os.getpid(), signal.SIGTERM) if "deaf-seed0: stage instruct" in line else None
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert runner.states() == {"full-seed0": "done", "deaf-seed0": "waits", "twice-seed0": "waits"}
    again = Standin(sweep, tmp_path / "out", hang=["deaf"])
    begun = time.monotonic()
    again.run()
    assert time.monotonic() - begun < 20
    assert set(again.states().values()) == {"done"}
    assert any("deaf-seed0: goes on" in line for line in again.said)


def test_all_runs_end_where_several_are_under_way(file, tmp_path):
    runner = Standin(load_sweep(file, ["share=false"]), tmp_path / "out", hang=["full", "deaf"], devices=["0", "1"])
    heard = []

    def hear(line):
        heard.append(line)
        if sum("stage voice" in one for one in heard) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    runner.say = hear
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert time.monotonic() - begun < 20
    assert set(runner.states().values()) == {"waits"}
    noted = json.loads((tmp_path / "out" / "sweep.json").read_text())["runs"]
    assert {one["state"] for one in noted.values()} == {"waits"}
    again = Standin(load_sweep(file, ["share=false"]), tmp_path / "out", hang=["full", "deaf"])
    again.run()  # nobody holds the folder any more
    assert set(again.states().values()) == {"done"}


def test_a_run_that_does_not_end_is_killed(file, tmp_path, monkeypatch):
    monkeypatch.setattr("affectkit.studies.sweep_run.PATIENCE", 0.5)
    deaf_to_signals = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('stage a: b', flush=True)"
    )
    runner = Standin(load_sweep(file), tmp_path / "out")
    runner.words = lambda job: [sys.executable, "-c", f"{deaf_to_signals}; time.sleep(60)"]
    runner.say = lambda line: os.kill(os.getpid(), signal.SIGTERM) if "stage a" in line else None
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert time.monotonic() - begun < 20
    assert set(runner.states().values()) == {"waits"}


def test_two_sweeps_do_not_share_a_folder(file, tmp_path):
    sweep = load_sweep(file)
    first, second = Standin(sweep, tmp_path / "out"), Standin(sweep, tmp_path / "out")
    refused = []

    def run_second(line):
        with pytest.raises(RunError, match="this sweep runs already"):
            second.run()
        refused.append(line)

    first.say = run_second
    first.run()
    assert refused
    assert set(first.states().values()) == {"done"}
    assert second.said == []


def test_devices(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert gpus() == ["2", "3"]
    assert devices_for("auto", "auto") == ["2", "3"]
    assert devices_for(3, "auto") == ["2", "3", "2"]
    assert devices_for("auto", "cpu") == [None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices_for("auto", "auto") == [None]
    assert devices_for(2, "auto") == [None, None]


def test_parts_of_a_gpu_are_no_gpus(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
    tool.write_text("#!/bin/sh\necho 'GPU 0: H200'\necho '  MIG 1g.18gb Device 0:'\necho 'GPU 1: H200'\n")
    tool.chmod(0o755)
    assert gpus() == ["0", "1"]


# -- for real -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sharing_changes_nothing_and_a_killed_sweep_goes_on(file, tmp_path):
    """The command in processes: with sharing and killed in between, and without; every weight and answer is the same."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "AFFECTKIT_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "affectkit", "sweep", file, "runs.twice=null"]
    with subprocess.Popen([*words, "--out", "shared"], env=env, stdout=subprocess.PIPE, text=True) as sweep:
        for line in sweep.stdout:
            if "deaf-seed0: starts" in line:
                sweep.kill()
                break
    for _ in range(100):  # the run that outlived it holds the folder until it ends
        done = subprocess.run([*words, "--out", "shared"], env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert "this sweep runs already" in done.stderr
        time.sleep(1)
    assert done.returncode == 0
    alone = subprocess.run(
        [*words, "share=false", "--out", "alone"], env=env, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    for name in ("full-seed0", "deaf-seed0"):
        one, two = (load_file(tmp_path / f / name / "stages/instruct/weights.safetensors") for f in ("shared", "alone"))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[n], two[n]) for n in one)
        told = [(tmp_path / f / name / "predictions.jsonl").read_text() for f in ("shared", "alone")]
        assert told[0] == told[1]
        curves = [(tmp_path / f / name / "curves.jsonl").read_text() for f in ("shared", "alone")]
        assert curves[0] == curves[1]
    notes = json.loads((tmp_path / "shared" / "deaf-seed0" / "run.json").read_text())
    assert notes["stages"]["voice"]["taken_from"] == "full-seed0"
    assert sum(notes["parameters"]["by_address"].values()) == notes["parameters"]["total"] > 0
    found = json.loads((tmp_path / "shared" / "comparison.json").read_text())
    assert np.isfinite(found["splits"]["test"]["runs"]["deaf"]["difference"]["metrics"]["uar"]["value"])
    assert "this run" not in done.stdout
