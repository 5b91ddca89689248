"""The losses of a stage: how many terms each has in an optimiser step, known before anything runs, and their sums."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from affectkit.blocks import Block
from affectkit.encode.faults import blamed_on, blocks_in_words, in_words, place_of
from affectkit.encode.steps import blocks_of
from affectkit.errors import InputError, Problem
from affectkit.heads import HEADS
from affectkit.model.batch import Batch
from affectkit.model.model import Model
from affectkit.model.packing import supervised
from affectkit.objectives import HeadOutputs, ModelOutputs
from affectkit.pieces import port_of
from affectkit.plan.plan import Loss, Stage
from affectkit.plan.references import HIDDEN, path_of
from affectkit.sample import Sample

Presence = Mapping[str, Sequence[bool]]
"""By `address.block`, which rows hold something."""


class StageLosses:
    """What a stage trains, on batches of its samples. K losses, in the order of the recipe."""

    def __init__(self, model: Model, stage: Stage, running: Sequence[str]) -> None:
        """`running` are the steps that the cache leaves to run."""
        self.model, self.stage, self.running = model, stage, running
        self.losses = stage.losses
        plan, graph = model.plan, model.plan.graph
        self.asks = plan.asks(stage)
        """Whether the LLM runs."""
        own = [loss.objective for loss in self.losses if loss.objective]
        self.hidden = any(HIDDEN in step.inputs.values() for step in own)
        """Whether an objective reads its hidden state."""
        refs = replace(stage, mixed=tuple(loss for loss in self.losses if not loss.llm))
        alone = [ref.step for ref in plan.ends(refs) if ref != HIDDEN] if refs.mixed else []
        late = [a for a in graph.steps if HIDDEN in graph.steps[a].inputs.values()]
        before = graph.upstream([a for a in alone if a not in late])
        self._before = [address for address in running if address in before]
        """Steps that other losses than the LLM's hang on."""

    @property
    def names(self) -> tuple[str, ...]:
        """As the recipe calls them; one empty name where it has no mapping."""
        return tuple(loss.name for loss in self.losses)

    def count(self, batch: Batch) -> tuple[int, ...]:
        """The terms of each loss in a batch, before anything ran on it."""
        if not batch.counts:
            return (0,) * len(self.losses)
        there = {name: rows.tolist() for name, rows in self.model.steps.present(self._before, batch.known).items()}
        return tuple(
            sum(map(supervised, batch.chunks)) if loss.llm else self._terms(loss, batch.samples, there)
            for loss in self.losses
        )

    def teaches(self, sample: Sample) -> bool:
        """Whether another loss than the LLM's has anything in a sample whose media show all."""
        return any(self._terms(loss, [sample], {}) for loss in self.losses if not loss.llm)

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises InputError with the losses of objectives that none of these samples has anything for."""
        problems = []
        for loss in self.losses:
            if loss.objective is not None and not any(self._terms(loss, [sample], {}) for sample in samples):
                place = self.model.plan.recipe.place(path_of(loss.objective.address))
                what = f"none of the {len(samples)} training samples has anything for this loss"
                problems.append(Problem(place, what, "give the data set what it learns from, or take the loss out"))
        if problems:
            raise InputError(problems)

    def _terms(self, loss: Loss, samples: Sequence[Sample], present: Presence) -> int:
        """The terms of a loss of steps, heads or blocks; blocks that are not in `present` are taken to hold something."""
        plan, whole = self.model.plan, [True] * len(samples)
        learns: dict[str, list[bool]] = {}
        for name in loss.heads:
            ref = plan.graph.main(f"{HEADS}.{name}")
            rows = present.get(str(ref), whole)
            wanted = plan.wants(name)
            learns[ref.step] = [row and wanted(s) for row, s in zip(rows, samples, strict=True)]
        step = loss.objective
        if step is None:
            return sum(learns[loss.own]) if learns else len(samples)
        there: dict[str, list[bool]] = {}
        for key, ref in step.inputs.items():
            port, rows = port_of(key), present.get(str(ref), whole)
            there[port] = [a or b for a, b in zip(rows, there.get(port, rows), strict=True)]
        with blamed_on(step.piece, step.source, place_of(step), "count()", lambda: f"{len(samples)} samples"):
            return int(self.model.objective(step.address).count(samples, {**there, **learns}))  # type: ignore[operator]

    def sums(self, batch: Batch) -> Tensor:
        """[K]: the sum of each loss over a batch, in float32."""
        if self.asks:
            blocks, words = self.model.with_llm(batch, self.running, self.hidden, self.stage.llm)
        else:
            blocks = self.model.blocks(batch, self.running)
        found = []
        for loss in self.losses:
            if loss.llm:
                total = words
            elif loss.own:
                total, _ = self.model.own_loss(loss.own, blocks, batch)
            else:
                total = self._objective(loss, blocks, batch)
            found.append(total.float())
        return torch.stack(found)

    def _objective(self, loss: Loss, blocks: Mapping[str, Block], batch: Batch) -> Tensor:
        step = loss.objective
        assert step is not None
        heads = {name: self._head(f"{HEADS}.{name}", blocks, batch) for name in loss.heads}
        inputs, outputs = self.model.steps.inputs(step, blocks), ModelOutputs(self._words, heads)
        given = {port: block for port, block in inputs.items() if not isinstance(block, tuple)}
        with blamed_on(step.piece, step.source, place_of(step), "forward()", lambda: blocks_in_words(given, step.eats)):
            total = self.model.objective(step.address)(inputs, batch.samples, outputs)
            if not isinstance(total, Tensor) or total.dim():
                raise TypeError(f"forward returned {in_words(total)}, not the sum of the loss, a scalar")
        return total

    def _head(self, address: str, blocks: Mapping[str, Block], batch: Batch) -> HeadOutputs:
        def loss(samples: Sequence[Sample]) -> tuple[Tensor, int]:
            return self.model.own_loss(address, blocks, replace(batch, samples=list(samples)))

        return HeadOutputs(blocks_of(address, blocks), loss)  # type: ignore[arg-type]  # a head puts out tokens

    @torch.no_grad()
    def _words(self, texts: Sequence[str]) -> Tensor:
        """See `ModelOutputs.words`."""
        llm = self.model.llm
        ids = [llm.tokenise(text) for text in texts]
        empty = [text for text, own in zip(texts, ids, strict=True) if not own]
        if empty:
            place = f"stage {self.stage.name}"
            raise InputError(Problem(place, f"{empty[0]!r} has no tokens, so it has no embedding", "name other words"))
        embeds = llm.embed(torch.tensor([i for own in ids for i in own], device=self.model.device))
        return torch.stack([part.float().mean(0) for part in embeds.split([len(own) for own in ids])])

    def mean(self, sums: Tensor, counts: Tensor) -> Tensor:
        """The weighted sum of the means: what is trained. `counts` [K] are those behind the sums."""
        weights = sums.new_tensor([loss.weight for loss in self.losses])
        return (weights * sums / counts.clamp(min=1)).sum()


class StepsAhead:
    """The batches of a loader, each with the terms of its losses in it and in the whole optimiser step that it is part of."""

    def __init__(self, batches: DataLoader[Batch], size: int, count: Callable[[Batch], tuple[int, ...]]) -> None:
        """`size` batches of this process are one step."""
        self.batches, self.size, self.count = batches, size, count

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        coming = iter(self.batches)
        while step := list(itertools.islice(coming, self.size)):
            counts = [self.count(batch) for batch in step]
            whole = tuple(map(sum, zip(*counts, strict=True)))
            for own in counts:
                yield replace(step.pop(0), terms=own, step_terms=whole)
