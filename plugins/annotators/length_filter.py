"""Which descriptions are too short or too long to be any good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.pieces import Piece, Port, hookimpl


@dataclass(frozen=True)
class Settings:
    """Rejects clips in the tails of the distribution of the words of a text, over all clips that are left, as MER-Caption's
    low-level filter does with its descriptions (AffectGPT, 2025)."""

    low: float = 0.05
    """Share of clips with the fewest words that is rejected."""
    high: float = 0.05
    """Share of clips with the most words that is rejected."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [
            (n, f"must be from 0 to below 0.5, got {v}")
            for n in ("low", "high")
            if not 0 <= (v := getattr(self, n)) < 0.5
        ]
        return found

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        for count in (1, 4, 5, 6, 40):
            yield {"text": " ".join(["word"] * count)}, ""


def build(settings: Settings) -> Length:
    """The annotator."""
    return Length(settings)


@dataclass(frozen=True)
class Length:
    """See `Settings`."""

    settings: Settings

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`words` of each row, or why it is rejected. Texts of equal length share a fate: as many as the share holds are rejected
        at most."""
        counts = [len(str(row["text"]).split()) for row in rows]
        ranked = sorted(counts)
        few, many = (int(share * len(ranked)) for share in (self.settings.low, self.settings.high))
        least, most = ranked[few], ranked[len(ranked) - 1 - many]
        found: list[Findings | Reject] = []
        for count in counts:
            why = "among the shortest texts" if count < least else "among the longest texts" if count > most else ""
            found.append(Reject(why, f"{count} words") if why else {"words": count})
        return found


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("text", "finding", "a text"),)
    return [Piece("annotator", "length_filter", Settings, build, ports=ports, tells=("words",), per_batch=True)]
