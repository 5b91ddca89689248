"""Report pages as one HTML file with styles and pictures inside."""

from __future__ import annotations

import base64
from functools import singledispatch
from html import escape
from pathlib import Path

from affectkit.report.page import (
    Bar,
    Case,
    Cases,
    Cell,
    Code,
    Figures,
    Fold,
    Grid,
    Heading,
    Page,
    Picture,
    Side,
    Words,
    text,
)

WRAPPED = 40
"""A column of tables with more letters than this in a cell is wrapped."""


def to_html(page: Page) -> str:
    """The whole file."""
    style = (Path(__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    body = "\n".join(html(block) for block in page.blocks)
    about = f'<p class="about">{escape(page.about)}</p>' if page.about else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(page.title)}</h1>{about}</header>\n{body}\n</main>\n</body>\n</html>\n"
    )


@singledispatch
def html(block: object) -> str:
    """One block as HTML."""
    raise TypeError(f"no HTML for {type(block).__name__}")


@html.register
def _(block: Heading) -> str:
    return f"<h{block.level}>{escape(block.text)}</h{block.level}>"


@html.register
def _(block: Words) -> str:
    return f'<p class="{block.tone}">{escape(block.text)}</p>' if block.tone else f"<p>{escape(block.text)}</p>"


@html.register
def _(block: Grid) -> str:
    kinds = [f' class="{kind}"' for kind in (_kind(block, i) for i in range(len(block.head)))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(block.head, kinds, strict=True))
    rows = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell(c)}</td>" for c, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in block.rows
    )
    body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>"
    return f'<div class="scroll"><table>\n{body}</table></div>'


def _kind(block: Grid, column: int) -> str:
    """How a column is set: names, numbers and short words stay on one line, long ones get room to wrap in."""
    if block.named and column == 0:
        return "name"
    cells = [row[column] for row in block.rows]
    if all(not isinstance(c, str) for c in cells):
        return "number"
    return "long" if any(isinstance(c, str) and len(c) > WRAPPED for c in cells) else "short"


@html.register
def _(block: Figures) -> str:
    cards = "\n".join(
        f'<div class="card"><div class="name">{escape(name)}</div>'
        f'<div class="big">{"–" if bar.value is None else f"{bar.value:.3f}"}</div>'
        f'<div class="interval">{_interval(bar)}</div>{drawn(bar, 200, 26)}'
        f'<div class="marks">{_marks(bar)}</div></div>'
        for name, bar in block.items
    )
    return f'<div class="cards">\n{cards}\n</div>'


@html.register
def _(block: Picture) -> str:
    # Twice as many pixels as the page shows, for sharp letters on fine screens and on paper.
    wide = f' width="{int.from_bytes(block.data[16:20]) // 2}"' if block.data.startswith(b"\x89PNG") else ""
    return f'<p class="picture"><img src="{uri(block.data)}"{wide} alt="{escape(block.alt)}"></p>'


@html.register
def _(block: Cases) -> str:
    return '<div class="cases">\n' + "\n".join(_case(item) for item in block.items) + "\n</div>"


@html.register
def _(block: Code) -> str:
    return f"<pre>{escape(block.text.rstrip())}</pre>"


@html.register
def _(block: Fold) -> str:
    inside = "\n".join(html(b) for b in block.blocks)
    return f"<details><summary>{escape(block.title)}</summary>\n{inside}\n</details>"


@html.register
def _(block: Side) -> str:
    columns = "\n".join("<div>" + "\n".join(html(b) for b in column) + "</div>" for column in block.columns)
    return f'<div class="side">\n{columns}\n</div>'


def cell(value: Cell) -> str:
    """A table cell."""
    if isinstance(value, Bar):
        return f'<span class="bar">{drawn(value, 96, 16)}<span>{escape(str(value))}</span></span>'
    return escape(text(value))


def drawn(bar: Bar, width: int, height: int) -> str:
    """A figure on its scale: the interval a band, the value a dot, what to compare it with ticks."""
    start, end = bar.span

    def at(value: float) -> float:
        return round(4 + (width - 8) * min(1.0, max(0.0, (value - start) / (end - start))), 1)

    middle = height / 2
    parts = [f'<line class="scale" x1="4" y1="{middle}" x2="{width - 4}" y2="{middle}"/>']
    if bar.low is not None and bar.high is not None:
        wide = max(1.0, at(bar.high) - at(bar.low))
        parts.append(f'<rect class="band" x="{at(bar.low)}" y="{middle - 4}" width="{wide:.1f}" height="8" rx="2"/>')
    for name, value in bar.marks:
        if value is not None:
            x = at(value)
            parts.append(
                f'<line class="mark" x1="{x}" y1="2" x2="{x}" y2="{height - 2}">'
                f"<title>{escape(name)} {value:.3f}</title></line>"
            )
    if bar.value is not None:
        parts.append(f'<circle class="dot" cx="{at(bar.value)}" cy="{middle}" r="3.5"/>')
    size = f'width="{width}" height="{height}"'
    return f'<svg {size} role="img" aria-label="{escape(str(bar))}">{"".join(parts)}</svg>'


def uri(data: bytes) -> str:
    """A picture as a data address."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _interval(bar: Bar) -> str:
    return "" if bar.low is None or bar.high is None else f"{bar.low:.3f} to {bar.high:.3f}"


def _marks(bar: Bar) -> str:
    return " · ".join(f"{escape(name)} {value:.3f}" for name, value in bar.marks if value is not None)


def _case(case: Case) -> str:
    frames = "".join(f'<img src="{uri(data)}" alt="">' for data in case.pictures)
    odds = "".join(
        f'<div class="odd"><span>{escape(name)}</span>'
        f'<i style="width:{max(0.0, min(1.0, share)) * 90:.0f}px"></i><b>{share:.2f}</b></div>'
        for name, share in case.odds[:3]
    )
    words = f'<div class="said">“{escape(case.words)}”</div>' if case.words else ""
    chips = "".join(f"<span>{escape(chip)}</span>" for chip in case.chips)
    note = f'<div class="quiet">{escape(case.note)}</div>' if case.note else ""
    return (
        f'<div class="case"><div class="frames">{frames}</div>{note}<div class="verdict"><b class="truth">'
        f'{escape(case.truth)}</b> answered as <b class="answer">{escape(case.answer)}</b></div>{odds}{words}'
        f'<div class="chips">{chips}</div><div class="id">{escape(case.title)}</div></div>'
    )
