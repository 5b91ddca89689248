"""What prompt pieces share: wording with named gaps, and text laid beside text. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from affectkit.errors import InputError, Problem
from affectkit.prompt import Ask, Segment
from affectkit.sample import Sample


def fill(wording: str, trained: bool = False, **words: str) -> Segment:
    """`wording` with each `{name}` replaced; other braces stay as they are, and nothing is looked up or
    evaluated. What was put in is not the recipe's own (see `Segment.marks`)."""
    text, marks = "", []
    for number, part in enumerate(re.split("{(" + "|".join(map(re.escape, words)) + ")}", wording)):
        own = number % 2 == 0  # the others are names
        said = part if own else words[part]
        marks += [(len(text), len(text) + len(said))] if own and said else []
        text += said
    return Segment(text, trained=trained, marks=tuple(marks))


def offered(settings: Any, sample: Sample, ask: Ask, part: str) -> list[str]:
    """The labels that a question offers, in training in an order of chance where `order` says so.

    `settings` have `wording`, `labels` and `order`. Raises InputError where it has a place for them and none are known.
    """
    labels = list(settings.labels or ask.labels)
    if not labels and "{options}" in settings.wording:
        fix = "give `labels`, or data whose labels are known"
        what = f"there are no labels to offer in the {part.replace('_', ' ')}"
        raise InputError(Problem(f"sample {sample.id}", what, fix))
    if settings.order == "shuffled" and ask.phase == "train":
        ask.draw(part).shuffle(labels)
    return labels


def speaks(task: str, turns: str, ask: Ask, layout: str = "") -> bool:
    """Whether a part that belongs to a task, to a layout (empty: any) and to `first` or `every` turn has its say now."""
    return task in ("", ask.task) and layout in ("", ask.layout) and (turns == "every" or ask.turn == 0)


def dropped(shares: Mapping[str, float], what: str, ask: Ask) -> bool:
    """Whether this sample goes without `what` in this epoch of training; `shares` says how often, by task."""
    share = shares.get(ask.task, 0.0) if ask.phase == "train" else 0.0
    return share > 0 and ask.draw(f"drop {what}").random() < share


def shares_problems(name: str, shares: Mapping[str, float]) -> list[tuple[str, str]]:
    """Shares that are none."""
    return [
        (name, f"the share of task {t!r} must be from 0 to 1, is {v}") for t, v in shares.items() if not 0 <= v <= 1
    ]


def said(*texts: str | Segment) -> tuple[Segment, ...]:
    """Texts of the recipe, and segments, empty ones left out."""
    made = (Segment.written(t) if isinstance(t, str) else t for t in texts)
    return tuple(s for s in made if s.text)


def joined(segments: Iterable[Segment], join: str) -> tuple[Segment, ...]:
    """Texts that follow each other as one, so that they are tokenised as one.

    `join` stands between two of them unless either has white space, or nothing, where they meet. Slots,
    special tokens and trained segments stay apart from text, and nothing is put beside them.
    """
    whole: list[Segment] = []
    for segment in segments:
        if not (segment.text or segment.slot or segment.special):
            continue
        last = whole[-1] if whole else None
        if last is None or not (_plain(last) and _plain(segment)):
            whole.append(segment)
            continue
        gap = "" if last.text[-1].isspace() or segment.text[0].isspace() else join
        before = len(last.text + gap)
        behind = tuple((start + before, stop + before) for start, stop in segment.marks)
        whole[-1] = Segment(last.text + gap + segment.text, marks=(*last.marks, *behind))
    return tuple(whole)


def _plain(segment: Segment) -> bool:
    return bool(segment.text) and not segment.trained
