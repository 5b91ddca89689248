"""Findings put into one text by a template, without a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.pieces import Piece, Port, hookimpl

PORTS = {
    "visual": "what is seen",
    "expression": "what the face does",
    "acoustic": "how the voice sounds",
    "words": "what is said",
    "label": "the emotion",
}
COARSE = (
    "[This person in the video is {visual}. ][The person's expression and actions include {expression}. ]"
    "[The person's tone is {acoustic}. ][Saying: {words}]"
)
"""In the form of MERR's coarse captions (Emotion-LLaMA)."""
_PART = re.compile(r"\[([^\[\]]*)\]")
_GAP = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Settings:
    """One text of several findings. A part in brackets is left out where one of its findings is not there; a clip of which
    nothing is left is rejected."""

    template: str = COARSE
    """The text, with gaps ({visual}, {expression}, {acoustic}, {words}, {label}) and optional parts in brackets."""

    def problems(self) -> list[tuple[str, str]]:
        """Gaps that nothing fills."""
        gaps = _GAP.findall(self.template)
        found = [("template", f"{{{gap}}} is none of {', '.join(PORTS)}") for gap in gaps if gap not in PORTS]
        return found if gaps else [("template", "has no gap such as {visual}")]

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        yield {"visual": "a woman in a kitchen", "expression": "raised brows", "acoustic": "loud", "words": "What?"}, ""
        yield {"visual": None, "expression": "a frown", "acoustic": None, "words": "Leave me.", "label": "angry"}, ""


def build(settings: Settings) -> Template:
    """The annotator."""
    return Template(settings)


@dataclass(frozen=True)
class Template:
    """See `Settings`."""

    settings: Settings

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`text` of each row."""
        return [self._one(row) for row in rows]

    def _one(self, row: ClipRow) -> Findings | Reject:
        told = {port: str(row[port]).strip().rstrip(".") for port in PORTS if row[port]}
        if not told:
            return Reject("no clue")

        def part(match: re.Match[str]) -> str:
            return match[1] if all(gap in told for gap in _GAP.findall(match[1])) else ""

        text = _PART.sub(part, self.settings.template)
        lacks = [gap for gap in _GAP.findall(text) if gap not in told]
        if lacks:
            return Reject(f"nothing for the gap {lacks[0]}")
        # gaps are filled at once: words that somebody says may look like a gap
        return {"text": _GAP.sub(lambda match: told[match[1]], text).strip()}


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = tuple(Port(name, "finding", about, optional=True) for name, about in PORTS.items())
    return [Piece("annotator", "caption_template", Settings, build, ports=ports, tells=("text",))]
