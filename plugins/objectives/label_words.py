"""Tokens of a stream against the LLM's own embeddings of the label words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl
from affectkit.sample import Targets


@dataclass(frozen=True)
class Settings:
    """A projector's tokens are drawn to the word embeddings of their sample's label: cross-entropy over the label set, by the
    cosine between the mean of a sample's tokens and the mean embedding of each label's words.

    The LLM's embeddings stay as they are, and its forward does not run: a cheap first stage that brings a stream into the space
    that the LLM reads. A sample with several labels has its weights as the truth. Terms are the samples with a label and tokens.
    """

    temperature: float = 0.07
    """What cosines are divided by; where it is `learned`, what it starts from (0.07 as in CLIP, Radford et al. 2021)."""
    learned: bool = True
    """Whether the temperature is a parameter."""
    text: str = "{label}"
    """What is embedded for a label; `{label}` stands for it."""

    def reads_words(self) -> bool:
        """It always wants the LLM's embeddings."""
        return True

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [] if self.temperature >= 0.01 else [("temperature", f"must be at least 0.01, got {self.temperature}")]
        if "{label}" not in self.text:
            found.append(("text", "has no {label} in it: every label would be embedded alike"))
        return found


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """Raises InputError for tokens that are not as wide as the LLM."""
    found = inputs["tokens"].width
    if None not in (found, width) and found != width:
        what = f"the tokens are {found} wide, and the LLM's word embeddings {width}"
        raise InputError(Problem("tokens", what, "name the block of a projector"))
    return {}


def build(settings: Settings, inputs: Mapping[str, Shape], targets: Targets) -> Any:
    """The objective. Raises InputError for a label set of fewer than two."""
    from affectkit_plugins.objectives.label_words_net import LabelWords

    if len(targets.labels) < 2:
        what = f"wants a label set of at least two, and the data has {len(targets.labels)}"
        raise InputError(Problem("label_words", what, "name a column of labels in `data`"))
    return LabelWords(settings, targets.labels)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("tokens", about="as wide as the LLM, such as what a projector puts out"),)
    return [Piece("objective", "label_words", Settings, build, shapes, ports)]
