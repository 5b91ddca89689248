"""The promises of heads, checked as the frame runs them: on a batch of rows of different lengths, each with a truth, and on
rows that can be told apart, from which a head must learn what is true of them."""

from __future__ import annotations

import fnmatch
import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from affectkit.blocks import Block, TokenBlock
from affectkit.encode.faults import wrong_block, wrong_form
from affectkit.encode.steps import Steps, by_port, choice, rows_of
from affectkit.errors import InputError
from affectkit.heads import Answer, wants
from affectkit.pieces import Piece, Shape
from affectkit.plan.graph import Graph, Ref, Step
from affectkit.sample import LABEL, LABELS, NUMBERS, Fact, Sample, Targets
from affectkit.testing.bench import NEAR, shake
from affectkit.testing.inputs import ROWS, blocks, spoiled

TARGETS = Targets(("happy", "sad", "angry"), {"valence": (1.0, 5.0), "arousal": (-math.inf, math.inf)})
"""What the data that a head is tried on has."""
OTHERS = Targets(("calm", "proud", "bored", "amused"), {"dominance": (0.0, 10.0)})
"""The same of other data, to which a head must fit as well."""
PUPILS, BATCHES = 24, 3
"""Rows that a head learns from, and the batches in which `fit` sees them."""
STEPS, RATES = 150, (0.03, 0.3, 0.003)
"""Of Adam, by which a head with a loss learns from them: the steps, and the learning rates, of which one has to do."""
RIGHT, SPREAD = 0.9, 0.5
"""How many rows a head then answers rightly at least; of ratings, how large its squared error is at most against the variance."""


def truth(number: int) -> Sample:
    """A sample with all that a head may want to know."""
    label = TARGETS.labels[number % 3]
    return Sample(
        str(number), label=label, labels={label: 1.0, "sad": 1.0}, facts={"person": Fact(str(number // 2))},
        numbers={"valence": 1.0 + number % 4, "arousal": 0.5 * number - 1.0},
    )  # fmt: skip


def lesson(task: str, number: int) -> tuple[Sample, list[float]]:
    """A sample that knows all, and the numbers that its tokens are made of, which say what is true in that task."""
    names = TARGETS.labels
    label = names[number % 3]
    several = {label: 1.0, **({names[(number + 1) % 3]: 1.0} if number % 2 else {})}
    ratings = {"valence": 1.0 + number % 5, "arousal": 3.0 + number // 5 % 3}
    known = {"person": Fact(str(number // 2))}
    sample = Sample(str(number), label=label, labels=several, facts=known, numbers=ratings)
    if task == NUMBERS:
        return sample, [(ratings["valence"] - 3) / 2, ratings["arousal"] - 4]
    return sample, [float(name in (several if task == LABELS else (label,))) for name in names]


def of_others(sample: Sample, number: int) -> Sample:
    """A sample with what the other data has."""
    label = OTHERS.labels[-1 - number % len(OTHERS.labels)]
    return replace(sample, label=label, labels={label: 1.0}, numbers={"dominance": 2.0 * (number % 5)})


class HeadBench:
    """A head of that piece in eval mode, with parameters shaken; one that learns by `fit` has learned."""

    def __init__(self, piece: Piece, settings: Any, inputs: Mapping[str, Shape], idle: Mapping[str, str]) -> None:
        self.piece, self.settings, self.idle = piece, settings, idle
        self.task = str(piece.answers(settings) if callable(piece.answers) else piece.answers)
        usual = {port.name: inputs.get(port.name, Shape(time=2, tokens=3, width=6)) for port in piece.ports}
        self.full, self.ragged = (blocks(piece, settings, usual, uneven) for uneven in (False, True))
        self.samples = [truth(i) for i in range(ROWS)]
        self.shapes = by_port(piece, usual)
        refs = {port: Ref(view=port) for port in usual}
        announced = dict(piece.shapes(settings, usual, None)) if piece.shapes else {}
        self.step = Step("heads.head", piece, settings, refs, usual, announced, "none")
        taught = [lesson(self.task, i) for i in range(PUPILS)]
        self.truths = [sample for sample, _ in taught]
        self.pupils = [replace(s, numbers=_some(s.numbers, i)) for i, s in enumerate(self.truths)]
        self.lesson = self._tokens(torch.tensor([signals for _, signals in taught]))
        self.module = self.built()
        self.fits = hasattr(self.module, "fit")
        if self.fits:
            self.module = self.fitted(self.lesson)
        else:
            shake(self.module)
        self.module.eval()

    def built(self, seed: int = 0) -> Any:
        """Built anew, with other random weights for another seed."""
        torch.manual_seed(seed)
        module = self.piece.build(self.settings, self.shapes, TARGETS)
        if not isinstance(module, nn.Module):
            raise TypeError(f"build returned {type(module).__name__}, not an nn.Module")
        return module

    def _tokens(self, signals: Tensor) -> dict[str, Block]:
        """Blocks whose tokens hold these numbers [n k], each in a direction of its own, beside a constant and a little noise."""
        torch.manual_seed(2)
        made: dict[str, Block] = {}
        for name, block in self.full.items():
            if isinstance(block, TokenBlock):
                _, t, n, d = block.tokens.shape
                ways = nn.init.orthogonal_(torch.empty(signals.shape[1] + 1, d)) * d**0.5
                said = (ways[0] + signals @ ways[1:])[:, None, None]
                mask = torch.ones(len(signals), t, n, dtype=torch.bool)
                made[name] = TokenBlock(name, said + 0.1 * torch.randn(len(signals), t, n, d), mask)
        return made

    def outputs(self, given: Mapping[str, Block], module: Any = None) -> dict[str, TokenBlock]:
        """The outputs for a batch, as the frame runs it; of another module where one is given."""
        steps = Steps(Graph(steps={self.step.address: self.step}), {self.step.address: module or self.module})
        return steps.run_step(self.step, dict(given))

    def run(self, given: Mapping[str, Block], module: Any = None) -> dict[str, TokenBlock]:
        """The same, without gradients."""
        with torch.no_grad():
            return self.outputs(given, module)

    def answers(self, given: Mapping[str, Block], module: Any = None) -> list[Answer]:
        """The answers to a batch."""
        found: list[Answer] = (module or self.module).answers(self.run(given, module))
        return found

    def loss(self, given: Mapping[str, Block], samples: Sequence[Sample]) -> Any:
        """(sum, number of terms) of a batch."""
        return self.module.loss(self.outputs(given), samples)

    def fitted(self, given: Mapping[str, Block], seed: int = 0) -> Any:
        """One that has learned by `fit` from such rows."""
        return self.fit(self.built(seed), given, self.pupils)

    def fit(self, module: Any, given: Mapping[str, Block], pupils: Sequence[Sample]) -> Any:
        """A module, having learned by `fit` from these samples, in several batches, as the frame lets it."""
        parts = torch.arange(PUPILS).chunk(BATCHES)
        cut = [({name: rows_of(block, rows) for name, block in given.items()}, rows.tolist()) for rows in parts]
        batches = [(by_port(self.piece, some), [pupils[row] for row in rows]) for some, rows in cut]
        with torch.no_grad():
            module.eval().fit(lambda: iter(batches))
        return module

    @functools.cached_property
    def taught(self) -> Any:
        """One that has learned from the lesson: by `fit`, or by descending its loss at the first rate that does."""
        if self.fits:
            return self.module
        for rate in RATES:
            module = self._descended(rate)
            if not list(_mistakes(self, module)):
                break
        return module

    def _descended(self, rate: float) -> Any:
        """One whose loss was followed down for some steps."""
        module = self.built()
        weights = [p for p in module.parameters() if p.requires_grad]
        search = torch.optim.Adam(weights, rate) if weights else None
        for _ in range(STEPS if search else 0):
            total, count = module.loss(self.outputs(self.lesson, module), self.pupils)
            module.zero_grad()
            if total.requires_grad and search:
                (total / max(count, 1)).backward()
                search.step()
        return module.eval()


def _some(ratings: Mapping[str, float], number: int) -> dict[str, float]:
    """All ratings of one sample in three; of the others one each."""
    left_out = (None, *ratings)[number % 3]
    return {name: value for name, value in ratings.items() if name != left_out}


def task(bench: HeadBench) -> Iterator[str]:
    """It says what it answers: one of the tasks label, labels and numbers, by its record."""
    if bench.task not in (LABEL, LABELS, NUMBERS):
        yield f"`answers` of the piece says {bench.task!r}; a head answers {LABEL}, {LABELS} or {NUMBERS}"


def outputs(bench: HeadBench) -> Iterator[str]:
    """Its blocks are as announced, a row for each row."""
    out = bench.run(bench.ragged)
    yield from wrong_form(out)
    absent = [name for name in bench.step.shapes if name not in out]
    if absent:
        yield f"`shapes` announced {', '.join(absent)}, which it does not put out"
    for name, shape in bench.step.shapes.items():
        if name in out:
            yield from wrong_block(name, out[name], shape, ROWS)


def answers(bench: HeadBench) -> Iterator[str]:
    """An answer a row, of its own task: for every label or number of the data, finite."""
    found = bench.answers(bench.ragged)
    if len(found) != ROWS:
        yield f"{ROWS} rows gave {len(found)} answers"
    for row, one in enumerate(found):
        if not isinstance(one, Answer):
            yield f"row {row}: {one!r} is no affectkit.Answer"
            return
        yield from _answer(bench.task, row, one)
    if bench.task == LABEL and all(_are_probabilities(one.scores.values()) for one in found):
        yield f"the scores of each row are from 0 to 1 and add up to 1: give the logarithms of probabilities ({found[0]})"


def other_data(bench: HeadBench) -> Iterator[str]:
    """It answers what its data has: also where that has other labels, more of them, and another rating."""
    try:
        module = bench.piece.build(bench.settings, bench.shapes, OTHERS)
    except InputError:  # its settings name ratings or labels
        return
    try:
        if bench.fits:
            bench.fit(module, bench.lesson, [of_others(s, i) for i, s in enumerate(bench.pupils)])
        elif hasattr(module, "loss"):
            total, _ = module.loss(
                bench.outputs(bench.ragged, module), [of_others(s, i) for i, s in enumerate(bench.samples)]
            )
            if not bool(total.isfinite()):
                yield f"with the labels {', '.join(OTHERS.labels)} its loss is {float(total.detach())}"
        found = bench.answers(bench.ragged, module.eval())
    except Exception as error:
        yield f"with the labels {', '.join(OTHERS.labels)} and the rating dominance: {type(error).__name__}: {error}"
        return
    yield from list(_answer(bench.task, 0, found[0], OTHERS))[:1]


def _answer(asked: str, row: int, one: Answer, targets: Targets = TARGETS) -> Iterator[str]:
    """What is wrong with an answer."""
    values = {LABEL: one.scores, LABELS: one.scores, NUMBERS: one.numbers}.get(asked, {})
    known = set(targets.numbers) if asked == NUMBERS else set(targets.labels)
    if not values or not set(values) <= known or (asked != NUMBERS and set(values) != known):
        yield f"row {row}: it answers {', '.join(values) or 'nothing'}; the data has {', '.join(sorted(known))}"
    if not all(isinstance(v, float) and math.isfinite(v) for v in values.values()):
        yield f"row {row}: {dict(values)} holds what is no finite float"
    if asked == LABELS and not all(0 <= v <= 1 for v in values.values()):
        yield f"row {row}: a probability is not from 0 to 1: {dict(values)}"
    if not set(one.labels) <= known or (one.labels and asked != LABELS):
        yield f"row {row}: it answers the labels {', '.join(one.labels)} in the task {asked}"


def _are_probabilities(values: Collection[float]) -> bool:
    return all(0 <= v <= 1 for v in values) and math.isclose(sum(values), 1, abs_tol=NEAR)


def masks(bench: HeadBench) -> Iterator[str]:
    """What lies under a mask does not matter, nor who stands beside a row, and a row without a token has no answer."""
    clean = bench.run(bench.ragged)
    for what, other in (("what lies under the masks", bench.run(spoiled(bench.ragged))),):
        for name, block in clean.items():
            yield from _apart(f"{what} changes block {name!r}", block, other[name])
    alone = [bench.run({n: rows_of(b, torch.tensor([row])) for n, b in bench.ragged.items()}) for row in range(ROWS)]
    for name, block in clean.items():
        for row, one in enumerate(alone):
            part = rows_of(block, torch.tensor([row]))
            assert isinstance(part, TokenBlock)
            yield from _apart(f"row {row} alone has another block {name!r}", part, one[name])
    empty = {n: TokenBlock(n, b.tokens, b.mask & False) for n, b in bench.ragged.items() if isinstance(b, TokenBlock)}
    said = [one for one in bench.module.answers(bench.run(empty)) if one.scores or one.numbers or one.labels]
    if said:
        yield f"rows without a token are answered {said[0]}"


def _apart(what: str, one: TokenBlock, two: TokenBlock) -> Iterator[str]:
    if one.tokens.shape != two.tokens.shape:
        yield f"{what}: {list(one.tokens.shape)} against {list(two.tokens.shape)}"
        return
    far = float((one.tokens - two.tokens).abs().max())
    if not far <= NEAR * max(1.0, float(one.tokens.abs().max())):
        yield f"{what} by {far:.3g}"


def loss(bench: HeadBench) -> Iterator[str]:
    """Its loss is a sum over the rows that have a truth, with their number: finite, that of rows together is that of each alone
    (unless the piece says `per_batch`), and 0 where nothing counts."""
    if not _descends(bench):
        return
    total, count = bench.loss(bench.ragged, bench.samples)
    if not isinstance(count, int) or count != sum(wants(bench.task, s) for s in bench.samples):
        yield f"{ROWS} rows with truths count {count!r}"
    if not isinstance(total, Tensor) or total.dim() or not bool(total.isfinite()):
        yield f"its loss is {total}, not one finite number"
        return
    bare = [*bench.samples[:2], *(Sample(s.id) for s in bench.samples[2:])]
    some, fewer = bench.loss(bench.ragged, bare)
    if fewer != 2:
        yield f"two of {ROWS} rows have a truth, and {fewer} are counted"
    if not bool(some.isfinite()):
        yield "its loss is not finite where some rows have no truth"
    none, count = bench.loss(bench.ragged, [Sample(s.id) for s in bench.samples])
    if count or float(none.detach()):
        yield f"without any truth its loss is {float(none.detach())} over {count} rows"
    yield from _adds_up(bench)


def _descends(bench: HeadBench) -> bool:
    """Whether it learns by its loss."""
    return not bench.fits and hasattr(bench.module, "loss")


def _adds_up(bench: HeadBench) -> Iterator[str]:
    """What is wrong with the loss of rows together, against that of each alone; and with that of a row without a token."""
    chosen = [torch.tensor([row]) for row in range(ROWS)]
    parts = [({n: rows_of(b, one) for n, b in bench.ragged.items()}, [bench.samples[int(one)]]) for one in chosen]
    alone = [(float(total.detach()), count) for total, count in (bench.loss(*part) for part in parts)]
    there = (torch.arange(ROWS) > 0)[:, None, None]
    empty: dict[str, Block] = {
        n: TokenBlock(n, b.tokens, b.mask & there) for n, b in bench.ragged.items() if isinstance(b, TokenBlock)
    }
    for what, given, each in (("", bench.ragged, alone), (", one of them without a token,", empty, alone[1:])):
        total, count = bench.loss(given, bench.samples)
        summed, number = (sum(values) for values in zip(*each, strict=True))
        if count != number:
            yield f"{ROWS} rows{what} count {count} together and {number} one by one"
        per_batch = choice(bench.piece.per_batch, bench.settings)
        if not per_batch and not abs(float(total.detach()) - summed) <= 10 * NEAR * max(1.0, abs(summed)):
            yield f"{ROWS} rows{what} cost {float(total.detach()):.5g} together and {summed:.5g} one by one"


def gradients(bench: HeadBench) -> Iterator[str]:
    """The gradient of its loss reaches every block that it reads, and every parameter."""
    if not _descends(bench):
        return
    given = {
        name: TokenBlock(name, block.tokens.clone().requires_grad_(), block.mask)
        for name, block in bench.ragged.items()
        if isinstance(block, TokenBlock)
    }
    total, _ = bench.loss(given, bench.samples)
    if not total.requires_grad:
        yield "its loss has no gradient"
        return
    bench.module.zero_grad()
    total.backward()
    trained = {name: p for name, p in bench.module.named_parameters() if p.requires_grad}
    pulled = {name: p.grad for name, p in trained.items()} | {f"block {n!r}": b.tokens.grad for n, b in given.items()}
    bench.module.zero_grad()
    idle = [n for n in pulled for pattern in bench.idle if fnmatch.fnmatchcase(n, pattern)]
    still = [n for n, grad in pulled.items() if (grad is None or not bool(grad.any())) and n not in idle]
    if still:
        yield f"its loss gives {', '.join(still[:4])} no gradient"
    wild = [n for n, grad in pulled.items() if grad is not None and not bool(grad.isfinite().all())]
    if wild:
        yield f"its loss gives {', '.join(wild[:4])} a gradient that is not finite"


def partial(bench: HeadBench) -> Iterator[str]:
    """Of ratings a row may have some only: it counts, and what is missing is not learned as 0."""
    if not _descends(bench) or bench.task != NUMBERS:
        return
    names = list(bench.answers(bench.ragged)[0].numbers)
    for name in names if len(names) > 1 else ():
        fewer = [replace(s, numbers={n: v for n, v in s.numbers.items() if n != name}) for s in bench.samples]
        total, count = bench.loss(bench.ragged, fewer)
        if count != ROWS or not bool(total.isfinite()):
            yield f"{ROWS} rows without {name} cost {float(total.detach()):.5g} and count {count}"
        nought, _ = bench.loss(bench.ragged, [replace(s, numbers={**s.numbers, name: 0.0}) for s in bench.samples])
        if abs(float((nought - total).detach())) <= NEAR * abs(float(nought.detach())):
            yield f"rows without {name} cost as much as rows where it is 0: {float(total.detach()):.5g}"


def learns(bench: HeadBench) -> Iterator[str]:
    """It learns to answer rightly: from rows that can be told apart, by `fit` or by descending its loss."""
    if not bench.fits and not hasattr(bench.module, "loss"):
        yield "it has neither `loss` nor `fit`: it cannot learn"
        return
    by = "`fit`" if bench.fits else f"{STEPS} steps down its loss"
    yield from (
        f"after {by} on {PUPILS} rows that can be told apart, {what}" for what in _mistakes(bench, bench.taught)
    )


def _mistakes(bench: HeadBench, module: Any) -> Iterator[str]:
    """What is wrong with the answers to the rows that a head has learned from."""
    found = bench.answers(bench.lesson, module)
    pairs = list(zip(found, bench.truths, strict=True))
    if bench.task in (LABEL, LABELS):
        right = sum(_is_right(bench.task, answer, sample) for answer, sample in pairs)
        if right < RIGHT * PUPILS:
            yield f"it answers {right} of them rightly"
        return
    for name in found[0].numbers:
        errors = torch.tensor([answer.numbers.get(name, math.nan) - s.numbers[name] for answer, s in pairs])
        spread = torch.tensor([s.numbers[name] for s in bench.truths]).var(correction=0)
        if not bool((errors**2).mean() <= SPREAD * spread):
            yield f"the mean squared error of {name} is {(errors**2).mean():.3g}, where their variance is {spread:.3g}"


def _is_right(asked: str, answer: Answer, sample: Sample) -> bool:
    """Whether what is true is found likelier than all else, and no other label is answered."""
    true = {str(sample.label)} if asked == LABEL else {*sample.labels}
    most = min((score for name, score in answer.scores.items() if name in true), default=-math.inf)
    return {*answer.labels} <= true and all(most > score for name, score in answer.scores.items() if name not in true)


def state(bench: HeadBench) -> Iterator[str]:
    """All that it has learned lies in its parameters and buffers."""
    again = bench.built(seed=1)
    again.load_state_dict(bench.taught.state_dict())
    pairs = zip(bench.answers(bench.lesson, again.eval()), bench.answers(bench.lesson, bench.taught), strict=True)
    for row, (one, two) in enumerate(pairs):
        if one != two:
            yield "loaded from its state_dict it answers otherwise: something that it learned is not in there"
            yield f"row {row} gives {one}, not {two}"
            return


def fit(bench: HeadBench) -> Iterator[str]:
    """What it learns by `fit` is the same each time, and comes from every batch."""
    if not bench.fits:
        return
    mine, other = bench.module.state_dict(), bench.fitted(bench.lesson, seed=1).state_dict()
    if any(not torch.equal(mine[name], other[name]) for name in mine):
        yield "the same samples give other weights the second time"
        return
    usual = bench.answers(bench.lesson)
    for place, rows in enumerate(torch.arange(PUPILS).chunk(BATCHES), 1):
        sign = torch.ones(PUPILS, 1, 1, 1)
        sign[rows] = -1
        turned = {n: replace(b, tokens=b.tokens * sign) for n, b in bench.lesson.items() if isinstance(b, TokenBlock)}
        if bench.answers(bench.lesson, bench.fitted(turned)) == usual:
            yield f"with other tokens in batch {place} of {BATCHES} it learns the same: read all of them"


KITS = {"head": (HeadBench, (task, outputs, answers, other_data, masks, loss, gradients, partial, learns, state, fit))}
