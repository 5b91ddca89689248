"""Columns of a table to what they mean, its rows to samples (media, labels, facts, ids), and these to splits."""

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

from affectkit_plugins.datasets._published import Clips
from affectkit_plugins.datasets._table_read import TableRow, fail, read
from affectkit_plugins.datasets._turns import turns_in

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import ENDINGS, media_kind
from affectkit.pieces import Survey
from affectkit.sample import Fact, Sample

if TYPE_CHECKING:
    from affectkit_plugins.datasets.table import Settings

SPLITS = {
    "train": ("train", "training", "trn", "tr", "learn"),
    "val": ("val", "valid", "validation", "dev", "devel", "development", "publictest"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "privatetest"),
}
"""Usual words for the splits."""
USUAL: dict[str, tuple[str, ...]] = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "media", "media_path", "clip", "clip_path",
    ),
    "video": ("video", "video_path", "video_file", "video_name"),
    "image": ("image", "image_path", "image_file", "image_name", "img", "img_path", "picture", "photo"),
    "audio": ("audio", "audio_path", "audio_file", "audio_name", "wav", "wav_path", "sound", "speech"),
    "label": ("label", "emotion", "discrete", "expression", "class", "target", "category", "emo", "emotion_label"),
    "subtitle": (
        "subtitle", "sentence", "text", "english", "utterance", "transcript", "transcription", "subtitles",
        "sentence_en", "words",
    ),
    "split": ("split", "fold", "set", "mode", "subset", "partition", "usage", "part"),
    "reason": ("reason", "reasoning", "explanation", "rationale", "smp_reason_caption", "reason_caption"),
    "turns": ("turns", "conversation", "conversations", "dialogue"),
    "id": ("id", "name", "clip_id", "sample_id", "utterance_id", "uid", "video_id"),
    "person": (
        "person", "speaker", "subject", "identity", "actor", "person_id", "speaker_id", "subject_id", "actor_id",
    ),
    "age": ("age", "age_band", "age_group"),
    "gender": ("gender", "sex"),
    "race": ("race", "ethnicity"),
    "skin_tone": ("skin_tone", "skintone"),
    "box": ("box", "bbox", "face_box", "face_bbox"),
    "x0": ("x0", "x_min", "xmin", "left", "face_x0"),
    "y0": ("y0", "y_min", "ymin", "top", "face_y0"),
    "x1": ("x1", "x_max", "xmax", "right", "face_x1"),
    "y1": ("y1", "y_max", "ymax", "bottom", "face_y1"),
}  # fmt: skip
"""What a table can hold, and the names its column usually has, the likeliest first."""
MEDIA = ("path", "video", "image", "audio")


@dataclass(frozen=True)
class RowDraft:
    """A row on its way to being a sample."""

    place: str
    sample: Sample
    split: str
    person: str


class TableClips(Clips):
    """Samples of one split of a table."""

    def __init__(self, samples: list[Sample], labels: tuple[str, ...], splits: dict[str, int]) -> None:
        super().__init__(samples, labels)
        self.splits = splits
        """Rows in each split of the table."""


def load(settings: Settings, split: str) -> TableClips:
    """One split of the table."""
    entries, labels, fix = _entries(settings)
    counts = Counter(entry.split for entry in entries)
    chosen = [entry.sample for entry in entries if entry.split == split]
    if not chosen:
        have = ", ".join(f"{name} ({n})" for name, n in sorted(counts.items())) or "no rows at all"
        place = str(Path(settings.path).expanduser())
        raise InputError(Problem(place, f"the split {split!r} is empty; the table has {have}", fix))
    return TableClips(chosen, labels, dict(counts))


def survey(settings: Settings) -> Survey:
    """Labels and sizes of the splits; a table that is not there and may be had from somebody makes a note of that."""
    path = Path(settings.path).expanduser()
    if settings.obtain and not path.exists():
        return Survey(settings.labels, note=f"{path} is not there yet: {settings.obtain}")
    entries, labels, _ = _entries(settings)
    if not entries:
        raise InputError(Problem(str(path), "holds no rows", "a row for each clip, still or sound, below the header"))
    return Survey(labels, {**dict.fromkeys(SPLITS, 0), **Counter(entry.split for entry in entries)})


def _entries(settings: Settings) -> tuple[list[RowDraft], tuple[str, ...], str]:
    """Rows that are all right, each in a split; the label set; and what helps where a split is empty."""
    path = Path(settings.path).expanduser()
    columns, rows = read(path, settings.obtain)
    found, problems = find(columns, settings.columns, str(path))
    problems += [unknown("data.facts", f"column of {path}:", c, columns) for c in settings.facts if c not in columns]
    fail(problems)
    root = Path(settings.root).expanduser() if settings.root else path.parent
    reader = _CellReader(settings, found, root)
    entries = [entry for row in rows if (entry := reader.entry(row)) is not None]
    labels, wrong = _labels(settings, entries)
    entries, twice = _with_ids(entries, "id" in found, root)
    fail(reader.problems + wrong + twice + _files(entries, root))
    fix = "map its words with `data.splits`" if "split" in found else "set `data.val` or `data.test`"
    return assign_splits(entries, settings, "split" in found), labels, fix


def find(columns: list[str], given: Mapping[str, str], table: str) -> tuple[dict[str, str], list[Problem]]:
    """Our word to the table's column. `given` comes first (an empty name means "none"), then the usual names.

    Case, spaces and dashes do not matter for usual names; a column serves one purpose only.
    """
    problems: list[Problem] = []
    found: dict[str, str] = {}
    for ours, theirs in given.items():
        if ours not in USUAL:
            problems.append(unknown("data.columns", "kind of column", ours, USUAL))
        elif theirs and theirs not in columns:
            problems.append(unknown(f"data.columns.{ours}", f"column of {table}:", theirs, columns))
        elif theirs:
            found[ours] = theirs
    plain = {re.sub(r"[\s\-]+", "_", c.strip().lower()): c for c in reversed(columns)}
    taken = set(found.values())
    for ours, names in USUAL.items():
        if ours in given:
            continue
        theirs = next((plain[n] for n in names if n in plain and plain[n] not in taken), "")
        if theirs:
            found[ours] = theirs
            taken.add(theirs)
    corners = [ours for ours in ("x0", "y0", "x1", "y1") if ours in found]
    if len(corners) < 4:
        for ours in corners:
            del found[ours]
    if not any(found.get(ours) for ours in MEDIA) and not problems:
        fix = "name it: `data.columns: {path: …}`"
        problems.append(Problem(table, "has no column with the path of a clip, still or sound", fix, tuple(columns)))
    return found, problems


class _CellReader:
    """Reads cells by our words; collects what is wrong."""

    def __init__(self, settings: Settings, columns: dict[str, str], root: Path) -> None:
        self.settings, self.columns, self.root = settings, columns, root
        self.problems: list[Problem] = []
        self.words = {word: name for name, usual in SPLITS.items() for word in usual}

    def cell(self, row: TableRow, ours: str) -> str:
        """A cell as text; empty where the table has no such column."""
        return row.cells[self.columns[ours]] if ours in self.columns else ""

    def entry(self, row: TableRow) -> RowDraft | None:
        """The row as a sample without a final id; None if it is wrong or left out."""
        before = len(self.problems)
        media = self._media(row)
        split = self._split(row)
        facts = self._facts(row)
        label = self.cell(row, "label")
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
            label=self.settings.rename.get(label, label) or None,
            answers={"reason": reason} if reason else {},
            turns=turns,
            facts=facts,
        )
        return RowDraft(row.place, sample, split, self.cell(row, "person"))

    def _media(self, row: TableRow) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for ours in MEDIA:
            text = self.cell(row, ours)
            if not text:
                continue
            path = Path(text) if Path(text).is_absolute() else self.root / text
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
            self.problems.append(Problem(row.place, "has no path"))
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
            self.problems.append(Problem(row.place, what, fix, tuple(w for usual in SPLITS.values() for w in usual)))
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
        box = self.cell(row, "box") or " ".join(self.cell(row, corner) for corner in ("x0", "y0", "x1", "y1"))
        if box.strip():
            numbers = _numbers(box)
            if len(numbers) == 4 and numbers[0] < numbers[2] and numbers[1] < numbers[3]:
                facts["face_box"] = Fact(tuple(numbers))
            else:
                what = f"the face box {box.strip()!r} is not x0 y0 x1 y1 in pixels with x0 < x1 and y0 < y1"
                self.problems.append(Problem(row.place, what, "leave it empty where there is none"))
        return facts


def _numbers(text: str) -> list[float]:
    """The numbers in a text like `[1, 2, 3, 4]` or `1 2 3 4`; empty if anything else is in it."""
    try:
        numbers = [float(part) for part in re.split(r"[\s,;]+", text.strip().strip("[]()").strip())]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _labels(settings: Settings, entries: list[RowDraft]) -> tuple[tuple[str, ...], list[Problem]]:
    """The label set, and what does not belong to it."""
    seen = Counter(entry.sample.label for entry in entries if entry.sample.label)
    if settings.labels:
        names = settings.labels
        also = "or name more in `data.labels`, or map it with `data.rename`"
        wrong = [
            unknown(entry.place, "label", entry.sample.label, names, also)
            for entry in entries
            if entry.sample.label and entry.sample.label not in names
        ]
        return names, wrong
    plain: dict[str, list[str]] = {}
    for name in sorted(seen):
        plain.setdefault(name.casefold(), []).append(name)
    alike = [names for names in plain.values() if len(names) > 1]
    problems = [
        Problem("data.rename", f"labels differ in case only: {', '.join(f'{n} ({seen[n]})' for n in names)}",
                f"`data.rename: {{{names[0]}: {names[-1]}}}`")
        for names in alike
    ]  # fmt: skip
    return tuple(sorted(seen)), problems


def _with_ids(entries: list[RowDraft], named: bool, root: Path) -> tuple[list[RowDraft], list[Problem]]:
    """Ids from their column, each once; else the file's stem, longer where two files share it."""
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
    files = [entry.sample.video or entry.sample.image or entry.sample.audio or root for entry in entries]
    names = [path.stem for path in files]
    stems = Counter(names)
    names = [_below(path, root) if stems[name] > 1 else name for path, name in zip(files, names, strict=True)]
    again: Counter[str] = Counter()
    out = []
    for entry, name in zip(entries, names, strict=True):
        again[name] += 1
        unique = name if again[name] == 1 else f"{name}#{again[name]}"
        out.append(replace(entry, sample=replace(entry.sample, id=unique)))
    return out, []


def _below(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _files(entries: list[RowDraft], root: Path) -> list[Problem]:
    """A problem if not one of the first hundred files is there; single ones that are missing cost their sample only."""
    files = [entry.sample.video or entry.sample.image or entry.sample.audio for entry in entries[:100]]
    if not files or any(path is not None and path.exists() for path in files):
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
