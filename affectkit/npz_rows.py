"""Published npz files as rows: open labels, explanations, and corpora of labels (MERBench). Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.npz import read_npz

Row = dict[str, Any]
CORPUS = "_corpus"
NO_VALENCE = -10
_MELD = re.compile(r"(train|val|test)_dia\d+_utt\d+")
_SESSION = re.compile(r"Ses0[1-5]")
_ORDERS: tuple[tuple[re.Pattern[str], int, tuple[str, ...]], ...] = (
    (_MELD, 7, ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")),
    (_SESSION, 4, ("happy", "sad", "neutral", "anger")),
    (_SESSION, 6, ("happy", "sad", "neutral", "angry", "excited", "frustrated")),
)
"""Names of samples, number of classes, and the published order of the labels that stand as whole numbers."""


def read_rows(path: Path, split: str | None = None, classes: tuple[str, ...] | None = None) -> list[tuple[str, Row]]:
    """(place, row) of a published npz: `filenames` with `fileitems`, `name2reason`, or corpora of labels (MERBench).

    Rows have `name` and one of `fileitems`, `reason`, or `emo` and `val` with `split`. A corpus that is whole can be read
    as `session1` … `session5` where its names are IEMOCAP's; `test` of it is session 5, as in MER-UniBench.
    `classes` names labels that stand as whole numbers. Raises InputError for other contents.
    """
    import numpy as np

    found = read_npz(path)
    if {"filenames", "fileitems"} <= set(found):
        names, items = np.atleast_1d(found["filenames"]).tolist(), np.atleast_1d(found["fileitems"]).tolist()
        if len(names) != len(items):
            what = f"names {len(names)} files and holds {len(items)} items"
            raise InputError(Problem(str(path), what, "one item a file"))
        return [(f"{path}: {n}", {"name": n, "fileitems": i}) for n, i in zip(names, items, strict=True)]
    if isinstance(found.get("name2reason"), dict):
        return [(f"{path}: {n}", {"name": n, "reason": text}) for n, text in found["name2reason"].items()]
    corpora = _corpora(found)
    if not corpora:
        fix = "it needs filenames and fileitems, or name2reason, or corpora of labels"
        raise InputError(Problem(str(path), "is none of the published forms", fix, tuple(found)))
    chosen = _corpus(path, corpora, split)
    rows = [_labelled(path, n, v, split or next(iter(corpora))) for n, v in chosen.items()]
    _name_labels(path, rows, corpora, classes)
    return rows


def read_corpora(path: Path) -> dict[str, list[tuple[str, Row]]]:
    """(place, row) of every corpus of a published npz of labels (MERBench), by the corpus' name without `_corpus`.

    Rows are as in `read_rows`; labels that stand as whole numbers stay so. Raises InputError for other contents.
    """
    found = read_npz(path)
    corpora = _corpora(found)
    if not corpora:
        fix = f"it needs dictionaries of labels such as train{CORPUS}"
        raise InputError(Problem(str(path), "holds no corpora of labels", fix, tuple(found)))
    return {split: [_labelled(path, n, v, split) for n, v in c.items()] for split, c in corpora.items()}


def _corpora(found: Mapping[str, Any]) -> dict[str, dict[Any, Any]]:
    return {k.removesuffix(CORPUS): v for k, v in found.items() if k.endswith(CORPUS) and isinstance(v, dict)}


def _corpus(path: Path, corpora: Mapping[str, Mapping[str, Any]], split: str | None) -> Mapping[str, Any]:
    """The samples of one split."""
    known, several = list(corpora), len(corpora) > 1
    whole = corpora.get("whole", {})
    if whole and all(_SESSION.match(str(n)) for n in whole):
        sessions = {f"session{i}": {n: v for n, v in whole.items() if n[4] == str(i)} for i in range(1, 6)}
        corpora = {"test": sessions["session5"], **corpora, **sessions}
        known += list(sessions)
    wanted = split.removesuffix(CORPUS) if split else None
    if wanted is None and several:
        fix = f"choose one: --split {known[-1]}"
        raise InputError(Problem(str(path), "holds several splits", fix, tuple(known)))
    if wanted is not None and wanted not in corpora:
        raise InputError(unknown(str(path), "split", wanted, known))
    return corpora[wanted or known[0]]


def _labelled(path: Path, name: Any, value: Any, split: str) -> tuple[str, Row]:
    if not isinstance(value, dict):
        raise InputError(Problem(f"{path}: {name}", f"a label is a dictionary with emo and val, this is {value!r}"))
    plain = {k: v.item() if hasattr(v, "item") and getattr(v, "size", 1) == 1 else v for k, v in value.items()}
    row: Row = {"name": str(name), "split": split}
    if "emo" in plain:
        row["emo"] = plain["emo"]
    if plain.get("val") is not None and plain["val"] != NO_VALENCE:
        row["val"] = plain["val"]
    return f"{path}: {name}", row


def _name_labels(
    path: Path,
    rows: list[tuple[str, Row]],
    corpora: Mapping[str, Mapping[str, Any]],
    classes: tuple[str, ...] | None,
) -> None:
    """Put names in the place of whole numbers; take out the 0 that regression corpora have everywhere."""
    told: set[Any] = {v.get("emo") for c in corpora.values() for v in c.values() if isinstance(v, dict)}
    numbers = {n for n in told if isinstance(n, int) and not isinstance(n, bool)}
    if not told or numbers != told:
        return
    if numbers == {0}:
        for _, row in rows:
            row.pop("emo", None)
        return
    count = max(numbers) + 1
    everyone = [str(n) for c in corpora.values() for n in c]
    orders = (o for shape, k, o in _ORDERS if k == count and all(shape.match(n) for n in everyone))
    names = classes or next(orders, None)
    if names is None or len(names) < count or min(numbers) < 0:
        what = f"its labels are whole numbers from {min(numbers)} to {count - 1}"
        raise InputError(Problem(str(path), what, "say what they mean, in their order: --classes happy,sad,…"))
    for _, row in rows:
        row["emo"] = names[row["emo"]]
