"""What the prompt of a recipe names: streams for its slots, steps whose facts it reads; and what is wrong with that. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from affectkit.errors import unknown
from affectkit.plan.use import Checker, reads_of, slots_of
from affectkit.prompt import Phase
from affectkit.recipe.marked_yaml import Path_, items

if TYPE_CHECKING:
    from affectkit.plan.plan import Plan


def _where(plan: Plan, part: str, text: str) -> Path_:
    """The key of a part whose value is `text`, or the part."""
    path: Path_ = ("prompt", "parts", part)
    return next(((*path, k) for k, v in items(plan.recipe.get("prompt", "parts", part)) if v == text), path)


def check_slots(plan: Plan, checker: Checker) -> None:
    """Every slot names a stream that ends in the LLM's width; facts are read of steps that estimate at least one of them."""
    recipe, graph = plan.recipe, plan.graph
    streams = list(dict.fromkeys(s for s, v in items(recipe.get("streams")) if v is not None))
    projectors = tuple(p.name for p in plan.registry.pieces("projector"))
    for part, use in plan.parts.items():
        for slot in slots_of(use):
            end = graph.ends.get(slot)
            width = graph.shape(end).width if end else None
            if slot not in streams and not graph.partial:
                checker.unknown(
                    _where(plan, part, slot), "stream for a slot", slot, map(str, streams), _gone(plan, slot)
                )
            elif end and None not in (width, plan.width) and width != plan.width:
                at = ("streams", slot, "steps", end.step.split(".")[1])
                what = f"{end} is {width} wide, the LLM {plan.width}: a stream that a prompt names must end in the LLM's width"
                checker.problem(at, what, "end the stream with a projector", projectors)
        _check_reads(plan, part, checker)


def _check_reads(plan: Plan, part: str, checker: Checker) -> None:
    graph = plan.graph
    for address, names in reads_of(plan.parts[part]).items():
        at = _where(plan, part, address)
        step = graph.steps.get(address)
        if address not in graph.written and not graph.partial:
            problem = unknown(plan.recipe.place(at), "step to read facts of", address, graph.written)
            gone = _gone(plan, address.split(".")[0])
            checker.problems.append(replace(problem, fix=gone) if gone else problem)
        elif step is not None and not set(names) & set(step.tells):
            what = f"reads {', '.join(names)} of {address}, but the {step.piece.kind} {step.piece.name!r} tells "
            known = [a for a, s in graph.steps.items() if set(names) & set(s.tells)]
            fix = "name a step that does" if known else f"set prompt.parts.{part} to null"
            checker.problem(at, what + (f"only {', '.join(step.tells)}" if step.tells else "none"), fix, known)


def facts_read(plan: Plan) -> dict[str, str]:
    """By step: the facts that the prompt reads of it, and those that the step does not estimate."""
    found = {}
    for address in plan.reads:
        names = dict.fromkeys(n for use in plan.parts.values() for n in reads_of(use).get(address, ()))
        told = plan.graph.steps[address].tells
        silent = [name for name in names if name not in told]
        found[address] = ", ".join(name for name in names if name in told)
        found[address] += f"; it does not tell {', '.join(silent)}" if silent else ""
    return found


def _gone(plan: Plan, stream: str) -> str:
    """The fix for a part of the prompt that needs a stream which the recipe takes out."""
    if dict(items(plan.recipe.get("streams"))).get(stream, "") is not None:
        return ""
    path: tuple[str, ...] = ("streams", stream)
    said = "null"
    if (*path, "off") in plan.recipe.marks:
        path, said = (*path, "off"), "off"
    return f"streams.{stream} is {said} ({plan.recipe.place(path)}): set this part to null too"


PHASES = get_args(Phase)


def check_layouts(written: Mapping[str, str], parts: Mapping[str, str], checker: Checker) -> None:
    """Report what is wrong with a prompt's layouts.

    `written` maps phase to the layout that is written in it, `parts` maps part to the only layout in which it stands
    (empty: it stands in every one). A slip of the pen would leave words out in silence. A part whose layout is not
    written now is no mistake: another recipe, or an evaluation, may write it.
    """
    known = tuple(dict.fromkeys(name for name in parts.values() if name))
    for phase, name in written.items():
        at = ("prompt", "layouts", phase)
        if phase not in PHASES:
            checker.unknown(at, "phase", phase, PHASES)
        if name not in known:
            checker.unknown(at, "layout", name, known, "else give parts that `layout`")
    if known and not written:
        part = next(part for part, name in parts.items() if name)
        fix = f"say which is written, such as `layouts: {{train: {known[0]}, infer: {known[0]}}}`"
        what = f"this part stands in the layout {known[0]!r} only, and the prompt writes no layout"
        checker.problem(("prompt", "parts", part), what, fix, known)
    missing = [phase for phase in PHASES if written and phase not in written]
    if missing:
        checker.problem(
            ("prompt", "layouts"), f"says no layout for phase {missing[0]!r}", "name one for each phase", known
        )
