"""How large the feature cache gets: bytes a sample of each frozen step and prepared view, and in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectkit.errors import AffectkitError
from affectkit.pieces import Shape
from affectkit.plan.graph import Step
from affectkit.plan.plan import Plan, Stage

if TYPE_CHECKING:
    from affectkit.raw import RawView

NUMBER = 4
"""Bytes of a number: blocks are kept in float32 unless the whole model runs in fewer bits, which makes them half as large."""
SIDE = 64
"""Width and height of the blank picture that an encoder is shown to learn how large it makes one."""
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass
class CacheForecast:
    """What the cache keeps of each sample for one step, or one view as a step prepared it."""

    name: str
    """`stream.step`, or `stream.step:port`."""
    cache: str
    bytes: int | None
    """Of one sample, at most; None where that is known when built."""
    samples: int | None = 0
    """Over all stages and the evaluation; None where some data set does not say."""

    @property
    def total(self) -> int | None:
        return None if self.bytes is None or self.samples is None else self.bytes * self.samples


def forecast(plan: Plan) -> list[CacheForecast]:
    """What a run of the recipe puts into the cache, with the data as `plan.surveys` and steps with parameters as
    `plan.learns` know them."""
    found: dict[tuple[object, ...], CacheForecast] = {}
    trained: dict[str, int] = {}
    """Address to how many stages have trained it: other weights are kept beside the old ones."""
    counted: set[tuple[object, ...]] = set()
    for stage in [*plan.stages.values(), None]:
        cache_plan = plan.demand(stage)
        use = stage.data if stage else plan.data
        data = repr(use.block()) if use else ""  # what two stages share is counted once
        for name, blocks in [*cache_plan.blocks.items(), *((port, ()) for port in cache_plan.ports)]:
            address = name.split(":")[0]
            step = plan.graph.steps[address]
            if ":" in name and step.cache == "none":
                continue
            state = tuple((a, trained.get(a, 0)) for a in plan.graph.upstream([address])) if ":" not in name else ()
            entry = found.setdefault((name, blocks), CacheForecast(name, step.cache, _bytes(plan, step, name, blocks)))
            for split, count in _counts(plan, stage).items():
                key = (name, blocks, state, data, split)
                if key not in counted:
                    counted.add(key)
                    entry.samples = None if count is None or entry.samples is None else entry.samples + count
        for address in plan.learning(stage.trains) if stage else ():
            trained[address] = trained.get(address, 0) + 1
    return [entry for entry in found.values() if entry.bytes != 0]  # facts alone are words, not worth a line


def _counts(plan: Plan, stage: Stage | None) -> dict[str, int | None]:
    """Split to the samples of it that a stage, or the evaluation, looks at; mirrored ones are samples of their own."""
    own = stage is not None and stage.settings.data is not None
    told = plan.surveys.get(("stages", stage.name, "data") if stage and own else ("data",))
    sizes = told.splits if told else {}
    if stage is None:
        return {split: sizes.get(split) for split in plan.score.splits}
    flips = 1 + any(getattr(v.settings, "flip", "") == "random" for v in plan.graph.views.values())
    train = sizes.get("train")
    return {"train": None if train is None else train * flips, "val": sizes.get("val", 0) if sizes else None}


def _bytes(plan: Plan, step: Step, name: str, blocks: tuple[str, ...]) -> int | None:
    """Bytes of one sample: numbers and one truth a token."""
    if ":" in name:
        return _prepared(step, name.split(":")[1])
    total = 0
    for block in blocks:
        shape = step.shapes[block]
        if shape.time is None or shape.tokens is None or shape.width is None:
            return None
        total += shape.time * shape.tokens * (shape.width * NUMBER + 1)
    return total


def _prepared(step: Step, port: str) -> int | None:
    """Bytes of a view as a step prepares it, from a blank picture or silence; None where it cannot be prepared so."""
    shape = step.eats[port]
    raw = _blank(shape)
    if raw is None or step.piece.prepare is None:
        return None
    try:
        made = step.piece.prepare(step.settings, port, raw)
    except (AffectkitError, ArithmeticError, LookupError, TypeError, ValueError):
        return None  # blank input is too odd for this piece; it will be seen when the cache is filled
    times = shape.time if shape.kind == "pixels" else 1
    # beside the values: a truth, an index and, for face crops, a box for each picture
    return None if times is None else times * (int(made.nbytes) + (1 + 8 + 16 if shape.kind == "pixels" else len(made)))


def _blank(shape: Shape) -> RawView | None:
    import numpy as np

    from affectkit.raw import RawPixels, RawWave

    if shape.kind == "pixels":
        frame = np.zeros((SIDE, SIDE, 3), np.uint8)
        return RawPixels((frame,), np.zeros(1, np.int64), np.zeros(1), np.ones(1, bool))
    if shape.kind == "wave" and shape.tokens and shape.width:
        size = (shape.time, shape.tokens) if shape.time and shape.time > 1 else (shape.tokens,)
        return RawWave(np.zeros(size, np.float32), shape.width)
    return None


def forecast_rows(kept: list[CacheForecast]) -> list[list[str]]:
    """What is kept, a row each, and the sum of what is known."""
    rows = [[k.name, k.cache, size_text(k.bytes), _count(k.samples), size_text(k.total)] for k in kept]
    return [*rows, ["in all", "", _sum([k.bytes for k in kept]), "", _sum([k.total for k in kept])]]


def _sum(sizes: list[int | None]) -> str:
    known = [size for size in sizes if size is not None]
    return ("at least " if 0 < len(known) < len(sizes) else "") + size_text(sum(known) if known else None)


COLUMNS = ["kept", "where", "a sample, at most", "samples", "in all, at most"]


def size_text(size: int | None) -> str:
    """12.3 MB; `?` is known when built."""
    if size is None:
        return "?"
    return next((f"{size / unit:.1f} {letters}" for unit, letters in UNITS if size >= unit), f"{size} bytes")


def _count(samples: int | None) -> str:
    return "?" if samples is None else f"{samples:,}"
