"""What a model answered to a sample, how that ends in the ledger, and the files that hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import Json, read_jsonl, write_jsonl_atomic
from affectkit.sample import LABEL, LABELS, NUMBERS

if TYPE_CHECKING:
    import numpy as np

State = Literal["scored", "undecodable", "unparsed", "out_of_vocabulary", "refused", "invalid", "skipped"]

STATES: dict[State, str] = {
    "scored": "answered with a label of the set",
    "undecodable": "the media could not be read: no answer was asked for",
    "unparsed": "no label could be read from the answer, or it is empty: counts as wrong",
    "out_of_vocabulary": "answered with a label outside the set: counts as wrong",
    "refused": "the model says that it will not or cannot answer: counts as wrong",
    "invalid": "what the model computed is not finite, so there is no answer: counts as wrong",
    "skipped": "left out by the protocol",
}

NOTES: dict[str, str] = {
    "partial": "scored, but from a broken file",
    "unseen": "scored, but nothing of it was seen",
    "faceless": "scored, but without a face",
    "people": "scored, for one of several people",
    "soundless": "scored, but without sound",
    "mended": "scored, with sound that had to be mended",
    "wordless": "scored, but without the words that are said",
    "outside": "scored, with labels outside the set or numbers outside their scale",
    "off_scale": "scored against a truth outside its rating's scale",
    "unread": "scored, but without all the numbers that were asked",
    "tie": "scored, as one of several labels that are equally likely",
}
"""What else there may be to say of a sample that was answered, by name."""

NOT_FINITE = "the model's numbers are not finite: look at its weights and at this sample"
"""Why an answer is `invalid`."""

ANSWERED: tuple[State, ...] = ("scored", "unparsed", "out_of_vocabulary", "refused", "invalid")
"""The states that metrics look at. An invalid answer is wrong, it is never turned into a label."""


@dataclass(frozen=True)
class Prediction:
    """What became of one sample of an evaluation. Every sample ends as exactly one state."""

    id: str
    """The sample's id."""
    task: str
    """What it was asked."""
    state: State
    """One of `STATES`; metrics get those in `ANSWERED`: all but `undecodable` and `skipped`."""
    truth: str | None = None
    """The true label; of an answer in words to another task, the true text. None where the data has none."""
    label: str | None = None
    """What the system answered, as a label; None unless scored or out of vocabulary."""
    text: str = ""
    """The raw answer, where there is one."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Label to how likely the model finds it, where labels were scored; they add up to 1, but each stands alone in the task
    `labels`. Empty for an `invalid` answer."""
    error: str = ""
    """Why it was not scored."""
    media: str = ""
    """The file to look at."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Words about the sample (age, gender, evidence …) that a report may group by."""
    split: str = "test"
    """The split or suite that it belongs to: the key of its figures in metrics.json."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What to know of the answer, by the names in `NOTES`; it changes no figure."""
    truths: Mapping[str, str] = field(default_factory=dict)
    """For an answer in words: what is true of the sample by other tasks, for metrics that compare with one of them."""
    true_labels: Mapping[str, float] = field(default_factory=dict)
    """Of the task `labels`: the true labels with their weights, as `Sample.labels` has them."""
    labels: tuple[str, ...] = ()
    """Of the task `labels`: those that the system answered."""
    true_numbers: Mapping[str, float] = field(default_factory=dict)
    """Of the task `numbers`: the true ratings by name."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Of the task `numbers`: the ratings that the system answered, by name."""

    @property
    def numbered(self) -> list[str]:
        """The ratings that can be scored: of those with a truth, the ones that were answered."""
        return [name for name in self.true_numbers if self.state == "scored" and name in self.numbers]


def has_truth(prediction: Prediction) -> bool:
    """Whether there is anything to score an answer against, by what it was asked."""
    held = {LABELS: prediction.true_labels, NUMBERS: prediction.true_numbers}
    if prediction.task in held:
        return bool(held[prediction.task])
    return prediction.truth is not None if prediction.task == LABEL else bool(prediction.truth)


def answered_only(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Those that metrics look at: answered, and with a truth."""
    return [p for p in predictions if p.state in ANSWERED and has_truth(p)]


def truth_of(prediction: Prediction) -> tuple[object, ...]:
    """What is true of a sample, of any kind: equal for predictions that can be compared."""
    return prediction.truth, dict(prediction.true_labels), dict(prediction.true_numbers)


def labelled(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Those that metrics of labels look at."""
    return [p for p in answered_only(predictions) if p.task == LABEL]


def unparsed_if_empty(prediction: Prediction) -> Prediction:
    """An answer in words; an empty one is none."""
    words = prediction.task not in (LABEL, LABELS, NUMBERS)
    empty = words and prediction.state == "scored" and not prediction.text.strip()
    return replace(prediction, state="unparsed", error="the answer is empty") if empty else prediction


class Metric(Protocol):
    """What a metric piece builds: pure, and the same whatever the order of the predictions.

    A metric that depends on the confusion counts only may also offer `from_confusions(counts [r, k, k + 1])
    -> float64 [r]` (rows truth; columns answer, the last one invalid; NaN where undefined). It then gets
    intervals, groups, baselines and paired differences from many draws at once; without it each draw costs a
    call. A metric of means over samples may offer `per_sample(predictions, labels) -> float64 [n, m]` (NaN where a
    sample has none; the means are taken over the others) and, where it is not simply their mean, `from_means(means
    [r, m]) -> float64 [r]`: its interval then costs no calls either. One with `parts` may offer `parts_from_means(means) ->
    float64 [r, parts]` besides, in their order, and each part gets an interval. A metric of ranks may offer
    `from_draws(predictions, labels, often [r, n]) -> float64 [r]`, its value where each sample is drawn so often.
    `higher_is_better = False` says that lower figures are better, as errors are. A metric that is no number may offer
    `from_counts(counts [k, k + 1], labels)`, which gives the same as a call with predictions of these counts.
    """

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Mapping[str, Json]:
        """`{"value": float | None, …}`, or a matrix as `{"labels", "columns", "rows"}`.

        `predictions` all have a truth and a state in `ANSWERED`. A published protocol adds `"protocol"`, one
        sentence that reports print beside the value.
        """
        ...


@runtime_checkable
class CountMetric(Metric, Protocol):
    """A metric that a confusion matrix is enough for."""

    def from_confusions(self, counts: np.ndarray) -> np.ndarray:
        """The value of each matrix, as `Metric` says."""
        ...


def count_metrics(metrics: Mapping[str, Metric]) -> dict[str, CountMetric]:
    """Those of some metrics that a confusion matrix is enough for."""
    return {name: metric for name, metric in metrics.items() if isinstance(metric, CountMetric)}


def write_predictions(path: str | Path, predictions: Iterable[Prediction]) -> None:
    """Write predictions.jsonl, one a line, every field in each."""
    write_jsonl_atomic(path, (asdict(p) for p in predictions))


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read what `write_predictions` wrote; keys that it does not know are passed over.

    Raises InputError with file and line for a missing id or an unknown state.
    """
    known = [f.name for f in fields(Prediction)]
    found = []
    for place, row in read_jsonl(path):
        for key in ("id", "task", "state"):
            if not isinstance(row.get(key), str):
                raise InputError(Problem(place, f"a prediction needs the text {key!r}", known=tuple(known)))
        if row["state"] not in get_args(State):
            raise InputError(unknown(place, "state", row["state"], STATES))
        given = {key: row[key] for key in known if row.get(key) is not None}
        odds = given.get("probabilities", {})
        if not all(isinstance(v, int | float) for v in odds.values()):  # written before such answers had a state
            given |= {"state": "invalid", "label": None, "probabilities": {}, "error": NOT_FINITE}
        if row["task"] != LABEL and not given.get("truth"):  # where true texts stood before version 0.3
            given["truth"] = given.get("facts", {}).get("reference") or None
        found.append(Prediction(**{**given, "labels": tuple(given.get("labels", ()))}))
    return found
