"""What is to be said of answers and truths: ids without a partner and how those of two files differ, and answers that count as
wrong."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from affectkit.errors import nearest
from affectkit.evaluation.prediction import Prediction, State
from affectkit.reading import lookalike, visible

SEARCHED = 200
"""Ids of either side that are looked at for a common beginning or end."""


class Remarks:
    """What a user should know of files that were scored: sentences, each with a count and an example."""

    def __init__(self, notes: Iterable[str] = ()) -> None:
        self.notes = list(notes)
        self._examples: dict[str, list[str]] = {}

    def add(self, what: str, example: str) -> None:
        """Count one more of a kind; the first of it is the example."""
        self._examples.setdefault(what, []).append(example)

    def lines(self) -> tuple[str, ...]:
        """One sentence a kind, after the notes."""
        counted = (f"{what}: {len(found)}, for example {found[0]}" for what, found in self._examples.items())
        return (*dict.fromkeys(self.notes), *counted)


RULES: Mapping[str, Callable[[str], str]] = {
    "blanks": lambda name: "".join((name if name.isascii() else visible(name)).split()),
    "case": str.casefold,
    "the width or accents of letters": lambda name: unicodedata.normalize("NFKC", name),
    "the folders before them": lambda name: re.split(r"[\\/]", name)[-1],
    "their endings": lambda name: re.sub(r"(?<=.)\.[A-Za-z]\w{0,4}$|(?<=.)\.mp[34]$", "", name),
    "numbers written as 1.0": lambda name: re.sub(r"^(\d+)\.0+$", r"\1", name),
    "zeros before numbers": lambda name: re.sub(r"(?<!\d)0+(?=\d)", "", name),
    "signs between their parts": lambda name: re.sub(r"[\W_]+", "-", name).strip("-"),
}
"""In what ids of the same sample differ, and what takes that away."""


def likely_same(answers: Collection[str], truths: Collection[str]) -> str:
    """In what ids of answers and of truths differ that have no partner and are likely the same, with how many and an
    example; empty where nothing of that kind is seen."""
    if not answers or not truths:
        return ""
    best: tuple[int, str, tuple[str, str]] = (0, "", ("", ""))
    for what, rule in {**RULES, "how they are written": _bare}.items():
        pairs = _meeting(answers, truths, rule)
        if len(pairs) > best[0]:
            best = (len(pairs), what, pairs[0])
    if not best[0]:
        best = _affix(answers, truths)
    count, what, (mine, theirs) = best
    differ = "differs" if count == 1 else "differ"
    return f"{count} {differ} in {what} only: {mine!r} among the answers, {theirs!r} among the truths" if count else ""


def _bare(name: str) -> str:
    for rule in RULES.values():
        name = rule(name)
    return name


def _meeting(answers: Iterable[str], truths: Iterable[str], rule: Callable[[str], str]) -> list[tuple[str, str]]:
    """The ids of either side that become one and the same by a rule, where only one of each side does."""
    sides: list[dict[str, list[str]]] = [{}, {}]
    for side, names in zip(sides, (answers, truths), strict=True):
        for name in names:
            side.setdefault(rule(name), []).append(name)
    mine, theirs = sides
    return [
        (names[0], theirs[key][0])
        for key, names in mine.items()
        if key and len(names) == 1 and len(theirs.get(key, ())) == 1
    ]


def _affix(answers: Collection[str], truths: Collection[str]) -> tuple[int, str, tuple[str, str]]:
    """The beginning or end that one side has more than the other: for how many ids, in words, and an example."""
    some = [{_bare(name): name for name in names} for names in (answers, truths)]
    seen: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], tuple[str, str]] = {}
    for long, short, answer_first in ((some[0], some[1], True), (some[1], some[0], False)):
        for one in list(long)[:SEARCHED]:
            for other in list(short)[:SEARCHED]:
                if not other or len(one) <= len(other):
                    continue
                begin, end = one.removesuffix(other), one.removeprefix(other)
                for where, extra in (("beginning", begin), ("end", end)):
                    if extra != one and re.search(r"[^\W\d]", extra):  # digits alone are another number
                        seen[where, extra] += 1
                        pair = (long[one], short[other])
                        examples.setdefault((where, extra), pair if answer_first else (pair[1], pair[0]))
    if not seen:
        return 0, "", ("", "")
    (where, extra), _ = seen.most_common(1)[0]
    cut = str.removeprefix if where == "beginning" else str.removesuffix
    count = sum((cut(one, extra) in some[1 - i]) != (one in some[1 - i]) for i in (0, 1) for one in some[i])
    enough = count >= min(2, len(answers), len(truths))
    return (count if enough else 0), f"the {where} {extra.strip('-')!r}", examples[where, extra]


def remark_partners(remarks: Remarks, answers: Sequence[str], truths: Sequence[str]) -> None:
    """Add what ids of either side have no partner, and whether these are likely the same."""
    alone = without(truths, answers)
    spare = without(answers, truths)
    for names, of, what in ((alone, truths, "truths without an answer"),
                            (spare, answers, "answers without a truth, left out")):  # fmt: skip
        if names:
            remarks.notes.append(f"{what}: {len(names)} of {len(of)}, for example {names[0]!r}")
    if likely := likely_same(spare, alone):
        remarks.notes.append(f"of the ids without a partner {likely}: write them alike")


def without(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """The names that are not among the others, in their order."""
    there = set(others)
    return [name for name in names if name not in there]


SHOWN = 60
"""Letters of an answer that are shown."""

WRONG: dict[State, str] = {
    "unparsed": "answers without a label, counted as wrong",
    "out_of_vocabulary": "answers outside the label set, counted as wrong",
    "refused": "answers that refuse to say, counted as wrong",
    "invalid": "answers with scores that are not finite or below 0, counted as wrong",
}


def remark_states(remarks: Remarks, found: Iterable[Prediction], names: Sequence[str] = ()) -> None:
    """Add how many answers are no valid ones, with an example each."""
    for p in found:
        if p.state not in WRONG:
            continue
        close = meant(p.label or "", names) if p.state == "out_of_vocabulary" else ""
        said = p.text if len(p.text) <= SHOWN else p.text[:SHOWN] + "…"
        remarks.add(WRONG[p.state], f"{said!r}{close} ({p.id})" if said else f"an empty one ({p.id})")


def meant(said: str, names: Sequence[str]) -> str:
    """The label that is likely meant, in words."""
    if like := lookalike(said, names):
        return f", which only looks like {like!r}: letters of another alphabet"
    close = nearest(said, names)
    return f", did you mean {close!r}?" if close else ""
