"""Heads and steps that need no training loop: they see the features of the training samples, and set what they learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from affectkit.blocks import Block
from affectkit.data.splits import Splits
from affectkit.encode.cache import Cache
from affectkit.encode.faults import blamed_on, place_of
from affectkit.encode.perceive import Perceiver
from affectkit.errors import Problem, RunError
from affectkit.heads import FeatureBatches
from affectkit.model.batch import Key, Prompter, Rows, stack
from affectkit.model.model import Model
from affectkit.plan.check import Stage
from affectkit.plan.graph import Step
from affectkit.plan.plan import Plan
from affectkit.plan.references import HIDDEN
from affectkit.sample import Sample

BATCH = 64
"""Samples whose features are in memory at a time, beside what the head keeps of them."""


def fits(model: Model, stage: Stage) -> bool:
    """Whether what a stage trains is a head without a training loop."""
    steps = model.plan.graph.steps
    return stage.objective in steps and hasattr(model.steps.module(stage.objective), "fit")


def fit_head(model: Model, stage: Stage, splits: Splits, cache: Cache, device: torch.device) -> None:
    """Let the head of a stage learn from the training samples that have what it is to answer.

    Raises RunError where none can be decoded and has it.
    """
    step = model.plan.graph.steps[stage.objective]
    task, wanted = model.plan.heads[step.name], model.plan.wants(step.name)
    perceiver = Perceiver.of(model, stage, cache, device)
    perceiver.fill(splits.train, (False,), f"{stage.name}: train")
    splits.broken.update(perceiver.broken)
    every = (splits.train[i] for i in range(len(splits.train)))
    samples = [s for s in every if s.id not in perceiver.broken and wanted(s)]
    if not samples:
        what = f"none of the {len(splits.train)} training samples can be decoded and has {task}"
        raise RunError(Problem(f"stage {stage.name}", what))
    fit_steps(model, samples, perceiver)
    _fit(model, step, samples, perceiver, splits.labels)


def fit_steps(model: Model, samples: Sequence[Sample], perceiver: Perceiver) -> None:
    """Let the steps behind the perceived ones that learn without gradients learn from training samples, as these are and not
    mirrored, in running order; those that an earlier stage or run fitted stay as they are."""
    for address in perceiver.cache_plan.rest:
        if model.steps.unfitted([address]):
            _fit(model, model.plan.graph.steps[address], samples, perceiver)


def fit_notices(plan: Plan, stage: Stage) -> list[str]:
    """What to know of steps that were fitted, or will be, to what other steps gave before these train in a stage."""
    trains = {*plan.learning(stage.trains)}
    found = []
    for address in (a for a in plan.needed(stage) if plan.graph.steps[a].piece.fits):
        moving = ", ".join(a for a in plan.graph.upstream([address]) if a in trains)
        if moving:
            what = f"{moving} trains in front of {address}, which keeps what it learned of the features before that"
            found.append(f"stage {stage.name}: {what}")
    return found


def _fit(
    model: Model, step: Step, samples: Sequence[Sample], perceiver: Perceiver, labels: tuple[str, ...] = ()
) -> None:
    module: Any = model.steps.module(step.address)
    with (
        model.frozen(),
        torch.no_grad(),
        blamed_on(step.piece, step.source, place_of(step), "fit()", lambda: "features"),
    ):
        model.eval()
        module.fit(features_of(model, step, samples, perceiver, labels))


def features_of(
    model: Model, step: Step, samples: Sequence[Sample], perceiver: Perceiver, labels: tuple[str, ...] = ()
) -> FeatureBatches:
    """What fills the ports of a step, for samples that were perceived; batches in their order. `labels` are those that a prompt
    offers, for a head that reads what the LLM makes of it."""
    plan, hidden = model.plan, HIDDEN in step.inputs.values()
    needed = {*plan.graph.upstream([step.address]), *(plan.needed() if hidden else ())} - {step.address}
    before = [address for address in perceiver.cache_plan.rest if address in needed]
    rows, task = Rows(plan, samples, perceiver, None, None, step.address), "objective"
    if hidden:
        prompter = Prompter(model.prompt, labels, plan.run.seed, "infer", reads=plan.reads, scored=False)
        rows, task = Rows(plan, samples, perceiver, prompter, model.llm), plan.task_of(step.name)

    def batches() -> Iterator[tuple[Mapping[str, object], Sequence[Sample]]]:
        for start in range(0, len(samples), BATCH):
            keys = [Key(i, task) for i in range(start, min(start + BATCH, len(samples)))]
            batch = stack([rows[key] for key in keys]).to(perceiver.device)
            known: dict[str, Block] = (
                model.with_llm(batch, before, True, False)[0] if hidden else model.blocks(batch, before)
            )
            yield model.steps.inputs(step, known), batch.samples

    return batches  # type: ignore[return-value]
