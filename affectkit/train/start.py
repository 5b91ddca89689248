"""Training that starts from another run's weights, such as an imported checkpoint."""

from __future__ import annotations

from collections.abc import Callable

from affectkit.errors import InputError, Problem
from affectkit.model.model import Model
from affectkit.recipe.load import load_recipe
from affectkit.recipe.merge import items
from affectkit.train.checkpoint import load_weights, other_shapes, read_weights
from affectkit.train.run_folder import Run
from affectkit.train.trainer import is_first


def load_initial_weights(model: Model, run: Run, say: Callable[[str], None]) -> set[str]:
    """Put the weights of a run into a model: of every parameter that both have.

    Returns the addresses that they belong to; what the model has no place for is said. Raises InputError where a
    parameter has another shape, nothing fits, or something stands in for what imported weights were trained with.
    """
    own = model.state_dict()
    addresses: set[str] = set()
    unused: dict[str, None] = {}
    given: set[str] = set()
    for stage, _ in items(load_recipe(run.recipe).get("stages")):
        if not run.weights(str(stage)).exists():
            continue
        tensors = read_weights(run.weights(str(stage)))
        for name, there, here in other_shapes(model, tensors):
            what = f"{name} is {there} in {run.folder}, {here} by this recipe"
            raise InputError(Problem("run.start", what, "start from a run of the same sizes"))
        load_weights(model, tensors)
        given |= own.keys() & tensors.keys()
        addresses |= {model.address(n) for n in tensors if n in own}
        unused.update(dict.fromkeys(n for n in tensors if n not in own))
    if not addresses:
        what = f"no weights of {run.folder} have a place in this recipe"
        raise InputError(Problem("run.start", what, "are its stages done, and its streams named alike?"))
    imported = run.notes().get("imported")
    if imported:
        refuse_stand_ins(model, str(imported["file"]), given)
    set_origin(model, f"run {run.folder.name}", given)
    if is_first():
        rest = f"; no place here for {', '.join(list(unused)[:3])} and so on ({len(unused)})" if unused else ""
        say(f"starts from {run.folder}: {', '.join(sorted(addresses))}{rest}")
    return addresses


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
