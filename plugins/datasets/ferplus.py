"""FERPlus: FER2013's faces with ten votes each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import there
from affectkit_plugins.datasets._faces import at, csv_lines
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.errors import Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample

LABELS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
FOLDERS = {"train": "FER2013Train", "val": "FER2013Valid", "test": "FER2013Test"}
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
VOTES = "fer2013new.csv"
OBTAIN = "get FER2013 from Kaggle and the votes from Microsoft's FERPlus, whose script writes the pictures"
Rule = Literal["majority", "probability", "multi_target", "most_votes"]
EMOTIONS = 8
"""The first columns; behind them stand `unknown` and `no face`."""


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """FERPlus (Barsoum et al. 2016): FER2013's 35,887 grey faces of 48 pixels with ten votes each, eight expressions.

    Splits as published: `train`, `val` (PublicTest) and `test` (PrivateTest). How many pictures they hold depends on the
    rule that makes a label of the votes: 25,045, 3,191 and 3,137 by majority. Reads the folders that the authors' script
    writes (`FER2013Train/label.csv` …, no header), else `fer2013new.csv` beside the pictures in such folders; the pixels in
    `fer2013.csv` are not read. Facts: `votes` (ten counts), `distribution` (shares of the eight, which are the labels'
    weights too). Files and rules are known from the authors' code, the counts from running it.
    """

    rule: Rule = "majority"
    """How votes become a label; `most_votes` is the usual shortcut, which leaves the fewest pictures out."""


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, {}, LABELS, OBTAIN)
    root = reader.root / ("data" if (reader.root / "data" / FOLDERS["test"]).is_dir() else ".")
    splits: dict[str, list[Sample]] = {split: [] for split in FOLDERS}
    left = 0
    for place, split, name, votes in _rows(reader, root):
        if not reader.once(f"{split}/{name}", place):
            continue
        shares = distribution(votes, settings.rule)
        if shares is None:
            left += 1
            continue
        label = LABELS[shares.index(max(shares))]
        several = {name: share for name, share in zip(LABELS, shares, strict=True) if share}
        reader.problems += [
            Problem(place, f"the label {name!r} is not in `data.labels`", known=reader.labels)
            for name in several
            if name not in reader.labels
        ]
        facts = {"votes": Fact(votes), "distribution": Fact(shares)}
        path = root / FOLDERS[split] / name
        stem = name.rpartition(".")[0]
        splits[split].append(reader.sample((stem,), None, image=path, label=label, labels=several, facts=facts))
    if left:
        reader.notes.append(f"{left} pictures are left out: their votes give no expression by {settings.rule}")
    return reader.end(splits)


def _rows(reader: SampleReader, root: Path) -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    """(place, split, file name, ten votes) of each picture; those without a name hold no face."""
    lists = {split: root / folder / "label.csv" for split, folder in FOLDERS.items()}
    if any(path.is_file() for path in lists.values()):
        for split, path in lists.items():
            for place, cells in csv_lines(path) if path.is_file() else ():
                yield from _row(reader, place, split, cells[0], cells[2:])
        return
    path = at(reader.root, VOTES, f"data/{VOTES}")
    there(path)
    for place, cells in csv_lines(path):
        if cells[0] == "Usage":
            continue
        split = USAGES.get(cells[0], "")
        if not split:
            reader.problems.append(Problem(place, f"the usage {cells[0]!r} is unknown", known=tuple(USAGES)))
        elif cells[1]:
            yield from _row(reader, place, split, cells[1], cells[2:])


def _row(
    reader: SampleReader, place: str, split: str, name: str, cells: list[str]
) -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    if len(cells) != 10 or not all(c.isdigit() for c in cells):
        reader.problems.append(Problem(place, "does not hold ten counts of votes"))
    else:
        yield place, split, name, tuple(map(int, cells))


def distribution(votes: Sequence[int], rule: Rule) -> tuple[float, ...] | None:
    """Shares of the eight expressions by one of the published rules, or None where the picture is left out.

    `votes` are ten counts, the last two of them unknown and no face. A single vote for something counts as a slip and is
    dropped first. Source: Barsoum et al. 2016, as the authors' code counts. `most_votes` is the usual shortcut: the
    expressions' votes as they are.
    """
    if rule == "most_votes":
        return _shares(votes)
    kept = RULES[rule]([n if n > 1 else 0 for n in votes])
    if kept is None or max(kept[EMOTIONS:]) > max(kept[:EMOTIONS]):
        return None
    return _shares(kept)


def _shares(votes: Sequence[float]) -> tuple[float, ...] | None:
    whole = sum(votes[:EMOTIONS])
    return tuple(n / whole for n in votes[:EMOTIONS]) if whole else None


def _majority(votes: list[int]) -> list[int] | None:
    """The expression with more than half of the votes."""
    top = max(votes)
    return [n if n == top else 0 for n in votes] if 2 * top > sum(votes) else None


def _probability(votes: list[int]) -> list[int] | None:
    """The strongest expressions until three quarters of the votes are told, three expressions at most."""
    left, kept = list(votes), [0] * len(votes)
    told = count = 0
    stopped = False
    while told < 0.75 * sum(votes) and count < 3 and not stopped:
        top = max(left)
        for i in [i for i, n in enumerate(left) if n == top]:
            left[i] = 0
            told += top
            if i < EMOTIONS or not any(kept):
                kept[i] = top
                count += 1
            if i >= EMOTIONS:  # unknown or no face ends it; behind an expression it is not kept
                stopped = True
                break
    return kept if 2 * sum(kept) > sum(votes) and count <= 3 else None


def _multi_target(votes: list[int]) -> list[int] | None:
    """Every expression with three tenths of the votes or more."""
    kept = [n if n >= 0.3 * sum(votes) else 0 for n in votes]
    return kept if 2 * sum(kept) > sum(votes) else None


RULES = {"majority": _majority, "probability": _probability, "multi_target": _multi_target}


PIECE = published("ferplus", Settings, read, LABELS, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
