"""The promises of prompts and metrics. Imports no torch."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from affectkit.evaluation import bootstrap
from affectkit.evaluation.prediction import Prediction, State
from affectkit.evaluation.score import count
from affectkit.pieces import MayAskClient
from affectkit.plan.metrics import query_of
from affectkit.prompt import Ask, Segment, draw_for
from affectkit.sample import LABEL, NUMBERS, Fact, Sample
from affectkit.sample import LABELS as SEVERAL
from affectkit.testing.record import Built

LABELS = ("happy", "sad", "neutral")
ESTIMATES = {n: Fact(v, "estimate", 0.9) for n, v in {"age": "30-39", "gender": "female", "race": "asian"}.items()}
KNOWN = {n: Fact(v) for n, v in {"age": "20-29", "gender": "male", "race": "white", "face_box": None}.items()}
SAMPLES = (
    Sample("whole", Path("a.mp4"), subtitle="I am here.", label="sad", answers={"reason": "a low voice"}, facts=KNOWN,
           turns=(("How does it feel?", "sad"), ("Why?", "a low voice"))),
    Sample("bare", Path("b.mp4")),
    Sample("missing", image=Path("c.png"), label="happy", facts={n: Fact(None, "missing") for n in KNOWN}),
)  # fmt: skip
TASKS = ("label", "reason", "another")


def asks(epoch: int = 0) -> Iterator[tuple[Sample, Ask]]:
    """Samples with all, some and no facts, in every task, phase and turn, with and without what the parts said."""
    body = (Segment("Look at this."), Segment(slot="face"), Segment("How does it feel?"))
    for sample, task, phase, turn, whole in product(SAMPLES, TASKS, ("train", "infer"), (0, 1), (False, True)):
        estimates: Mapping[str, Mapping[str, Fact]] = {"priors.net": ESTIMATES} if sample.id == "whole" else {}
        draw = draw_for(0, epoch, sample.id)
        answer = (Segment("sad", trained=True),) if whole and phase == "train" else ()
        yield sample, Ask(task, phase, turn, draw, LABELS, estimates, not whole, body if whole else (), answer)  # type: ignore[arg-type]


def _where(sample: Sample, ask: Ask) -> str:
    return f"sample {sample.id!r}, task {ask.task!r}, phase {ask.phase!r}, turn {ask.turn}"


def segments(built: Built) -> Iterator[str]:
    """A tuple of segments, also where facts are missing: each exactly one of text, slot and special token."""
    for sample, ask in asks():
        try:
            found = built.made(sample, ask)
        except Exception as error:
            yield f"{_where(sample, ask)}: {type(error).__name__}: {error}"
            return
        if not isinstance(found, tuple) or not all(isinstance(s, Segment) for s in found):
            yield f"{_where(sample, ask)}: returned {found!r}, not a tuple of Segment"
            return
        for s in found:
            if sum(map(bool, (s.text, s.slot, s.special))) != 1:
                yield f"{_where(sample, ask)}: {s!r} is not exactly one of text, slot and special"
                return


def silence(built: Built) -> Iterator[str]:
    """What is missing is not said."""
    for sample, ask in asks():
        words = [s.text for s in built.made(sample, ask) if "None" in s.text]
        if words:
            yield f"{_where(sample, ask)}: says {words[0]!r}"
            return


def draws(built: Built) -> Iterator[str]:
    """Draws repeat: a sample has the same words in the same epoch, and Python's own generator is left alone."""
    state = random.getstate()
    for (sample, ask), (_, again) in zip(asks(3), asks(3), strict=True):
        one, two = built.made(sample, ask), built.made(sample, again)
        if one != two:
            yield f'{_where(sample, ask)}: {_text(one)!r}, then {_text(two)!r}; draw with `ask.draw("a purpose")`'
            return
    if random.getstate() != state:
        yield 'it drew from Python\'s global generator; draw with `ask.draw("a purpose")`'


def _text(found: tuple[Segment, ...]) -> str:
    return " ".join(s.text or f"<{s.slot or s.special}>" for s in found)


def secrets(built: Built) -> Iterator[str]:
    """The answer stands in trained segments only: what is given is the same for every label."""
    for sample, ask in asks():
        turns = tuple((question, f"not {answer}") for question, answer in sample.turns)
        other = replace(sample, label="neutral", answers={"reason": "a tilted head"}, turns=turns)
        one, two = (tuple(s for s in built.made(x, ask) if not s.trained) for x in (sample, other))
        if one != two and sample.label is not None:
            yield f"{_where(sample, ask)}: its answer shows in what is not trained: {_text(one)!r}"
            return


def slots(built: Built) -> Iterator[str]:
    """Slots are announced: the settings name the streams that the prompt has places for."""
    tell = getattr(built.settings, "slots", None)
    told = set(tell() if tell else ())
    found = {s.slot for sample, ask in asks() if not ask.body for s in built.made(sample, ask) if s.slot}
    if found - told:
        yield f"it puts out the slot {min(found - told)!r}; give the settings a method `slots()` that names it"


def predictions(count: int = 60, task: str = LABEL) -> list[Prediction]:
    """Answers to a task, right and wrong, valid and not; those to other tasks than labels and numbers are labels in words."""
    rng = random.Random(0)
    if task == NUMBERS:
        return [_rated(str(i), rng) for i in range(count)]
    if task == SEVERAL:
        return [_labelled_often(str(i), rng) for i in range(count)]
    found = []
    for i in range(count):
        state: State = rng.choice(["scored", "scored", "scored", "unparsed", "out_of_vocabulary"])
        label = {"scored": rng.choice(LABELS), "out_of_vocabulary": "awe", "unparsed": None}[state]
        truth, odds = rng.choice(LABELS), _odds(rng, label) if state == "scored" else {}
        found.append(Prediction(str(i), LABEL, state, truth, label, text=str(label), probabilities=odds))
    return found


def _odds(rng: random.Random, likeliest: str | None) -> dict[str, float]:
    """Probabilities that add up to 1, the largest of the answer."""
    drawn = sorted(rng.uniform(0.1, 1) for _ in LABELS)
    names = sorted(LABELS, key=lambda name: name == likeliest)
    return {name: value / sum(drawn) for name, value in zip(names, drawn, strict=True)}


def _rated(name: str, rng: random.Random) -> Prediction:
    """An answer in two numbers; of one in five there is none."""
    truth = {rating: rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0]) for rating in ("sentiment", "valence")}
    if rng.random() < 0.2:
        return Prediction(name, NUMBERS, "unparsed", true_numbers=truth)
    answer = {rating: value + rng.gauss(0, 0.4) for rating, value in truth.items()}
    return Prediction(name, NUMBERS, "scored", true_numbers=truth, numbers=answer)


def _labelled_often(name: str, rng: random.Random) -> Prediction:
    """An answer of several labels, some outside the set; of one in five there is none."""
    votes = [rng.randint(0, 3) for _ in LABELS]
    truth = {label: n / max(sum(votes), 1) for label, n in zip(LABELS, votes, strict=True)}
    if rng.random() < 0.2:
        return Prediction(name, SEVERAL, "unparsed", true_labels=truth)
    odds = _odds(rng, None)
    answer = tuple(label for label in (*LABELS, "awe") if rng.random() < 0.4)
    return Prediction(name, SEVERAL, "scored", true_labels=truth, labels=answer, probabilities=odds)


def _answers(built: Built, count: int = 60) -> list[Prediction]:
    """Answers of the task that a metric scores; without truths where it would ask another model of them."""
    settings = built.settings
    rows = predictions(count, query_of(settings)[0])
    judged = settings.wants_client() if isinstance(settings, MayAskClient) else hasattr(settings, "client")
    return [replace(p, truth=None) for p in rows] if judged else rows


def figures(built: Built) -> Iterator[str]:
    """A value, or a matrix, also of nothing: the value is a finite number or None."""
    for rows in (_answers(built), _answers(built, 1), []):
        found = built.made(rows, LABELS)
        if not isinstance(found, dict) or not ({"value", "rows"} & set(found)):
            yield f"of {len(rows)} predictions it made {found!r}, not a dict with `value` or `rows`"
        elif "value" in found and not (found["value"] is None or math.isfinite(found["value"])):
            yield f"of {len(rows)} predictions it made the value {found['value']}; say None where there is none"


def pure(built: Built) -> Iterator[str]:
    """Pure: the same twice, and its arguments as they were."""
    rows = _answers(built)
    before = copy.deepcopy(rows)
    one, two = built.made(rows, LABELS), built.made(rows, LABELS)
    if one != two:
        yield f"{one}, then {two}"
    if rows != before:
        yield "it changed the predictions that it was given"


def order(built: Built) -> Iterator[str]:
    """The order of predictions does not matter."""
    rows = _answers(built)
    one, two = built.made(rows, LABELS), built.made(rows[::-1], LABELS)
    near = "value" in one and None not in (one["value"], two["value"]) and abs(one["value"] - two["value"]) < 1e-12
    if one != two and not near:
        yield f"{one}; in another order {two}"


def counts(built: Built) -> Iterator[str]:
    """from_confusions agrees with the call: where there is one."""
    quick = getattr(built.made, "from_confusions", None)
    if quick is None:
        return
    rows = predictions()
    one, two = built.made(rows, LABELS).get("value"), float(quick(count(rows, LABELS)[None])[0])
    if one is None or abs(one - two) > 1e-9:
        yield f"the call says {one}, from_confusions {two}"


def means(built: Built) -> Iterator[str]:
    """per_sample and from_means agree with the call: where there are any."""
    quick = getattr(built.made, "per_sample", None)
    if quick is None:
        return
    rows = _answers(built)
    found, columns = built.made(rows, LABELS), quick(rows, LABELS)
    if not len(columns):
        return
    whole = bootstrap.means(columns)
    of_means = getattr(built.made, "from_means", None)
    told = {"the value": (found["value"], of_means(whole[None])[0] if of_means else whole[0])}
    if each := getattr(built.made, "parts_from_means", None):
        told |= zip_parts(found["parts"], each(whole[None])[0])
    for what, (called, value) in told.items():
        same = not math.isfinite(value) if called is None else abs(called - value) < 1e-9
        if not same:
            yield f"of {what} the call says {called}, the means {value}"


def zip_parts(parts: Mapping[str, Mapping[str, float | None]], values: Sequence[float]) -> dict[str, tuple[Any, float]]:
    """What both ways say of each part, by its name."""
    return {f"the part {name!r}": (one["value"], v) for (name, one), v in zip(parts.items(), values, strict=True)}


KITS = {
    "prompt": (
        Built,
        (segments, silence, draws, secrets, slots),
    ),
    "metric": (
        Built,
        (figures, pure, order, counts, means),
    ),
}
