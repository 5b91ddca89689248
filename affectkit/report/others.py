"""What heads make of the same samples, beside who answers for the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from affectkit.evaluation.figures import OtherSystem, SplitFigures, digits
from affectkit.report.page import Grid, Heading, PageBlock, Paragraph
from affectkit.report.render import title

HEAD = ("head", "metric", "this run", "the head", "95 % interval", "run less head", "95 % interval")


def other_blocks(found: SplitFigures) -> Iterator[PageBlock]:
    """A table of the heads' figures with the paired differences, and what each of them is."""
    if not found.others:
        return
    yield Heading("Beside heads on the same samples", 3)
    yield Grid(HEAD, tuple(rows(found.others)))
    about = "; ".join(f"{name}: {one.about}" for name, one in found.others.items())
    yield Paragraph(f"{about}. Differences are paired, on the samples that both answered.", "quiet")


def rows(others: Mapping[str, OtherSystem]) -> Iterator[tuple[str, ...]]:
    """A row for each head and metric."""
    for name, one in others.items():
        for metric, figure in one.metrics.items():
            pair = one.apart.get(metric)
            own, apart = (digits(pair.second), pair) if pair else (digits(None), None)
            ends = apart.digits() if apart else ("–", "–")
            yield (name, title(metric), own, *figure.digits(), *ends)
