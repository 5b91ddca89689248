"""The probe: pooled, standardised features, and a linear model of them in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from affectkit_plugins.adapters._masked import clean
from affectkit_plugins.heads import _linear_net as linear
from affectkit_plugins.heads._scorer_net import listed
from torch import Tensor, nn

from affectkit.blocks import TokenBlock
from affectkit.errors import InputError, Problem, RunError
from affectkit.heads import Answer, FeatureBatches, wants
from affectkit.pieces import Shape
from affectkit.sample import LABEL, LABELS, NUMBERS, Sample

if TYPE_CHECKING:
    from affectkit_plugins.heads.linear_probe import Settings

SIDES = ("mean", "all")
"""Ways to make one vector of the tokens of a block."""


class LinearProbe(nn.Module):
    """tokens, blocks [b t n d_i] each -> scores [b 1 1 k] of k labels or ratings. Learns by `fit`, not by gradients."""

    way: Tensor

    def __init__(self, settings: Settings, shapes: Sequence[Shape], names: Sequence[str]) -> None:
        super().__init__()
        self.settings, self.shapes, self.names = settings, tuple(shapes), tuple(names)
        sizes = {"mean": sum(int(s.width or 0) for s in shapes)}
        whole = [int(s.time or 0) * int(s.tokens or 0) * int(s.width or 0) for s in shapes]
        if all(whole) and sum(whole) <= settings.most_values and sum(whole) > sizes["mean"]:
            sizes["all"] = sum(whole)
        elif settings.pool == "all" and sum(whole) != sizes["mean"]:
            what = f"of all tokens side by side are {sum(whole) or 'an unknown number of'} values to a sample"
            raise InputError(Problem("pool", f"{what}, and `most_values` allows {settings.most_values}", "pool: mean"))
        self.ways = [way for way in SIDES if way in sizes and settings.pool in (way, "better")] or ["mean"]
        for way in self.ways:
            self.register_buffer(f"{way}_mean", torch.zeros(sizes[way]))
            self.register_buffer(f"{way}_spread", torch.ones(sizes[way]))
            self.register_parameter(f"{way}_weight", nn.Parameter(torch.zeros(len(names), sizes[way])))
            self.register_parameter(f"{way}_bias", nn.Parameter(torch.zeros(len(names))))
        self.register_buffer("way", torch.tensor(0))
        self.chosen: dict[str, object] = {}
        """What the folds chose, for reports."""

    def forward(self, tokens: tuple[TokenBlock, ...]) -> dict[str, TokenBlock]:
        """The scores of each row, and whether it has any."""
        way = self.ways[int(self.way)]
        mean, spread = getattr(self, f"{way}_mean"), getattr(self, f"{way}_spread")
        vector = (self._vector(tokens, way) - mean) / spread
        # fitted in float64: half precision would move its answers
        with torch.autocast(vector.device.type, enabled=False):
            scores = vector @ getattr(self, f"{way}_weight").T + getattr(self, f"{way}_bias")
        seen = torch.stack([block.there for block in tokens]).any(0)
        return {"scores": TokenBlock("scores", scores[:, None, None], seen[:, None, None])}

    def _vector(self, tokens: Sequence[TokenBlock], way: str) -> Tensor:
        """[b d]: each block's mean over real tokens, or its tokens side by side with zeros where there is none."""
        parts = []
        for block, shape in zip(tokens, self.shapes, strict=True):
            values, mask = clean(block.tokens.float(), block.mask), block.mask
            if way == "mean":
                share = mask / mask.sum((1, 2), keepdim=True).clamp(min=1)
                parts.append((values * share[..., None]).sum((1, 2)))
                continue
            b, t, n, d = values.shape
            whole = values.new_zeros(b, int(shape.time or 0), int(shape.tokens or 0), d)
            whole[:, :t, :n] = values
            parts.append(whole.flatten(1))
        return torch.cat(parts, dim=1)

    def fit(self, features: FeatureBatches) -> None:
        """Choose how, and learn from all rows that have what is to be answered.

        Raises RunError where fewer than two labels occur, or no row has a rating.
        """
        vectors, samples = self.gather(features)
        truths = self.truths(samples)
        self.check(truths, len(samples))
        people = linear.groups([s.fact("person").value for s in samples])
        wholes = [torch.cat(vectors[way]).double() for way in self.ways]
        found = [linear.choose(x, truths, people, self.settings) for x in wholes]
        place = max(range(len(found)), key=lambda i: (found[i].quality, -i))
        scale, strength = linear.scale_of(wholes[place]), found[place].strength
        solution = linear.solve((wholes[place] - scale[0]) / scale[1], truths, strength, self.settings)
        self.put(place, scale, solution)
        grouped = len({*people.tolist()}) < len(samples)
        tried = {min(self.settings.strengths), max(self.settings.strengths)}
        at_end = len(tried) > 1 and strength in tried
        self.chosen = {
            "tokens": self.ways[place],
            "strength": f"{strength:g}{', an end of what is tried' if at_end else ''}",
            "rows": len(samples),
            "folds by person": grouped,
        }

    def gather(self, features: FeatureBatches) -> tuple[dict[str, list[Tensor]], list[Sample]]:
        """By way, the vectors [b d] of all rows that have a truth and a token; and their samples."""
        vectors: dict[str, list[Tensor]] = {way: [] for way in self.ways}
        samples: list[Sample] = []
        for ports, owners in features():
            blocks = ports["tokens"]
            assert isinstance(blocks, tuple)
            seen = torch.stack([block.there for block in blocks]).any(0).tolist()
            rows = [i for i, s in enumerate(owners) if seen[i] and wants(self.settings.answer, s, self.names)]
            samples += [owners[i] for i in rows]
            for way in self.ways:
                vectors[way].append(self._vector(blocks, way)[rows].cpu())
        return vectors, samples

    def put(self, place: int, scale: linear.Solution, solution: linear.Solution) -> None:
        """Take (mean, spread) of the features and (weights, biases) for what this head has learned, by the way at `place`."""
        named = zip(("mean", "spread", "weight", "bias"), (*scale, *solution), strict=True)
        with torch.no_grad():
            for name, value in named:
                getattr(self, f"{self.ways[place]}_{name}").copy_(value)
            self.way.fill_(place)

    def truths(self, samples: Sequence[Sample]) -> Tensor:
        """float64 [n k]: 1 for what is true, or the ratings (NaN where there is none)."""
        answer = self.settings.answer
        if answer == NUMBERS:
            rows = [[s.numbers.get(name, float("nan")) for name in self.names] for s in samples]
        elif answer == LABELS:
            every = [s.labels or {s.label or "": 1.0} for s in samples]
            rows = [[float(own.get(name, 0.0) > 0) for name in self.names] for own in every]
        else:
            rows = [[float(s.label == name) for name in self.names] for s in samples]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(samples), len(self.names))

    def check(self, truths: Tensor, count: int) -> None:
        """Raises RunError where there is nothing to learn from, or not for one of the ratings."""
        if self.settings.answer == NUMBERS:
            for name, any_ in zip(self.names, truths.isfinite().any(0).tolist(), strict=True):
                if not any_:
                    what = f"no training sample has the rating {name} and features to learn it from"
                    raise RunError(Problem("training samples", what))
            return
        occurring = [n for n, any_ in zip(self.names, (truths > 0).any(0).tolist(), strict=True) if any_]
        if len(occurring) < 2:
            what = f"{count} training samples with features have {len(occurring)} of the labels {', '.join(self.names)}"
            raise RunError(
                Problem("training samples", f"{what}: there is nothing to tell apart", "train on two at least")
            )

    def answers(self, outputs: Mapping[str, TokenBlock]) -> list[Answer]:
        """The score of each label, the labels above the threshold, or the ratings."""
        return [self._answer(dict(zip(self.names, row, strict=True))) if row else Answer() for row in listed(outputs)]

    def _answer(self, row: dict[str, float]) -> Answer:
        if self.settings.answer == LABEL:
            return Answer(scores=row)
        if self.settings.answer == NUMBERS:
            return Answer(numbers=row)
        odds = {name: float(torch.tensor(score, dtype=torch.float64).sigmoid()) for name, score in row.items()}
        chosen = tuple(name for name, odd in odds.items() if odd >= self.settings.threshold)
        return Answer(scores=odds, labels=chosen or (max(odds, key=lambda name: odds[name]),))
