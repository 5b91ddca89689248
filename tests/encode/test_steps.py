"""Steps on a batch: empty rows dropped and restored, unequal lengths apart, precomputed features as tokens."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.encode.steps import Steps, rows_of, stack_tokens, stack_views, unstack
from affectkit.pieces import Piece, Port, Shape
from affectkit.plan.graph import Graph, Ref, Step


class Probe(nn.Module):
    """Doubles its tokens and keeps what it was shown."""

    def forward(self, tokens, other=None):
        self.seen = (tokens, other)
        return {"out": TokenBlock("out", tokens.tokens * 2, tokens.mask)}


def steps(pads=True, view=False, optional=False):
    ports = (Port("tokens"), Port("other", optional=optional)) if not view else (Port("tokens"),)
    piece = Piece("adapter", "probe", SimpleNamespace, None, ports=ports, pads=pads)
    inputs = (
        {"tokens": Ref(view="given")}
        if view
        else {"tokens": Ref(step="a.b", block="x"), "other": Ref(step="a.b", block="y")}
    )
    step = Step("s.probe", piece, None, inputs, {}, {"out": Shape(time=None, width=2)})
    return Steps(Graph(steps={"s.probe": step}), {"s.probe": Probe()})


def block(name, lengths, width=2):
    mask = torch.zeros(len(lengths), 1, max(max(lengths), 1), dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, 0, :length] = True
    return TokenBlock(name, torch.rand(*mask.shape, width) * mask[..., None], mask)


def test_empty_rows_are_dropped_and_restored():
    made = steps()
    x, y = block("x", [3, 0, 2]), block("y", [1, 1, 0])
    out = made.run(["s.probe"], {"a.b.x": x, "a.b.y": y})["s.probe.out"]
    assert made.module("s.probe").seen[0].tokens.shape[0] == 1
    assert torch.equal(out.tokens[0], x.tokens[0] * 2)
    assert out.mask.flatten(1).any(1).tolist() == [True, False, False]
    assert out.tokens[1:].abs().sum() == 0


def test_optional_ports_may_be_empty():
    made = steps(optional=True)
    out = made.run(["s.probe"], {"a.b.x": block("x", [3, 1]), "a.b.y": block("y", [0, 0])})["s.probe.out"]
    assert out.mask.flatten(1).any(1).all()


def test_nothing_at_all():
    made = steps()
    out = made.run(["s.probe"], {"a.b.x": block("x", [0, 0]), "a.b.y": block("y", [1, 1])})["s.probe.out"]
    assert out.tokens.shape == (2, 1, 1, 2)
    assert not out.mask.any()


@pytest.mark.parametrize("pads", [True, False])
def test_lengths_that_show_run_apart(pads):
    made = steps(pads=pads)
    x, y = block("x", [3, 1, 3]), block("y", [1, 1, 1])
    out = made.run(["s.probe"], {"a.b.x": x, "a.b.y": y})["s.probe.out"]
    assert torch.equal(out.tokens, x.tokens * 2)
    assert torch.equal(out.mask, x.mask)
    assert made.module("s.probe").seen[0].tokens.shape[0] == (3 if pads else 2)


def test_features_come_as_tokens():
    made = steps(view=True)
    given = stack_views("f", [{"values": torch.ones(4, 1, 2), "mask": torch.ones(4, dtype=torch.bool)}, None])
    out = made.run(["s.probe"], {"s.probe:tokens": given})["s.probe.out"]
    assert out.tokens.shape == (2, 4, 1, 2)
    assert out.mask[0].all()
    assert not out.mask[1].any()


def test_rows_keep_time_and_cut_padding():
    mask = torch.tensor([[[1, 1, 0], [0, 0, 0]], [[1, 1, 1], [1, 0, 0]]], dtype=torch.bool)
    kept = rows_of(TokenBlock("x", torch.rand(2, 2, 3, 4), mask), torch.tensor([0]))
    assert kept.tokens.shape == (1, 2, 2, 4)
    wave = ViewBlock("w", torch.rand(2, 5), torch.tensor([[1, 1, 0, 0, 0], [1] * 5], dtype=torch.bool))
    assert rows_of(wave, torch.tensor([0])).values.shape == (1, 2)


def test_stack_and_unstack():
    parts = [
        (torch.rand(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)),
        (torch.rand(1, 1, 4), torch.ones(1, 1, dtype=torch.bool)),
    ]
    whole = stack_tokens("x", parts)
    assert whole.tokens.shape == (2, 2, 3, 4)
    tokens, mask = unstack(whole, 0)
    assert torch.equal(tokens, parts[0][0])
    assert mask.all()
