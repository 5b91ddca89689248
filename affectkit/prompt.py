"""Segments: what a prompt is made of; how parts and a template become one; how people read it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from affectkit.sample import Fact, Sample

Phase = Literal["train", "infer"]


@dataclass(frozen=True)
class Segment:
    """A stretch of a prompt: text, a slot for a stream's tokens, or a special token. Each text is tokenised by itself."""

    text: str = ""
    """Words, taken as they are: blanks and line ends between segments are said in one of them."""
    slot: str = ""
    """Name of the stream whose tokens go here."""
    special: Literal["", "start", "end"] = ""
    """The tokenizer's beginning-of-sequence or end-of-sequence token."""
    trained: bool = False
    """Whether the loss looks at it. At inference trained segments are what the model should produce."""
    turn: int = 0
    """The turn of a conversation that it belongs to; `Prompt` sets it."""
    marks: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)
    """Stretches of the text, (start, stop), that the recipe wrote: in them the tokenizer's special tokens are real (as
    `<|im_end|>` in a template). Everywhere else, as in what people say, they are mere letters."""
    behind: bool = False
    """Whether it stands behind all else that is said in its turn, wherever the recipe lists the part that says it."""

    @classmethod
    def written(cls, text: str, trained: bool = False) -> Segment:
        """A text that the recipe wrote, all of it."""
        return cls(text, trained=trained, marks=((0, len(text)),))


Draw = Callable[[str], random.Random]
"""`draw("paraphrase")` gives a generator that depends on seed, epoch, sample id and that purpose only."""


def draw_for(seed: int, epoch: int, sample: str) -> Draw:
    """The `Draw` of one sample in one epoch: equal arguments give equal numbers, in any process and order."""

    def draw(purpose: str) -> random.Random:
        text = f"{seed}/{epoch}/{sample}/{purpose}".encode()
        return random.Random(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big"))

    return draw


@dataclass(frozen=True)
class Ask:
    """What is asked of one sample, handed to every prompt piece."""

    task: str
    """`label`, `labels`, `numbers`, `reason`, or a name that a recipe makes up; a part answers only to the task that it is
    set to."""
    phase: Phase = "train"
    """`train`: the answer is said too; `infer`: it is left for the model."""
    turn: int = 0
    """The turn of a conversation that is asked for; 0 in all other tasks."""
    draw: Draw = field(default_factory=lambda: draw_for(0, 0, ""))
    """`draw("paraphrase")` gives a `random.Random` that depends on seed, epoch, sample id and that purpose only."""
    labels: tuple[str, ...] = ()
    """The label set, in the data set's order."""
    estimates: Mapping[str, Mapping[str, Fact]] = field(default_factory=dict)
    """Facts that frozen steps estimated, by step address (`priors.net`) and fact name."""
    demographics: bool = True
    """Whether parts that state age, gender or race may speak."""
    body: tuple[Segment, ...] = ()
    """For a template: what the parts said, in order, trained segments left out."""
    answer: tuple[Segment, ...] = ()
    """For a template: the trained segments of the parts; empty at inference."""
    layout: str = ""
    """Which of the recipe's layouts is written; `Prompt` sets it where the template's settings have `layouts`."""
    stated: Mapping[str, str] | None = None
    """What parts that state age, gender or race say instead of what is known, by field; None: what is known."""


PromptPiece = Callable[[Sample, Ask], tuple[Segment, ...]]
Turns = Callable[[Sample, str], int | None]
"""`turns(sample, task)`: how many turns of a conversation a part has for a task; None where the task is not its own."""


@dataclass(frozen=True)
class Prompt:
    """The parts of a recipe's prompt and the template around them."""

    template: PromptPiece
    parts: Mapping[str, PromptPiece]
    layouts: Mapping[str, str] = field(default_factory=dict)
    """Phase to the name of the layout that is written in it."""
    talks: tuple[Turns, ...] = ()
    """The `turns` of those parts whose tasks are conversations."""

    def _laid_out(self, ask: Ask) -> Ask:
        layout = self.layouts.get(ask.phase, "")
        return ask if ask.layout == layout else replace(ask, layout=layout)

    def said(self, sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        """What the parts say, in order, before the template is put around it."""
        laid_out = self._laid_out(ask)
        found = (s for part in self.parts.values() for s in part(sample, laid_out))
        return tuple(sorted(found, key=lambda s: s.behind))

    def turns(self, sample: Sample, task: str) -> int | None:
        """How many turns the task has for a sample (0: there is nothing to ask); None where it is no conversation, and has
        one turn for every sample."""
        return next((n for count in self.talks if (n := count(sample, task)) is not None), None)

    def question(self, sample: Sample, ask: Ask) -> str:
        """What the text view `question` shows to text-conditioned steps: the human words of the turn."""
        return " ".join(" ".join(s.text for s in self.said(sample, ask) if s.text and not s.trained).split())

    def segments(self, sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        """One turn, start to end; of a conversation every turn in phase `train`, and in phase `infer` those up to
        `ask.turn`. The answer that is asked for, the last one in phase `infer`, is left out; those before it are words
        like any other there."""
        laid_out = self._laid_out(ask)
        train = ask.phase == "train"
        count = self.turns(sample, ask.task)
        if count is None:
            return self._turn(sample, laid_out, train)
        found: list[Segment] = []
        last = max(0, count - 1) if train else ask.turn
        for turn in range(last + 1):
            made = self._turn(sample, replace(laid_out, turn=turn), train or turn < last)
            found += (replace(s, turn=turn, trained=s.trained and train) for s in made)
        return tuple(found)

    def _turn(self, sample: Sample, ask: Ask, answered: bool) -> tuple[Segment, ...]:
        """The turn that `ask` names."""
        said = self.said(sample, ask)
        body = tuple(s for s in said if not s.trained)
        answer = tuple(s for s in said if s.trained) if answered else ()
        if answered and not answer and ask.phase == "infer":  # who answers nothing ends the turn all the same
            answer = (Segment(trained=True),)
        return self.template(sample, replace(ask, body=body, answer=answer))

    def candidates(self, sample: Sample, ask: Ask) -> list[tuple[Segment, ...]]:
        """The trained segments (the answer and its end) that `sample` would be taught with each label of `ask.labels`."""
        return self._taught((replace(sample, label=label) for label in ask.labels), ask)

    def choices(self, sample: Sample, ask: Ask, names: Sequence[str]) -> list[tuple[Segment, ...]]:
        """The same for answers in words: what `sample` would be taught with each of its own answers of these names as
        the answer to the task."""
        own = ({**sample.answers, ask.task: sample.answers[name]} for name in names)
        return self._taught((replace(sample, answers=answers) for answers in own), ask)

    def _taught(self, samples: Iterable[Sample], ask: Ask) -> list[tuple[Segment, ...]]:
        taught = replace(ask, phase="train")
        return [tuple(s for s in self.segments(one, taught) if s.trained) for one in samples]
