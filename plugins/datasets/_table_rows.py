"""Rows of a table to samples (media, labels, numbers, facts, ids), and these to splits."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit_plugins.datasets._openface import openface_facts
from affectkit_plugins.datasets._published import Clips
from affectkit_plugins.datasets._table_columns import CORNER_AND_SIZE, CORNERS, MEDIA, find
from affectkit_plugins.datasets._table_paths import MediaFinder
from affectkit_plugins.datasets._table_targets import TargetReader, label_set
from affectkit_plugins.datasets._turns import turns_in

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import ENDINGS, media_kind
from affectkit.pieces import Survey
from affectkit.reading import NOTHING, nearly
from affectkit.sample import Fact, Sample
from affectkit.tables import TableRow, fail, read_table

if TYPE_CHECKING:
    from affectkit_plugins.datasets.table import Settings

SPLITS = {
    "train": ("train", "training", "trn", "tr", "learn"),
    "val": ("val", "valid", "validation", "dev", "devel", "development", "publictest"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "privatetest"),
}
"""Usual words for the splits."""
TIME = re.compile(r"(\d+:){0,2}(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
"""Seconds, or hours, minutes and seconds."""
WORDS = ("label", "subtitle", "split", "reason", "id", "person", "age", "gender", "race", "skin_tone")
"""Cells in which a word for nothing is nothing."""


@dataclass(frozen=True)
class RowDraft:
    """A row on its way to being a sample."""

    place: str
    sample: Sample
    split: str
    person: str


@dataclass(frozen=True)
class TableContents:
    """A table as samples."""

    entries: list[RowDraft]
    """Rows that are all right, each in a split."""
    labels: tuple[str, ...]
    numbers: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...]
    """What was mended or passed over."""
    fix: str
    """What helps where a split is empty."""


class TableClips(Clips):
    """Samples of one split of a table."""

    def __init__(self, samples: list[Sample], table: TableContents) -> None:
        super().__init__(samples, table.labels, table.notes, table.numbers)
        splits = dict(Counter(entry.split for entry in table.entries))
        self.splits = splits
        """Rows in each split of the table."""


def load(settings: Settings, split: str) -> TableClips:
    """One split of the table."""
    table = _contents(settings)
    counts = Counter(entry.split for entry in table.entries)
    chosen = [entry.sample for entry in table.entries if entry.split == split]
    if not chosen:
        have = ", ".join(f"{name} ({n})" for name, n in sorted(counts.items())) or "no rows at all"
        place = str(Path(settings.path).expanduser())
        raise InputError(Problem(place, f"the split {split!r} is empty; the table has {have}", table.fix))
    return TableClips(chosen, table)


def survey(settings: Settings) -> Survey:
    """Labels and sizes of the splits; a table that is not there and may be had from somebody makes a note of that."""
    path = Path(settings.path).expanduser()
    if settings.obtain and not path.exists():
        note = f"{path} is not there yet: {settings.obtain}"
        return Survey(settings.label_set, note=note, numbers=settings.scales)
    table = _contents(settings)
    if not table.entries:
        raise InputError(Problem(str(path), "holds no rows", "a row for each clip, still or sound, below the header"))
    sizes = {**dict.fromkeys(SPLITS, 0), **Counter(entry.split for entry in table.entries)}
    return Survey(table.labels, sizes, "; ".join(table.notes), table.numbers)


def _contents(settings: Settings) -> TableContents:
    """Everything of the table. Raises InputError with all that is wrong with it."""
    path = Path(settings.path).expanduser()
    table = read_table(path, settings.obtain)
    columns = table.columns
    targets = TargetReader(settings, columns, str(path))
    named = {ours: theirs for ours, theirs in settings.columns.items() if ours not in targets.scales}
    found, notes, problems = find(columns, named, str(path), targets.taken)
    problems += [unknown("data.facts", f"column of {path}:", c, columns) for c in settings.facts if c not in columns]
    fail(problems + targets.problems.joined())
    root = Path(settings.root).expanduser() if settings.root else path.parent
    reader = _CellReader(settings, found, MediaFinder(root), targets)
    entries = [entry for row in table.rows if (entry := reader.entry(row)) is not None]
    labels, wrong = label_set(settings, [(entry.place, entry.sample) for entry in entries])
    entries, twice = _with_ids(entries, "id" in found, root)
    fail(reader.problems.joined() + wrong + twice + _files(entries, root))
    fix = "map its words with `data.splits`" if "split" in found else "set `data.val` or `data.test`"
    notes = [*table.notes, *notes, *reader.notes(str(path))]
    if not settings.label_set:
        notes += [
            f"{path}: the labels {one!r} and {other!r} are nearly the same, each a class; `data.rename` makes them one"
            for one, other in nearly(labels)
        ]
    entries = assign_splits(entries, settings, "split" in found)
    return TableContents(entries, labels, targets.scales, tuple(notes), fix)


class _CellReader:
    """Reads cells by our words; collects what is wrong."""

    def __init__(self, settings: Settings, columns: dict[str, str], files: MediaFinder, targets: TargetReader) -> None:
        self.settings, self.columns, self.files, self.targets = settings, columns, files, targets
        self.problems = targets.problems
        self.nothing: Counter[tuple[str, str]] = Counter()
        """(column, word) of cells that say in a word that there is nothing."""
        self.worded = 0
        """Rows of words without a file, in a table with columns of files."""
        self.segments = 0
        """Rows that are a part of their file."""
        self.left: Counter[str] = Counter()
        """Labels to how many rows were left out for them."""
        self.words = {word: name for name, usual in SPLITS.items() for word in usual}

    def cell(self, row: TableRow, ours: str) -> str:
        """A cell as text; empty where the table has no such column, or the cell says `nan`, `NULL` or the like."""
        text = row.cells[self.columns[ours]] if ours in self.columns else ""
        if text not in NOTHING or ours not in WORDS:
            return text
        settings = self.settings
        known = {
            "label": (*settings.label_set, *settings.rename, *settings.leave_out),
            "split": tuple(settings.splits),
        }.get(ours, ())
        if text in known:
            return text
        self.nothing[self.columns[ours], text] += 1
        return ""

    def notes(self, table: str) -> list[str]:
        """What was taken otherwise than it is written."""
        some = [
            f"paths that were found otherwise than they are written ({how}): {n}" for how, n in self.files.notes.items()
        ]
        empty = [
            f"cells of {column!r} that say {word!r} and count as empty: {n}"
            for (column, word), n in self.nothing.items()
        ]
        parts = [f"rows that are a part of their file, from `start` to `end`: {self.segments}"] if self.segments else []
        words = [f"rows of words alone, without a file: {self.worded}"] if self.worded else []
        left = [
            f"rows left out for the label {n!r} (`data.leave_out`): {self.left[n]}" for n in self.settings.leave_out
        ]
        return [f"{table}: {what}" for what in (*some, *sorted(empty), *parts, *words, *left, *self.targets.notes())]

    def entry(self, row: TableRow) -> RowDraft | None:
        """The row as a sample without a final id; None if it is wrong or left out."""
        before = len(self.problems)
        label, labels = self.targets.label(self.cell(row, "label")), self.targets.labels(row)
        if out := {name for name in (label, *labels) if name is not None and name in self.settings.leave_out}:
            self.left.update(out)
            return None
        media = self._media(row)
        split = self._split(row)
        facts = self._facts(row)
        numbers = self.targets.numbers(row)
        start, end = self._segment(row)
        reason = self.cell(row, "reason")
        turns = self._turns(row)
        if split is None or len(self.problems) > before:
            return None
        sample = Sample(
            self.cell(row, "id"),
            video=media.get("video"),
            image=media.get("image"),
            audio=media.get("audio"),
            subtitle=self.cell(row, "subtitle"),
            label=label,
            answers={"reason": reason} if reason else {},
            turns=turns,
            facts=facts,
            start=start,
            end=end,
            labels=labels,
            numbers=numbers,
        )
        return RowDraft(row.place, sample, split, str(sample.fact("person").value or ""))

    def _media(self, row: TableRow) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for ours in MEDIA:
            text = self.cell(row, ours)
            if not text:
                continue
            try:
                path = self.files.find(text)
            except ValueError as error:
                self.problems.append(Problem(row.place, f"the path {text[:60]!r} {error}"))
                continue
            kind = media_kind(path)
            if not kind:
                known = tuple(e for endings in ENDINGS.values() for e in endings)
                what = f"{text!r}: the extension {path.suffix!r} is of no video, image or sound known here"
                self.problems.append(Problem(row.place, what, known=known))
                continue
            kind = "audio" if ours == "audio" else kind  # the sound of a clip may be given as that clip
            if found.setdefault(kind, path) != path:
                self.problems.append(Problem(row.place, f"names two files of {kind}: {found[kind].name}, {path.name}"))
        if not found and not any(self.cell(row, ours) for ours in MEDIA):
            words = self.cell(row, "subtitle")
            self.worded += bool(words) and any(ours in self.columns for ours in MEDIA)
            if not words:
                also = " and no words" if "subtitle" in self.columns else ""
                self.problems.append(Problem(row.place, f"has no path{also}"))
        return found

    def _split(self, row: TableRow) -> str | None:
        """The split of a row; empty if the table has no such column, None if the row is left out or wrong."""
        if "split" not in self.columns:
            return ""
        word = self.cell(row, "split")
        if word in self.settings.splits:
            return self.settings.splits[word] or None
        known = self.words.get(re.sub(r"[\W_]+", "", word.lower()))
        if known is None:
            what = f"has {word!r} for a split" if word else "has no split"
            fix = f"`data.splits: {{{json.dumps(word)}: train}}` (or val, test; an empty text leaves such rows out)"
            usual = tuple(w for words in SPLITS.values() for w in words)
            self.problems.append(Problem(row.place, what, fix, usual), ("split", word))
        return known

    def _turns(self, row: TableRow) -> tuple[tuple[str, str], ...]:
        try:
            return turns_in(self.cell(row, "turns"))
        except ValueError as error:
            fix = 'write [["question", "answer"], …]; leave it empty where there is no conversation'
            self.problems.append(Problem(row.place, f"the turns are no conversation: {error}", fix))
            return ()

    def _facts(self, row: TableRow) -> dict[str, Fact]:
        facts = {
            name: Fact(word)
            for name in ("age", "gender", "race", "skin_tone", "person")
            if (word := self.cell(row, name))
        }
        for column in self.settings.facts:
            if row.cells[column]:
                facts[column] = Fact(row.cells[column])
        if text := self.cell(row, "openface"):
            try:
                facts |= openface_facts(self.files.find(text))
            except (InputError, ValueError) as error:
                known = error.problems if isinstance(error, InputError) else [Problem(text[:60], str(error))]
                for problem in known:
                    self.problems.append(replace(problem, place=f"{row.place} ({problem.place})"))
        box = self._box(row)
        return {**facts, "face_box": Fact(box)} if box else facts

    def _box(self, row: TableRow) -> tuple[float, ...]:
        """x0 y0 x1 y1 in pixels; empty where the row has none."""
        sides = CORNERS if all(c in self.columns for c in CORNERS) else CORNER_AND_SIZE
        text = self.cell(row, "box") or " ".join(self.cell(row, side) for side in sides)
        numbers = _numbers(text)
        if not text.strip() or text.strip() in NOTHING:
            return ()
        if len(numbers) == 4 and sides is CORNER_AND_SIZE and not self.cell(row, "box"):
            x, y, width, height = numbers
            numbers = [x, y, x + width, y + height]
        if len(numbers) != 4 or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
            what = f"the face box {text.strip()!r} is not x0 y0 x1 y1 in pixels with x0 < x1 and y0 < y1"
            self.problems.append(Problem(row.place, what, "leave it empty where there is none"))
        elif max(map(abs, numbers)) <= 1:
            what = f"the face box {text.strip()!r} is in fractions of the picture, and pixels are wanted"
            self.problems.append(
                Problem(row.place, what, "multiply by its width and height, or `data.columns: {box: ''}`")
            )
        elif numbers[2] <= 0 or numbers[3] <= 0:
            what = f"the face box {text.strip()!r} lies outside the picture, which begins at 0"
            self.problems.append(Problem(row.place, what, "leave it empty where there is none"))
        else:
            return tuple(numbers)
        return ()

    def _segment(self, row: TableRow) -> tuple[float | None, float | None]:
        """Where the sample begins and ends in its file, in seconds; None where the row does not say."""
        times: list[float | None] = []
        for ours in ("start", "end"):
            text = self.cell(row, ours)
            try:
                times.append(_seconds(text) if text and text not in NOTHING else None)
            except ValueError:
                what = f"the {ours} {text!r} is no time in seconds (3.25) or hours, minutes and seconds (0:00:03.25)"
                self.problems.append(Problem(row.place, what))
                return None, None
        start, end = times
        if end is not None and end <= (start or 0):
            what = f"the segment ends at {end:g} s and starts at {start or 0:g} s"
            self.problems.append(Problem(row.place, what, "leave both empty for the whole file"))
        self.segments += (start, end) != (None, None)
        return start, end


def _seconds(text: str) -> float:
    """Seconds of `3.25`, `1:03.25` or `0:01:03,25`. Raises ValueError."""
    if not TIME.fullmatch(text):
        raise ValueError(text)
    total = sum(float(part) * 60**i for i, part in enumerate(reversed(text.replace(",", ".").split(":"))))
    if not math.isfinite(total):
        raise ValueError(text)
    return total


def _numbers(text: str) -> list[float]:
    """The numbers in a text like `[1, 2, 3, 4]` or `1 2 3 4`; empty if anything else is in it."""
    try:
        numbers = [float(part) for part in re.split(r"[\s,;]+", text.strip().strip("[]()").strip())]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _with_ids(entries: list[RowDraft], named: bool, root: Path) -> tuple[list[RowDraft], list[Problem]]:
    """Ids from their column, each once; else the file's stem, longer where two files share it; else a hash of the words."""
    if named:
        first: dict[str, str] = {}
        problems = []
        for entry in entries:
            name = entry.sample.id
            if not name:
                problems.append(Problem(entry.place, "has no id"))
            elif name in first:
                what = f"the id {name!r} is taken already, at {first[name]}"
                problems.append(Problem(entry.place, what, "name another column, or none: `data.columns: {id: ''}`"))
            first.setdefault(name, entry.place)
        return entries, problems
    files = [_file(entry.sample) for entry in entries]
    names = [path.stem if path else _of_words(e.sample.subtitle) for path, e in zip(files, entries, strict=True)]
    stems = Counter(names)
    names = [_below(path, root) if path and stems[n] > 1 else n for path, n in zip(files, names, strict=True)]
    again: Counter[str] = Counter()
    out = []
    for entry, name in zip(entries, names, strict=True):
        again[name] += 1
        unique = name if again[name] == 1 else f"{name}#{again[name]}"
        out.append(replace(entry, sample=replace(entry.sample, id=unique)))
    return out, []


def _file(sample: Sample) -> Path | None:
    return sample.video or sample.image or sample.audio


def _of_words(text: str) -> str:
    """A name for words: the same wherever in the table they stand, so that their split stays the same too."""
    return f"words-{hashlib.blake2b(text.encode(), digest_size=5).hexdigest()}"


def _below(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _files(entries: list[RowDraft], root: Path) -> list[Problem]:
    """A problem if not one of the first hundred files is there; single ones that are missing cost their sample only."""
    files = [path for entry in entries[:100] if (path := _file(entry.sample)) is not None]
    if not files or any(path.exists() for path in files):
        return []
    what = f"none of the first {len(files)} media files is there (the first: {files[0]})"
    return [Problem(entries[0].place, what, f"paths start from {root}; set `data.root`")]


def assign_splits(entries: list[RowDraft], settings: Settings, has_splits: bool) -> list[RowDraft]:
    """Every row in a split: by the table, else by a hash of the person or id."""
    if not has_splits:
        left, test = _cut(entries, settings.test, "test")
        val = _cut(left, settings.val / max(1e-9, 1 - settings.test), "val")[1]
    elif any(entry.split == "val" for entry in entries):
        return entries
    else:
        val = _cut([entry for entry in entries if entry.split == "train"], settings.val, "val")[1]
        test = []
    split = {id(e.sample): e.split or "train" for e in entries}
    split |= {id(e.sample): "val" for e in val}
    split |= {id(e.sample): "test" for e in test}
    return [replace(entry, split=split[id(entry.sample)]) for entry in entries]


def _cut(entries: list[RowDraft], fraction: float, purpose: str) -> tuple[list[RowDraft], list[RowDraft]]:
    """The entries in two parts, the second about `fraction` of them; persons stay whole, their order is by hash."""
    groups: dict[str, list[RowDraft]] = {}
    for entry in entries:
        groups.setdefault(entry.person or f"\0{entry.sample.id}", []).append(entry)

    def key(name: str) -> bytes:
        return hashlib.blake2b(f"{purpose}/{name}".encode(), digest_size=8).digest()

    wanted = fraction * len(entries)
    second: set[int] = set()
    for name in sorted(groups, key=key):
        size = len(groups[name])
        if len(second) + size / 2 > wanted and (second or not wanted):
            continue
        if len(second) + size == len(entries):
            break
        second |= {id(e) for e in groups[name]}
    return [e for e in entries if id(e) not in second], [e for e in entries if id(e) in second]
