"""What is said, as the data set or another annotator has it in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.pieces import Piece, Port, hookimpl


@dataclass(frozen=True)
class Settings:
    """The words of a clip, blanks put in order, with their number: for data whose transcripts are given."""

    most: int = 1000
    """More words than this are no utterance: the clip is rejected."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return [] if self.most >= 1 else [("most", f"must be at least 1, got {self.most}")]

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        yield {"words": "I had  no idea."}, ""
        yield {"words": "Leave me alone!"}, ""


def build(settings: Settings) -> Words:
    """The annotator."""
    return Words(settings)


@dataclass(frozen=True)
class Words:
    """See `Settings`."""

    settings: Settings

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`text` and `count` of each row."""
        found: list[Findings | Reject] = []
        for row in rows:
            words = str(row["words"]).split()
            long = len(words) > self.settings.most
            found.append(
                Reject("too many words", f"{len(words)} words")
                if long
                else {"text": " ".join(words), "count": len(words)}
            )
        return found


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("words", "text", "a view of the subtitle"),)
    return [Piece("annotator", "spoken_words", Settings, build, ports=ports, tells=("text", "count"))]
