"""The promises of backbones, checked on three short samples packed into one row."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from affectkit.model.packing import BACKBONE_MEMBERS, IGNORE, LMInput, last_prompt_places
from affectkit.pieces import Piece, Shape
from affectkit.testing.bench import shake

NEAR = 1e-5
TEXTS = (
    "What does the person in this clip feel, and why?",
    "She smiles: happy, sad, neutral or angry?",
    "His voice trembles and the brows are drawn together.",
    " Which emotion is it? One word.",
)
CANDIDATES = (" happy", " sad", " neutral")


def texts() -> Iterable[str]:
    """Texts for training a tokenizer."""
    return [*TEXTS, *CANDIDATES] * 4


class BackboneBench:
    """A backbone in eval mode with shaken parameters, so that adapters which start as nothing do something."""

    def __init__(self, piece: Piece, settings: Any, inputs: Mapping[str, Shape], idle: Mapping[str, str]) -> None:
        self.piece, self.settings = piece, settings
        torch.manual_seed(0)
        self.lm: Any = piece.build(settings, texts, None)
        if isinstance(self.lm, nn.Module):
            shake(self.lm.eval())
        self.ids = [self.lm.tokenise(t) for t in TEXTS]

    def row(self, which: Iterable[int], seed: int = 0) -> LMInput:
        """Samples as one packed row: words, two places of a slot, words of which the last three are trained."""
        embeds, labels, lengths = [], [], []
        for i in which:
            ids = torch.tensor(self.ids[i])
            slot = torch.randn(2, self.lm.width, generator=torch.Generator().manual_seed(seed + i))
            words = self.lm.embed(ids).detach()
            embeds.append(torch.cat([words[:2], slot * words.std(), words[2:]]))
            label = torch.full((len(ids) + 2,), IGNORE)
            label[-3:] = ids[-3:]
            labels.append(label)
            lengths.append(len(label))
        positions = torch.cat([torch.arange(n) for n in lengths])
        return LMInput(torch.cat(embeds), positions, tuple(lengths), torch.cat(labels))

    def prompts(self, which: Iterable[int]) -> LMInput:
        """The same without supervised tokens."""
        row = self.row(which)
        return LMInput(row.embeds, row.position_ids, row.lengths, torch.full_like(row.labels, IGNORE))


def members(bench: BackboneBench) -> Iterator[str]:
    """All members are there: an nn.Module with what `affectkit.model.packing.Backbone` names."""
    lm = bench.lm
    if not isinstance(lm, nn.Module):
        yield f"build returned {type(lm).__name__}, not an nn.Module"
    absent = [n for n in BACKBONE_MEMBERS if not hasattr(lm, n)]
    if absent:
        yield f"it has no {', '.join(absent)}"


def width(bench: BackboneBench) -> Iterator[str]:
    """`shapes` tells the width: that of the LLM, under `llm`."""
    if bench.piece.shapes is None:
        yield "it has no `shapes`; give one that returns {'llm': Shape(width=…)}"
        return
    told = bench.piece.shapes(bench.settings, {}, None)["llm"].width
    made = bench.lm.embed(torch.tensor(bench.ids[0])).shape[-1]
    if told not in (None, bench.lm.width) or made != bench.lm.width:
        yield f"announced {told}, `width` says {bench.lm.width}, embeddings are {made} wide"


def words(bench: BackboneBench) -> Iterator[str]:
    """Text comes back from its ids: and no special tokens are added."""
    special = {*bench.lm.start_ids, *bench.lm.end_ids}
    for text in (*TEXTS, *CANDIDATES, ""):
        ids = bench.lm.tokenise(text)
        if special & set(ids):
            yield f"{text!r} became {ids}, special tokens {sorted(special & set(ids))} among them"
        if bench.lm.untokenise(ids) != text:
            yield f"{text!r} came back as {bench.lm.untokenise(ids)!r}"


def packed(bench: BackboneBench) -> Iterator[str]:
    """Packed equals one by one: the loss of a packed row is the sum of its samples' losses."""
    whole, count = bench.lm.loss(bench.row(range(3)))
    parts = [bench.lm.loss(bench.row([i])) for i in range(3)]
    total = sum(float(loss.detach()) for loss, _ in parts)
    if count != 9:
        yield f"it counts {count} supervised tokens of 9"
    if abs(float(whole.detach()) - total) > NEAR * max(1.0, abs(total)):
        yield f"packed {float(whole.detach()):.6f}, one by one {total:.6f}: do samples see each other?"


def slots(bench: BackboneBench) -> Iterator[str]:
    """Gradients reach the slots: every place before the last answer token, and none of another sample."""
    row = bench.row(range(3))
    leaf = row.embeds.clone().requires_grad_()
    labels = row.labels.clone()
    labels[: row.lengths[0]] = IGNORE
    loss, _ = bench.lm.loss(LMInput(leaf, row.position_ids, row.lengths, labels))
    loss.backward()
    assert leaf.grad is not None
    pull = leaf.grad.abs().sum(-1).split(row.lengths)
    if not bool(leaf.grad.isfinite().all()):
        yield "gradients are not finite"
    if bool((pull[0] > 0).any()):
        yield "a sample without an answer gets gradients from its neighbours"
    for i, part in enumerate(pull[1:], 1):
        dead = (part[:-1] == 0).nonzero().flatten().tolist()
        if dead:
            yield f"sample {i}: places {dead} of {len(part)} get no gradient (2 and 3 are the slot)"
    bench.lm.zero_grad()


def nothing(bench: BackboneBench) -> Iterator[str]:
    """A row without answers costs nothing: its loss is 0, and can be run backwards."""
    row = bench.prompts([0, 1])
    loss, count = bench.lm.loss(LMInput(row.embeds.requires_grad_(), row.position_ids, row.lengths, row.labels))
    if count != 0 or float(loss.detach()) != 0 or not loss.requires_grad:
        yield f"loss {loss}, count {count}"


def hidden(bench: BackboneBench) -> Iterator[str]:
    """The state that heads read is the sample's own: where there is a `forward(row, hidden_at)`, packed equals one by one, its
    loss is that of `loss`, and gradients go through the state."""
    if type(bench.lm).forward is nn.Module.forward:
        return
    row = bench.row(range(3))
    total, count, states = bench.lm(row, last_prompt_places(row))
    loss, number = bench.lm.loss(row)
    if count != number or abs(float((total - loss).detach())) > NEAR * max(1.0, abs(float(loss.detach()))):
        yield f"its loss is {float(total.detach()):.6f} over {count}, that of `loss` {float(loss.detach()):.6f} over {number}"
    if len(states) != 3:
        yield f"3 places gave {len(states)} states"
        return
    for i in range(3):
        lone = bench.lm(bench.row([i]), last_prompt_places(bench.row([i])))[2][0]
        far = float((lone - states[i]).abs().max().detach())
        if far > NEAR * max(1.0, float(lone.abs().max().detach())):
            yield f"sample {i}: its state differs by {far:.3g} alone and beside others"
    leaf = row.embeds.detach().requires_grad_()
    states = bench.lm(LMInput(leaf, row.position_ids, row.lengths, row.labels), last_prompt_places(row))[2]
    states[1].sum().backward()
    pull = [bool(part.any()) for part in (leaf.grad if leaf.grad is not None else leaf * 0).split(row.lengths)]
    if pull != [False, True, False]:
        yield f"the state of the second of three samples pulls on samples {[i for i, one in enumerate(pull) if one]}"
    bench.lm.zero_grad()


def bare(bench: BackboneBench) -> Iterator[str]:
    """Adapters can be turned off: inside `without_adapters()`, where there is one, the LLM is what it is with adapters of zeros;
    after it they are on again, and what was frozen still is."""
    if not hasattr(bench.lm, "without_adapters"):
        return
    lora = [p for name, p in bench.lm.named_parameters() if bench.lm.group(name) == "lora"]
    row = bench.row(range(3))
    for parameter in lora:
        parameter.requires_grad_(False)
    before = float(bench.lm.loss(row)[0].detach())
    with bench.lm.without_adapters():
        off = float(bench.lm.loss(row)[0].detach())
    after = float(bench.lm.loss(row)[0].detach())
    if before != after:
        yield f"the loss is {before:.6f} before and {after:.6f} after: are the adapters on again?"
    if any(parameter.requires_grad for parameter in lora):
        yield "adapters that were frozen learn after it"
    kept = [parameter.detach().clone() for parameter in lora]
    with torch.no_grad():
        for parameter in lora:
            parameter.zero_()
        none = float(bench.lm.loss(row)[0])
        for parameter, value in zip(lora, kept, strict=True):
            parameter.copy_(value).requires_grad_(True)
    if abs(off - none) > NEAR * max(1.0, abs(none)):
        yield f"without adapters the loss is {off:.6f}, with adapters of zeros {none:.6f}"


def scores(bench: BackboneBench) -> Iterator[str]:
    """Scores are log-probabilities: minus the candidate's loss, whatever else is asked."""
    options = [bench.lm.tokenise(c) for c in CANDIDATES]
    both = bench.lm.score(bench.prompts(range(3)), [options] * 3)
    for i in range(3):
        lone = bench.lm.score(bench.prompts([i]), [options[::-1]])[0][::-1]
        far = max(abs(a - b) for a, b in zip(both[i], lone, strict=True))
        if far > 10 * NEAR * max(1.0, max(map(abs, lone))):
            yield f"prompt {i}: scores differ by {far:.3g} alone and beside others"
        for j, option in enumerate(options):
            wanted = -float(_loss_of(bench, i, option))
            if abs(both[i][j] - wanted) > 10 * NEAR * max(1.0, abs(wanted)):
                yield f"prompt {i}, {CANDIDATES[j]!r}: score {both[i][j]:.5f}, minus its loss {wanted:.5f}"


def _loss_of(bench: BackboneBench, prompt: int, option: list[int]) -> Tensor:
    row = bench.prompts([prompt])
    ids = torch.tensor(option)
    embeds = torch.cat([row.embeds, bench.lm.embed(ids).detach()])
    labels = torch.cat([row.labels, ids])
    whole = LMInput(embeds, torch.arange(len(embeds)), (len(embeds),), labels)
    loss: Tensor = bench.lm.loss(whole)[0].detach()
    return loss


def answers(bench: BackboneBench) -> Iterator[str]:
    """Answers do not depend on the batch: greedy ones come in order, no longer than asked, cut before a stop."""
    most = 6
    both = bench.lm.generate(bench.prompts(range(3)), most, ())
    if len(both) != 3 or any(len(a) > most for a in both):
        yield f"3 prompts, at most {most} ids, gave {both}"
        return
    for i in range(3):
        lone = bench.lm.generate(bench.prompts([i]), most, ())[0]
        if lone != both[i]:
            yield f"prompt {i} is answered {lone} alone and {both[i]} beside others"
    first = next((a for a in both if len(a) > 1), None)
    if first is not None:
        row, stop = both.index(first), [first[-1]]
        cut = bench.lm.generate(bench.prompts([row]), most, [stop])[0]
        if cut != first[: first.index(first[-1])]:
            yield f"with the stop {stop} the answer {first} became {cut}"


def groups(bench: BackboneBench) -> Iterator[str]:
    """Parameters belong to `model` or `lora`."""
    found = {name: bench.lm.group(name) for name, _ in bench.lm.named_parameters()}
    wrong = [n for n, g in found.items() if g not in ("model", "lora")]
    if wrong or not found:
        yield f"parameter {wrong[0]!r} belongs to {found[wrong[0]]!r}" if wrong else "it has no parameters"


def saved(bench: BackboneBench) -> Iterator[str]:
    """A saved tokenizer is the same one: what `save_tokenizer` wrote is built again without texts, and the weights fit."""

    def never() -> Iterable[str]:
        raise AssertionError("build(settings, texts, saved) asked for the texts, with a saved tokenizer at hand")

    with tempfile.TemporaryDirectory() as folder:
        bench.lm.save_tokenizer(folder)
        again: Any = bench.piece.build(bench.settings, never, folder)
    for text in TEXTS:
        if again.tokenise(text) != bench.lm.tokenise(text):
            yield f"{text!r} became {bench.lm.tokenise(text)} before and {again.tokenise(text)} after"
    again.load_state_dict(bench.lm.state_dict())


KITS = {
    "backbone": (
        BackboneBench,
        (members, width, words, packed, slots, nothing, hidden, bare, scores, answers, groups, saved),
    )
}
