"""The table of a suite for people: in the terminal and in reports, from RUN/suite.json alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from affectkit.evaluation.groups import SMALL
from affectkit.files import read_json
from affectkit.report import bias as bias_set_pages
from affectkit.report.page import Block, Cell, Fold, Grid, Heading, Words
from affectkit.report.terminal import table, tables

FILE = "suite.json"
NONE = "–"
NOT_COMPARABLE = "NOT comparable"
"""What a metric's protocol says where it scored with tables of ours."""


def read_suite(folder: Path) -> dict[str, Any]:
    """What an evaluation of a suite wrote; nothing for other runs."""
    return read_json(folder / FILE) if (folder / FILE).is_file() else {}


def blocks(folder: Path, title: Callable[[str], str]) -> Iterator[Block]:
    """The section of a report; `title` writes a metric's name as papers do."""
    found = read_suite(folder)
    if not found:
        return
    yield Heading(f"Suite {found['suite']}")
    if found["about"]:
        yield Words(found["about"], "quiet")
    yield Grid(*_table(found))
    for line in notes(found):
        yield Words(line, "quiet")
    people = bias_set_pages.over_sets(found.get("bias", {}))
    if people:
        yield from bias_set_pages.set_blocks(people, SMALL, title)
    best = found.get("best_of")
    if best:
        yield Fold("All checkpoints, and the best of them on test data", (Grid(*_checkpoints(found)),))


def tell(folder: Path, say: Callable[[str], None]) -> None:
    """The same in the terminal."""
    found = read_suite(folder)
    if not found:
        return
    table(f"suite {found['suite']}", *_table(found))
    if found.get("best_of"):
        table("all checkpoints", *_checkpoints(found))
    for line in notes(found):
        say(line)
    people = bias_set_pages.over_sets(found.get("bias", {}))
    if people:
        tables(bias_set_pages.set_tables(people, SMALL), say)


def notes(found: Mapping[str, Any]) -> Iterator[str]:
    """What a reader has to know beside the table."""
    figure, overall = found["figure"], found["figure"].get("overall")
    yield f"The figure is that of one checkpoint, {_point(figure)}, which no test data chose."
    if overall and overall["sets"] < overall["of"]:
        yield (
            f"{found['overall']['column']} is over {overall['sets']} of {overall['of']} data sets and not comparable with a "
            "published one over all; “same sets” is the mean of published figures over those that are here."
        )
    apart = [name for name, one in figure["sets"].items() if NOT_COMPARABLE in str(one.get("protocol"))]
    if apart:
        yield f"NOT comparable with published figures, as their protocols below say: {', '.join(apart)}."
    for name, why in found["missing"].items():
        yield f"{name} is missing: {why}"
    for name, one in figure["sets"].items():
        if one.get("error"):
            yield f"{name} has no figure: {one['error']}"
    best = found.get("best_of")
    if best:
        above = f"; {_number(best['above'], found)} above the figure" if "above" in best else ""
        yield f"Apart from that, {best['name']}{above}."
    counts, asked = found["encodings"], len(found["checkpoints"])
    many = f"{counts['encoded']} times ({counts['per_clip']:g} a clip)"
    yield f"{counts['clips']} clips, decoded and encoded {many} for {asked} checkpoint{'s' if asked > 1 else ''}."
    for row in found["published"]:
        if row["source"]:
            yield f"{row['name']}: {row['source']}"
    handed_in = found.get("submission")
    if handed_in:
        told = "; ".join(handed_in["notes"])
        yield f"To hand in: {handed_in['file']}, {handed_in['rows']} rows" + (f" ({told})" if told else "")


def _table(found: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Head and rows in published column order: this checkpoint, its intervals, further figures, published rows."""
    columns, figure = found["columns"], found["figure"]
    overall = found["overall"]["how"] != "none"
    part = overall and bool(figure.get("overall")) and figure["overall"]["sets"] < figure["overall"]["of"]
    head = ("", *(c["column"] for c in columns), *((found["overall"]["column"],) if overall else ()))
    head += ("same sets",) if part and found["published"] else ()
    wide = len(head) - 1
    rows: list[tuple[Cell, ...]] = [_padded("this run", _values(found, figure, "value"), wide)]
    rows.append(_padded("95 %", _spans(found, figure), wide))
    titles = dict.fromkeys(t for s in figure["sets"].values() for t in s["also"])
    for title in titles:
        more = [figure["sets"].get(c["set"], {}).get("also", {}).get(title) or {} for c in columns]
        rows.append(_padded(title, [_number(c.get("value"), found) for c in more], wide))
        rows.append(_padded(f"95 % of {title}", [_span(c.get("low"), c.get("high"), found) for c in more], wide))
    rows.append(_padded("metric", [c["metric"] for c in columns], wide))
    rows.append(_padded("samples", [str(figure["sets"].get(c["set"], {}).get("count", NONE)) for c in columns], wide))
    for row in found["published"]:
        cells = [_as_published(row["values"].get(c["set"])) for c in columns]
        cells += [_as_published(row["overall"])] if overall else []
        cells += [_as_published(row["same"])] if part else []
        rows.append(_padded(row["name"], cells, wide))
    return head, tuple(rows)


def _checkpoints(found: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Every checkpoint, and what the best of each column would give."""
    columns, best = found["columns"], found["best_of"]
    overall = found["overall"]["how"] != "none"
    head = ("", *(c["column"] for c in columns), *((found["overall"]["column"],) if overall else ()))
    wide = len(head) - 1
    rows = [_padded(_point(one), _values(found, one, "value"), wide) for one in found["checkpoints"]]
    cells = [_number(best["sets"].get(c["set"], {}).get("value"), found) for c in columns]
    cells += [_number(best.get("overall"), found)] if overall else []
    return head, (*rows, _padded(f"best of {best['k']} on test", cells, wide))


def _values(found: Mapping[str, Any], row: Mapping[str, Any], key: str) -> list[str]:
    cells = [_number(row["sets"].get(c["set"], {}).get(key), found) for c in found["columns"]]
    return cells + ([_number((row.get("overall") or {}).get(key), found)] if found["overall"]["how"] != "none" else [])


def _spans(found: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    cells = [row["sets"].get(c["set"], {}) for c in found["columns"]]
    cells += [row.get("overall") or {}] if found["overall"]["how"] != "none" else []
    return [_span(c.get("low"), c.get("high"), found) for c in cells]


def _span(low: float | None, high: float | None, found: Mapping[str, Any]) -> str:
    if low is None or high is None:
        return NONE
    return f"{100 * low:.1f}–{100 * high:.1f}" if found["percent"] else f"{low:.3f}–{high:.3f}"


def _point(row: Mapping[str, Any]) -> str:
    return f"{row['checkpoint']} of {row['run']}"


def _number(value: float | None, found: Mapping[str, Any]) -> str:
    if value is None:
        return NONE
    return f"{100 * value:.2f}" if found["percent"] else f"{value:.4f}"


def _as_published(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _padded(name: str, cells: list[str], wide: int) -> tuple[Cell, ...]:
    return (name, *cells, *[""] * (wide - len(cells)))
