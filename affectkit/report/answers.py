"""Sections of a page for answers that are numbers or several labels, and for how far probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from affectkit.evaluation.calibration import FIGURES
from affectkit.evaluation.figures import Figure, MetricFigure, Reliability, SplitFigures, digits
from affectkit.evaluation.prediction import Prediction, answered_only
from affectkit.report.page import Bar, Cell, Fold, Grid, Heading, PageBlock, Paragraph, Picture, SideBySide
from affectkit.report.render import spoken_name, title
from affectkit.sample import NUMBERS

PANELS = 6
"""Ratings that are drawn at most."""
USUAL = ("ece_15", "brier", "aurc")
"""The figures that stand for all of them where there is one line."""


def blocks(found: SplitFigures, predictions: Sequence[Prediction]) -> Iterator[PageBlock]:
    """Truth against answer of each rating, and what metrics say of their parts, where a split has no confusion matrix."""
    if found.per_class:
        return
    rated = answered_only(p for p in predictions if p.task == NUMBERS)
    if rated:
        yield from _scatter(rated)
    parts = list(part_blocks(found))
    if parts:
        yield SideBySide(tuple(zip(parts[::2], parts[1::2], strict=True)))


def _scatter(predictions: Sequence[Prediction]) -> Iterator[PageBlock]:
    from affectkit.report.pictures import scatter_picture

    names = sorted({name for p in predictions for name in p.true_numbers})
    pairs = {
        name: [
            (p.true_numbers[name], p.numbers[name]) for p in predictions if name in p.true_numbers and name in p.numbers
        ]
        for name in names
    }
    there = {name: found for name, found in pairs.items() if found}
    if not there:
        return
    yield Heading("Truth and answer", 3)
    first = dict(list(there.items())[:PANELS])
    more = f" The first {PANELS} of {len(there)} ratings." if len(there) > PANELS else ""
    yield Paragraph(f"A dot a sample; on the line an answer is right.{more}", "quiet")
    yield Picture(scatter_picture(first), f"Truth against answer of {', '.join(first)}")


def part_blocks(found: SplitFigures) -> Iterator[PageBlock]:
    """A heading and a table of the parts of each metric that has any: ratings, classes, figures."""
    for name, one in found.metrics.items():
        if one.parts:
            yield Heading(f"{title(name)} by part", 3)
            yield part_grid(one)


def part_grid(one: MetricFigure) -> Grid:
    """A row a part: its figure with the interval, and what else is said of it."""
    others = [key for key in dict.fromkeys(k for part in one.parts.values() for k in part) if key not in _FIGURE]
    rows: list[tuple[Cell, ...]] = [
        (part, str(Figure(own.get("value"), own.get("low"), own.get("high"))), *(own.get(key) for key in others))
        for part, own in one.parts.items()
    ]
    return Grid(("", "value [95 % interval]", *map(spoken_name, others)), tuple(rows), named=True)


_FIGURE = ("value", "low", "high")


def reliability_blocks(found: Reliability) -> Iterator[PageBlock]:
    """Confidence against accuracy, risk by coverage, and every figure, before and after temperature scaling."""
    from affectkit.report.pictures import coverage_picture, reliability_picture

    yield Heading("How far probabilities can be trusted", 3)
    yield Paragraph(reliability_about(found), "quiet")
    heat = found.temperature
    some, mended = (
        tuple(b for b in bins if b.accuracy is not None) for bins in (found.bins, heat.bins if heat else ())
    )
    curve = tuple(point for point in found.curve if None not in point)
    if some and curve:  # files may hold figures that nothing defines
        picture = Picture(
            reliability_picture(some, mended), "Accuracy by confidence, and how many answers each bin holds"
        )
        yield SideBySide(((picture,), (Picture(coverage_picture(curve), "Share of wrong answers by coverage"),)))
    after: Mapping[str, Figure] = heat.figures if heat else {}
    head = ("", "value [95 % interval]", *([f"at temperature {digits(heat.value)}"] if heat else []))
    rows = tuple(
        (FIGURES.get(name, name), _drawn(one), *([str(after[name])] if name in after else []))
        for name, one in found.figures.items()
    )
    yield Grid(head, rows)
    bins = tuple((f"{digits(b.low)} to {digits(b.high)}", b.count, b.confidence, b.accuracy) for b in found.bins)
    yield Fold("bins as a table", (Grid(("confidence", "answers", "mean confidence", "share right"), bins),), bare=True)


def _drawn(one: Figure) -> Cell:
    return str(one) if one.value is not None and one.value > 1 else Bar(one.value, one.low, one.high)


def reliability_about(found: Reliability) -> str:
    """What the figures are of, and what temperature scaling makes of them, in words."""
    said = (
        f"Of {found.count} answers with probabilities; confidence is the share of the answered label among the labels'. All "
        "figures are lower for the better."
    )
    if found.without:
        said += f" {found.without} answers have no probabilities and are left out."
    heat = found.temperature
    if heat:
        end = " (an end of what is tried)" if heat.at_end else ""
        said += (
            f" Temperature {digits(heat.value)}{end}, fitted on {heat.count} answers of {heat.split} alone: negative log-"
            f"likelihood there {digits(heat.nll_before)} before, {digits(heat.nll_after)} after."
        )
    return said


def reliability_line(found: Reliability) -> str:
    """The usual figures in one line."""
    shown = ", ".join(f"{title(name)} {found.figures[name]}" for name in USUAL if name in found.figures)
    heat = found.temperature
    end = ", an end of what is tried" if heat and heat.at_end else ""
    fitted = f"(fitted on {heat.count} answers of {heat.split}{end})" if heat else ""
    mended = f"; at temperature {digits(heat.value)} {fitted} ECE {heat.figures['ece_15']}" if heat else ""
    return f"probabilities of {found.count} answers: {shown}{mended}"


def truth_text(prediction: Prediction) -> str:
    """What is true of a sample, of any kind, in words."""
    if prediction.true_numbers:
        return numbers_text(prediction.true_numbers)
    true = [name for name, weight in prediction.true_labels.items() if weight > 0]
    return ", ".join(true) or prediction.truth or ""


def answer_text(prediction: Prediction) -> str:
    """What was answered, of any kind, in words."""
    typed = numbers_text(prediction.numbers) or ", ".join(prediction.labels)
    return prediction.text or prediction.label or typed


def numbers_text(numbers: Mapping[str, float]) -> str:
    """`valence 0.50, arousal -0.25`."""
    return ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())
