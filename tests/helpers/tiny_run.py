"""Whole runs for tests: a recipe that takes seconds, run in processes of their own that can be killed."""

import multiprocessing
import os
import signal
from pathlib import Path

RECIPE = """
name: tiny
data: {use: puppets, count: 42}
views:
  wave: {use: wave, seconds: 2}
streams:
  audio:
    steps:
      encoder: {use: log_mel, wave: wave}
      adapter: {use: conv_transformer, width: 32, channels: 16, layers: 1, dropout: 0.1}
      projector: {use: mlp}
prompt:
  use: template
  parts:
    audio: {use: slot, stream: audio}
    ask: {use: label_question, wording: "Emotion?"}
    why: {use: reason_question}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1, dropout: 0.1, lora: {rank: 4, alpha: 8}}
stages:
  align: {train: [streams.audio.projector], epochs: 1, save_every: 1}
  instruct:
    {train: [streams.audio, backbone.model], epochs: 2, batch: 12, accumulate: 2, save_every: 1,
     tasks: {label: 1, reason: 0.5}, keep: best}
  lora: {train: [backbone.lora], epochs: 1, max_steps: 1}
score:
  metrics: {uar: uar, war: war, confusion: confusion}
  reasons: 2
  max_new_tokens: 8
  resamples: 20
  yardstick: null
run: {accelerator: cpu}
"""


def write_recipe(folder: Path) -> Path:
    """The recipe as a file."""
    path = folder / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def fit(recipe, overrides, resume=None, kill=None, cache=None, seconds=None):
    """`affectkit fit` in a process of its own; `kill` = (what, n) kills it hard at that moment, `seconds` after so long.
    Returns its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["affectkit.api", "transformers.models.llama.modeling_llama"])
    # the child must not inherit pytest's capture; it says nothing
    child = context.Process(
        target=_fit, args=(str(recipe), list(overrides), resume and str(resume), kill, cache and str(cache))
    )
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        child.join()
    return child.exitcode


def _fit(recipe, overrides, resume, kill, cache):
    import torch

    from affectkit.api import fit as run

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # for loader processes, as from the command line on Linux
    if cache:
        overrides = [*overrides, f"run.cache={cache}"]
    if kill:
        _arm(*kill)
    if resume:
        run("", [], resume=resume, say=lambda _: None)
    else:
        run(recipe, overrides, say=lambda _: None)


def _arm(what, number):
    """Let the `number`-th call of something be the process's last act."""
    from affectkit import api as fitting
    from affectkit import files
    from affectkit.encode import cache
    from affectkit.train import loop as train
    from affectkit.train import stage as stage_training

    places = {
        "training": (stage_training.Training, "training_step"),
        "validation": (stage_training.Training, "validation_step"),
        "checkpoint": (files.os, "replace"),
        "before a checkpoint": (train, "save_state"),
        "stage weights": (train, "save_weights"),
        "stage done": (fitting, "_note_stage"),
        "cache": (cache.Cache, "put"),
        "scoring": (fitting, "score_run"),
    }
    owner, name = places[what]
    real = getattr(owner, name)
    calls = []

    def deadly(*args, **kwargs):
        # os.replace serves every atomic write: only that of a checkpoint counts, between its writing and its renaming
        if what != "checkpoint" or str(args[1]).endswith("state.pt"):
            calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, name, deadly)


def command(arguments):
    """The command line in a fresh process."""
    import subprocess
    import sys

    return subprocess.run(
        [sys.executable, "-m", "affectkit", *arguments], check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ).returncode
