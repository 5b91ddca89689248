"""Metrics of predictions and ground truth in memory or in files, or of a confusion matrix: `affectkit.score` and its command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectkit.errors import InputError, Problem
from affectkit.evaluation.calibration import reliability
from affectkit.evaluation.figures import SplitFigures
from affectkit.evaluation.prediction import Metric, Prediction, answered_only
from affectkit.evaluation.protocol import build_metric
from affectkit.evaluation.score import count, ledger, measure, score_counts, without_metrics
from affectkit.files import Json, read_json
from affectkit.labels.answers import (
    IDS,
    AnswerRow,
    MemoryRows,
    RowSource,
    Source,
    read_labelled,
    read_texts,
    wrong,
)
from affectkit.labels.label_sets import read_label_sets
from affectkit.labels.ratings import read_numbers
from affectkit.plan.metrics import columns_of, no_client, query_of, references, wants_client
from affectkit.plan.use import Use, client_of, reader_of
from affectkit.reading import Reader
from affectkit.recipe.settings import type_hints
from affectkit.registry import Registry
from affectkit.sample import LABEL, LABELS, NUMBERS, Targets

if TYPE_CHECKING:
    import numpy as np

ANSWER, TRUTH = "answer", "truth"
"""The columns of answers and truths that come without a name of their own."""

Metrics = str | Sequence[str] | Mapping[str, Mapping[str, object] | None]


def score(
    predictions: str | Path | Iterable[Any] | Mapping[Any, Any],
    truths: str | Path | Iterable[Any] | Mapping[Any, Any] | None = None,
    metrics: Metrics = (),
    classes: Sequence[str] | None = None,
    split: str | None = None,
    plugins: Sequence[str | Path] = (),
    seed: int = 0,
    resamples: int = 1000,
    reader: str | Mapping[str, object] | Reader | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """Metrics of any system's answers, with 95 % bootstrap intervals over samples.

    `predictions` and `truths` are labels, or texts for metrics of texts: lists in the same order, or mappings by id. Also
    lists of rows (mappings with the columns id and label, as a CSV file would have them) or of `Prediction`s, and paths of
    files. Where predictions hold their truths, as those of `run.predict` on labelled samples and a run's
    predictions.jsonl do, `truths` stays None. A truth without an answer counts as wrong, as does an empty answer (None,
    NaN, an empty text); answers without a truth are left out.

    `metrics` is a name, a list of names, or names to settings (`{"ov_wheels": {"wheels": "emotion_wheel"}}`; with `use` a
    name may be one's own). One that asks another model wants `affectkit.evaluation.clients.allowing(server)` around the
    call. `classes` is the label set, by default every label that occurs; `split` chooses one where rows say theirs;
    `plugins` are files with pieces of one's own.

    Metrics of numbers want a number, or rows with a column a rating (`valence`, with the prefix `true_` for truths in the same
    row); metrics of several labels a list or a text such as `happy|sad`, and in rows also a mapping of labels to weights (truths)
    or probabilities (answers).

    Labels are read as an evaluation reads answers: case, width, quotes, brackets, Markdown and punctuation around them do not
    count, `1.0` is `1`, and `nan`, `None` or `NULL` is nothing (unless `classes` names it). `reader` reads them otherwise: a
    piece by its name (`"tagged"`), with settings (`{"use": "tagged", "answer": "final"}`), or a function as `affectkit.Reader`
    is. `ranges` are the ends of ratings' scales (`{"valence": (-1, 1)}`): numbers outside are remarked.

    Returns what `affectkit score --json` prints: by metric `value`, `low`, `high`; `count`, `labels`, `ledger` (how samples
    ended), `remarks` (answers that were refused, without a label or outside the set, ids without a partner and the like, each
    with a count and an example), and for metrics of labels `chance`, `majority`, `per_class`, `matrix`.

    Raises InputError for an unknown metric or setting, for lists of different length, for ids that do not meet, and for truths
    that are no label of `classes` or only look alike.
    """
    named = {metrics: None} if isinstance(metrics, str) else metrics
    settings = (
        {n: dict(own or {}) for n, own in named.items()} if isinstance(named, Mapping) else {n: {} for n in named}
    )
    if classes is not None and len(set(classes)) < len(classes):
        raise InputError(Problem("classes", f"names a class twice: {', '.join(classes)}"))
    registry = Registry.load(plugins)
    wanted = build_metrics(settings, registry)
    source = source_of(predictions, truths, split, tuple(classes) if classes else None)
    scales = {name: checked_range("ranges", name, *ends) for name, ends in (ranges or {}).items()}
    source = read_by(replace(source, ranges=scales), built_reader(reader, registry))
    found = of_answers(source, wanted, source.classes, seed, resamples)
    unused = unread("reader", wanted) if reader is not None else []
    return replace(found, remarks=(*unused, *(found.remarks or ())) or None).to_dict()


def built_reader(reader: str | Mapping[str, object] | Reader | None, registry: Registry) -> Reader | None:
    """A reader of that name or block; one that is built stays as it is. Raises InputError where there is none."""
    if reader is None or not isinstance(reader, str | Mapping):
        return reader
    use = reader_of(registry, reader)
    made: Reader = use.piece.build(use.settings)
    return made


def read_by(source: Source, read: Reader | None) -> Source:
    """The source, with answers read by a reader where there is one."""
    if read is None:
        return source
    return replace(
        source,
        reader=lambda text, labels: read(text, Targets(tuple(labels))),
        rates=lambda text, scales: read(text, Targets(numbers=scales)),
    )


def unread(place: str, wanted: Mapping[str, Scorer], answers: bool = True) -> list[str]:
    """A remark on a reader that reads nothing, where there are no `answers` or no metric scores labels or ratings."""
    if answers and any(scorer.task in (LABEL, NUMBERS) for scorer in wanted.values()):
        return []
    return [f"{place} is not used: no label and no rating is read for {', '.join(wanted)}"]


def checked_range(place: str, name: str, low: float, high: float) -> tuple[float, float]:
    """The ends of a rating's scale. Raises InputError where it ends before it begins."""
    if not low < high:
        raise InputError(Problem(place, f"the scale of {name} ends where it begins or before: {low:g} to {high:g}"))
    return float(low), float(high)


def source_of(predictions: Any, truths: Any, split: str | None, classes: tuple[str, ...] | None) -> Source:
    """Predictions and truths given in memory or as paths, as a `Source`."""
    answers = _table("predictions", predictions, ANSWER)
    own = _bare(answers, ANSWER)
    if truths is None and own:
        fix = "give truths: a list in the same order, or a mapping by the same ids"
        wrong("predictions", "are answers alone, and there are no truths", fix)
    if truths is None:
        return Source(answers, None, split, None, None, classes)
    held = _table("truths", truths, TRUTH)
    listed = not isinstance(truths, str | Path | Mapping) and _bare(held, TRUTH)
    if listed and isinstance(answers, MemoryRows) and isinstance(held, MemoryRows):  # in the order of the answers
        if len(held.rows) != len(answers.rows):
            wrong("truths", f"there are {len(held.rows)} of them, and {len(answers.rows)} predictions")
        ids = [next((row[key] for key in IDS if row.get(key) is not None), "") for _, row in answers.rows]
        held = replace(held, rows=tuple((p, {**row, "id": i}) for (p, row), i in zip(held.rows, ids, strict=True)))
    return Source(answers, held, split, ANSWER if own else None, TRUTH if _bare(held, TRUTH) else None, classes)


def _table(name: str, values: Any, column: str) -> RowSource:
    """A file, or rows: those that were given, or values in that column, by their ids or their places in the list."""
    if isinstance(values, str | Path):
        return Path(values)
    by_id = isinstance(values, Mapping)
    rows: list[tuple[str, AnswerRow]] = []
    for i, (key, value) in enumerate(values.items() if by_id else enumerate(values)):
        at = f"{name}[{key!r}]" if by_id else f"{name}[{i}]"
        own = {"id": str(key)} if by_id else {}
        if isinstance(value, Prediction):
            rows.append((at, asdict(value)))
        elif isinstance(value, Mapping):
            rows.append((at, {**own, **value}))
        else:
            value = value.tolist() if hasattr(value, "tolist") else value
            rows.append((at, {"id": str(key), column: value}))
    if not rows:
        wrong(name, "holds nothing")
    return MemoryRows(name, tuple(rows))


def _bare(table: RowSource, column: str) -> bool:
    """Whether rows are values without columns of their own."""
    return isinstance(table, MemoryRows) and all(row.keys() == {"id", column} for _, row in table.rows)


@dataclass(frozen=True)
class Scorer:
    """A built metric with the task, columns and reference tasks of the answers that it scores."""

    metric: Metric
    task: str
    columns: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    settings: frozenset[str] = frozenset()
    """The names of its settings."""
    numbers: tuple[str, ...] = ()
    """The ratings that it scores, where it says which."""

    @property
    def counts(self) -> bool:
        """Whether the counts of a confusion matrix are enough for it."""
        return hasattr(self.metric, "from_confusions") or hasattr(self.metric, "from_counts")


def build_metrics(
    settings: Mapping[str, Mapping[str, object]],
    registry: Registry,
    shared: Mapping[str, str] | None = None,
    client: Mapping[str, object] | None = None,
) -> dict[str, Scorer]:
    """The metrics of those names with those settings; `use` names the piece where the name does not.

    `shared` go to every metric that has a setting of that name, and the settings of `client` to every one that asks a model.
    Raises InputError for what no piece knows.
    """
    if not settings:
        raise InputError(Problem("score", "names no metric", "see affectkit pieces metric"))
    pieces = {name: registry.piece("metric", str(own.get("use", name))) for name, own in settings.items()}
    made = {}
    for name, piece in pieces.items():
        fields = type_hints(piece.settings)
        own: dict[str, object] = {k: v for k, v in (shared or {}).items() if k in fields}
        own |= {k: v for k, v in settings[name].items() if k != "use"}
        asked_of = own.get("client") or {}
        if "client" in fields and isinstance(asked_of, Mapping) and (client or asked_of):
            own["client"] = {**(client or {}), **asked_of}
        use = Use.of(piece, own, name)
        asked = None
        if wants_client(use):
            if not use.settings.client:
                raise InputError(no_client(f"metric {name}", use, registry.names("client")))
            asked = client_of(registry, use.settings.client)
        said = use.settings
        reads = query_of(said)[0], columns_of(said), references(said)
        ratings = tuple(getattr(said, "numbers", ())) or ((said.number,) if "number" in fields else ())
        made[name] = Scorer(build_metric(use, asked), *reads, frozenset(fields), ratings)
    return made


MOST = 2**53
"""No count is as large as this."""


def read_confusion(path: Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(counts int64 [k, k + 1], labels) from a JSON list of rows, or an object with `rows` and `labels`."""
    import numpy as np

    value = read_json(path)
    rows = value.get("rows") if isinstance(value, Mapping) else value
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        wrong(str(path), "a confusion matrix is a list of rows of counts", "for example [[10, 2], [1, 7]]")
    for i, row in enumerate(rows):
        if len(row) not in (len(rows), len(rows) + 1) or len(row) != len(rows[0]):
            wrong(f"{path}: row {i}", f"has {len(row)} counts beside {len(rows)} rows", "one column a class")
        strange = [n for n in row if not _is_count(n)]
        if strange:
            wrong(f"{path}: row {i}", f"holds {strange[0]!r}, which is no count", "a count is a whole number from 0")
    counts = np.array(rows, dtype=np.int64)
    if not counts.any():
        wrong(str(path), "counts no sample", "a confusion matrix is a list of rows of counts")
    if counts.shape[1] == counts.shape[0]:
        counts = np.pad(counts, ((0, 0), (0, 1)))
    told = value.get("labels") if isinstance(value, Mapping) else None
    if told is not None and not isinstance(told, list):
        wrong(f"{path}: labels", f"is no list of labels: {told!r}", "one label a row")
    names = classes or (tuple(map(str, told)) if told else tuple(f"class {i}" for i in range(len(rows))))
    if len(names) != len(rows):
        wrong(str(path), f"has {len(rows)} rows, and there are {len(names)} classes: {', '.join(names)}")
    return counts, names


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < MOST and value == int(value)


def of_confusion(
    path: Path, wanted: Mapping[str, Scorer], classes: tuple[str, ...] | None, seed: int, resamples: int
) -> SplitFigures:
    """Figures of a confusion matrix in a file. Raises InputError for a metric that wants the answers themselves."""
    counts, names = read_confusion(path, classes)
    slow = [name for name, scorer in wanted.items() if not scorer.counts]
    if slow:
        what = "cannot be had from a confusion matrix"
        raise InputError(Problem(f"metric {slow[0]!r}", what, "give --predictions and --labels"))
    built = {name: scorer.metric for name, scorer in wanted.items()}
    figures = score_counts(counts, built, names, seed, resamples)
    return replace(figures, by_metric={**figures.by_metric, **_matrices(counts, names, built)})


def _matrices(counts: np.ndarray, names: tuple[str, ...], built: Mapping[str, Metric]) -> dict[str, Json]:
    """What metrics that are no number make of the counts: the matrix itself."""
    return {name: m.from_counts(counts, names) for name, m in built.items() if hasattr(m, "from_counts")}


def of_answers(
    source: Source, wanted: Mapping[str, Scorer], classes: tuple[str, ...] | None, seed: int, resamples: int
) -> SplitFigures:
    """Figures of answers: metrics of labels together, metrics of texts by the task that they score."""
    found = SplitFigures()
    of_labels = {name: scorer for name, scorer in wanted.items() if scorer.task == LABEL}
    if of_labels:
        found = _of_labelled(*read_labelled(source, classes), of_labels, seed, resamples)
    for task in (LABELS, NUMBERS):
        own = {name: scorer for name, scorer in wanted.items() if scorer.task == task}
        if own:
            more = _of_other_kinds(source, task, own, classes, seed, resamples)
            found = replace(found if of_labels else more, by_metric={**found.by_metric, **more.by_metric})
    typed = (LABEL, LABELS, NUMBERS)
    of_labels = {name: scorer for name, scorer in wanted.items() if scorer.task in typed}
    reads = {n: (s.task, s.columns, s.against) for n, s in wanted.items() if n not in of_labels}
    for read in dict.fromkeys(reads.values()):
        texts = read_texts(source, *read)
        answered = answered_only(texts)
        names = [n for n, own in reads.items() if own == read]
        results = {n: measure(wanted[n].metric, answered, classes or (), seed, resamples) for n in names}
        found = replace(found, by_metric={**found.by_metric, **results})
        if not of_labels:
            found = replace(found, count=len(answered), labels=tuple(classes or ()), ledger=ledger(texts))
    return replace(found, remarks=source.remarks.lines() or None)


def _of_other_kinds(
    source: Source,
    task: str,
    wanted: Mapping[str, Scorer],
    classes: tuple[str, ...] | None,
    seed: int,
    resamples: int,
) -> SplitFigures:
    """Figures of several labels or of numbers."""
    if task == NUMBERS:
        every = all(scorer.numbers for scorer in wanted.values())
        names = tuple(dict.fromkeys(n for s in wanted.values() for n in s.numbers)) if every else ()
        found, labels = read_numbers(source, names), tuple[str, ...]()
    else:
        found, labels = read_label_sets(source, classes)
    answered = answered_only(found)
    metrics = {name: scorer.metric for name, scorer in wanted.items()}
    results = {name: measure(metric, answered, labels, seed, resamples) for name, metric in metrics.items()}
    return replace(without_metrics(task, found, metrics, labels, seed, resamples), by_metric=results)


def _of_labelled(
    found: list[Prediction], names: tuple[str, ...], wanted: Mapping[str, Scorer], seed: int, resamples: int
) -> SplitFigures:
    """Figures of predictions. Where counts are enough the metrics are not called: that would import torch."""
    quick = {name: scorer.metric for name, scorer in wanted.items() if scorer.counts}
    slow = {name: scorer.metric for name, scorer in wanted.items() if name not in quick}
    answered = answered_only(found)
    counts = count(answered, names)
    figures = score_counts(counts, quick, names, seed, resamples)
    called = {name: measure(metric, answered, names, seed, resamples) for name, metric in slow.items()}
    results = {**figures.by_metric, **called, **_matrices(counts, names, quick)}
    trust = reliability(answered, names, seed, resamples)
    return replace(figures, by_metric=results, ledger=ledger(found), reliability=trust)
