"""A recipe that is right, and what a broken copy of it is told: used by the tests of the reader, the wiring and the plan."""

from pathlib import Path

from affectkit.errors import InputError
from affectkit.plan.check import plan_recipe
from affectkit.recipe.load import load_recipe
from affectkit.registry import Registry

BASE = """\
name: face
data: {use: puppets}
views:
  frames: {use: frames, count: 4}
  crops: {use: faces, of: frames}
  wave: {use: wave, seconds: 2}
streams:
  face:
    steps:
      encoder: {use: image_patches, pixels: crops}
      projector: {use: linear}
  voice:
    steps:
      encoder: {use: log_mel, wave: wave}
      projector: {use: mlp}
prompt:
  use: template
  parts:
    face: {use: slot, stream: face}
    voice: {use: slot, stream: voice}
    ask: {use: label_question}
backbone: {use: causal_lm, width: 48, heads: 4}
stages:
  train:
    train: [streams.*.projector, backbone.model]
    epochs: 2
score: {metrics: {uar: uar}}
"""
REGISTRY = Registry.load()


def broken(*edits):
    """BASE with (old, new) pairs replaced, each of which must be there."""
    text = BASE
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def plan_of(text, *overrides, name="a.yaml", registry=REGISTRY):
    """(plan, problems) of a recipe's text, written to the working folder."""
    Path(name).write_text(text, encoding="utf-8")
    return plan_recipe(load_recipe(name, overrides), registry)


def told(text, *overrides, **more):
    """What a user is told of a recipe, a line for each problem: place, what is wrong, and behind `=>` the fix."""
    try:
        problems = plan_of(text, *overrides, **more)[1]
    except InputError as error:
        problems = error.problems
    return [f"{p.place}: {p.what}" + (f" => {p.fix}" if p.fix else "") for p in problems]
