"""What metrics over emotion wheels share: settings, tables, sets of groups, what a result says. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit.wheels import Tables, imported, read_tables, string_to_list

if TYPE_CHECKING:
    import numpy as np

    from affectkit.score import Prediction

COLUMNS = ("openset", "labels", "label", "discrete", "emo", "fileitems", "text", "answer")
"""Columns that may hold labels, the likeliest first."""
UNKNOWN_SHOWN = 20


@dataclass(frozen=True)
class WheelSettings:
    """Settings of a metric that maps words with emotion wheels."""

    wheels: str | None = None
    """Folder with the published tables; default: those that `affectkit wheels import` read, else a small lexicon of ours."""
    forms: Literal["original", "mer2026"] = "original"
    """The form table: that of AffectGPT, OV-MER and MER2025, or that of MER2026, which gives other figures."""
    task: str = "open_labels"
    """The task whose answers, lists of labels, are scored."""

    def asks(self) -> tuple[str, str]:
        """Lists of labels, as text."""
        return self.task, "generate"

    def columns(self) -> tuple[str, ...]:
        """Where files hold them."""
        return COLUMNS

    def tables(self) -> Tables:
        """The tables that these settings name. Raises InputError for a folder without them."""
        if self.wheels is not None:
            return read_tables(self.wheels, self.forms)
        from affectkit_plugins.metrics._wheels_own import own

        return imported(self.forms) or own()


class Mapper:
    """Labels to sets of groups; each word is looked up once a mapping."""

    def __init__(self, tables: Tables, mappings: Iterable[str]) -> None:
        self.tables, self.mappings = tables, tuple(m for m in mappings if m in tables.mappings)
        self._known: dict[str, dict[str, str]] = {m: {} for m in self.mappings}

    def groups(self, labels: Iterable[str], mapping: str) -> frozenset[str]:
        """The groups of labels; those without one vanish."""
        known = self._known[mapping]
        found = set()
        for label in labels:
            if label not in known:
                known[label] = self.tables.group(label, mapping)
            found.add(known[label])
        return frozenset(found - {""})

    def unknown(self, lists: Iterable[Iterable[str]]) -> dict[str, int]:
        """Labels that are in no table, the commonest first."""
        found = Counter(label for labels in lists for label in labels if label not in self.tables.forms)
        return dict(sorted(found.items(), key=lambda kv: (-kv[1], kv[0])))


def labels_of(text: str) -> tuple[str, ...]:
    """The labels in a text as the published code takes them: parsed, lower case, no blanks around."""
    return tuple(part.lower().strip() for part in string_to_list(text))


def truth_of(prediction: Prediction) -> tuple[str, ...]:
    """The true labels of a sample."""
    return labels_of(str(prediction.facts.get("reference") or prediction.truth or ""))


def answer_of(prediction: Prediction) -> tuple[str, ...]:
    """The labels that were answered."""
    return labels_of(prediction.text or prediction.label or "")


def means_of(rows: np.ndarray) -> np.ndarray:
    """Column means [m] of rows [n, m] over what is not NaN; NaN where all is."""
    import numpy as np

    known = np.isfinite(rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: np.ndarray = np.where(known, rows, 0.0).sum(0) / known.sum(0)
    return means


def number(value: Any) -> float | None:
    """A float, or None for what is not finite."""
    import math

    return float(value) if math.isfinite(value) else None


def told(tables: Tables, mapper: Mapper, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What a reader needs beside the figures: which tables, and how many labels they do not know."""
    truths, answers = [truth_of(p) for p in predictions], [answer_of(p) for p in predictions]
    strange = mapper.unknown(answers)
    return {
        "clips": len(predictions),
        "empty_answers": sum(not a for a in answers),
        "tables": {"name": tables.name, "comparable": tables.comparable, "sha256": dict(tables.sources)},
        "labels_answered": sum(map(len, answers)),
        "labels_unknown": {"answers": sum(strange.values()), "truths": sum(mapper.unknown(truths).values())},
        "unknown_words": dict(list(strange.items())[:UNKNOWN_SHOWN]),
    }


def says(what: str, tables: Tables, parts: Mapping[str, Mapping[str, Any]], clips: int) -> str:
    """The sentence that reports print beside the value."""
    used = [p["used"] for p in parts.values()]
    span = "0" if not used else str(used[0]) if min(used) == max(used) else f"{min(used)} to {max(used)}"
    note = "" if tables.comparable or "NOT comparable" in tables.name else ", NOT comparable with published figures"
    return f"{what}; {tables.name}{note}; {span} of {clips} clips have a truth that the tables know, by mapping"


PerClip = Callable[[frozenset[str], frozenset[str]], Sequence[float]]


def rows_of(predictions: Sequence[Prediction], mapper: Mapper, figures: PerClip, width: int) -> np.ndarray:
    """float64 [n, mappings * width]: what `figures` makes of (truth's groups, answer's groups); NaN for no truth."""
    import numpy as np

    rows = np.full((len(predictions), len(mapper.mappings), width), np.nan)
    for i, p in enumerate(predictions):
        truth, answer = truth_of(p), answer_of(p)
        for j, mapping in enumerate(mapper.mappings):
            groups = mapper.groups(truth, mapping)
            if groups:
                rows[i, j] = figures(groups, mapper.groups(answer, mapping))
    return rows.reshape(len(predictions), len(mapper.mappings) * width)
