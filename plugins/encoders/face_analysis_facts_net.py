"""What `face_analysis` says of a person, and how it learns: estimates and the objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from affectkit.blocks import TokenBlock
from affectkit.errors import InputError, Problem, unknown
from affectkit.sample import MISSING, Fact

WEIGHTS = {"units": 6.0, "landmarks": 20.0, "age": 0.05, "gender": 0.05, "skin_tone": 0.05}
"""Weights of the parts of the objective, set so that none drowns the others on drawn faces."""
BEND = 0.02
"""Where the landmark loss turns from square to straight, as a fraction of the crop's side."""
TINY = 1e-6

Row = Mapping[str, Fact]


def estimates(parts: Mapping[str, tuple[TokenBlock, Sequence[str]]]) -> list[dict[str, Fact]]:
    """One dict a row: for each name the likeliest word of its block [b t 1 k], averaged over valid frames.

    A row without a valid frame gets `MISSING` facts.
    """
    columns: dict[str, list[Fact]] = {}
    for name, (block, words) in parts.items():
        tokens, mask = block.tokens.detach().float().cpu(), block.mask.cpu()
        mean = (tokens * mask[..., None]).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)[:, None]
        sure, best = mean.max(-1)
        columns[name] = [
            Fact(words[int(best[i])], "estimate", float(sure[i])) if mask[i].any() else MISSING
            for i in range(len(mask))
        ]
    count = len(next(iter(columns.values())))
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def objective(
    blocks: Mapping[str, TokenBlock],
    facts: Sequence[Row],
    units: Sequence[str],
    words: Mapping[str, Sequence[str]],
) -> Tensor:
    """Weighted sum of the parts whose labels are there; a graph-carrying zero where none is.

    `units` and `words` are the names of the network's outputs.
    `action_units` and `landmarks` are arrays with one entry a frame of the view (or one for all of it);
    `age`, `gender` and `skin_tone` are words. Only facts of origin `label` are learned from; NaN entries are
    left out. Landmarks are pixels of the whole frame and are compared in the crop's own fractions
    (`crop_box`, `frame_size`). Raises `InputError` for a word or a number of columns that the network has no
    output for.
    """
    mask = blocks["valid"].mask[:, :, 0].to(blocks["valid"].tokens.device)
    parts = {
        "units": unit_loss(blocks["units"], [in_order(row, units) for row in facts], mask),
        "landmarks": point_loss(blocks["landmarks"], facts, mask),
    }
    for name, known in words.items():
        parts[name] = word_loss(name, blocks[name], facts, known)
    # Every output takes part, so that no parameter is ever without a gradient (data-parallel training wants one).
    total = torch.stack([block.tokens.float().sum() * 0 for block in blocks.values()]).sum()
    for name, part in parts.items():
        if part is not None:
            total = total + WEIGHTS[name] * part
    return total


def unit_loss(block: TokenBlock, facts: Sequence[Row], mask: Tensor) -> Tensor | None:
    """Cross-entropy of unit intensities against labels between 0 and 1, less its least value."""
    predicted = block.tokens[:, :, 0].float()
    target = frames("action_units", facts, predicted)
    known = mask[..., None] & ~target.isnan()
    if not known.any():
        return None
    p, y = predicted[known].clamp(TINY, 1 - TINY), target[known].clamp(0, 1)
    return (entropy(y, p) - entropy(y, y.clamp(TINY, 1 - TINY))).mean()


def in_order(row: Row, units: Sequence[str]) -> Row:
    """The row with its units in the network's order, where the fact `action_unit_names` names the columns."""
    names, fact = row.get("action_unit_names", MISSING).value, row.get("action_units", MISSING)
    if names is None or fact.value is None:
        return row
    if not set(names) & set(units):
        what = f"none of its columns ({', '.join(names)}) is predicted"
        raise InputError(Problem("fact action_units", what, "set `units` of the encoder", tuple(units)))
    value = np.asarray(fact.value, np.float32)
    out = np.full((*value.shape[:-1], len(units)), np.nan, np.float32)
    for column, name in enumerate(names):
        if name in units:
            out[..., list(units).index(name)] = value[..., column]
    return {**row, "action_units": replace(fact, value=out)}


def entropy(y: Tensor, p: Tensor) -> Tensor:
    """Written out, because torch's own refuses probabilities under autocast."""
    return -(y * p.log() + (1 - y) * (1 - p).log())


def point_loss(block: TokenBlock, facts: Sequence[Row], mask: Tensor) -> Tensor | None:
    """Smooth L1 of the landmarks in fractions of the crop."""
    predicted = block.tokens.float()
    like = predicted[:, :, 0, 0]
    target = frames("landmarks", facts, predicted)
    box = frames("crop_box", facts, like[..., None].expand(*like.shape, 4), trusted=True)
    size = torch.full((len(facts), 2), torch.nan, device=like.device)
    for i, row in enumerate(facts):
        if "frame_size" in row and row["frame_size"].value is not None:
            h, w = row["frame_size"].value
            size[i] = torch.tensor([float(w), float(h)])
    whole = torch.cat([torch.zeros_like(size), size], -1)[:, None].expand_as(box)
    low, high = torch.where(box.isnan(), whole, box)[:, :, None].split(2, -1)
    wide = (high - low).clamp(min=TINY)
    # predicted is in fractions of the frame; both sides go to fractions of the crop, so that small faces
    # count the same
    ours, theirs = (predicted * size[:, None, None] - low) / wide, (target - low) / wide
    known = mask[..., None, None] & ~theirs.isnan() & ~ours.isnan()
    if not known.any():
        return None
    return F.smooth_l1_loss(ours[known], theirs[known], beta=BEND)


def word_loss(name: str, block: TokenBlock, facts: Sequence[Row], known: Sequence[str]) -> Tensor | None:
    """Cross-entropy of each valid frame of the rows that have the label."""
    index = [place(name, row.get(name, MISSING), known) for row in facts]
    target = torch.tensor([-1 if i is None else i for i in index], device=block.tokens.device)
    use = block.mask[:, :, 0] & (target >= 0)[:, None]
    if not use.any():
        return None
    wanted = target[:, None].expand_as(use)[use]
    return -block.tokens[:, :, 0][use].float().gather(1, wanted[:, None]).clamp(min=TINY).log().mean()


def frames(name: str, facts: Sequence[Row], like: Tensor, trusted: bool = False) -> Tensor:
    """The facts of that name laid out like `like` [b t ...]; NaN where there is none that is a label."""
    out = torch.full(like.shape, torch.nan, device=like.device)
    for i, row in enumerate(facts):
        fact = row.get(name, MISSING)
        if fact.value is None or (fact.origin != "label" and not trusted):
            continue
        value = np.asarray(fact.value, np.float32)
        if not fact.per_frame:
            value = np.broadcast_to(value, (like.shape[1], *value.shape))
        if value.shape[1:] != like.shape[2:]:
            what = f"each frame has {value.shape[1:]} values where the network gives {tuple(like.shape[2:])}"
            raise InputError(Problem(f"fact {name}", what, "name the same columns in the encoder's settings"))
        count = min(len(value), like.shape[1])
        out[i, :count] = torch.from_numpy(np.ascontiguousarray(value[:count])).to(like.device)
    return out


def place(name: str, fact: Fact, known: Sequence[str]) -> int | None:
    """The index of the fact's word; a number is put into the band (`20-29`, `70+`) that holds it."""
    if fact.value is None or fact.origin != "label":
        return None
    word = fact.value
    if isinstance(word, int | float):
        for i, band in enumerate(known):
            low, _, high = band.rstrip("+").partition("-")
            if low.isdigit() and int(low) <= word < (int(high) + 1 if high else float("inf")):
                return i
    if word in known:
        return list(known).index(word)
    raise InputError(unknown(f"fact {name}", "word", str(word), known))
