"""Which clips say the same as an earlier one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.pieces import Piece, Port, hookimpl


@dataclass(frozen=True)
class Settings:
    """Rejects a clip whose text is that of an earlier one, whatever its case, blanks and marks: of descriptions that a model
    wrote, the many that are alike. The first stays, in the order of the data."""

    least: int = 1
    """Texts of fewer words than this are no duplicates of each other: *yes* may be said by many."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return [] if self.least >= 1 else [("least", f"must be at least 1, got {self.least}")]

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        for text in ("The brows are drawn together.", "the brows are drawn together", "The voice is loud and fast."):
            yield {"text": text}, ""


def build(settings: Settings) -> Duplicates:
    """The annotator."""
    return Duplicates(settings)


@dataclass(frozen=True)
class Duplicates:
    """See `Settings`."""

    settings: Settings

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`folded`, the text by which they are compared, or why a row is rejected."""
        seen: set[str] = set()
        found: list[Findings | Reject] = []
        for row in rows:
            folded = fold(str(row["text"]))
            again = folded in seen and len(folded.split()) >= self.settings.least
            found.append(Reject("says the same as an earlier clip", folded[:80]) if again else {"folded": folded})
            seen.add(folded)
        return found


def fold(text: str) -> str:
    """A text without case and marks, its words one blank apart."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in plain).split())


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("text", "finding", "a text"),)
    return [Piece("annotator", "duplicate_filter", Settings, build, ports=ports, tells=("folded",), per_batch=True)]
