"""What a look at the data found, as people and programs read it. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from affectkit.data_check import DataReport, Finding, Split


def as_json(report: DataReport) -> dict[str, Any]:
    """The report as plain values."""
    splits = []
    for one in report.splits:
        plain = {k: v for k, v in vars(one).items() if k != "seconds"}
        splits.append({**plain, "seconds": lengths(one)})
    findings = [vars(f) for f in report.findings]
    return {"recipe": report.recipe, "ok": report.ok, "quick": report.quick, "splits": splits, "findings": findings,
            "notes": report.notes}  # fmt: skip


def lengths(one: Split) -> dict[str, float] | None:
    """Total, shortest, average and longest in seconds; None where no length is known."""
    if not one.seconds:
        return None
    total = sum(one.seconds)
    return {"total": total, "least": min(one.seconds), "average": total / len(one.seconds), "most": max(one.seconds)}


def split_rows(report: DataReport) -> list[list[str]]:
    """A row a split, for a table."""
    rows = []
    for one in report.splits:
        head = [f"{one.data}: {one.use}", one.split, f"{one.samples:,}"]
        if one.same_as:
            rows.append([*head, f"same as {one.same_as}", "", "", "", ""])
            continue
        told = lengths(one)
        hours = f"{told['total'] / 3600:.2f} h ({told['least']:.1f} – {told['most']:.1f} s)" if told else "–"
        twice = sum(f.kind == "duplicate" and (f.data, f.split) == (one.data, one.split) for f in report.findings)
        counts = (one.missing_media, one.missing_features, twice, one.empty_subtitles)
        rows.append([*head, *(f"{n:,}" if n else "–" for n in counts), hours])
    return rows


SPLIT_COLUMNS = [
    "data",
    "split",
    "samples",
    "media missing",
    "features missing",
    "there twice",
    "no subtitle",
    "length",
]


def label_rows(report: DataReport) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of labels."""
    splits = [s for s in report.splits if not s.same_as]
    names = list(dict.fromkeys(label for s in splits for label in s.labels))
    cells = [[name, *(f"{s.labels[name]:,}" if name in s.labels else "" for s in splits)] for name in names]
    if any(s.no_label for s in splits):
        cells.append(["(no label)", *(f"{s.no_label:,}" for s in splits)])
    many = len({s.data for s in splits}) > 1
    return ["label", *(f"{s.data} {s.split}" if many else s.split for s in splits)], cells


def finding_lines(findings: Sequence[Finding], most: int = 5) -> Iterator[str]:
    """What a person reads: `most` of each kind and split, and how many more."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for found in findings:
        groups.setdefault((found.kind, found.data, found.split), []).append(found)
    for (kind, data, split), group in groups.items():
        yield f"{kind}: {data} {split} ({len(group):,})".replace("  ", " ")
        yield from (f"    {f.id}: {f.what}" if f.id else f"    {f.what}" for f in group[:most])
        if len(group) > most:
            yield f"    and {len(group) - most:,} more (--json lists all)"
