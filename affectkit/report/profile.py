"""Where training time went, as a table of the terminal and the report; see `affectkit.train.profile`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from affectkit.report.page import Grid, Heading, PageBlock, Paragraph
from affectkit.report.results import RunInfo

UNITS = {"gpu": "GPU memory, at most", "process": "memory of the process, at most"}
NOTE = (
    "Seconds of one process, those of a part without the parts in it; each training stage's first batch is left out. "
    "Encoding counts where features were not kept already."
)


def table_of(info: RunInfo) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns (a stage each) and rows (a part each, most seconds first) of what `run.json` says of its stages; no rows
    where nothing was measured."""
    told = {name: stage["profile"] for name, stage in (info.get("stages") or {}).items() if stage.get("profile")}
    rows: list[tuple[str, ...]] = []
    sections = {
        "before training": [one.get("before") or {} for one in told.values()],
        "training": [one.get("training") or {} for one in told.values()],
    }
    for title, seconds in sections.items():
        parts = {part: sum(s.get(part, 0.0) for s in seconds) for s in seconds for part in s}
        ordered = sorted(parts, key=lambda part: -parts[part])
        rows += [(title, part, *(_share(s, part) for s in seconds)) for part in ordered]
    if rows:
        speeds = (one.get("samples_per_second") for one in told.values())
        rows.append(("", "samples a second", *("–" if speed is None else f"{speed:.3g}" for speed in speeds)))
        for kind in dict.fromkeys(kind for one in told.values() for kind in one["most_bytes"]):
            held = (one["most_bytes"].get(kind) for one in told.values())
            rows.append(("", UNITS.get(kind, kind), *("–" if h is None else f"{h / 1e9:.2f} GB" for h in held)))
    return ("", "part", *told), rows


def _share(seconds: Mapping[str, float], part: str) -> str:
    whole = sum(seconds.values())
    return f"{seconds[part]:.1f} s, {seconds[part] / whole:.0%}" if seconds.get(part) and whole else "–"


def blocks(info: RunInfo) -> Iterator[PageBlock]:
    """A section of the report, or nothing."""
    head, rows = table_of(info)
    if rows:
        yield Heading("Where the time went", 3)
        yield Paragraph(NOTE, "quiet")
        yield Grid(head, tuple(rows))
