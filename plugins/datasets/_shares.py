"""Splits of data sets that are published without any: shares drawn by a seed."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from affectkit_plugins.datasets._folders import draw
from affectkit_plugins.datasets._published import with_val

from affectkit.sample import Sample


def cut(samples: list[Sample], test: float, val: float, seed: int) -> dict[str, list[Sample]]:
    """All clips in `train` but the shares for `test` and `val`, drawn by the seed, each label in proportion."""
    tested = draw(((s.id, s.label) for s in samples), test, seed)
    left = [s for s in samples if s.id not in tested]
    parts = with_val({"train": left}, val / (1 - test), seed + 1)
    return {**parts, "test": [s for s in samples if s.id in tested]}


def cut_together(
    samples: list[Sample], of: Callable[[Sample], Hashable], test: float, val: float, seed: int
) -> dict[str, list[Sample]]:
    """As `cut`, by what samples are of: those of one clip or picture stay in one split."""
    first: dict[Hashable, Sample] = {}
    for sample in samples:
        first.setdefault(of(sample), sample)
    parts = cut(list(first.values()), test, val, seed)
    where = {of(s): split for split, part in parts.items() for s in part}
    return {split: [s for s in samples if where[of(s)] == split] for split in parts}


def assign_shares(samples: list[Sample], train: float, val: float, seed: int) -> dict[str, list[Sample]]:
    """All clips in `test` but the shares for `train` and `val`, drawn by the seed, each label in proportion."""

    def pairs(left: list[Sample]) -> list[tuple[str, str | None]]:
        return [(s.id, s.label) for s in left]

    learnt = draw(pairs(samples), train, seed)
    left = [s for s in samples if s.id not in learnt]
    chosen = draw(pairs(left), val / (1 - train), seed + 1)
    split = {**dict.fromkeys(learnt, "train"), **dict.fromkeys(chosen, "val")}
    return {part: [s for s in samples if split.get(s.id, "test") == part] for part in ("train", "val", "test")}
