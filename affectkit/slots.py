"""What the prompt of a recipe names: streams for its slots, steps whose facts it reads; and what is wrong with that. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from affectkit.errors import Problem, unknown
from affectkit.marked_yaml import Path_
from affectkit.merging import items

if TYPE_CHECKING:
    from affectkit.plan import Plan
    from affectkit.uses import Use


def slots_of(use: Use) -> tuple[str, ...]:
    """Streams whose tokens a part of the prompt wants."""
    slots = getattr(use.settings, "slots", None)
    return tuple(slots()) if slots else ()


def reads_of(use: Use) -> Mapping[str, Sequence[str]]:
    """Steps whose facts a part of the prompt wants, each with the names of the facts."""
    reads = getattr(use.settings, "reads", None)
    return dict(reads()) if reads else {}


def _where(plan: Plan, part: str, text: str) -> Path_:
    """The key of a part whose value is `text`, or the part."""
    path: Path_ = ("prompt", "parts", part)
    return next(((*path, k) for k, v in items(plan.recipe.get("prompt", "parts", part)) if v == text), path)


def check_slots(plan: Plan, problems: list[Problem]) -> None:
    """Every slot names a stream that ends in the LLM's width; facts are read of steps that tell at least one of them."""
    recipe, graph = plan.recipe, plan.graph
    streams = list(dict.fromkeys(s for s, v in items(recipe.get("streams")) if v is not None))
    projectors = tuple(p.name for p in plan.registry.pieces("projector"))
    for part, use in plan.parts.items():
        for slot in slots_of(use):
            end = graph.ends.get(slot)
            width = graph.shape(end).width if end else None
            if slot not in streams and not graph.partial:
                problems.append(_unknown_stream(plan, part, slot, [str(s) for s in streams]))
            elif end and None not in (width, plan.width) and width != plan.width:
                at = recipe.place(("streams", slot, "steps", end.step.split(".")[1]))
                what = (
                    f"{end} is {width} wide, the LLM {plan.width}: "
                    "a stream that a prompt names must end in the LLM's width"
                )
                problems.append(Problem(at, what, "end the stream with a projector", projectors))
        _check_reads(plan, part, problems)


def _check_reads(plan: Plan, part: str, problems: list[Problem]) -> None:
    graph = plan.graph
    for address, names in reads_of(plan.parts[part]).items():
        at = plan.recipe.place(_where(plan, part, address))
        step = graph.steps.get(address)
        if address not in graph.written and not graph.partial:
            problem = unknown(at, "step to read facts of", address, graph.written)
            gone = _gone(plan, address.split(".")[0])
            problems.append(replace(problem, fix=gone) if gone else problem)
        elif step is not None and not set(names) & set(step.tells):
            what = f"reads {', '.join(names)} of {address}, but the {step.piece.kind} {step.piece.name!r} tells "
            known = [a for a, s in graph.steps.items() if set(names) & set(s.tells)]
            fix = "name a step that does" if known else f"set prompt.parts.{part} to null"
            problems.append(
                Problem(at, what + (f"only {', '.join(step.tells)}" if step.tells else "none"), fix, tuple(known))
            )


def facts_read(plan: Plan) -> dict[str, str]:
    """By step: the facts that the prompt reads of it, and those that it would read and the step does not tell."""
    found = {}
    for address in plan.reads:
        names = dict.fromkeys(n for use in plan.parts.values() for n in reads_of(use).get(address, ()))
        told = plan.graph.steps[address].tells
        silent = [name for name in names if name not in told]
        found[address] = ", ".join(name for name in names if name in told)
        found[address] += f"; it does not tell {', '.join(silent)}" if silent else ""
    return found


def _unknown_stream(plan: Plan, part: str, slot: str, streams: Sequence[str]) -> Problem:
    at = plan.recipe.place(_where(plan, part, slot))
    return unknown(at, "stream for a slot", slot, streams, _gone(plan, slot))


def _gone(plan: Plan, stream: str) -> str:
    """What to do about a part of the prompt that wants something of a stream that the recipe takes out."""
    if dict(items(plan.recipe.get("streams"))).get(stream, "") is not None:
        return ""
    path: tuple[str, ...] = ("streams", stream)
    said = "null"
    if (*path, "off") in plan.recipe.marks:
        path, said = (*path, "off"), "off"
    return f"streams.{stream} is {said} ({plan.recipe.place(path)}): set this part to null too"
