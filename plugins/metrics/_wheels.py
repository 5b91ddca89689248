"""What metrics over emotion wheels share: settings, tables, sets of groups, what a result says. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._wheels_own import own

from affectkit.evaluation.clients import CachedClient
from affectkit.evaluation.prediction import Prediction
from affectkit.labels.answers import FREE
from affectkit.labels.extraction import SENTENCES, Extractor, LabelReader, lower, problem_of, summary_sentence
from affectkit.labels.wheels import Tables, imported_tables, read_tables, string_to_list

if TYPE_CHECKING:
    import numpy as np

COLUMNS = ("openset", "labels", "label", "discrete", "emo", "fileitems", "text", "answer")
"""Columns that may hold labels, the likeliest first."""
UNKNOWN_SHOWN = 20


@dataclass(frozen=True)
class ReadSettings:
    """Settings of a metric that finds labels in answers."""

    task: str = "open_labels"
    """The task whose answers, lists of labels or texts that name some, are scored."""
    truth: str = ""
    """The task whose true text they are compared with, `label` for the sample's label; empty for the task itself."""
    read: Literal["auto", "list", "sentence", "client"] = "auto"
    """How labels are found in an answer: a list as published, a fixed sentence, a model's reading of free text; auto: a list
    where it is in brackets, else a fixed sentence, else a list all the same."""
    sentences: tuple[str, ...] = SENTENCES
    """The fixed sentences, with {labels} where labels go; the first is AffectGPT's."""
    client: dict[str, Any] | None = None
    """The model that reads free text where `read` is client (`{use: openai_compatible, model: …}`)."""
    language: Literal["english", "chinese"] = "english"
    """Language of the questions to that model; it names labels in English."""
    strict: bool = True
    """Whether a reply of the model that is no list is asked for again, then counted as unusable; false: taken as it comes,
    as published."""

    def asks(self) -> tuple[str, str]:
        """Answers in words."""
        return self.task, "generate"

    def compares(self) -> tuple[str, ...]:
        """The reference answers that answers are compared with."""
        return (self.truth or self.task,)

    def columns(self) -> tuple[str, ...]:
        """The columns of answers in files."""
        return (*COLUMNS, *self.free())

    def free(self) -> tuple[str, ...]:
        """Where files hold explanations, if labels are to be read from these."""
        return FREE if self.read in ("sentence", "client") else ()

    def wants_client(self) -> bool:
        """Only where a model reads."""
        return self.read == "client"

    def reader(self, client: CachedClient | None = None) -> LabelReader:
        """Reads labels as these settings say."""
        model = Extractor(client, self.language, self.strict) if client else None
        return LabelReader(self.read, self.sentences, model)

    def problems(self) -> list[tuple[str, str]]:
        """Sentences without a gap."""
        return [("sentences", what) for what in map(problem_of, self.sentences) if what]


@dataclass(frozen=True)
class WheelSettings(ReadSettings):
    """Settings of a metric that maps words with emotion wheels."""

    wheels: str | None = None
    """Folder with the published tables; default: those that `affectkit wheels import` read, else a small lexicon of ours."""
    forms: Literal["auto", "original", "mer2026"] = "auto"
    """The form table: that of AffectGPT, OV-MER and MER2025, or that of MER2026, which gives other figures; auto: the original
    one where it is there, else the one that is."""

    def tables(self) -> Tables:
        """The tables that these settings name. Raises InputError for a folder without them."""
        if self.wheels is not None:
            return read_tables(self.wheels, self.forms)
        return imported_tables(self.forms) or own()

    def mapper(self, ring: str, client: CachedClient | None = None) -> Mapper:
        """Maps answers to groups, by the mappings whose names end in `ring` (all for the empty word)."""
        tables = self.tables()
        return Mapper(tables, [m for m in tables.mappings if m.endswith(ring)], self.reader(client))


class Mapper:
    """Labels to sets of groups, each word looked up once a mapping; and answers to labels."""

    def __init__(self, tables: Tables, mappings: Iterable[str], reader: LabelReader | None = None) -> None:
        self.tables, self.mappings = tables, tuple(m for m in mappings if m in tables.mappings)
        self.reader = reader or LabelReader()
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

    def answers(self, predictions: Sequence[Prediction]) -> list[tuple[str, ...]]:
        """The labels that were answered, lower case."""
        return [lower(read.labels) for read in self.reader.read([text_of(p) for p in predictions])]

    def unknown(self, lists: Iterable[Iterable[str]]) -> dict[str, int]:
        """Labels that are in no table, the commonest first."""
        found = Counter(label for labels in lists for label in labels if label not in self.tables.forms)
        return dict(sorted(found.items(), key=lambda kv: (-kv[1], kv[0])))


def labels_of(text: str) -> tuple[str, ...]:
    """The labels in a text as the published code takes them: parsed, lower case, no blanks around."""
    return tuple(part.lower().strip() for part in string_to_list(text))


def truth_of(prediction: Prediction) -> tuple[str, ...]:
    """The true labels of a sample."""
    return labels_of(prediction.truth or "")


def text_of(prediction: Prediction) -> str:
    """The text of an answer."""
    return prediction.text or prediction.label or ""


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


def summary(tables: Tables, mapper: Mapper, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What a reader needs beside the figures: which tables, and how many labels they do not know."""
    truths, answers = [truth_of(p) for p in predictions], mapper.answers(predictions)
    strange = mapper.unknown(answers)
    return {
        "clips": len(predictions),
        "empty_answers": sum(not a for a in answers),
        "tables": {"name": tables.name, "comparable": tables.comparable, "sha256": dict(tables.sources)},
        "labels_answered": sum(map(len, answers)),
        "labels_unknown": {"answers": sum(strange.values()), "truths": sum(mapper.unknown(truths).values())},
        "unknown_words": dict(list(strange.items())[:UNKNOWN_SHOWN]),
        "read": mapper.reader.summary([text_of(p) for p in predictions]),
    }


def says(what: str, tables: Tables, parts: Mapping[str, Mapping[str, Any]], told: Mapping[str, Any]) -> str:
    """The sentence that reports print beside the value; `told` is what `summary` gives."""
    used = [p["used"] for p in parts.values()]
    span = "0" if not used else str(used[0]) if min(used) == max(used) else f"{min(used)} to {max(used)}"
    note = "" if tables.comparable or "NOT comparable" in tables.name else ", NOT comparable with published figures"
    clips = f"{span} of {told['clips']} clips have a truth that the tables know, by mapping"
    return f"{what}; {tables.name}{note}; {clips}; {summary_sentence(told['read'])}"


PerClip = Callable[[frozenset[str], frozenset[str]], Sequence[float]]


def rows_of(predictions: Sequence[Prediction], mapper: Mapper, figures: PerClip, width: int) -> np.ndarray:
    """float64 [n, mappings * width]: what `figures` makes of (truth's groups, answer's groups); NaN for no truth."""
    import numpy as np

    rows = np.full((len(predictions), len(mapper.mappings), width), np.nan)
    for i, (p, answer) in enumerate(zip(predictions, mapper.answers(predictions), strict=True)):
        truth = truth_of(p)
        for j, mapping in enumerate(mapper.mappings):
            groups = mapper.groups(truth, mapping)
            if groups:
                rows[i, j] = figures(groups, mapper.groups(answer, mapping))
    return rows.reshape(len(predictions), len(mapper.mappings) * width)
