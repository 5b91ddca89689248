"""A test of the tests: an objective that breaks a promise is caught, by name and with figures."""

import pytest
import torch
from broken_pieces import Settings, broken
from torch import nn

from affectkit import Piece, Port
from affectkit.testing.promises import keeps_its_promises


class Plain(nn.Module):
    """An objective that keeps every promise: the distance of a mean to a learned centre of its label."""

    def __init__(self, inputs, targets):
        super().__init__()
        self.labels = targets.labels
        self.centres = nn.Parameter(torch.zeros(len(self.labels), inputs["tokens"].width))

    def rows(self, samples, there):
        return [i for i, s in enumerate(samples) if there[i] and s.label in self.labels]

    def count(self, samples, there):
        return len(self.rows(samples, there["tokens"]))

    def pooled(self, block):
        return block.mean()

    def forward(self, blocks, samples, outputs):
        rows = self.rows(samples, blocks["tokens"].there.tolist())
        wanted = self.centres[[self.labels.index(samples[i].label) for i in rows]]
        return ((self.pooled(blocks["tokens"])[rows] - wanted) ** 2).mean(1).sum()


class MeanOfBatch(Plain):
    def forward(self, blocks, samples, outputs):
        return super().forward(blocks, samples, outputs) / max(
            1, self.count(samples, {"tokens": [True] * len(samples)})
        )


class CountsAll(Plain):
    def count(self, samples, there):
        return len(samples)


class Leaks(Plain):
    def pooled(self, block):
        return block.tokens.mean((1, 2))


class SeesNeighbours(Plain):
    def pooled(self, block):
        return block.mean() - block.mean().mean(0)


class Detached(Plain):
    def pooled(self, block):
        return block.mean().detach()


class NanOfNothing(Plain):
    def forward(self, blocks, samples, outputs):
        return super().forward(blocks, samples, outputs) * (self.centres.new_tensor(1.0) if samples else 0) + (
            0 if self.rows(samples, blocks["tokens"].there.tolist()) else torch.tensor(float("nan"))
        )


class Draws(Plain):
    def pooled(self, block):
        return block.mean() + torch.randn(())


class RemembersOutside(Plain):
    calls = 0.0

    def forward(self, blocks, samples, outputs):
        self.shift = getattr(self, "shift", torch.randn(()))
        return super().forward(blocks, samples, outputs) * self.shift.abs()


def objective(cls):
    build = lambda settings, inputs, targets: cls(inputs, targets)  # noqa: E731
    return Piece("objective", "tried", Settings, build, ports=(Port("tokens"),))


class HasThreeCentres(Plain):
    def __init__(self, inputs, targets):
        super().__init__(inputs, targets)
        self.centres = nn.Parameter(torch.zeros(3, inputs["tokens"].width))


CASES = {
    "has room for three labels": (HasThreeCentres, "with the labels calm, proud, bored, amused: IndexError"),
    "gives the mean of a batch": (MeanOfBatch, "together and"),
    "counts rows with nothing in them": (CountsAll, "a row without a token counts 1"),
    "reads what is masked": (Leaks, "junk under the masks changes it"),
    "looks at its neighbours and does not say so": (SeesNeighbours, "one by one"),
    "lets no gradient through": (Detached, "tokens gets no gradient"),
    "is not a number where there is nothing": (NanOfNothing, "a row without a token costs nan"),
    "is another each time": (Draws, "the same rows cost"),
    "keeps what it knows elsewhere": (RemembersOutside, "loaded from its state_dict it gives"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_objective_that_breaks_a_promise_is_caught(case):
    cls, words = CASES[case]
    assert words in broken(objective(cls))[1]


def test_an_honest_objective_passes():
    assert len(keeps_its_promises(objective(Plain), light=False)) >= 9
