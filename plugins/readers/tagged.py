"""Answers in tags, behind what the model thought: `<think>…</think><answer>…</answer>`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from affectkit.pieces import Piece, hookimpl
from affectkit.reading import Reader, Reading
from affectkit.sample import Targets

from . import plain


@dataclass(frozen=True)
class Settings:
    """The answer stands between tags, and is read as `plain` does; what stands in the tags of thinking is kept apart.

    A text without these tags has no answer, nor has one that was cut before the closing tag, or that holds two answers
    which differ. What a model only thinks is no answer, also where it holds the tags.
    """

    answer: str = "answer"
    """Name of the tags around the answer."""
    thought: str = "think"
    """Name of the tags around what the model thought before."""

    def problems(self) -> list[tuple[str, str]]:
        names = ("answer", "thought")
        found = [
            (n, "must be a name of letters, digits, - or _") for n in names if not NAME.fullmatch(getattr(self, n))
        ]
        return found or ([("thought", "is the tag of the answer, too")] if self.answer == self.thought else [])

    def examples(self, targets: Targets) -> Iterator[tuple[str, Reading]]:
        """Answers in this form, and what they say."""
        for text, reading in plain.Settings().examples(targets):
            whole = f"<{self.thought}>A low voice.</{self.thought}>\n<{self.answer}>{text}</{self.answer}>"
            yield whole, replace(reading, thought="A low voice.", answer=text)
            yield text, Reading(answer="", error=f"there is no <{self.answer}> in the answer")


NAME = re.compile(r"[\w-]+")


def build(settings: Settings) -> Reader:
    """The reader."""
    thinks = re.compile(rf"<{settings.thought}>(.*?)(?:</{settings.thought}>|$(?![\s\S]))", re.I | re.S)
    answers = re.compile(rf"<{settings.answer}>(.*?)</{settings.answer}>", re.I | re.S)
    opened = re.compile(rf"<{settings.answer}>", re.I)

    def read(text: str, targets: Targets) -> Reading:
        thought = "\n".join(t.strip() for t in thinks.findall(text))
        rest = thinks.sub("", text)
        said = {t.strip() for t in answers.findall(rest)}
        if len(said) == 1:
            answer = said.pop()
            return replace(plain.read(answer, targets), thought=thought, answer=answer)
        tag = f"<{settings.answer}>"
        error = f"{tag} is not closed" if opened.search(rest) else f"there is no {tag} in the answer"
        return Reading(thought=thought, answer="", error=f"{tag} holds several answers" if said else error)

    return read


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("reader", "tagged", Settings, build)]
