"""What every step must keep, for the tests of projectors, adapters and fusions."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.pieces import Piece, Shape

REFERENCE = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "parity"
LLM = 12
SHAPES = {
    "tokens": Shape("tokens", 3, 5, 8),
    "second": Shape("tokens", 2, 4, 8),
    "third": Shape("tokens", 1, 2, 8),
    "context": Shape("tokens", 2, 4, 6),
    "video": Shape("tokens", 4, 1, 8),
    "audio": Shape("tokens", 1, 7, 6),
    "question": Shape("text", 1, 16),
}


def inputs_of(piece: Piece, *, without: tuple[str, ...] = ()) -> dict[str, Shape]:
    """A shape for each port."""
    return {p.name: SHAPES[p.name] for p in piece.ports if p.name in SHAPES and p.name not in without}


def made(piece: Piece, settings=None, without: tuple[str, ...] = (), **inputs: Shape):
    """The module in eval mode with all parameters drawn at random, and the shapes that it was built for."""
    given = {**inputs_of(piece, without=without), **inputs}
    settings = settings or piece.settings(**piece.tiny)
    torch.manual_seed(0)
    module = piece.build(settings, given, LLM).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    return module, given


def filler(shape: Shape, rows: int = 3, seed: int = 0) -> TokenBlock | ViewBlock:
    """A full block of that shape."""
    generator = torch.Generator().manual_seed(seed)
    if shape.kind == "text":
        ids = torch.randint(3, 60, (rows, 6), generator=generator)
        return ViewBlock("question", ids, torch.ones_like(ids, dtype=torch.bool))
    tokens = torch.randn(rows, shape.time, shape.tokens, shape.width, generator=generator)
    return TokenBlock("x", tokens, torch.ones(tokens.shape[:3], dtype=torch.bool))


def blocks_for(inputs: dict[str, Shape], rows: int = 3) -> dict[str, TokenBlock | ViewBlock]:
    return {name: filler(shape, rows, seed) for seed, (name, shape) in enumerate(inputs.items())}


def padded(block: TokenBlock | ViewBlock, time: int, tokens: int, junk: float) -> TokenBlock | ViewBlock:
    """The block with `time` frames and `tokens` tokens of junk behind it."""
    if isinstance(block, ViewBlock):
        values = torch.nn.functional.pad(block.values, (0, tokens), value=7)
        return replace(block, values=values, mask=torch.nn.functional.pad(block.mask, (0, tokens)))
    spread = torch.nn.functional.pad(block.tokens, (0, 0, 0, tokens, 0, time), value=junk)
    return TokenBlock(block.name, spread, torch.nn.functional.pad(block.mask, (0, tokens, 0, time)))


def emptied(block: TokenBlock | ViewBlock, row: int, time: int | None = None) -> TokenBlock | ViewBlock:
    """The block with one row, or one frame of it, masked; NaN lies beneath."""
    mask = block.mask.clone()
    if isinstance(block, ViewBlock):
        mask[row] = False
        return replace(block, mask=mask)
    mask[row if time is None else (row, time)] = False
    return TokenBlock(block.name, block.tokens.masked_fill(~mask.unsqueeze(-1), float("nan")), mask)


def real(block: TokenBlock, row: int) -> torch.Tensor:
    """The real tokens of one row, in order [any d]."""
    return block.tokens[row][block.mask[row]]


def announced_equals_built(piece: Piece, settings=None, without: tuple[str, ...] = (), **inputs: Shape) -> None:
    """Blocks, widths and, on full inputs, counts are those that `shapes` told; masked tokens are zero."""
    module, given = made(piece, settings, without, **inputs)
    told = piece.shapes(settings or piece.settings(**piece.tiny), given, LLM)
    out = module(**blocks_for(given))
    assert list(out) == list(told)
    for name, shape in told.items():
        assert tuple(out[name].tokens.shape[1:]) == (shape.time, shape.tokens, shape.width)
        assert out[name].mask.shape == out[name].tokens.shape[:3]
        assert out[name].name == name
        assert out[name].mask.all()
    # shapes must also work where the encoder before is known only when built
    unknown = {p: replace(s, time=None, tokens=None, width=None) for p, s in given.items()}
    piece.shapes(settings or piece.settings(**piece.tiny), unknown, None)


def padding_never_leaks(piece: Piece, settings=None, without: tuple[str, ...] = (), **inputs: Shape) -> None:
    """A row gives the same alone, padded with junk, and beside rows that are empty or have empty frames."""
    module, given = made(piece, settings, without, **inputs)
    blocks = blocks_for(given)
    with torch.no_grad():
        alone = module(**blocks)
        padding = module(**{p: padded(b, 2, 3, float("nan")) for p, b in blocks.items()})
        holed = module(
            **{p: emptied(b, 1, 0) for p, b in blocks.items() if isinstance(b, TokenBlock)},
            **{p: b for p, b in blocks.items() if isinstance(b, ViewBlock)},
        )
        empty = module(**{p: emptied(b, 1) for p, b in blocks.items()})
    for name in alone:
        for row in range(3):
            torch.testing.assert_close(real(padding[name], row), real(alone[name], row), atol=2e-5, rtol=1e-4)
        for out in (holed[name], empty[name]):
            for row in (0, 2):
                torch.testing.assert_close(real(out, row), real(alone[name], row), atol=2e-5, rtol=1e-4)
            assert out.tokens.isfinite().all()
            assert (out.tokens[~out.mask] == 0).all()
        assert not empty[name].mask[1].any()


def gradients_reach_everything(piece: Piece, settings=None, without: tuple[str, ...] = (), **inputs: Shape) -> None:
    """Every parameter that asks for a gradient gets one, and so does every input; none is NaN beside empty
    frames."""
    module, given = made(piece, settings, without, **inputs)
    blocks = {p: emptied(b, 1, 0) if isinstance(b, TokenBlock) else b for p, b in blocks_for(given).items()}
    leaves = {}
    for port, block in blocks.items():
        if isinstance(block, TokenBlock):
            leaves[port] = block.tokens.requires_grad_()
    out = module(**blocks)
    sum((b.tokens * torch.randn_like(b.tokens)).sum() for b in out.values()).backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0 or name.endswith("key.bias"), name
    for port, leaf in leaves.items():
        assert leaf.grad.isfinite().all(), port
        assert (leaf.grad[blocks[port].mask].abs().sum(-1) > 0).any(), port
        assert (leaf.grad[~blocks[port].mask] == 0).all(), port


CHECKS = (announced_equals_built, padding_never_leaks, gradients_reach_everything)


def reference(item: str) -> tuple[dict, dict, dict, dict]:
    """meta, weights, inputs and outputs of a parity set; skips where it is not at hand."""
    folder = REFERENCE / item
    if not folder.is_dir():
        pytest.skip(f"no parity set at {folder} (set AFFECTKIT_REFERENCE)")
    parts = [load_file(folder / f"{name}.safetensors") for name in ("weights", "inputs", "outputs")]
    return json.loads((folder / "meta.json").read_text()), *parts


def close(got: torch.Tensor, want: torch.Tensor, tolerance: float) -> None:
    """Equal shapes, and the largest difference at most `tolerance` of the largest value."""
    assert got.shape == want.shape
    assert (got - want).abs().max() <= tolerance * want.abs().max()
