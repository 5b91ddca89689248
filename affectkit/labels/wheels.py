"""Emotion wheels: the published tables that map a word to its base form, a synonym and a group.

The tables are not part of this library; `affectkit wheels import FOLDER` reads a copy of them into the user's cache.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from affectkit.errors import InputError, Problem
from affectkit.files import cache_folder, read_json, write_json_atomic
from affectkit.tables import read_table

Forms = Literal["original", "mer2026"]
FormsChoice = Literal["auto", "original", "mer2026"]
"""A form table by name; auto: the original one where it is there, else the one that is."""
WHEELS = tuple(f"wheel{i}.xlsx" for i in range(1, 6))
SYNONYMS = "synonym.xlsx"
RUNS = 8
SHA256 = {
    "format.csv": "ba6de7d61db8e129d1d7ef8a2aae22a9e93a2c2e3e683e6f2735d04455f016f2",
    "format_mer2026.csv": "82234299875465ecf6c196ace42ffbe745baaeea72b5e39de955af36929982a4",
    "synonym.xlsx": "23f81f9ab1d2418aaf96775304fb5dc52c62bb5d5ef652a97471d045fc9d2e29",
    "wheel1.xlsx": "e70485d354b82a7491ff24648273182a5f4f13f92c76e6b3e4f9033f5e6afcc1",
    "wheel2.xlsx": "acc001e076a8e60440361f58dd8c05ed900c4890c84bb7d8d1df93708a7d9c87",
    "wheel3.xlsx": "d62f30bf88c17c55876634cd088eacaef98278fc25457474364439872f9dbf83",
    "wheel4.xlsx": "660260561b7fe15550f3679a01e7c783608ce3403d4c28db0a88520f68d83aea",
    "wheel5.xlsx": "2dd4595b2cf8e7628ca06a416a8e38ac831614b244f23d1ae613dc34007649f1",
}
"""The published files. Both challenges call their form table format.csv; here they are told apart by content."""
FORM_FILES: dict[Forms, str] = {"original": "format.csv", "mer2026": "format_mer2026.csv"}
_MARKS = re.compile("['\",]")


@dataclass(frozen=True)
class Tables:
    """The mappings of emotion words to base forms, synonyms and wheel groups, and the files that they were read from."""

    name: str
    """Shown with every result."""
    comparable: bool
    """Whether these are the published tables, so that figures may be held against published ones."""
    forms: Mapping[str, Sequence[str]]
    """A form to its base words, in alphabetical order."""
    words: Mapping[str, Sequence[str]]
    """A base word to its wheel words, in alphabetical order."""
    wheels: Mapping[str, Mapping[str, str]]
    """`W1-L1` (wheel and ring) to wheel word to group."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by file."""

    @property
    def mappings(self) -> tuple[str, ...]:
        """`M1`, `M2`, then the wheels: each at the inner ring, then each at the second."""
        return ("M1", "M2", *sorted(self.wheels, key=lambda w: (w[-1], w)))

    def group(self, label: str, mapping: str) -> str:
        """The group of a lower-case label under a mapping; "" where it has none.

        M1 is its first base word, M2 the first wheel word of that one. On a wheel *all* base words count: of all their
        wheel words, in alphabetical order, the first that the wheel holds (so it is not M2's word that is looked up).
        """
        bases = self.forms.get(label)
        if not bases:
            return ""
        if mapping == "M1":
            return bases[0]
        if mapping == "M2":
            return next(iter(self.words.get(bases[0], ())), "")
        wheel = self.wheels[mapping]
        words = sorted(w for base in bases for w in self.words.get(base, ()))
        return next((wheel[w] for w in words if w in wheel), "")


def string_to_list(text: str) -> list[str]:
    """A list of labels from a text as the published code parses it: one bracket off each end, cut at quotes and commas."""
    text = text.strip()
    text = text.removeprefix("[").removesuffix("]")
    return [part for part in (piece.strip() for piece in _MARKS.split(text)) if part]


def read_tables(folder: str | Path, forms: FormsChoice = "auto") -> Tables:
    """The tables in a folder with the published files.

    Raises InputError with every file that is missing or broken, and where the folder holds another form table than `forms`.
    """
    folder = Path(folder)
    missing = [n for n in (SYNONYMS, *WHEELS) if not (folder / n).is_file()]
    if not any((folder / n).is_file() for n in FORM_FILES.values()):
        missing.insert(0, "format.csv")
    if missing:
        fix = "give the folder emotion_wheel of the published code"
        raise InputError([Problem(str(folder / n), "there is no such file", fix) for n in missing])
    file, name = _form_file(folder, forms)
    used = [file, *(folder / n for n in (SYNONYMS, *WHEELS))]
    sums = {p.name: sha256(p) for p in used}
    changed = [n for n in (SYNONYMS, *WHEELS) if sums[n] != SHA256[n]]
    if changed:
        name += f", and {', '.join(changed)} changed"
    published = not changed and sums[file.name] in SHA256.values()
    content = hashlib.sha256(" ".join(sorted(sums.values())).encode()).hexdigest()
    kept = _folder() / f"tables-{content[:16]}.json"
    if kept.is_file():
        return load(kept)
    made = Tables(name, published, _forms(file), _synonyms(folder / SYNONYMS), _wheels(folder), sums)
    with suppress(OSError):  # a cache that cannot be written only costs time
        write_json_atomic(kept, asdict(made))
    return made


def _form_file(folder: Path, forms: FormsChoice) -> tuple[Path, str]:
    """The form table of the requested kind, recognised by its content, and its name for reports."""
    there = [folder / n for n in FORM_FILES.values() if (folder / n).is_file()]
    kinds = {SHA256[file]: kind for kind, file in FORM_FILES.items()}
    found = {kinds.get(sha256(path)): path for path in reversed(there)}
    wanted: tuple[Forms | None, ...] = ("original", None, "mer2026") if forms == "auto" else (forms, None)
    names = set(FORM_FILES.values()) if forms == "auto" else {"format.csv", FORM_FILES[forms]}
    for kind in wanted:
        path = found.get(kind)
        if path is not None and (kind or path.name in names):
            return path, f"{kind} form table" if kind else f"an unpublished form table {path.name}"
    other = next((kind for kind in found if kind), None)
    what = f"holds the form table {other or there[0].name!r} only, and {forms!r} is asked for"
    fix = f"set `forms: {other or 'auto'}`: the two give other figures"
    raise InputError(Problem(str(folder), what, fix))


def sha256(path: Path) -> str:
    """The SHA-256 of a file; raises InputError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}")) from None


def _forms(path: Path) -> dict[str, list[str]]:
    """Columns `name` (base word) and `format` (its forms); a base word is a form of itself."""
    found: dict[str, set[str]] = {}
    pairs = [(base, string_to_list(forms)) for base, forms in _cells(path, ("name", "format"))]
    for base, forms in pairs:
        for form in (*forms, base):
            found.setdefault(form, set()).add(base)
    return {form: sorted(bases) for form, bases in found.items()}


def _synonyms(path: Path) -> dict[str, list[str]]:
    """Eight runs, each a column of wheel words and one of their synonyms; the union of all."""
    found: dict[str, set[str]] = {}
    for row in _cells(path, [f"{what}_run{i}" for i in range(1, RUNS + 1) for what in ("word", "synonym")]):
        for word, synonyms in zip(row[::2], row[1::2], strict=True):
            wheel = word.strip().lower()
            for synonym in (wheel, *(s.lower() for s in string_to_list(synonyms))):
                found.setdefault(synonym, set()).add(wheel)
    return {base: sorted(words) for base, words in found.items() if base}


def _wheels(folder: Path) -> dict[str, dict[str, str]]:
    """Word to group of each wheel and ring. Where a word stands in several places the last one counts."""
    found: dict[str, dict[str, str]] = {}
    for number, file in enumerate(WHEELS, 1):
        tree: dict[str, dict[str, list[str]]] = {}
        last = ["", "", ""]
        for row in _cells(folder / file, ("level1", "level2", "level3")):
            last = [cell.strip().lower() or old for cell, old in zip(row, last, strict=True)]
            tree.setdefault(last[0], {}).setdefault(last[1], []).append(last[2])
        found |= {f"W{number}-L{ring}": _ring(tree, ring) for ring in (1, 2)}
    return found


def _ring(tree: Mapping[str, Mapping[str, Iterable[str]]], ring: int) -> dict[str, str]:
    """Word to group at the inner (1) or second (2) ring; there a root belongs to the first of its own branches."""
    groups: dict[str, str] = {}
    for root, branches in tree.items():
        groups[root] = root if ring == 1 else min(branches)
        for branch, leaves in branches.items():
            groups |= dict.fromkeys((branch, *leaves), root if ring == 1 else branch)
    return groups


def _cells(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """The cells of each row of a table, in the order of `columns`."""
    table = read_table(path)
    absent = [c for c in columns if c not in table.columns]
    if absent:
        raise InputError(Problem(str(path), f"has no column {absent[0]!r}", known=tuple(table.columns)))
    return [[row.cells[c] for c in columns] for row in table.rows]


def _folder() -> Path:
    return cache_folder() / "wheels"


def load(path: Path) -> Tables:
    """Tables from the JSON of one; raises InputError for anything else."""
    found: Any = read_json(path)
    try:
        return Tables(**found)
    except TypeError:
        raise InputError(
            Problem(str(path), "holds no tables of emotion wheels", "remove it and import again")
        ) from None


def imported_tables(forms: FormsChoice) -> Tables | None:
    """The tables that the user imported, if any."""
    kinds = tuple(FORM_FILES) if forms == "auto" else (forms,)
    paths = (_folder() / f"{kind}.json" for kind in kinds)
    return next((load(path) for path in paths if path.is_file()), None)


def import_tables(folder: str | Path) -> list[tuple[Tables, Path]]:
    """Read every form table of a folder with the wheels into the user's cache; what was written, and where."""
    written, problems = [], []
    for forms in FORM_FILES:
        try:
            tables = read_tables(folder, forms)
        except InputError as error:
            problems.append(error)
            continue
        path = _folder() / f"{forms}.json"
        write_json_atomic(path, asdict(tables))
        written.append((tables, path))
    if not written:
        raise problems[0]
    return written
