"""Weights of a run put into a model: one that is loaded, or one that is to be trained on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem
from affectkit.files import Say
from affectkit.model.model import Model
from affectkit.recipe.load import load_recipe
from affectkit.recipe.marked_yaml import items
from affectkit.train.checkpoint import load_weights, read_weights
from affectkit.train.run_folder import Run
from affectkit.train.trainer import is_first
from affectkit.weights import RANDOM


def put_weights(
    model: Model, run: Run, stages: Iterable[str], wrong: Callable[[str, str, str], Problem]
) -> tuple[set[str], list[str]]:
    """Put what some stages of a run trained into a model: the names of the parameters that both have, and of those that the
    model has no place for.

    Raises InputError where a parameter has another shape (`wrong` makes the problem of its name, its shape there and its
    shape here), where values are not finite or of another kind of number, and where something stands in for what imported
    weights were trained with.
    """
    own = model.state_dict()
    given: set[str] = set()
    unused: dict[str, None] = {}
    for stage in stages:
        tensors = read_weights(run.weights(stage))
        for name, tensor in tensors.items():
            if name in own and own[name].shape != tensor.shape:
                there, here = (" x ".join(map(str, one.shape)) for one in (tensor, own[name]))
                raise InputError(wrong(name, there, here))
        load_weights(model, tensors, str(run.weights(stage)))
        given |= own.keys() & tensors.keys()
        unused.update(dict.fromkeys(name for name in tensors if name not in own))
    imported = run.notes().get("imported")
    if imported:  # a file that somebody else trained: its values are no stand-ins
        refuse_stand_ins(model, str(imported["file"]), given)
    return given, list(unused)


def load_initial_weights(model: Model, run: Run, say: Say) -> set[str]:
    """Put the weights of a run into a model that is to be trained on: of every parameter that both have.

    Returns the addresses that they belong to; what the model has no place for is said. Raises InputError as `put_weights`
    does, where nothing fits, and
    where the run has only some parameters of a part.
    """

    def wrong(name: str, there: str, here: str) -> Problem:
        what = f"{name} is {there} in {run.folder}, {here} by this recipe"
        return Problem("run.start", what, "start from a run of the same sizes")

    stages = [str(stage) for stage, _ in items(load_recipe(run.recipe).get("stages"))]
    given, unused = put_weights(model, run, [s for s in stages if run.weights(s).exists()], wrong)
    addresses = {model.address(name) for name in given}
    if not addresses:
        what = f"no weights of {run.folder} have a place in this recipe"
        raise InputError(Problem("run.start", what, "are its stages done, and its streams named alike?"))
    _refuse_parts(model, run, given)
    set_origin(model, f"run {run.folder.name}", given)
    if is_first():
        rest = f"; no place here for {', '.join(unused[:3])} and so on ({len(unused)})" if unused else ""
        say(f"starts from {run.folder}: {', '.join(sorted(addresses))}{rest}")
    return addresses


def _refuse_parts(model: Model, run: Run, given: set[str]) -> None:
    """Raise InputError where a run gave some parameters of an address and not the others, which would be random beside them;
    steps may have those from a source of their own, and an imported run may be known not to have them."""
    known = run.notes().get("imported", {}).get("missing", ())
    whole = {part["address"] for part in model.origins() if part["origin"] != RANDOM}
    addresses = {model.address(name) for name in given} - whole
    gaps: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        if name not in given and name not in known and (address := model.address(name)) in addresses:
            gaps.setdefault(address, []).append(name)
    if gaps:
        fix = "start from a run of the same sizes and layers"
        what = "{folder} has some parameters of {address} and lacks {count} ({some} …): they would be random"
        told = [what.format(folder=run.folder, address=a, count=len(n), some=", ".join(n[:2])) for a, n in gaps.items()]
        raise InputError([Problem("run.start", one, fix) for one in told])


def note_missing(model: Model, imported: Mapping[str, Any]) -> None:
    """Let logs and reports say which parameters of an imported run (`imported`: of its run.json) its file did not have."""
    lacking: dict[str, list[str]] = {}
    for name in imported.get("missing", ()):
        lacking.setdefault(model.address(name), []).append(name)
    for address, names in lacking.items():
        part: Any = model.backbone if address.startswith("backbone.") else model.steps.module(address)
        said = f"{len(names)} parameters of {address} are not in {Path(imported['file']).name} and were never trained"
        before = getattr(part, "stand_in", "")
        part.stand_in = f"{before}; {said}" if before else said


def refuse_stand_ins(model: Model, source: str, given: set[str]) -> None:
    """Raise InputError for steps whose weights (`given`: names of parameters) somebody else trained with what the step
    only has a stand-in for: they would read words, say, that they do not know."""
    problems = []
    for address in model.plan.graph.steps:
        told = getattr(model.steps.module(address), "stand_in", "")
        if told and any(model.address(n) == address for n in given):
            stream, _, step = address.partition(".")
            at = model.plan.recipe.place(("streams", stream, "steps", step))
            what = f"{told}; the weights in {source} were trained elsewhere"
            problems.append(Problem(at, what, "give the step what they were trained with"))
    if problems:
        raise InputError(problems)


def set_origin(model: Model, origin: str, given: set[str]) -> None:
    """Steps that got all of their parameters (`given`: their names) are random no longer, and reports say so."""
    for address in model.plan.graph.steps:
        names = [n for n, _ in model.named_parameters() if model.address(n) == address]
        if names and given >= set(names):
            model.steps.module(address).weights_origin = origin  # type: ignore[assignment]
