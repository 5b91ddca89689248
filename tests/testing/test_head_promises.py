"""A test of the tests: a head that breaks a promise is caught, by name and with figures."""

import math

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


class Means(Plain):
    def loss(self, outputs, samples):
        total, count = super().loss(outputs, samples)
        return total / max(count, 1), count


class CountsEmptyRows(Plain):
    def rows(self, outputs, samples):
        return [i for i, s in enumerate(samples) if s.label in self.labels]


class CutsOff(Plain):
    def pooled(self, block):
        return super().pooled(block).detach()


class Hides(Plain):
    """Its weights are in a list, where no optimiser and no state_dict finds them."""

    def __init__(self, inputs, targets):
        super().__init__(inputs, targets)
        self.hidden = [nn.Linear(inputs["tokens"][0].width, inputs["tokens"][0].width)]

    def pooled(self, block):
        return self.hidden[0](super().pooled(block))


class Climbs(Plain):
    def loss(self, outputs, samples):
        total, count = super().loss(outputs, samples)
        return -total, count


class LearnsTheNext(Plain):
    def loss(self, outputs, samples):
        own, self.labels = self.labels, self.labels[1:] + self.labels[:1]
        found = super().loss(outputs, samples)
        self.labels = own
        return found


class NamesInOrder(Plain):
    def answers(self, outputs):
        names = sorted(self.labels)
        return [Answer(scores=dict(zip(names, a.scores.values(), strict=False))) for a in super().answers(outputs)]


class GivesProbabilities(Plain):
    def answers(self, outputs):
        found = [{n: math.exp(v) for n, v in a.scores.items()} for a in super().answers(outputs)]
        return [Answer(scores={n: v / sum(row.values()) for n, v in row.items()}) for row in found]


class Several(Plain):
    """Several labels, each by itself."""

    def loss(self, outputs, samples):
        there = outputs["scores"].mask.flatten()
        own = [s.labels or ({s.label: 1.0} if s.label else {}) for s in samples]
        rows = [i for i, labels in enumerate(own) if labels and there[i]]
        truths = torch.tensor([[float(n in own[i]) for n in self.labels] for i in rows]).reshape(-1, len(self.labels))
        scores = outputs["scores"].tokens[rows, 0, 0]
        return nn.functional.binary_cross_entropy_with_logits(scores, truths, reduction="sum"), len(rows)

    def answers(self, outputs):
        found = [{n: 1 / (1 + math.exp(-v)) for n, v in a.scores.items()} for a in super().answers(outputs)]
        return [Answer(scores=row, labels=self.chosen(row)) for row in found]

    def chosen(self, row):
        return tuple(name for name, odd in row.items() if odd > 0.5)


class ChoosesTheUnlikely(Several):
    def chosen(self, row):
        return tuple(name for name, odd in row.items() if odd < 0.5)


class Rates(Plain):
    """Ratings by least squares."""

    def __init__(self, inputs, targets):
        super().__init__(inputs, targets)
        self.names = list(targets.numbers)
        self.scores = nn.Linear(inputs["tokens"][0].width, len(self.names))

    def loss(self, outputs, samples):
        there = outputs["scores"].mask.flatten()
        rows = [i for i, s in enumerate(samples) if s.numbers and there[i]]
        truths = [[self.truth(samples[i].numbers, name) for name in self.names] for i in rows]
        apart = outputs["scores"].tokens[rows, 0, 0] - torch.tensor(truths).reshape(-1, len(self.names))
        return apart.nan_to_num().square().sum(), len(rows)

    def truth(self, numbers, name):
        return numbers.get(name, math.nan)

    def answers(self, outputs):
        block = outputs["scores"]
        rows = zip(block.tokens[:, 0, 0].tolist(), block.mask.flatten().tolist(), strict=True)
        return [Answer(numbers=dict(zip(self.names, row, strict=True))) if there else Answer() for row, there in rows]


class WantsAll(Rates):
    def truth(self, numbers, name):
        return numbers[name]


class TakesNothingForZero(Rates):
    def truth(self, numbers, name):
        return numbers.get(name, 0.0)


class SwapsRatings(Rates):
    def truth(self, numbers, name):
        return super().truth(numbers, self.names[1 - self.names.index(name)])


class Nearest(Plain):
    """The nearest mean of a label, by `fit`."""

    def __init__(self, inputs, targets):
        super().__init__(inputs, targets)
        del self.scores
        self.register_buffer("means", torch.zeros(len(self.labels), inputs["tokens"][0].width))

    def forward(self, tokens):
        apart = (self.pooled(tokens[0])[:, None] - self.means).square().sum(-1)
        return {"scores": TokenBlock.one_a_row("scores", self.score(apart), tokens[0].there)}

    def score(self, apart):
        return -apart

    def fit(self, features):
        batches = self.read(list(features()))
        x = torch.cat([self.pooled(ports["tokens"][0]) for ports, _ in batches])
        own = [s.label for _, samples in batches for s in samples]
        for i, label in enumerate(self.labels):
            self.means[i] = x[[row for row, name in enumerate(own) if name == label]].mean(0)

    def read(self, batches):
        return batches


class Farthest(Nearest):
    def score(self, apart):
        return apart


class FitsNothing(Nearest):
    def fit(self, features):
        list(features())


class ReadsOneBatch(Nearest):
    def read(self, batches):
        return batches[:1]


class FitsByChance(Nearest):
    def fit(self, features):
        super().fit(features)
        self.means += 0.01 * torch.randn_like(self.means)


def head(cls, answers="label", **more):
    return Piece(
        "head", "tried", Settings, lambda settings, inputs, targets: cls(inputs, targets), answers=answers, **more
    )


class KnowsThree(Plain):
    """Its labels are those that its author had."""

    def __init__(self, inputs, targets):
        super().__init__(inputs, targets)
        self.labels = ("happy", "sad", "angry")


class HasThreeScores(Plain):
    def __init__(self, inputs, targets):
        super().__init__(inputs, targets)
        self.scores = nn.Linear(inputs["tokens"][0].width, 3)


CASES = {
    "knows its own labels only": (
        head(KnowsThree),
        "with the labels calm, proud, bored, amused and the rating dominance: ValueError",
    ),
    "has room for three labels": (head(HasThreeScores), "with the labels calm, proud, bored, amused"),
    "reads what is masked": (head(Leaks), "what lies under the masks changes block 'scores'"),
    "looks at its neighbours": (head(SeesNeighbours), "alone has another block 'scores'"),
    "leaves a label out": (head(AnswersHalf), "it answers happy, angry; the data has angry, happy, sad"),
    "counts rows without a truth": (head(LosesRows), "two of 4 rows have a truth, and 4 are counted"),
    "does not learn": (head(Detached), "no gradient"),
    "answers another task": (head(Plain, "numbers"), "it answers nothing; the data has arousal, valence"),
    "says no task": (head(Plain, ""), "a head answers label, labels or numbers"),
    "keeps what it learned elsewhere": (head(FitsOutside), "something that it learned is not in there"),
    "gives a mean with a count": (head(Means), "4 rows, one of them without a token, cost 1.2"),
    "counts rows without a token": (
        head(CountsEmptyRows),
        "one of them without a token, count 4 together and 3 one by one",
    ),
    "keeps the gradient from what it reads": (head(CutsOff), "its loss gives block 'tokens' no gradient"),
    "hides its weights": (head(Hides), "something that it learned is not in there"),
    "climbs its loss": (
        head(Climbs),
        "after 150 steps down its loss on 24 rows that can be told apart, it answers 8 of them",
    ),
    "learns another label": (head(LearnsTheNext), "it answers 0 of them rightly"),
    "calls labels by other names": (head(NamesInOrder), "it answers 0 of them rightly"),
    "gives probabilities for their logarithms": (head(GivesProbabilities), "give the logarithms of probabilities"),
    "chooses what is unlikely": (head(ChoosesTheUnlikely, "labels"), "of them rightly"),
    "wants every rating": (head(WantsAll, "numbers"), "of ratings a row may have some only: KeyError: 'valence'"),
    "learns 0 for no rating": (
        head(TakesNothingForZero, "numbers"),
        "rows without arousal cost as much as rows where it is 0",
    ),
    "swaps ratings": (head(SwapsRatings, "numbers"), "the mean squared error of valence is"),
    "fits upside down": (head(Farthest), "after `fit` on 24 rows that can be told apart, it answers 0 of them rightly"),
    "fits nothing": (head(FitsNothing), "after `fit` on 24 rows that can be told apart, it answers 0 of them rightly"),
    "fits the first batch": (head(ReadsOneBatch), "with other tokens in batch 3 of 3 it learns the same"),
    "fits by chance": (head(FitsByChance), "other weights the second time"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_head_that_breaks_a_promise_is_caught(case):
    piece, words = CASES[case]
    assert words in broken(piece)[1]


@pytest.mark.parametrize(
    ("cls", "answers"), [(Plain, "label"), (Several, "labels"), (Rates, "numbers"), (Nearest, "label")]
)
def test_an_honest_head_passes(cls, answers):
    assert len(keeps_its_promises(head(cls, answers), light=False)) >= 13


def test_a_loss_over_a_batch_is_said_to_be_one():
    assert keeps_its_promises(head(Means, per_batch=True), light=False)
