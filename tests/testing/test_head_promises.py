"""A test of the tests: a head that breaks a promise is caught, by name and with figures."""

import pytest
import torch
from broken_pieces import Settings, broken
from torch import nn

from affectkit import Answer, Piece, TokenBlock
from affectkit.testing.promises import keeps_its_promises


class Plain(nn.Module):
    """A head that keeps every promise."""

    def __init__(self, inputs, targets):
        super().__init__()
        self.labels = targets.labels
        self.scores = nn.Linear(inputs["tokens"][0].width, len(self.labels))

    def pooled(self, block):
        mask = block.mask[..., None]
        return (block.tokens * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)

    def forward(self, tokens):
        scores = self.scores(self.pooled(tokens[0]))
        return {"scores": TokenBlock("scores", scores[:, None, None], tokens[0].mask.flatten(1).any(1)[:, None, None])}

    def rows(self, outputs, samples):
        there = outputs["scores"].mask.flatten()
        return [i for i, s in enumerate(samples) if s.label in self.labels and there[i]]

    def loss(self, outputs, samples):
        rows = self.rows(outputs, samples)
        truths = torch.tensor([self.labels.index(samples[i].label) for i in rows], dtype=torch.long)
        return nn.functional.cross_entropy(outputs["scores"].tokens[rows, 0, 0], truths, reduction="sum"), len(rows)

    def answers(self, outputs):
        block = outputs["scores"]
        rows = zip(block.tokens[:, 0, 0].tolist(), block.mask.flatten().tolist(), strict=True)
        return [Answer(scores=dict(zip(self.labels, row, strict=True))) if there else Answer() for row, there in rows]


class Leaks(Plain):
    def pooled(self, block):
        return block.tokens.mean((1, 2))


class SeesNeighbours(Plain):
    def pooled(self, block):
        return super().pooled(block) - super().pooled(block).mean(0)


class AnswersHalf(Plain):
    def answers(self, outputs):
        return [Answer(scores={n: v for n, v in a.scores.items() if n != "sad"}) for a in super().answers(outputs)]


class LosesRows(Plain):
    def loss(self, outputs, samples):
        return super().loss(outputs, samples)[0], len(samples)


class Detached(Plain):
    def loss(self, outputs, samples):
        total, count = super().loss(outputs, samples)
        return total.detach() + 0 * self.scores.weight.sum(), count


class FitsOutside(Plain):
    def __init__(self, inputs, targets):
        super().__init__(inputs, targets)
        self.shift = 0.0

    def fit(self, features):
        self.shift = float(sum(ports["tokens"][0].tokens.sum() for ports, _ in features()))

    def answers(self, outputs):
        return [Answer(scores={n: v + self.shift for n, v in a.scores.items()}) for a in super().answers(outputs)]


def head(cls, answers="label"):
    return Piece("head", "tried", Settings, lambda settings, inputs, targets: cls(inputs, targets), answers=answers)


CASES = {
    "reads what is masked": (head(Leaks), "what lies under the masks changes block 'scores'"),
    "looks at its neighbours": (head(SeesNeighbours), "alone has another block 'scores'"),
    "leaves a label out": (head(AnswersHalf), "it answers happy, angry; the data has angry, happy, sad"),
    "counts rows without a truth": (head(LosesRows), "two of 4 rows have a truth, and 4 are counted"),
    "does not learn": (head(Detached), "no gradient"),
    "answers another task": (head(Plain, "numbers"), "it answers nothing; the data has arousal, valence"),
    "says no task": (head(Plain, ""), "a head answers label, labels or numbers"),
    "keeps what it learned elsewhere": (head(FitsOutside), "something that it learned is not in there"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_head_that_breaks_a_promise_is_caught(case):
    piece, words = CASES[case]
    assert words in broken(piece)[1]


def test_an_honest_head_passes():
    assert len(keeps_its_promises(head(Plain), light=False)) >= 8
