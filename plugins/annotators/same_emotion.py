"""Which clips' descriptions speak against their label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from affectkit_plugins.metrics._wheels_own import own

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.labels.wheels import Tables, imported_tables
from affectkit.pieces import Piece, Port, hookimpl

NEUTRAL = "neutral"


@dataclass(frozen=True)
class Settings:
    """Rejects clips in which two findings name emotions of different groups: MER-Caption's high-level filter (AffectGPT 2025),
    with the emotions of a description on one side and the vote of classifiers on the other. Two agree where a word of each
    falls into the same group on any wheel at its inner ring, or they are equal; neutral is a group of its own. With `groups`
    these are the groups instead: `{positive: [happy], negative: [sad, angry]}` compares sentiment.
    """

    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of groups with the words in each; empty takes the emotion wheels: the published ones where they were imported
    (`affectkit wheel import`), else ours of seven groups."""
    unknown: bool = True
    """Whether a clip is rejected, too, where no word of one side is known to any group."""

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        word = next(iter(next(iter(self.groups.values()), ("happy",))), "happy")
        yield {"first": word, "second": word}, ""
        yield {"first": word, "second": [word, "unheard-of"]}, ""


def build(settings: Settings) -> SameEmotion:
    """The annotator."""
    return SameEmotion(settings)


@dataclass(frozen=True)
class SameEmotion:
    """See `Settings`."""

    settings: Settings

    @cached_property
    def tables(self) -> Tables:
        """The wheels."""
        return imported_tables("auto") or own()

    @property
    def model(self) -> str:
        """The wheels by name: with others, findings are others."""
        return "" if self.settings.groups else self.tables.name

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`groups` of each row, those that both sides share, or why it is rejected."""
        return [self._one(_words(row["first"]), _words(row["second"])) for row in rows]

    def _one(self, first: set[str], second: set[str]) -> Findings | Reject:
        one, two = self._groups(first), self._groups(second)
        if shared := sorted(one & two | first & second):
            return {"groups": shared}
        said = f"{', '.join(sorted(first))} against {', '.join(sorted(second))}"
        if not (one and two) and not self.settings.unknown:
            return {"groups": []}
        return Reject("emotions contradict each other" if one and two else "no group holds these emotions", said)

    def _groups(self, words: set[str]) -> set[str]:
        if self.settings.groups:
            return {name for name, held in self.settings.groups.items() if words & set(held)}
        found = {NEUTRAL} if NEUTRAL in words else set()
        inner = [mapping for mapping in self.tables.mappings if mapping.endswith("L1")]
        return found | {f"{m} {group}" for m in inner for w in words - {NEUTRAL} if (group := self.tables.group(w, m))}


def _words(value: object) -> set[str]:
    found = value if isinstance(value, list | tuple) else [value]
    return {str(word).casefold().strip() for word in found}


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("first", "finding", "an emotion, or several"), Port("second", "finding", "what it is held against"))
    return [Piece("annotator", "same_emotion", Settings, build, ports=ports, tells=("groups",))]
