"""What ends a stage, and what it says then: numbers that are not finite, nothing to learn, other conditions, signals."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_run
import torch
import wav_table
from safetensors.torch import load_file

from affectkit import api
from affectkit.errors import InputError, Interrupted, RunError
from affectkit.plan.check import check
from affectkit.train import stage as stages
from affectkit.train.interrupt import FIRST, SIGNALS, interruptible
from affectkit.train.trainer import meeting_others


@pytest.fixture
def here(tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def fit(overrides=(), **more):
    said = []
    run = api.fit("r.yaml" if "resume" not in more else "", list(overrides), say=said.append, **more)
    return run, "\n".join(said)


def losses(kind="train", run="runs/last"):
    return [row["loss"] for row in map(json.loads, Path(run, "curves.jsonl").open()) if row["kind"] == kind]


def break_loss(monkeypatch, calls, value=math.nan, validating=False):
    """Lets the given calls of the stage's losses, counted from 1, come out as `value`."""
    real, count = stages.StageLosses.sums, [0]

    def sums(self, batch):
        total = real(self, batch)
        if torch.is_grad_enabled() is not validating:
            count[0] += 1
            total = total * value if count[0] in calls else total
        return total

    monkeypatch.setattr(stages.StageLosses, "sums", sums)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_stage_before_its_step(here, monkeypatch, value):
    wav_table.write(here)
    break_loss(monkeypatch, [3], value)
    with pytest.raises(RunError) as caught:
        fit()
    (problem,) = caught.value.problems
    assert problem.place == "stage one, epoch 1, step 3"
    assert "the loss is not finite" in problem.what
    assert problem.what.count("c") >= 4  # the samples of its batch
    state = torch.load("runs/last/stages/one/state.pt", weights_only=True)
    assert state["progress"]["step"] == 2
    assert all(torch.isfinite(t).all() for t in state["weights"].values())
    monkeypatch.undo()
    monkeypatch.chdir(here)
    fit(resume="runs/last")  # it goes on from the step before
    assert all(map(math.isfinite, losses()))
    assert len(losses("val")) == 2


def test_a_gradient_that_is_not_finite_stops_it_too(here, monkeypatch):
    wav_table.write(here)
    real = stages.Training.on_before_optimizer_step

    def step(self, optimizer):
        if self.done.step == 1:
            optimizer.param_groups[0]["params"][0].grad.fill_(math.inf)
        real(self, optimizer)

    monkeypatch.setattr(stages.Training, "on_before_optimizer_step", step)
    with pytest.raises(RunError, match=r"step 2: the gradient is not finite; samples: c\d\d"):
        fit()


def test_a_validation_loss_that_is_not_finite_is_never_the_best(here, monkeypatch):
    wav_table.write(here)
    break_loss(monkeypatch, [1], validating=True)
    with pytest.raises(RunError, match=r"after epoch 1: the validation loss is not finite \(nan\); samples: c\d\d"):
        fit(["stages.one.keep=best"])
    assert not Path("runs/last/stages/one/best.safetensors").exists()


def test_what_a_data_set_notes_is_said_once(here):
    more = "stages:\n  zero: {train: [streams.audio.projector], max_steps: 1}\n"
    text = wav_table.RECIPE.replace("stages:\n", more)
    wav_table.write(here, lambda row, i: {**row, "subtitle": "nan" if i % 5 == 0 else row["subtitle"]}, text=text)
    _, said = fit(["stages.one.max_steps=1"])
    assert said.count("data: t.csv: cells of 'subtitle' that say 'nan' and count as empty: 6") == 1


@pytest.mark.parametrize("where", ["c04", "c20"])
def test_sound_with_infinite_numbers_costs_no_weights(here, where):
    wav_table.write(here)
    tone = wav_table.sine(16000, 440, 0.3)
    tone[100] = math.inf
    wav_table.write_wav(here / f"wav/{where}.wav", tone[None], 16000)
    run, said = fit(["stages.one.epochs=1"])
    assert f"1 samples with sound that was mended (first {where}" in said
    assert "infinite" in json.loads(run.about.read_text())["stages"]["one"]["mended"][where]
    assert all(map(math.isfinite, losses() + losses("val")))


@pytest.mark.parametrize(
    ("change", "override", "task"),
    [
        (lambda row, i: {**row, "reason": ""}, "stages.one.tasks={reason: 1}", "reason"),
        (lambda row, i: {**row, "label": ""}, "data.labels=[happy, sad]", "label"),
    ],
)
def test_a_task_that_no_row_can_answer_is_named_before_training(here, change, override, task):
    wav_table.write(here, change)
    with pytest.raises(InputError) as caught:
        fit([override])
    (problem,) = caught.value.problems
    assert f"none of the 18 training samples (c00, c01, c02, …) has an answer to the task {task!r}" in problem.what
    assert losses() == []


def test_a_task_without_answers_beside_others_is_told(here):
    wav_table.write(here, lambda row, i: {**row, "reason": ""})
    _, said = fit(["stages.one.tasks={label: 1, reason: 1}", "stages.one.epochs=1"])
    assert "stage one: none of the 18 training samples (c00, c01, c02, …) has an answer to the task 'reason'" in said


def test_a_tokenizer_that_cannot_be_written_is_named(here):
    wav_table.write(here)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
    try:
        with pytest.raises(RunError, match=r"tokenizer: cannot be written: .*File too large"):
            fit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def told_more(text, column, value):
    """A table with one column more, of one value."""
    head, *rows = text.splitlines()
    return "\n".join([f"{head},{column}", *(f"{row},{value}" for row in rows)]) + "\n"


class TestResumed:
    """A run that was cut off after two steps of its first epoch."""

    @pytest.fixture
    def cut(self, here, monkeypatch):
        wav_table.write(here)
        break_loss(monkeypatch, [3])
        with pytest.raises(RunError):
            fit()
        monkeypatch.undo()
        monkeypatch.chdir(here)
        monkeypatch.setenv("AFFECTKIT_CACHE", str(here / "cache"))
        return Path("runs/last").resolve()

    def test_other_seeds_weights_and_starts_are_refused(self, cut):
        for override in ("run.seed=5", "run.weights=random", "run.start=x", "stages.one.epochs=3", "run.folder=y"):
            with pytest.raises(InputError, match="a resumed run keeps its recipe"):
                fit([override], resume=cut)

    def test_what_it_has_otherwise_is_noted(self, cut):
        fit(["run.workers=1"], resume=cut)
        (note,) = json.loads((cut / "run.json").read_text())["resumed"]
        assert note["overrides"] == ["run.workers=1"]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda text: "\n".join(text.splitlines()[:-20]) + "\n", "has 10 training samples .* and had 18"),
            (lambda text: text.replace("c03,wav/c03.wav,happy", "c03,wav/c03.wav,sad"), "are others than when"),
            (lambda text: text.replace("text number 3", "other words"), "are others than when"),
            (lambda text: told_more(text, "gender", "female"), "are others than when"),
        ],
    )
    def test_other_data_is_refused(self, cut, change, said):
        table = Path("t.csv")
        before = table.read_text()
        after = change(before)
        assert after != before
        if "test" not in after:
            after += "".join(line + "\n" for line in before.splitlines()[-12:])
        table.write_text(after)
        with pytest.raises(InputError, match=said):
            fit(resume=cut)
        table.write_text(before)
        fit(resume=cut)

    def test_another_file_under_the_same_name_is_refused(self, cut):
        sound = Path("wav/c03.wav")
        before = sound.read_bytes()
        wav_table.write_wav(sound, wav_table.noise(3), 16000)
        with pytest.raises(InputError, match="its samples, their files, labels or texts are others than when"):
            fit(resume=cut)
        sound.write_bytes(before)
        fit(resume=cut)

    def test_settings_that_somebody_edited_are_refused(self, cut):
        recipe = cut / "recipe.yaml"
        before = recipe.read_text()
        assert "lr: 0.001\n" in before
        recipe.write_text(before.replace("lr: 0.001\n", "lr: 0.01\n"))
        with pytest.raises(InputError, match="the settings of the stage are others than when"):
            fit(resume=cut)
        recipe.write_text(before)
        fit(resume=cut)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda state: state["weights"].popitem(), r"state\.pt: is no checkpoint that can be read"),
            (lambda state: state["progress"].update(rows=-8), r"state\.pt: is no checkpoint that can be read"),
            (lambda state: state["progress"].update(step="3"), r"state\.pt: is no checkpoint that can be read"),
            (lambda state: state["optimizer"]["param_groups"].pop(), "the optimiser's state in its checkpoint"),
            (lambda state: state.update(optimizer={}), "the optimiser's state in its checkpoint"),
        ],
    )
    def test_a_checkpoint_that_lacks_a_part_is_named(self, cut, change, said):
        state = torch.load(cut / "stages/one/state.pt", weights_only=True)
        change(state)
        torch.save(state, cut / "stages/one/state.pt")
        with pytest.raises(InputError, match=said):
            fit(resume=cut)

    def test_curves_of_another_kind_are_named(self, cut):
        (cut / "curves.jsonl").write_text('{"stage": "one"}\n')
        with pytest.raises(InputError, match=r"curves\.jsonl: holds a line that is no loss"):
            fit(resume=cut)

    def test_another_precision_must_be_said_and_is_noted(self, cut, monkeypatch):
        monkeypatch.setattr(stages, "precision", lambda plan: "bf16-mixed")
        with pytest.raises(InputError, match="is bf16-mixed here, and the run began with 32-true"):
            fit(resume=cut)
        fit(["run.precision=bf16-mixed"], resume=cut)

    @pytest.mark.parametrize("data", [b"", b"PK\3\4", b"garbage" * 50, b"\x80\x02}q\x00."])
    def test_a_checkpoint_that_is_none_is_named(self, cut, data):
        (cut / "stages/one/state.pt").write_bytes(data)
        with pytest.raises(InputError, match=r"state\.pt: is no checkpoint that can be read"):
            fit(resume=cut)


def test_every_row_counts_whatever_the_number_of_ranks(here):
    from affectkit.model.batch import Order
    from affectkit.sample import Sample

    samples = [Sample(str(i), label="a") for i in range(19)]
    whole = [key.index for key in Order(samples, {"label": 1.0}, 0, 4).epoch(0)]
    for world in (1, 2, 3, 5, 7):
        for done in (0, 8, 16):
            ranks = [Order(samples, {"label": 1.0}, 0, 2, world=world, rank=r).batches(0, done) for r in range(world)]
            assert len({len(batches) for batches in ranks}) == 1  # every rank has a batch in every step
            assert all(batch for batches in ranks for batch in batches)
            counted = [key.index for batches in ranks for batch in batches for key in batch if key.counts]
            assert sorted(counted) == sorted(whole[done:])


def test_a_row_that_does_not_count_adds_nothing(here):
    wav_table.write(here)
    run, _ = fit(["stages.one.epochs=1"])
    loaded = api.load(run.folder)
    batch = loaded.model.training_batch(loaded.samples("train")[:2])
    assert loaded.model.loss(batch)[1]
    training = stages.Training.__new__(stages.Training)
    torch.nn.Module.__init__(training)
    training.model = loaded.model
    training.losses = stages.StageLosses(loaded.model, next(iter(loaded.plan.stages.values())), batch.running)
    assert training.losses.count(batch) == (loaded.model.loss(batch)[1],)
    batch.counts = False
    assert training.losses.count(batch) == (0,)
    assert training._sums(batch).tolist() == [0]


COMMAND = "import sys; from affectkit.__main__ import main; sys.argv = ['affectkit', *{words!r}]; main()"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_training_is_told_by_code_and_words(here, number, code):
    wav_table.write(here)
    words = ["fit", "r.yaml", "stages.one.epochs=2000"]
    # Python ignores SIGINT in a child of a shell that does: its own handler comes first
    ready = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    run = subprocess.Popen(
        [sys.executable, "-c", ready + COMMAND.format(words=words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not list(here.glob("runs/*/stages/one/state.pt")) and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(number)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == code, said
    assert f"interrupted by {signal.Signals(number).name}" in said
    assert f"affectkit fit --resume {Path('runs')}" in said
    if number == signal.SIGTERM:
        step = int(said.partition("saved after step ")[2].split()[0])
        assert torch.load(next(here.glob("runs/*/stages/one/state.pt")), weights_only=True)["progress"]["step"] == step


def test_sigterm_waits_for_the_step_and_a_second_one_does_not(here):
    def twice():
        with interruptible(Path("runs/a")):
            SIGNALS.training = True
            os.kill(os.getpid(), signal.SIGTERM)
            assert SIGNALS.pending == signal.SIGTERM
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as caught:
        twice()
    SIGNALS.training = False
    assert caught.value.exit_code == 143
    assert caught.value.__notes__ == ["go on with: affectkit fit --resume runs/a"]
    with pytest.raises(Interrupted, match="SIGINT") as caught, interruptible(Path("runs/a")):
        os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.exit_code == 130


def test_what_a_signal_to_all_processes_makes_of_one_is_no_error_of_its_own():
    def lost(error):
        with interruptible(Path("runs/a")):
            SIGNALS.pending = signal.SIGTERM
            raise error

    with pytest.raises(Interrupted, match="SIGTERM") as caught:
        lost(RuntimeError("Connection closed by peer"))
    assert (caught.value.exit_code, caught.value.__notes__) == (143, ["go on with: affectkit fit --resume runs/a"])
    with pytest.raises(RunError, match="a full disk"):
        lost(RunError("a full disk"))
    with pytest.raises(ZeroDivisionError), interruptible(Path("runs/a")):
        raise ZeroDivisionError


def test_a_signal_that_a_library_turned_into_an_error_is_told_as_one():
    def swallowed():
        with interruptible(Path("runs/a")):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except Interrupted:
                raise ValueError("could not determine the shape") from None

    with pytest.raises(Interrupted, match="SIGINT") as caught:
        swallowed()
    assert caught.value.exit_code == 130


def test_a_terminal_that_is_closed_ends_it_like_sigterm_and_nohup_does_not():
    usual = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup themselves
    try:
        _hung_up()
    finally:
        signal.signal(signal.SIGHUP, usual)


def _hung_up():
    with interruptible(Path("runs/a")):
        SIGNALS.training = True
        os.kill(os.getpid(), signal.SIGHUP)
        SIGNALS.training = False
    assert SIGNALS.pending == signal.SIGHUP
    with pytest.raises(Interrupted, match="SIGHUP") as caught, interruptible(Path("runs/a")):
        os.kill(os.getpid(), signal.SIGHUP)
    assert caught.value.exit_code == 129
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(Path("runs/a")):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


BESIDE = """
import subprocess, sys, time
from affectkit.train.interrupt import beside_first
with beside_first():
    if sys.argv[1:]:
        time.sleep(100)
    print(subprocess.Popen([sys.executable, __file__, "second"]).pid, flush=True)
    time.sleep(100)
"""


def test_a_process_ends_with_the_first_one_of_its_run(tmp_path):
    """Where it waits to meet it inside of torch, it would do so for half an hour."""
    script = tmp_path / "beside.py"
    script.write_text(BESIDE)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        second = int(first.stdout.readline())
        time.sleep(2.5)
        os.kill(second, 0)  # beside a first one that runs it goes on
        first.kill()
        _, said = first.communicate(timeout=60)  # the second one holds its stderr for as long as it lives
    assert "the first process of this run has ended" in said
    assert FIRST not in os.environ


def test_another_process_that_has_ended_is_told_without_a_traceback():
    def lost(error, pending=None):
        with interruptible(Path("r")), meeting_others("one", Path("r")):
            SIGNALS.pending = pending
            raise error

    gone = "[/gloo/transport/tcp/pair.cc:545] Read error: Connection reset by peer"
    for error in (RuntimeError(gone), torch.distributed.DistNetworkError("Failed to recv")):
        with pytest.raises(RunError, match=r"stage one: another process .* has ended") as caught:
            lost(error)
        assert "affectkit fit --resume r" in str(caught.value)
        with pytest.raises(Interrupted, match="SIGTERM"):  # all processes got it, and another one has gone first
            lost(error, signal.SIGTERM)
    with pytest.raises(RuntimeError, match="out of memory"):
        lost(RuntimeError("out of memory"))


LAUNCH = """
import os, signal, subprocess, sys
from types import SimpleNamespace
from lightning.pytorch.strategies.launchers import subprocess_script
from affectkit.__main__ import main
class Killed:
    def __init__(self, command, **options):
        subprocess.Popen([sys.executable, "-m", "affectkit", *{words!r}], **options)
        os.kill(os.getpid(), signal.SIGKILL)
subprocess_script.subprocess = SimpleNamespace(Popen=Killed)
sys.argv = ["affectkit", *{words!r}]
main()
"""


@pytest.mark.slow
def test_two_processes_of_which_the_first_is_killed_at_the_start(here):
    """The second one is on its way to meet it then."""
    wav_table.write(here)
    words = ["fit", "r.yaml", "run.devices=2", "run.strategy=ddp"]
    with subprocess.Popen([sys.executable, "-c", LAUNCH.format(words=words)], stderr=subprocess.PIPE, text=True) as run:
        _, said = run.communicate(timeout=240)  # the second one holds its stderr for as long as it lives
    assert run.returncode == -signal.SIGKILL
    assert "the first process of this run has ended" in said
    assert tiny_run.command(["fit", "--resume", "runs/last"]) == 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["run.precision=bf16-true"], "bf16-mixed"),
        (["run.precision=16-mixed"], "needs a GPU"),
        (["backbone.dtype=float16"], "float16 weights need a GPU"),
        (["backbone.dtype=float16", "run.accelerator=gpu"], "stage one trains weights in float16"),
        (["run.strategy=fsdp"], "strategy"),
        (["run.strategy=ddp_spawn"], "strategy"),
        (["run.strategy=dpp"], "did you mean 'ddp'"),
    ],
)
def test_numbers_and_strategies_that_cannot_be_are_told_by_check(here, overrides, said):
    wav_table.write(here)
    with pytest.raises(InputError, match=said):
        check("r.yaml", overrides)


def test_float16_beside_frozen_weights_on_a_gpu_is_allowed(here):
    wav_table.write(here)
    check("r.yaml", ["backbone.dtype=float16", "run.accelerator=gpu", "stages.one.train=[streams.audio.projector]"])


def test_a_file_gets_a_line_a_minute(here, monkeypatch, capsys):
    from affectkit.train import trainer

    monkeypatch.setattr(trainer, "EVERY", 0.0)
    wav_table.write(here)
    fit(["stages.one.epochs=1"])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("one: step")]
    assert len(lines) == 5
    assert "one: step 3 of 5, loss" in lines[2]
    assert "min left" in lines[2]


def test_a_resumed_checkpoint_of_an_earlier_version_is_taken(here, monkeypatch):
    wav_table.write(here)
    break_loss(monkeypatch, [3])
    with pytest.raises(RunError):
        fit()
    path = Path("runs/last/stages/one/state.pt")
    state = torch.load(path, weights_only=True)
    del state["conditions"]
    torch.save(state, path)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    run, _ = fit(resume="runs/last")
    assert load_file(run.weights("one"))
    assert (len(losses()), len(losses("val"))) == (10, 2)
