"""Prompts that are longer than the LLM's context: named before anything trains on them or is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from affectkit.encode.cache import CacheEntry
from affectkit.model.batch import Key, Rows, stack
from affectkit.model.model import Model
from affectkit.model.packing import context_of, too_long
from affectkit.plan.summary import slot_tokens
from affectkit.prompt import Segment

MORE = 2
"""Ids that a text may have beside one for each of its bytes."""
MEASURED = 64
"""Samples that are looked at before training only to know the lengths of their prompts."""


def check_context(
    model: Model, rows: Rows, keys: Sequence[Key], running: Sequence[str], perceived: bool = True
) -> None:
    """Raises InputError with the samples whose prompt (with its answer in training, with its longest candidate where labels
    are scored) has more tokens than the LLM's context. `running` are the steps that the cache leaves to run.

    Steps run for those prompts only whose words would leave room for some of a stream's tokens and not for all. Where the
    samples are not `perceived` yet, that is done for the first `MEASURED` of these; what steps estimate of a sample, and
    streams without a longest length, are left out of account.
    """
    context = context_of(model.llm)
    if context is None or rows.prompter is None:
        return
    most = {slot: slot_tokens(model.plan, slot) for slot in model.plan.slots}
    found, unsure = dict[str, int](), list[Key]()
    for key in keys:
        segments, answers = _said(rows, key, perceived)
        slots = [most.get(s.slot) for s in segments if s.slot]
        full = sum(n for n in slots if n is not None)
        bounded = None not in slots
        if (
            bounded
            and full + sum(len(s.text.encode(errors="replace")) + MORE for s in (*segments, *answers)) <= context
        ):
            continue
        words = rows.count(segments) + max(0, rows.count(answers) - 1)
        if words > context:
            found[rows.samples[key.index].id] = words
        elif slots and (bounded or perceived) and not (bounded and words + full <= context):
            unsure.append(key)
    if not perceived:
        del unsure[MEASURED:]
        rows.perceiver.fill([rows.samples[key.index] for key in unsure], what="prompts near the context")
        unsure = [key for key in unsure if rows.samples[key.index].id not in rows.perceiver.broken]
    # where views are prepared anew each time, or steps have still to be fitted, they are told of when it is their turn
    if not (rows.perceiver.uncached or model.steps.unfitted(running)):
        found |= _measured(model, rows, unsure, running, context)
    if found:
        raise too_long(found, len(keys), context)


def _said(rows: Rows, key: Key, perceived: bool) -> tuple[Sequence[Segment], Sequence[Segment]]:
    """The segments of a prompt, and those of its longest candidate."""
    assert rows.prompter is not None
    sample = rows.samples[key.index]
    entries: Mapping[str, CacheEntry] = (
        rows.perceiver.entries(sample, key.flip) if rows.prompter.reads and perceived else {}
    )
    answers = rows.prompter.candidates(key, sample, entries) if rows.scores(key) else []
    longest = max(answers, key=rows.count, default=())
    return rows.prompter.segments(key, sample, entries), longest


def _measured(model: Model, rows: Rows, keys: Sequence[Key], running: Sequence[str], context: int) -> dict[str, int]:
    """The lengths of those that are too long, by sample, with what the steps really give."""
    found: dict[str, int] = {}
    with model.frozen(), torch.no_grad():
        model.eval()
        for start in range(0, len(keys), model.plan.score.batch):
            made = [rows[key] for key in keys[start : start + model.plan.score.batch]]
            lengths = model.lengths(stack(made).to(rows.perceiver.device), running)
            for row, length in zip(made, lengths, strict=True):
                ends = max((sum(len(c.ids) for c in answer) - 1 for answer in row.candidates), default=0)
                if length + ends > context:
                    found[row.sample.id] = length + ends
    return found
