"""Packed rows, for several test files."""

import torch
from affectkit_plugins.backbones.causal_lm import Settings, build

from affectkit.model.packing import LMInput

TEXTS = [
    "the brows are drawn together and the voice trembles",
    "what does the person feel?",
    "happy, sad, angry",
] * 4

LENGTHS = (7, 1, 23, 4, 12)


def backbone(family="llama", **more):
    torch.manual_seed(0)
    sizes = {
        "layers": 2,
        "width": 32,
        "heads": 4,
        "kv_heads": 2,
        "vocabulary": 300,
        "context": 128,
        "mlp": 48,
    }
    made = build(Settings(**{"family": family} | sizes | more), lambda: TEXTS, None)
    with torch.no_grad():  # large weights: with the usual small ones every token is as likely as any other
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    return made


def row(lm, lengths=LENGTHS, seed=1):
    draw = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    ids = torch.randint(3, 250, (total,), generator=draw)
    labels = torch.where(torch.rand(total, generator=draw) < 0.5, ids, -100)
    positions = torch.cat([torch.arange(n) for n in lengths])
    return LMInput(lm.embed(ids).detach().requires_grad_(), positions, tuple(lengths), labels)
