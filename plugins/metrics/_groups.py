"""Groups of synonyms: read from stored ones, or asked of a model and stored. Imports no torch."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectkit_plugins.metrics._sets import f_of
from affectkit_plugins.metrics._wheels import means_of, number

from affectkit.errors import InputError, Problem
from affectkit.evaluation.clients import CachedClient, Unreadable, strict_json
from affectkit.evaluation.prediction import Prediction
from affectkit.files import read_jsonl, write_jsonl_atomic
from affectkit.labels.extraction import LabelReader, summary_sentence
from affectkit.labels.npz import read_npy
from affectkit.labels.wheels import string_to_list
from affectkit.messages import Message

if TYPE_CHECKING:
    import numpy as np

Groups = tuple[tuple[str, ...], ...]
FILE = "groups.jsonl"
TRIES = 3
WORDS_VERSION = "1"
QUESTION = """Sort words of emotion into groups of the same meaning.

The words, as JSON: {words}

Two words belong together if they name the same emotion; forms of one word do. Every word stands in exactly one group, written as
above; a word without a synonym is a group of its own. Reply with one JSON object and nothing else:
{{"groups": [["<word>", …], …]}}"""
AGAIN = "That could not be used: {why}. Reply with the JSON object alone."
_QUOTES, _BRACKETS = re.compile("['\"]"), re.compile(r"[\[\]]")


@dataclass(frozen=True)
class StoredGroups:
    """The groups of one clip, and the words they were made for (None where nobody wrote them down)."""

    name: str
    groups: Groups
    words: tuple[str, ...] | None = None


def quoted(text: str) -> tuple[str, ...]:
    """The parts between quotes, blanks kept, as MER2024's code takes them apart; without quotes as the later code does."""
    parts = _QUOTES.split(text)
    if len(parts) == 1:
        return tuple(string_to_list(text))
    inner = text.split("[", 1)[-1].split("]", 1)[0]
    return tuple(p for p in _QUOTES.split(inner) if p.strip() not in ("", ","))


def parse_groups(text: str) -> Groups:
    """Lists of lists from a stored reply, as MER2024's code takes it apart."""
    lists = (part for part in _BRACKETS.split(text) if part.strip() not in ("", ","))
    return tuple(tuple(w for w in _QUOTES.split(one) if w.strip() not in ("", ",")) for one in lists)


def read_stored(path: Path) -> dict[str, StoredGroups]:
    """Stored groups by clip: a folder or zip of `NAME.npy` (MER2024's `openset-synonym`), or a JSONL of ours.

    Raises InputError where there are none, or a file cannot be read.
    """
    jsonl = path / FILE if path.is_dir() else path
    if jsonl.suffix == ".jsonl" and jsonl.is_file():
        return dict(_from_jsonl(jsonl))
    return {name: StoredGroups(name, parse_groups(text)) for name, text in _texts(path)}


def _from_jsonl(path: Path) -> Iterator[tuple[str, StoredGroups]]:
    for place, row in read_jsonl(path):
        name, groups, words = row.get("name"), row.get("groups"), row.get("words")
        if not isinstance(name, str) or not _lists(groups) or not (words is None or _lists([words])):
            raise InputError(Problem(place, "a row of groups needs the text name, and lists of words: groups, words"))
        made = tuple(tuple(g) for g in groups or ())
        yield name, StoredGroups(name, made, None if words is None else tuple(words))


def _lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(g, list) and all(isinstance(w, str) for w in g) for g in value)


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    try:
        for name, data in _files(path):
            array = read_npy(data, f"{path}: {name}")
            if array.ndim or not isinstance(array.item(), str):
                raise InputError(Problem(f"{path}: {name}", "a stored reply is one text"))
            yield Path(name).stem, array.item()
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(Problem(str(path), f"cannot be read: {error}", "give a folder of stored groups")) from None


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        yield from ((p.name, p.read_bytes()) for p in sorted(path.rglob("*.npy")) if not p.name.startswith("._"))
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            plain = entry.filename.endswith(".npy") and not Path(entry.filename).name.startswith("._")
            if plain and entry.file_size < 2**20:
                yield entry.filename, archive.read(entry)


def write_stored(path: Path, stored: Iterable[StoredGroups]) -> None:
    """Write groups to FOLDER/groups.jsonl, by name."""
    write_jsonl_atomic(path / FILE, (asdict(s) for s in sorted(stored, key=lambda s: s.name)))


def ask(client: CachedClient, words: Sequence[str]) -> Groups | None:
    """Groups of words from a model; None where no reply could be used."""
    import json

    def reader(text: str) -> Groups:
        groups = strict_json(text).get("groups")
        if not _lists(groups):
            raise Unreadable('it must be {"groups": [["<word>", …], …]}')
        named = [w for g in groups or () for w in g]
        if sorted(named) != sorted(words):
            raise Unreadable("every word must stand in exactly one group, and no others")
        return tuple(tuple(g) for g in groups or () if g)

    question = QUESTION.format(words=json.dumps(list(words), ensure_ascii=False))
    return client.read([Message(question)], reader, TRIES, lambda why: AGAIN.format(why=why))


def overlap(truth: Sequence[str], answer: Sequence[str], groups: Groups) -> tuple[float, float]:
    """Precision and recall of an answer where each word is replaced by the first of its group; 0 for an empty answer."""
    first: Mapping[str, str] = {word: group[0] for group in groups for word in group}
    y, p = ({first.get(w, w) for w in side} for side in (truth, answer))
    return (len(y & p) / len(p), len(y & p) / len(y)) if p else (0.0, 0.0)


def words_of(prediction: Prediction, reader: LabelReader) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(true, answered) labels of a sample, lower case; lists as MER2024's code takes them apart."""
    truth = prediction.truth or ""
    answer = prediction.text or prediction.label or ""
    (read,) = reader.read([answer])
    labels = quoted(answer) if read.how in ("list", "plain") else read.labels
    return tuple(w.lower() for w in quoted(truth)), tuple(w.lower() for w in labels)


class GroupMetric:
    """Mean of precision and recall over clips; see `affectkit.evaluation.prediction.Metric`."""

    def __init__(self, folder: Path | None, client: CachedClient | None, reader: LabelReader) -> None:
        self.folder, self.asker, self.reader = folder, client, reader
        fresh = client is not None and folder is not None and not folder.exists()
        self.stored = {} if folder is None or fresh else read_stored(folder)
        if folder is not None and client is None and not self.stored:
            raise InputError(Problem(str(folder), "holds no stored groups", "NAME.npy for each clip, or groups.jsonl"))
        self._asked: dict[tuple[str, tuple[str, ...]], StoredGroups | None] = {}

    def groups(self, predictions: Sequence[Prediction]) -> list[Groups | None]:
        """The groups of each clip; None where none are stored and nobody could be asked."""
        found: list[StoredGroups | None] = []
        jobs: dict[tuple[str, tuple[str, ...]], Any] = {}
        keys = []
        self.reader.read(
            [p.text or p.label or "" for p in predictions]
        )  # all at once: a model may read several at a time
        for p in predictions:
            truth, answer = words_of(p, self.reader)
            words = tuple(sorted({*truth, *answer}))
            keys.append((p.id, words))
            kept = self.stored.get(p.id)
            usable = kept is not None and kept.words in (None, words)
            if not usable and self.asker is not None and words and keys[-1] not in self._asked:
                jobs[keys[-1]] = lambda name=p.id, words=words: (name, words, ask(self.asker, words))
            found.append(kept if usable else None)
        if jobs and self.asker is not None:
            replies = self.asker.read_all(list(jobs.values()), "grouping synonyms")
            self._asked |= {
                (name, words): StoredGroups(name, made, words) if made else None for name, words, made in replies
            }
            self._keep()
        rest = (s if s is not None else self._asked.get(key) for s, key in zip(found, keys, strict=True))
        return [s.groups if s is not None else None for s in rest]

    def _keep(self) -> None:
        if self.folder is not None:
            new = {s.name: s for s in self._asked.values() if s is not None}
            write_stored(self.folder, {**self.stored, **new}.values())

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, 2]: precision and recall; NaN without a truth or without groups."""
        import numpy as np

        rows = np.full((len(predictions), 2), np.nan)
        for row, p, groups in zip(rows, predictions, self.groups(predictions), strict=True):
            truth, answer = words_of(p, self.reader)
            if truth and groups is not None:
                row[:] = overlap(truth, answer, groups)
        return rows

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """The mean of both [r]."""
        return means.mean(1)

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is the mean of `precision` (published as accuracy) and `recall`; `f` their harmonic mean."""
        import numpy as np

        rows = self.per_sample(predictions, labels)
        precision, recall = means_of(rows)
        used = int(np.isfinite(rows[:, 0]).sum())
        ungrouped = sum(g is None for g in self.groups(predictions))
        read = self.reader.summary([p.text or p.label or "" for p in predictions])
        by = self.asker.client.identity if self.asker else {}
        origin = f"groups stored in {self.folder.name}" if self.folder else "groups kept with the replies"
        return {
            "value": number((precision + recall) / 2),
            "precision": number(precision),
            "recall": number(recall),
            "f": number(f_of(precision, recall, True)),
            "clips": len(predictions),
            "used": used,
            "skipped": len(predictions) - used,
            "ungrouped": ungrouped,
            "model": dict(by),
            "words": WORDS_VERSION if self.asker else None,
            "read": read,
            "protocol": "mean of precision and recall where words of one meaning count as one (MER2024-OV), "
            f"{origin}; {used} of {len(predictions)} clips used, {ungrouped} have no groups; {summary_sentence(read)}",
        }
