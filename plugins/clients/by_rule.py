"""A stand-in for a language model, so that recipes run offline: it answers by rule, and knows nothing."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectkit_plugins._values import once

from affectkit.evaluation.clients import Client
from affectkit.messages import Message, Reply, loaded
from affectkit.pieces import Piece, hookimpl

WORDS: dict[str, tuple[str, ...]] = {
    "happy": ("cheeks", "mouth are pulled up", "corners rise", "smil", "crow's feet", "eyes wrinkle", "joy", "happy", "delight",
              "wonderful", "best news", "love", "celebrat"),
    "sad": ("turns down", "droop", "sags", "mouth are pulled down", "slant", "cry", "tears", "lonely", "miss ", "lost", "sorrow",
            "heart", "sad "),
    "angry": ("brows are lowered", "drawn together", "crease", "frown", "lids are tight", "narrow", "tense", "thin", "pinched",
              "hate", "dare", "furious", "outrage", "mad", "enough", "ruined", "shut up"),
    "surprise": ("jaw", "falls open", "arch", "outer", "widen", "opened wide", "wow", "unbeliev", "amaz", "astonish", "goodness",
                 "never expected", "guessed", "nowhere"),
    "disgust": ("nose", "upper lip", "yuck", "disgust", "rotten", "gross", "filthy", "sick", "slime", "revolting"),
    "fear": ("sideways", "drawn wide", "back flat", "trembl", "scared", "afraid", "terrif", "nightmare", "danger", "threat",
             "hide"),
}  # fmt: skip
"""Label to pieces of words that speak for it."""
COLOURS = {"black": (20, 20, 20), "white": (235, 235, 235), "grey": (128, 128, 128), "red": (190, 50, 50),
           "green": (60, 150, 70), "blue": (60, 80, 180), "yellow": (210, 200, 70), "brown": (130, 90, 60)}  # fmt: skip
_CHOICE = re.compile(r"(?:one of|choose from):?\s*([^\n.]+)", re.IGNORECASE)
_CLUE = re.compile(r"^(?:what is (seen|heard|said)|the (emotion)):\s*(.+)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Settings:
    """Answers by rule where no language model is at hand: recipes run offline, and their shape can be tried. It knows nothing of
    language or pictures, and nothing that comes of it is a result.

    Asked to choose, it takes the label for which most of its `words` are in the text; asked for emotions as JSON, those that have
    any. Clues it strings together; of a picture it tells colours, of a request for turns it makes one question.
    """

    words: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(WORDS))
    """Label to pieces of words that speak for it, lower case."""
    otherwise: str = "neutral"
    """The label of texts in which nothing speaks for any."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return [("words", f"{n} has no words") for n, held in self.words.items() if not held] + once(
            self, "label", "words"
        )


class StandIn:
    """See `Settings`."""

    parallel = 1

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its rules."""
        words = {label: list(held) for label, held in self.settings.words.items()}
        return {"model": "a stand-in that answers by rule", "words": words, "otherwise": self.settings.otherwise}

    def ask(self, messages: Sequence[Message]) -> str:
        """An answer to the last message."""
        asked = messages[-1]
        text = asked.text
        if '"turns"' in text:
            answer = json.dumps({"turns": list(self._turns(text))})
        elif '"emotions"' in text:
            answer = json.dumps({"emotions": self._labels(_without_form(text)) or [self.settings.otherwise]})
        elif clues := list(_clues(text)):
            answer = " ".join(clues)
        elif choice := _CHOICE.search(text):
            options = [option.strip() for option in choice[1].split(",")]
            known = [label for label in self._labels(text[: choice.start()]) if label in options]
            rest = self.settings.otherwise if self.settings.otherwise in options else options[0]
            answer = (known or [rest])[0]
        elif asked.images:
            answer = f"A picture, mostly {_colour(asked)}."
        else:
            answer = self.settings.otherwise
        return Reply(answer, len(text) // 4, len(answer) // 4)

    def _labels(self, text: str) -> list[str]:
        """The labels that something in a text speaks for, the one with most first."""
        low = text.casefold()
        counts = {label: sum(word in low for word in held) for label, held in self.settings.words.items()}
        return sorted((label for label, count in counts.items() if count), key=lambda label: -counts[label])

    def _turns(self, text: str) -> Iterator[list[str]]:
        told = dict(_told(text))
        shown = told.get("seen", "the face")
        label = told.get("emotion", (self._labels(text) or [self.settings.otherwise])[0])
        yield ["What does the face express?", f"It looks {label}: {shown.rstrip('.')}."]


def _told(text: str) -> Iterator[tuple[str, str]]:
    for sense, emotion, what in _CLUE.findall(text):
        yield (sense or emotion).lower(), what.strip()


def _clues(text: str) -> Iterator[str]:
    """Sentences that string clues together."""
    for what, clue in _told(text):
        clue = clue.rstrip(".")
        yield (
            f'The person says "{clue}".'
            if what == "said"
            else f"This suggests {clue}."
            if what == "emotion"
            else f"{clue}."
        )


def _without_form(text: str) -> str:
    """A question without the line that says how to answer."""
    return "\n".join(line for line in text.splitlines() if '"emotions"' not in line and "?" not in line)


def _colour(message: Message) -> str:
    """The name of the colour that is nearest to the mean of the first picture."""
    from PIL import Image

    with Image.open(io.BytesIO(loaded(message.images[0]).data)) as image:
        mean = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert isinstance(mean, tuple)
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], mean, strict=True)))


def build(settings: Settings) -> Client:
    """The stand-in."""
    return StandIn(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("client", "by_rule", Settings, build)]
