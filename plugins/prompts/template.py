"""The words and marks around a turn: system sentence, roles, where the answer begins and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from affectkit_plugins.prompts._words import joined

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample


@dataclass(frozen=True)
class Marks:
    """What one chat format writes around a turn; texts are literal, spaces and line ends included."""

    system: str
    """The first turn begins so; `{system}` is the system sentence. Left out where that sentence is empty."""
    human: str
    """What stands before the words of the person who asks."""
    assistant: str
    """What stands between them and the answer."""
    end: str
    """What ends an answer; empty for the tokenizer's end token."""
    sentence: str = ""
    """The system sentence, unless a recipe gives its own."""
    between: str = ""
    """What stands between the end of an answer and the next turn."""


CHAT = "A person asks about the emotions that somebody shows, and an assistant answers to the point."
STYLES: dict[str, Marks] = {
    "plain": Marks("{system}\n", "", "\n", ""),
    "vicuna_v1": Marks("{system} ", "USER: ", " ASSISTANT:", "", CHAT),
    "llama2": Marks("[INST] <<SYS>>\n{system}\n<</SYS>>\n\n", "[INST] ", " [/INST]", ""),
    "chatml": Marks(
        "<|im_start|>system\n{system}<|im_end|>\n",
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "",
        CHAT,
        "\n",
    ),
    "hashes": Marks("{system}", "###Human: ", "###Assistant: ", "###"),
}
"""`llama2` writes its system sentence inside the first turn's brackets; see `_opening`."""


@dataclass(frozen=True)
class Settings:
    """What stands around a turn: the beginning token, a system sentence, roles, and the end of the answer.

    The system sentence and the beginning token stand in the first turn alone. Texts of neighbouring parts
    become one text, with `join` between them where neither brings white space of its own; nothing is put
    beside slots. The answer and its end are what is trained.

    The styles write the role marks of published chat formats (Vicuna 1.1, Llama 2, ChatML, and the `###` of
    MiniGPT-4 and AffectGPT). Their system sentences are ours: with a published checkpoint give `system` as it
    was trained.
    """

    style: Literal["plain", "vicuna_v1", "llama2", "chatml", "hashes"] = "plain"
    """Which chat format to write: none, or that of the LLM at hand."""
    system: str | None = None
    """The system sentence; null for the style's own, empty for none."""
    human: str | None = None
    """What stands before the parts, spaces included; null for what the style says."""
    assistant: str | None = None
    """What stands between the parts and the answer, spaces included; null for what the style says."""
    end: str | None = None
    """The trained text that ends an answer; empty for the tokenizer's end token, null for what the style
    says."""
    bos: Literal["always", "train", "infer", "never"] = "always"
    """When the tokenizer's beginning token stands first."""
    bos_twice: tuple[str, ...] = ()
    """Layouts that begin with that token twice, as Emotion-LLaMA's published inference does."""
    layouts: dict[str, str] = field(default_factory=dict)
    """Phase to the layout that is written in it, of those that parts name in their `layout`; leave it out where every
    part stands always. `{train: a, infer: a}` writes the same at both times."""
    join: str = " "
    """What stands between the texts of two parts where neither has white space."""

    def marks(self) -> Marks:
        """The style with what the recipe put in its place."""
        own = STYLES[self.style]
        given = (self.human, self.assistant, self.end, self.system)
        usual = (own.human, own.assistant, own.end, own.sentence)
        human, assistant, end, sentence = (u if g is None else g for g, u in zip(given, usual, strict=True))
        return Marks(own.system, human, assistant, end, sentence, own.between)

    def stops(self) -> tuple[str, ...]:
        """Texts at which generation should stop, beside the tokenizer's end token."""
        end = self.marks().end
        return (end,) if end else ()


def build(settings: Settings) -> PromptPiece:
    """The template: `ask.body` between the marks, then `ask.answer` and its end where there is an answer."""
    marks = settings.marks()

    def template(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        start: tuple[Segment, ...] = ()
        if ask.turn == 0 and settings.bos in ("always", ask.phase):
            start = (Segment(special="start"),) * (2 if ask.layout and ask.layout in settings.bos_twice else 1)
        body = joined(ask.body, settings.join)
        words = (Segment.written(_opening(marks, ask.turn)), *body, Segment.written(marks.assistant))
        end = Segment.written(marks.end, trained=True) if marks.end else Segment(special="end", trained=True)
        return (*start, *joined(words, ""), *((*ask.answer, end) if ask.answer else ()))

    return template


def _opening(marks: Marks, turn: int) -> str:
    if turn:
        return marks.between + marks.human
    if not marks.sentence:
        return marks.human
    system = marks.system.replace("{system}", marks.sentence)
    # a system text that already opens the person's turn (Llama 2) is not followed by that mark again
    return system if marks.human and system.startswith(marks.human) else system + marks.human


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "template", Settings, build)]
