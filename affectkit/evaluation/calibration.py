"""How far probabilities can be trusted: calibration errors, Brier scores, risk by coverage, and one temperature to mend them.

Confidence is the probability of the answered label, divided by the sum over the label set. Errors by Naeini et al. (AAAI
2015) and Guo et al. (ICML 2017), risk by coverage by Geifman and El-Yaniv (NeurIPS 2017). Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from affectkit.errors import AffectkitError, InputError, Problem
from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import CalibrationBin, Figure, Reliability, SplitFigures, Temperature
from affectkit.evaluation.prediction import Prediction, labelled, write_predictions
from affectkit.files import Say
from affectkit.plan.metrics import Query
from affectkit.plan.plan import Plan
from affectkit.sample import LABEL, Sample
from affectkit.train.run_folder import Run

BINS, FEWER = 15, 10
"""Bins of equal width of the usual figures."""
FIGURES = {
    "ece_15": "expected calibration error, 15 bins of equal width",
    "ece_10": "expected calibration error, 10 bins of equal width",
    "ece_equal_mass": "expected calibration error, 15 bins of equally many samples",
    "mce": "largest calibration error of a bin, of 15 of equal width",
    "brier": "Brier score of the answered label: mean square of confidence less 1 where right, 0 where wrong",
    "brier_multiclass": "Brier score over all labels, from 0 to 2",
    "nll": "mean negative log-probability of the truth, in nats",
    "aurc": "area under the curve of risk by coverage: the mean share of wrong answers among the surest ones",
}
"""What is told of probabilities, all lower for the better."""
POINTS = 100
"""Points of a curve at most."""
HOTTEST, COLDEST = 1e3, 1e-3
"""Temperatures that are tried."""
TINY = 1e-300
"""A probability of 0 counts this in logarithms."""


@dataclass(frozen=True)
class Confidences:
    """Answers with probabilities, as arrays."""

    odds: np.ndarray
    """float64 [n, k]: the probabilities of all labels, each row of sum 1."""
    truth: np.ndarray
    """int [n]: which label is true."""
    answer: np.ndarray
    """int [n]: which one was answered."""
    known: np.ndarray
    """bool [all]: which of the predictions these are of; the others have no probabilities."""

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the answered label, float64 [n]."""
        return self.odds[np.arange(len(self.odds)), self.answer]

    @property
    def correct(self) -> np.ndarray:
        """1 where the answer is right, else 0, float64 [n]."""
        return (self.truth == self.answer).astype(float)

    @classmethod
    def of(cls, predictions: Sequence[Prediction], labels: Sequence[str]) -> Confidences:
        """Those of answers that are scored with probabilities; the order is theirs. A label that one has no probability for, as a
        head has none for what it never learned, counts 0."""
        place = {label: i for i, label in enumerate(labels)}
        rows = [[p.probabilities.get(name, 0.0) for name in labels] for p in predictions]
        odds = np.array(rows, float).reshape(len(predictions), len(labels))
        known = np.isfinite(odds).all(1) & (odds.sum(1) > 0) if len(labels) else np.zeros(len(predictions), bool)
        known &= np.array([p.state == "scored" and p.label in place and p.truth in place for p in predictions], bool)
        own = [p for p, k in zip(predictions, known, strict=True) if k]
        truth = np.array([place[str(p.truth)] for p in own], int)
        answer = np.array([place[str(p.label)] for p in own], int)
        return cls(odds[known] / odds[known].sum(1, keepdims=True), truth, answer, known)

    def figures(self, often: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """`FIGURES` [r] where each answer counts so often, int [r, n]; by default once, [1]. NaN where none is drawn."""
        weights = np.ones((1, len(self.truth))) if often is None else often.astype(float)
        if not len(self.truth):
            return {name: np.full(len(weights), np.nan) for name in FIGURES}
        total = weights.sum(1)
        ones = np.eye(self.odds.shape[1])[self.truth]
        each = {
            "brier": (self.confidence - self.correct) ** 2,
            "brier_multiclass": ((self.odds - ones) ** 2).sum(1),
            "nll": -np.log(np.maximum(self.odds[np.arange(len(self.truth)), self.truth], TINY)),
        }
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {name: weights @ values / total for name, values in each.items()}
            gaps, counts = self._gaps(BINS, weights)
            found["ece_15"] = abs(gaps).sum(1) / total
            found["mce"] = np.where(counts > 0, abs(gaps) / np.maximum(counts, 1), 0.0).max(1)
            found["ece_10"] = abs(self._gaps(FEWER, weights)[0]).sum(1) / total
            found["ece_equal_mass"] = self._equal_mass(weights)
            found["aurc"] = self._aurc(weights)
        return {name: np.where(total > 0, found[name], np.nan) for name in FIGURES}

    def _gaps(self, bins: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right answers less summed confidence, and samples, of each bin of equal width, [r, bins] each."""
        within = bin_of(self.confidence, bins)[:, None] == np.arange(bins)
        return weights @ (within * (self.correct - self.confidence)[:, None]), weights @ within

    def _equal_mass(self, weights: np.ndarray) -> np.ndarray:
        """ECE of `BINS` bins of equally many samples [r]; equal confidences share a bin."""
        order, starts = _ranks(self.confidence)
        sums = np.add.reduceat(weights[:, order], starts, axis=1)
        gaps = np.add.reduceat(weights[:, order] * (self.correct - self.confidence)[order], starts, axis=1)
        total = sums.sum(1, keepdims=True)
        place = np.clip(np.ceil(BINS * np.cumsum(sums, axis=1) / np.maximum(total, 1) - 1e-9) - 1, 0, BINS - 1)
        return sum(abs((gaps * (place == i)).sum(1)) for i in range(BINS)) / total[:, 0]

    def _aurc(self, weights: np.ndarray) -> np.ndarray:
        """Mean over coverages of the risk among the surest [r]; of equal confidences any order is as likely."""
        order, starts = _ranks(-self.confidence)
        drawn, wrong = (
            np.add.reduceat(weights[:, order] * own, starts, axis=1) for own in (1.0, (1 - self.correct)[order])
        )
        before, missed = (np.cumsum(side, axis=1) - side for side in (drawn, wrong))
        most = int(drawn.sum(1).max(initial=0))
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])
        steps = harmonic[(before + drawn).astype(int)] - harmonic[before.astype(int)]
        rate = np.where(drawn > 0, wrong / np.maximum(drawn, 1), 0.0)
        return (missed * steps + rate * (drawn - before * steps)).sum(1) / drawn.sum(1)

    def bins(self, count: int = BINS) -> tuple[CalibrationBin, ...]:
        """The bins of equal width that hold samples."""
        place, sure, right = bin_of(self.confidence, count), self.confidence, self.correct
        there = [(i, place == i) for i in range(count) if (place == i).any()]
        return tuple(
            CalibrationBin(
                i / count, (i + 1) / count, int(own.sum()), float(sure[own].mean()), float(right[own].mean())
            )
            for i, own in there
        )

    def curve(self) -> tuple[tuple[float, float], ...]:
        """Coverage and the share of wrong answers among the surest that make it up; `POINTS` at most."""
        if not len(self.truth):
            return ()
        order, starts = _ranks(-self.confidence)
        ends = np.append(starts[1:], len(order))
        wrong = np.cumsum((1 - self.correct)[order])[ends - 1] / ends
        chosen = np.unique(np.linspace(0, len(ends) - 1, min(POINTS, len(ends))).round().astype(int))
        return tuple((float(ends[i]) / len(order), float(wrong[i])) for i in chosen)

    def at(self, temperature: float) -> Confidences:
        """The same with all probabilities at another temperature; answers stay."""
        return replace(self, odds=at_temperature(self.odds, temperature))


def _ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of values, and where each group of equal ones begins in it."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    return order, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])


def bin_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The bin (lo, hi] of equal width of each confidence, from 0; that of 0 is -1, none."""
    return np.searchsorted(np.arange(bins + 1) / bins, confidence, side="left") - 1


def reliability(
    predictions: Sequence[Prediction], labels: Sequence[str], seed: int = 0, resamples: int = 1000
) -> Reliability | None:
    """What is to be told of the probabilities of answered labels; None where no answer has any."""
    answered = sorted(labelled(predictions), key=lambda p: p.id)
    own = Confidences.of(answered, labels)
    if not own.known.any():
        return None
    without = len(answered) - int(own.known.sum())
    return Reliability(len(own.truth), without, _with_intervals(own, seed, resamples), own.bins(), own.curve())


def _with_intervals(own: Confidences, seed: int, resamples: int) -> dict[str, Figure]:
    places = np.arange(len(own.truth))
    drawn = [own.figures(often) for often in bootstrap.draw_weights(places, seed, resamples)]
    return {
        name: bootstrap.figure(value[0], np.concatenate([one[name] for one in drawn]))
        for name, value in own.figures().items()
    }


def at_temperature(odds: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [n, k] with their logarithms divided by a temperature, each row of sum 1 again."""
    logs = np.log(np.maximum(odds, TINY)) / temperature
    logs -= logs.max(1, keepdims=True)
    found = np.exp(logs)
    return found / found.sum(1, keepdims=True)


def fit_temperature(odds: np.ndarray, truth: np.ndarray) -> float:
    """The temperature of least negative log-likelihood, of probabilities [n, k] and the places [n] of their true labels.

    The loss is convex in 1 / temperature, so its slope is halved in float64 until nothing changes. Where more heat or cold
    always helps (all answers right, say) it is an end of `COLDEST` to `HOTTEST`. Raises InputError without samples.
    """
    if not len(odds):
        raise InputError(Problem("temperature", "there is no sample to fit it on", "evaluate the validation split"))
    logs = np.log(np.maximum(np.asarray(odds, float), TINY))
    logs -= logs.max(1, keepdims=True)
    true = logs[np.arange(len(logs)), truth].mean()

    def slope(inverse: float) -> float:
        share = np.exp(inverse * logs)
        return float(((share * logs).sum(1) / share.sum(1)).mean() - true)

    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    if slope(1 / HOTTEST) >= 0:
        return HOTTEST
    if slope(1 / COLDEST) <= 0:
        return COLDEST
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(float(np.exp(middle))) < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def temperature_of(
    validation: Sequence[Prediction],
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    split: str = "val",
    seed: int = 0,
    resamples: int = 1000,
) -> Temperature:
    """One temperature, fitted on the answers to a validation split alone, and the figures of other answers at it.

    Raises InputError where either has no probabilities, and where a sample is in both.
    """
    seen, scored = ({(p.id, p.media, p.facts.get("subtitle")) for p in side} for side in (validation, predictions))
    both = sorted(id_ for id_, *_ in seen & scored)  # ids alone may be the same in two splits
    if both:
        what = f"{len(both)} samples are in {split!r} and in the split that is scored, for example {both[0]!r}"
        raise InputError(Problem("temperature", what, "fit it on other samples"))
    fitted, own = (
        Confidences.of(labelled(side), labels) for side in (validation, sorted(predictions, key=lambda p: p.id))
    )
    if not (len(own.truth) and len(fitted.truth)):
        where = "no answer" if not len(own.truth) else f"no answer to {split!r}"
        what = f"{where} that is scored has a truth and probabilities"
        fix = f"give samples of {split!r} labels, or let score.method be candidates, or a head"
        raise InputError(Problem("temperature", what, fix))
    value = fit_temperature(fitted.odds, fitted.truth)
    before, after = (float(one.figures()["nll"][0]) for one in (fitted, fitted.at(value)))
    mended = _with_intervals(own.at(value), seed, resamples)
    return Temperature(
        value, split, len(fitted.truth), before, after, value in (HOTTEST, COLDEST), mended, own.at(value).bins()
    )


FILE = "predictions-calibration.jsonl"
"""Where answers lie that were asked to fit the temperature only."""


@dataclass(frozen=True)
class TemperatureFit:
    """Where the answers of the validation split come from."""

    plan: Plan
    run: Run
    ask: Callable[[Sequence[Sample]], list[Prediction]]
    """The labels of samples, with probabilities."""
    say: Say = print

    def added(
        self, figures: Mapping[str, SplitFigures], answers: Mapping[str, Mapping[Query, list[Prediction]]]
    ) -> dict[str, SplitFigures]:
        """The figures with a temperature in those that tell of probabilities, fitted on the split `score.calibrate`.

        Where that split is scored, too, its answers are at hand; else it is asked now, as often as the scored splits were. What
        stands in the way is said, and costs no figure.
        """
        split, main = self.plan.score.calibrate, (LABEL, self.plan.method(LABEL))
        told = [name for name, one in figures.items() if one.reliability and name != split]
        if split and not told and any(one.reliability for one in figures.values()):
            self.say(f"no temperature scaling: {split!r} is the one split that is scored")
        if not (split and told):
            return dict(figures)
        try:
            validation = answers[split][main] if split in answers else self._asked(split)
            found = {name: self._one(figures[name], validation, answers[name][main]) for name in told}
        except AffectkitError as error:
            self.say(f"no temperature scaling: {error}")
            return dict(figures)
        return {name: found.get(name, one) for name, one in figures.items()}

    def _asked(self, split: str) -> list[Prediction]:
        """The answers to a split that is not scored, which are written beside the others."""
        assert self.plan.data is not None
        samples: Sequence[Sample] = self.plan.data.piece.build(self.plan.data.settings, split)
        if not len(samples):
            raise InputError(Problem("score.calibrate", f"the split {split!r} is empty"))
        found = [replace(p, split=split) for p in self.ask(samples)]
        write_predictions(self.run.folder / FILE, found)
        return found

    def _one(
        self, figures: SplitFigures, validation: Sequence[Prediction], answers: Sequence[Prediction]
    ) -> SplitFigures:
        assert figures.reliability is not None
        score, labels = self.plan.score, figures.labels
        fitted = temperature_of(validation, answers, labels, score.calibrate, self.plan.run.seed, score.resamples)
        return replace(figures, reliability=replace(figures.reliability, temperature=fitted))
