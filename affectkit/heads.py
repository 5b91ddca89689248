"""Heads: blocks of streams to an answer without words. What the frame asks of one, and what it answers. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from affectkit.sample import LABELS, NUMBERS, Sample, Targets

if TYPE_CHECKING:
    from torch import Tensor

    from affectkit.blocks import TokenBlock

HEADS = "heads"
"""The section of a recipe that holds heads, and the first word of their addresses (`heads.emotion`)."""


@dataclass(frozen=True)
class Answer:
    """What a head answers to one sample; of the three, what its task wants."""

    scores: Mapping[str, float] = field(default_factory=dict)
    """Task `label`: label to its log-probability, up to a constant. Task `labels`: label to its probability alone."""
    labels: tuple[str, ...] = ()
    """Task `labels`: those that it takes for true."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Task `numbers`: rating by name."""


FeatureBatches = Callable[
    [], Iterable[tuple[Mapping[str, "TokenBlock | tuple[TokenBlock, ...] | None"], Sequence[Sample]]]
]
"""Batches of what fills the ports, with their samples, as often as they are asked for."""


class FitsFeatures(Protocol):
    """What the module of a step has whose piece says `fits=True`. Both are a part of its state, so that they are saved with the
    weights of a run: what it measured, and that it did.
    """

    fitted: Tensor
    """A buffer, one truth: whether `fit` was called, here or in the run that the weights are from."""

    def fit(self, features: FeatureBatches) -> None:
        """Learn from the real tokens of the training samples, and set `fitted`; where there is none, stay as it was."""
        ...


@runtime_checkable
class Head(Protocol):
    """What a head's `build` returns is an `nn.Module` with these. Its forward takes one argument a port, as a step's does (a
    port with `many` gets a tuple of blocks), and returns a dict of `TokenBlock`s, one row a sample.

    One that learns by gradients has `loss(outputs, samples) -> (sum, number of terms)`; a stage names it as its objective.
    One that needs no training loop has `fit(features: FeatureBatches) -> None` instead, and sets its parameters there.
    """

    def answers(self, outputs: Mapping[str, TokenBlock]) -> list[Answer]:
        """The answer to each row."""
        ...


def wants(task: str, sample: Sample, ratings: Sequence[str] = ()) -> bool:
    """Whether a sample has what a head of that task learns from: of `ratings`, where it answers these alone."""
    if task == NUMBERS:
        return any(name in sample.numbers for name in ratings) if ratings else bool(sample.numbers)
    return bool(sample.label or (task == LABELS and sample.labels))


def answerable(task: str, targets: Targets) -> bool:
    """Whether a data set has what a head of that task answers."""
    return bool(targets.numbers if task == NUMBERS else targets.labels)
