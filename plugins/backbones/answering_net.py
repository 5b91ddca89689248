"""Answers from a language model: scores of given continuations, and greedy writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from affectkit_plugins.backbones.packed_attention_net import Branches
from affectkit_plugins.backbones.reading_net import PromptReader
from torch import Tensor

from affectkit.errors import InputError, Problem
from affectkit.model.packing import LMInput

if TYPE_CHECKING:
    from affectkit_plugins.backbones.causal_lm_net import CausalLM

Ids = Sequence[int]


@torch.no_grad()
def score(lm: CausalLM, prompts: LMInput, candidates: Sequence[Sequence[Ids]]) -> list[list[float]]:
    """log-probability of each candidate after each prompt, summed over its tokens.

    One forward for all: the prompt is read once and the candidates branch off behind it. The last token of a
    candidate is predicted and not read, so candidates of one token cost nothing. Raises InputError for an
    empty candidate.
    """
    for i, options in enumerate(candidates):
        if any(not len(c) for c in options):
            raise InputError(
                Problem("backbone.score", f"prompt {i} has an empty candidate", "give each at least one token")
            )
    if len(candidates) != len(prompts.lengths):
        what = f"{len(prompts.lengths)} prompts, but candidates for {len(candidates)}"
        raise InputError(Problem("backbone.score", what))
    if not len(candidates):
        return []
    with _answering(lm):
        if lm.packs:
            return _score_branches(lm, prompts, candidates)
        parts = prompts.embeds.split(prompts.lengths)
        return [[_score_one(lm, p, c) for c in options] for p, options in zip(parts, candidates, strict=True)]


def _score_branches(lm: CausalLM, prompts: LMInput, candidates: Sequence[Sequence[Ids]]) -> list[list[float]]:
    device = prompts.embeds.device
    read = [t for options in candidates for c in options for t in c[:-1]]
    ends = lm.embed(torch.tensor(read, dtype=torch.long, device=device)).to(prompts.embeds.dtype)
    embeds, positions, where, wanted = [], [], [], []
    start, taken = 0, 0
    for prompt, options in zip(prompts.embeds.split(prompts.lengths), candidates, strict=True):
        length = len(prompt)
        branches = [len(c) - 1 for c in options]
        embeds += [prompt, ends[taken : taken + sum(branches)]]
        positions += [torch.arange(n) for n in (length,)] + [torch.arange(length, length + n) for n in branches]
        at = start + length
        for candidate, n in zip(options, branches, strict=True):
            where += [start + length - 1, *range(at, at + n)]
            wanted += list(candidate)
            at += n
        start, taken = at, taken + sum(branches)
    layout = Branches(tuple(prompts.lengths), tuple(tuple(len(c) - 1 for c in o) for o in candidates))
    keep, back = torch.tensor(where, device=device).unique(return_inverse=True)
    more = {"position_ids": torch.cat(positions).to(device)[None], "layout": layout}
    logs = lm.logits(torch.cat(embeds)[None], keep, more).float().log_softmax(-1)
    tokens = logs[back, torch.tensor(wanted, device=device)].double().cpu()
    sums = [part.sum().item() for part in tokens.split([len(c) for o in candidates for c in o])]
    found = iter(sums)
    return [[next(found) for _ in options] for options in candidates]


def _score_one(lm: CausalLM, prompt: Tensor, candidate: Ids) -> float:
    ids = torch.tensor(candidate, device=prompt.device)
    embeds = torch.cat([prompt, lm.embed(ids[:-1]).to(prompt.dtype)])
    keep = torch.arange(len(prompt) - 1, len(embeds), device=prompt.device)
    logs = lm.logits(embeds[None], keep, {}).float().log_softmax(-1)
    return logs.gather(1, ids[:, None]).double().sum().item()


@torch.no_grad()
def generate(lm: CausalLM, prompts: LMInput, most: int, stops: Sequence[Ids]) -> list[list[int] | None]:
    """Greedy continuations of all prompts at once, at most `most` ids, each cut before its first stop.

    A continuation ends where the model's context does; it is None where logits are not finite.
    """
    if most < 1 or not prompts.lengths:
        return [[] for _ in prompts.lengths]
    ends = [tuple(s) for s in (lm.end_ids, *stops) if len(s)]
    parts = list(prompts.embeds.split(prompts.lengths))
    with _answering(lm):
        if lm.packs:
            return _write(lm, parts, most, ends)
        return [row for part in parts for row in _write(lm, [part], most, ends)]


def _write(lm: CausalLM, prompts: list[Tensor], most: int, ends: list[tuple[int, ...]]) -> list[list[int] | None]:
    """The loop: read the prompts, then one token a row and turn."""
    reader = PromptReader(lm.core, lm.packs, lm.cache, prompts, lm.context)
    rows: list[list[int]] = [[] for _ in prompts]
    # the last token of an answer is not read, so it needs no place
    room = [most if lm.context is None else min(most, lm.context - len(p) + 1) for p in prompts]
    open_rows = {i for i, left in enumerate(room) if left > 0}
    sound = torch.ones(len(prompts), dtype=torch.bool, device=prompts[0].device)
    for _ in range(most if open_rows else 0):
        logits = reader.logits()
        waiting = torch.tensor([i in open_rows for i in range(len(rows))], device=sound.device)
        sound &= logits.max(-1).values.isfinite() | ~waiting
        ids = logits.argmax(-1)
        for i, token in enumerate(ids.tolist()):
            if i in open_rows:
                rows[i].append(token)
                if len(rows[i]) == room[i] or any(tuple(rows[i][-len(e) :]) == e for e in ends):
                    open_rows.discard(i)
        if not open_rows:
            break
        reader.add(lm.embed(ids))
    return [_cut(row, ends) if whole else None for row, whole in zip(rows, sound.tolist(), strict=True)]


def _cut(row: list[int], ends: list[tuple[int, ...]]) -> list[int]:
    """The row up to its first stop; it can only stand at the end, since writing ended there."""
    longest = max((len(e) for e in ends if tuple(row[-len(e) :]) == e), default=0)
    return row[: len(row) - longest]


class _answering:
    """Dropout off (and gradient checkpointing, which would drop the cache), and back as it was."""

    def __init__(self, lm: CausalLM) -> None:
        self.lm = lm

    def __enter__(self) -> None:
        self.was = [(m, m.training) for m in self.lm.modules() if m.training]
        self.lm.eval()

    def __exit__(self, *_: object) -> None:
        for module, training in self.was:
            module.training = training
