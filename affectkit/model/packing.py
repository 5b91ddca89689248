"""Segments and blocks to one packed row for the LLM, and what the frame asks of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from affectkit.blocks import TokenBlock
from affectkit.errors import InputError, Problem
from affectkit.prompt import Segment

IGNORE = -100
"""Label of a place that the loss does not look at."""


@dataclass(frozen=True)
class Span:
    """Where a slot's tokens lie in the packed row: from `start` to before `stop`."""

    sample: int
    """The sample's place in the batch."""
    stream: str
    start: int
    stop: int
    turn: int = 0
    """The turn of a conversation that the slot belongs to, from 0."""


@dataclass(frozen=True)
class LMInput:
    """Samples laid end to end in one row. Attention never crosses a border; positions restart at each."""

    embeds: Float[Tensor, "s w"]
    position_ids: Int[Tensor, " s"]
    lengths: tuple[int, ...]
    """Length of each sample; they add up to s."""
    labels: Int[Tensor, " s"]
    """The token at this place if it is trained, else -100. Not shifted: the backbone predicts place i from i - 1."""
    where: tuple[Span, ...] = ()


@runtime_checkable
class Backbone(Protocol):
    """An LLM as the frame sees it: an `nn.Module` with these members.

    `packs` is False where packed samples would see each other; `loss` and `score` then run one sample a row and the
    output says so.

    Four members are asked for where they are there: `forward(row, hidden_at: Int[Tensor, "k"])` -> `(loss sum, number, hidden
    Float[Tensor, "k w"])`, which is `loss` and, of the same pass, the states at some places of the row behind the final norm
    (what heads read as `llm.hidden`); `context: int | None`, the places that a sample may have at most
    (None, as where it is absent: no limit), `tokenise_marked(text, marks) -> list[int]`: as `tokenise`, but that the
    tokenizer's special tokens are real inside the stretches `marks` of the text (`Segment.marks`), and `without_adapters()`, a
    context manager inside which the LLM is what it was before LoRA; after it adapters act, and learn, as they did.
    """

    width: int
    """Of its input embeddings."""
    packs: bool
    start_ids: tuple[int, ...]
    """Ids of `Segment(special="start")`; empty where the tokenizer has none."""
    end_ids: tuple[int, ...]

    def tokenise(self, text: str) -> list[int]:
        """Ids of a text, no special tokens added; one that is spelled in it is mere letters, as somebody may have said it."""
        ...

    def untokenise(self, ids: Sequence[int]) -> str:
        """The text of generated ids."""
        ...

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n w"]:
        """The input embeddings of ids."""
        ...

    def loss(self, row: LMInput) -> tuple[Tensor, int]:
        """(sum of cross-entropy over supervised tokens, their number)."""
        ...

    def score(self, prompts: LMInput, candidates: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
        """log-probability (sum over its tokens) of each candidate continuation of each prompt; the prompt runs once."""
        ...

    def generate(self, prompts: LMInput, most: int, stops: Sequence[Sequence[int]]) -> Sequence[list[int] | None]:
        """Greedy continuations, at most `most` ids each and none longer than the context, cut before `end_ids` or any of
        `stops`; order kept. None for one whose logits are not finite."""
        ...

    def group(self, parameter: str) -> str:
        """`model` or `lora`: which address below `backbone.` the parameter of that name belongs to."""
        ...

    def save_tokenizer(self, folder: str) -> None:
        """Write what `build(settings, texts, saved=folder)` needs to make the same tokenizer again; the folder is there."""
        ...


BACKBONE_MEMBERS = (
    *Backbone.__annotations__,
    *(name for name, member in vars(Backbone).items() if callable(member) and not name.startswith("_")),
)
"""Names of what a backbone has beside what an `nn.Module` is."""


@dataclass(frozen=True)
class Chunk:
    """A tokenised segment: ids, or a slot."""

    ids: tuple[int, ...] = ()
    slot: str = ""
    """The stream whose tokens go here; empty for ids."""
    trained: bool = False
    """Whether the loss looks at these ids."""
    turn: int = 0
    """The turn that a slot belongs to."""


def supervised(chunks: Sequence[Chunk]) -> int:
    """The terms of the LLM's loss in a prompt: trained tokens, but for one at its very beginning, which nothing predicts."""
    first = next((chunk for chunk in chunks if chunk.slot or chunk.ids), None)
    return sum(len(chunk.ids) for chunk in chunks if chunk.trained) - (first is not None and first.trained)


MOST_TEXTS = 4096
"""So many texts are remembered with their ids; then all are forgotten."""


def too_long(lengths: Mapping[str, int], count: int, context: int) -> InputError:
    """What to raise for samples whose prompts, of these lengths, do not fit into the context; `count` were looked at."""
    longest = max(lengths, key=lambda name: lengths[name])
    some = ", ".join(f"{name} ({length})" for name, length in list(lengths.items())[:5])
    some += f" and {len(lengths) - 5} more" if len(lengths) > 5 else ""
    what = f"prompts of {len(lengths)} samples are longer than the LLM's context of {context} tokens: {some}"
    what += f"; the longest is {longest} with {lengths[longest]} ({count} prompts were looked at)"
    fix = (
        "shorten what prompt.parts say of them or the tokens of their streams, leave them out, or take a longer context"
    )
    return InputError(Problem("backbone.context", what, fix))


Marks = tuple[tuple[int, int], ...]
KnownIds = dict[tuple[str, Marks], tuple[int, ...]]
"""Ids by text and marks."""


def ids_of(backbone: Backbone, text: str, marks: Marks) -> tuple[int, ...]:
    """The ids of a text; see `Segment.marks`."""
    marked = getattr(backbone, "tokenise_marked", None)
    return tuple(backbone.tokenise(text) if marked is None or not marks else marked(text, marks))


def context_of(backbone: Backbone) -> int | None:
    """The places that a sample may have at most; None: no limit."""
    return getattr(backbone, "context", None)


def tokenise(segments: Sequence[Segment], backbone: Backbone, known: KnownIds | None = None) -> tuple[Chunk, ...]:
    """Each segment by itself: text to ids, special tokens to theirs, slots as they are.

    `known` keeps the ids of texts from call to call: prompts and candidates say the same for every sample.
    """
    known = {} if known is None else known
    special = {"start": backbone.start_ids, "end": backbone.end_ids}
    chunks = []
    for s in segments:
        if s.slot:
            chunks.append(Chunk(slot=s.slot, turn=s.turn))
        elif s.special:
            chunks.append(Chunk(tuple(special[s.special]), trained=s.trained))
        else:
            key = s.text, s.marks
            if key not in known:
                if len(known) >= MOST_TEXTS:
                    known.clear()
                known[key] = ids_of(backbone, *key)
            chunks.append(Chunk(known[key], trained=s.trained))
    return tuple(chunks)


def last_prompt_places(row: LMInput) -> Int[Tensor, " b"]:
    """Of each sample, the place before its first trained token, and its last place where none is trained."""
    places, start = [], 0
    for trained in (row.labels != IGNORE).split(row.lengths):
        first = torch.cat([trained, trained.new_ones(1)]).int().argmax()
        places.append(start + (first - 1).clamp(min=0))
        start += len(trained)
    return torch.stack(places)


RowOf = Callable[[str, int, int], int]
"""`row_of(stream, sample, turn)`: the row of the stream's block whose tokens go into a slot."""


def assemble(
    rows: Sequence[Sequence[Chunk]],
    slots: Mapping[str, TokenBlock],
    backbone: Backbone,
    device: torch.device,
    row_of: RowOf = lambda stream, sample, turn: sample,
) -> LMInput:
    """Prompts of a batch to one packed row. `slots` maps stream to its last block [b t n w], whose real tokens go in, time
    first; a stream that is empty for a sample leaves nothing there."""
    ids = [i for row in rows for chunk in row for i in chunk.ids]
    words = backbone.embed(torch.tensor(ids, dtype=torch.long, device=device))
    parts: list[Tensor] = []
    labels: list[Tensor] = []
    lengths: list[int] = []
    where: list[Span] = []
    taken = place = 0
    for sample, row in enumerate(rows):
        start = place
        for chunk in row:
            if chunk.slot:
                block = slots[chunk.slot]
                of = row_of(chunk.slot, sample, chunk.turn)
                part = block.tokens[of][block.mask[of]].to(words.dtype)
                where.append(Span(sample, chunk.slot, place, place + len(part), chunk.turn))
                labels.append(torch.full((len(part),), IGNORE))
            else:
                part = words[taken : taken + len(chunk.ids)]
                taken += len(chunk.ids)
                labels.append(
                    torch.tensor(chunk.ids, dtype=torch.long) if chunk.trained else torch.full((len(part),), IGNORE)
                )
            parts.append(part)
            place += len(part)
        lengths.append(place - start)
    positions = torch.cat([torch.arange(n) for n in lengths])
    return LMInput(torch.cat(parts), positions.to(device), tuple(lengths), torch.cat(labels).to(device), tuple(where))
