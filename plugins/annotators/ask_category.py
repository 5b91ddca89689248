"""The question for one label of a set, in the form of FERID."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from affectkit_plugins._values import named

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.pieces import Piece, Port, hookimpl


@dataclass(frozen=True)
class Settings:
    """A question that offers all labels in braces, lower case and in the data set's order, with the bare label as its answer:
    FERID's category items (EMO-LLaMA 2024). Labels outside the set reject the clip."""

    labels: tuple[str, ...]
    """The label set in its order."""
    media: Literal["image", "video"] = "image"
    """What the question speaks of."""
    wording: str = "Which facial expression does the person in the {media} show? Choose one from {{{labels}}}."
    """The question; {media} and {labels} are filled in."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = named(self, "labels")
        return found + ([] if "{labels}" in self.wording else [("wording", "has no place for {labels}")])

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        for label in (*self.labels[:2], self.labels[0]):
            yield {"label": label}, ""


def build(settings: Settings) -> AskCategory:
    """The annotator."""
    return AskCategory(settings)


@dataclass(frozen=True)
class AskCategory:
    """See `Settings`."""

    settings: Settings

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`turns` of each row, one question and its answer, and the `label`."""
        s = self.settings
        offered = ", ".join(label.lower() for label in s.labels)
        asked = s.wording.replace("{media}", s.media).replace("{labels}", offered).replace("{{", "{").replace("}}", "}")
        return [
            {"turns": [[asked, str(row["label"]).lower()]], "label": row["label"]}
            if row["label"] in s.labels
            else Reject("a label outside the set", str(row["label"]))
            for row in rows
        ]


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("label", "finding", "the label"),)
    tiny = {"labels": ["happy", "sad"]}
    return [Piece("annotator", "ask_category", Settings, build, ports=ports, tells=("turns", "label"), tiny=tiny)]
