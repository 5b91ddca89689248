"""Features ahead of training: what fit reads is there, made once, by one process, by ranks, or by a cluster, byte for byte."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import pytest
import tiny_run
from click.testing import CliRunner

from affectkit import api
from affectkit.cluster import Cluster
from affectkit.commands.cache import command
from affectkit.encode.perceive import Perceiver
from affectkit.errors import InputError
from affectkit.train.ahead import ranks

STAGES = """
stages:
  align: {train: [streams.audio.projector], epochs: 1}
  more: {train: [backbone.model], epochs: 1, max_steps: 1}
score:"""
RECIPE = re.sub(r"\nstages:.*?\nscore:", STAGES, tiny_run.RECIPE, flags=re.S)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    Path("r.yaml").write_text(RECIPE)
    return "r.yaml"


def build(*arguments, cache="one"):
    """`affectkit cache build` in this process: its last line, and all that it says."""
    done = CliRunner().invoke(command, ["build", "r.yaml", f"run.cache={cache}", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()[-1], done.output


def sounds(count):
    """A table of short sounds; gives the overrides for it."""
    rows = [f"{i}.wav,{'happy' if i % 2 else 'sad'},{'val' if i % 3 else 'train'},s{i}" for i in range(count)]
    Path("t.csv").write_text("\n".join(["audio,label,split,id", *rows]) + "\n")
    for i in range(count):
        with wave.open(f"{i}.wav", "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((i + 1).to_bytes(2, "little") * 8000)
    return ["data={use: table, path: t.csv, columns: {path: audio}}", "score.splits=[val]"]


def made(said):
    return tuple(map(int, re.search(r"(\d+) entries made, (\d+) there before", said).groups()))


def shards(cache):
    """The bytes of every shard, by name."""
    return {str(p.relative_to(cache)): p.read_bytes() for p in sorted(Path(cache).rglob("*.safetensors"))}


def test_a_fit_after_it_decodes_nothing_for_its_first_stage(recipe, monkeypatch):
    said, every = build()
    count, there = made(said)
    assert count > 0
    assert there == 0
    assert "more: audio.projector: trains in align" in every
    assert "evaluate: audio.projector: trains in align" in every
    before = shards("one")
    assert made(build()[0]) == (0, count)
    assert shards("one") == before
    filled = []
    real = Perceiver.fill

    def fill(self, samples, flips=(False,), what="", ranks=(0, 1)):
        real(self, samples, flips, what, ranks)
        filled.append((what, self.decoded))

    monkeypatch.setattr(Perceiver, "fill", fill)
    run = api.fit(recipe, ["run.cache=one"], say=lambda _: None)
    assert dict(filled)["align: train"] == dict(filled)["align: val"] == 0
    assert before.items() <= shards("one").items()
    for cache, new in (("one", False), ("fresh", True)):
        arguments = ["build", str(run.folder), f"run.cache={cache}"]
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert "trains in" not in done.output, "a run that is done has its weights"
        assert (made(done.output)[0] > 0) == new, "fit has evaluated, and filled the first"


def test_only_some_splits_are_made_where_they_are_named(recipe):
    train, _ = build("--split", "train")
    rest, _ = build("--split", "val")
    assert made(build()[0])[1] == made(train)[0] + made(rest)[0]
    with pytest.raises(InputError, match="no part of the run reads the split 'tests'"):
        build("--split", "tests")


def test_broken_media_are_named_and_not_tried_again(recipe, tmp_path):
    table = sounds(6)
    Path("2.wav").write_bytes(b"no sound")
    said, every = build(*table)
    assert re.search(r"cannot be decoded: s2: .*2\.wav", every)
    assert made(build(*table)[0]) == (0, made(said)[0])


def test_ranks_share_the_work_and_come_to_the_same_bytes(recipe, monkeypatch):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    table = sounds(64)
    alone = made(build(*table, cache="alone")[0])
    arguments = [sys.executable, "-m", "affectkit", "cache", "build", "r.yaml", "run.cache=both", *table]
    started = [
        subprocess.Popen(arguments, env={**environment, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[0].splitlines()[-1] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert [line.split(":")[0] for line in said] == ["rank 0 of 2", "rank 1 of 2"]
    counts = [made(line)[0] for line in said]
    assert min(counts) > 0
    assert sum(counts) == alone[0]
    assert shards("both") == shards("alone")


def test_ranks_are_those_of_torchrun_or_of_a_step_of_slurm(monkeypatch, recipe):
    assert ranks() == (0, 1)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert ranks() == (0, 1), "a batch script is one process"
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    assert ranks() == (3, 8)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ranks() == (1, 2)
    for rank in ("2", "-1", "x"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(InputError, match="is no rank"):
            ranks()


@pytest.mark.slow
def test_torchrun_starts_them(recipe):
    table = sounds(64)
    arguments = ["--nproc-per-node", "2", "--master-port", "0", "-m", "affectkit", "cache", "build", "r.yaml", *table]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    code = [sys.executable, "-m", "torch.distributed.run", *arguments, "run.cache=torchrun"]
    done = subprocess.run(code, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    build(*table, cache="alone")
    assert shards("torchrun") == shards("alone")


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    with Cluster(workers=2) as one:
        one.join()
        yield one


def kill_a_maker(cache, killed):
    """Kill a worker of the cluster once the first shards are there."""
    psutil, end = pytest.importorskip("psutil"), time.monotonic() + 120
    while time.monotonic() < end and not killed:
        time.sleep(0.01)
        if len(shards(cache)) >= 2:
            mine = psutil.Process().children(recursive=True)
            for worker in [p for p in mine if "MapWorker" in " ".join(p.cmdline())][:1]:
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)


@pytest.mark.slow
def test_a_cluster_makes_the_same_bytes_though_a_worker_is_killed(recipe, cluster):
    table = sounds(480)
    alone, there = made(build(*table, cache="alone")[0])
    assert there == 0
    killed = []
    killer = threading.Thread(target=kill_a_maker, args=("spread", killed))
    killer.start()
    said, _ = build(*table, "--engine", "ray", "--workers", "2", cache="spread")
    killer.join()
    assert killed
    assert sum(made(said)) == alone
    assert shards("spread") == shards("alone")
    assert made(build(*table, cache="spread")[0]) == (0, alone)
