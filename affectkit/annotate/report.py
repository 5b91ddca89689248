"""The page of an annotation: how clips ended and why, what filters did to the labels, who agrees, and clips to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from affectkit.annotate.audit import Audit
from affectkit.errors import MediaError
from affectkit.evaluation.figures import Figure, digits
from affectkit.files import Json, read_jsonl, read_object
from affectkit.report.page import Case, Cases, Cell, Code, Fold, Grid, Heading, Page, PageBlock, Paragraph, bar
from affectkit.report.pictures import frames_for
from affectkit.report.render import count_text, write_page
from affectkit.sample import LABEL

USED, LOST = 12, 2
"""Clips that are shown of those that are used, and of each reason to reject."""
LONG = 60
"""Letters of a finding beside a clip; what is longer is cut."""


def write_annotation_report(folder: Path) -> Path:
    """Write report.html and report.md of an annotation's run folder; returns the former."""
    told = read_object(folder / "summary.json")
    records = [record for _, record in read_jsonl(folder / "records.jsonl")]
    recipe = (folder / "annotation.yaml").read_text()
    page = Page(str(told["name"]), _about(told), tuple(_blocks(told, records, recipe)))
    return write_page(page, folder / "report.html")


def _about(told: Mapping[str, Any]) -> str:
    spent = f", cost {told['cost']:g}" if told["cost"] else ""
    used, of = told["used"], count_text(told["samples"], "clip")
    return f"{used:,} of {of} used; {count_text(told['calls'], 'call')}{spent}; {told['seconds']:.0f} s"


def _blocks(told: Mapping[str, Any], records: Sequence[Mapping[str, Any]], recipe: str) -> Iterator[PageBlock]:
    yield from _warnings(told)
    yield Heading("How clips ended")
    yield _ends(told)
    yield _why(told)
    found = Audit.from_dict(told["audit"])
    yield from _shift(found)
    yield from _truth(found)
    yield from _agreement(found)
    yield from _examples(records)
    yield Heading("Where findings come from")
    yield _sources(records)
    yield Fold("The recipe", (Code(recipe, "yaml"),))


def _warnings(told: Mapping[str, Any]) -> Iterator[PageBlock]:
    if told.get("stopped"):
        yield Paragraph(f"Stopped: {told['stopped']}. The same command goes on.", "warn")
    if told["failed"]:
        what = f"{count_text(told['failed'], 'clip')} failed, of a model without a reply or an annotator's own error"
        yield Paragraph(f"{what}: they are asked about again by the same command.", "warn")
    if told["given"]:
        yield Paragraph(f"Annotators were told what the data set says: {', '.join(told['given'])}.", "warn")


def _ends(told: Mapping[str, Any]) -> Grid:
    counts = {"used": told["used"], "rejected": sum(n for own in told["rejected"].values() for n in own.values()),
              "failed": told["failed"], "still to do": told["todo"]}  # fmt: skip
    total = max(1, told["samples"])
    rows = [(name, count, bar(Figure(count / total, None, None))) for name, count in counts.items() if count]
    return Grid(("clips", "count", "share"), tuple(rows), named=True)


def _why(told: Mapping[str, Any]) -> Grid:
    rows = [
        (name, told["made"].get(name, 0), told["kept"].get(name, 0),
         ", ".join(f"{reason} ({count})" for reason, count in told["rejected"].get(name, {}).items()))
        for name in [*(n for n in told["rejected"] if n not in told["annotators"]), *told["annotators"]]
    ]  # fmt: skip
    return Grid(("annotator", "answers made", "kept from before", "rejected"), tuple(rows), named=True)


def _shift(found: Audit) -> Iterator[PageBlock]:
    if not found.passed:
        return
    first, last = found.passed[0], found.passed[-1]
    yield Heading("Label shift")
    yield Paragraph(
        f"Labels are `{found.label}`. What filters take away from one label more than from others is a bias."
    )
    rows: list[tuple[Cell, ...]] = []
    for label, count in sorted(first.labels.items(), key=lambda item: -item[1]):
        left = last.labels.get(label, 0)
        shares = [n / max(1, of) for n, of in ((count, first.clips), (left, last.clips))]
        rows.append((label, count, left, *(bar(Figure(share, None, None)) for share in shares), f"{left / count:.0%}"))
    head = ("label", "before", "after", "share before", "share after", "left")
    yield Grid(head, tuple(rows), named=True)


def _truth(found: Audit) -> Iterator[PageBlock]:
    if not found.truths or not found.passed:
        return
    yield Heading("Against the labels of the data")
    what = "No annotator saw these labels" if found.truths else ""
    yield Paragraph(f"{what}; {count_text(found.truths, 'clip')} have one. Intervals are Wilson's, 95 %.", "quiet")
    rows = [
        (one.after, one.clips, bar(one.precision), digits(one.right_kept, 2), digits(one.wrong_removed, 2))
        for one in found.passed
    ]
    yield Grid(("after", "clips", "precision", "right ones left", "wrong ones gone"), tuple(rows), named=True)


def _agreement(found: Audit) -> Iterator[PageBlock]:
    if found.agreement:
        yield Heading("Agreement")
        rows = [(f"{one.first} and {one.second}", one.clips, digits(one.equal, 2), digits(one.kappa, 2))
                for one in found.agreement]  # fmt: skip
        yield Grid(("findings", "clips", "equal", "Cohen's kappa"), tuple(rows), named=True)


def _examples(records: Sequence[Mapping[str, Any]]) -> Iterator[PageBlock]:
    used = [r for r in records if r["items"]]
    if used:
        chosen = used[:: max(1, len(used) // USED)][:USED]
        yield Heading(f"Clips that are used ({len(chosen)} of {len(used)})")
        yield Cases(tuple(map(_case, chosen)))
    lost: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if "rejected" in record:
            lost.setdefault(f"{record['rejected']['by'] or 'media'}: {record['rejected']['reason']}", []).append(record)
    if lost:
        yield Heading("Clips that are not")
        yield Cases(tuple(_case(record, why) for why, some in lost.items() for record in some[:LOST]))


def _case(record: Mapping[str, Any], why: str = "") -> Case:
    media = record["media"]
    pictures: list[bytes] = []
    notes = [f"{why} {record['rejected'].get('about', '')}".strip()] if why else []
    try:
        pictures = frames_for(next(iter(media.values()))) if media else []
    except MediaError:
        notes.append("no picture: it cannot be read")
    items = record["items"]
    label = next((str(item["answer"]) for item in items if item["task"] == LABEL and "answer" in item), "")
    texts = [_text(item) for item in items if item["task"] != LABEL]
    chips = [
        f"{name}.{finding} {_short(one['value'])}"
        for name, own in record["findings"].items()
        for finding, one in list(own.items())[:1]
        if len(str(one["value"])) <= LONG
    ]
    said = " — ".join([*([record["subtitle"]] if record["subtitle"] else []), *texts])
    return Case(record["id"], "", label, (), said, tuple(chips), tuple(pictures), "; ".join(notes))


def _text(item: Mapping[str, Any]) -> str:
    if "turns" in item:
        return " / ".join(f"{question} {answer}" for question, answer in item["turns"])
    return ", ".join(map(str, item["answer"])) if isinstance(item["answer"], list) else str(item["answer"])


def _short(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONG else text[: LONG - 1] + "…"


def _sources(records: Sequence[Mapping[str, Any]]) -> Grid:
    """Each annotator's piece, model and mean time, of the first record that has a finding of it."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        for name, own in record["findings"].items():
            rows.setdefault(name, []).extend(one["source"] for one in list(own.values())[:1])
    table = [
        (name, own[0]["piece"], str(own[0]["model"])[:40], sum(s["calls"] for s in own),
         f"{sum(s['cost'] for s in own):g}", f"{sum(s['seconds'] for s in own) / len(own):.3f}")
        for name, own in rows.items() if own
    ]  # fmt: skip
    return Grid(("annotator", "piece", "model", "calls", "cost", "seconds a clip"), tuple(table), named=True)
