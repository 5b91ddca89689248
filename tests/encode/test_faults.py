"""A piece that fails, or breaks its word, is named with what was promised and what came."""

import pytest
import torch
from torch import nn

from affectkit.blocks import TokenBlock
from affectkit.encode.perceive import estimate
from affectkit.encode.steps import Steps
from affectkit.errors import AffectkitError, MediaError, PieceError
from affectkit.pieces import Piece, Port, Shape
from affectkit.plan.graph import Graph, Ref, Step

PROMISED = {"tokens": Shape("tokens", 1, 3, 8)}


class Gives(nn.Module):
    """Puts out whatever a function makes of the tokens."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, tokens):
        return self.make(tokens.tokens, tokens.mask)


def ran(make, rows=2, pads=True, lengths=None):
    piece = Piece("adapter", "odd", object, None, ports=(Port("tokens"),), pads=pads)
    step = Step(
        "face.pool", piece, None, {"tokens": Ref(step="a.b", block="x")}, PROMISED, PROMISED, "disk", "odd-pieces 1.2"
    )
    mask = torch.arange(3)[None, None] < torch.tensor(lengths or [3] * rows)[:, None, None]
    block = TokenBlock("x", torch.ones(rows, 1, 3, 8), mask)
    return Steps(Graph(steps={step.address: step}), {step.address: Gives(make)}).run([step.address], {"a.b.x": block})


def block(x, mask, name="tokens"):
    """A block as users get it: here alone shapes are checked as soon as one is made."""
    made = object.__new__(TokenBlock)
    for key, value in (("name", name), ("tokens", x), ("mask", mask)):
        object.__setattr__(made, key, value)
    return {name: made}


def test_what_is_as_announced_passes():
    assert ran(block)["face.pool.tokens"].tokens.shape == (2, 1, 3, 8)
    assert ran(lambda x, m: block(x[:, :, :2], m[:, :, :2]))  # fewer tokens than announced are no fault
    assert ran(lambda x, m: {**block(x, m, "more"), **block(x, m)})  # nor is one that nobody reads


WRONG = {
    "a bare tensor": (lambda x, m: x, "forward returned a bare tensor [2, 1, 3, 8] float32, not a dict of block name"),
    "a block without its name": (
        lambda x, m: block(x, m)["tokens"],
        "forward returned TokenBlock [2, 1, 3, 8] float32",
    ),
    "nothing": (lambda x, m: None, "forward returned NoneType, not a dict of block name to TokenBlock"),
    "a tensor for a block": (lambda x, m: {"tokens": x}, "no TokenBlock with floating tokens [b t n d], it is a bare"),
    "three axes": (lambda x, m: block(x[:, 0], m), "floating tokens [b t n d], it is TokenBlock [2, 3, 8] float32"),
    "double numbers": (lambda x, m: block(x.double(), m), "has float64 tokens; streams are in float32 or less"),
    "whole numbers": (lambda x, m: block(x.long(), m), "it is TokenBlock [2, 1, 3, 8] int64"),
    "another name": (lambda x, m: block(x, m, "token"), "it puts out token; `shapes` announced tokens"),
    "another width": (lambda x, m: block(x[..., :5], m), "block 'tokens' is 5 wide; `shapes` announced 8"),
    "too many tokens": (
        lambda x, m: block(x.repeat(1, 1, 2, 1), m.repeat(1, 1, 2)),
        "block 'tokens' has 6 tokens a time step; `shapes` announced at most 3",
    ),
    "too many time steps": (
        lambda x, m: block(x.repeat(1, 2, 1, 1), m.repeat(1, 2, 1)),
        "block 'tokens' has 2 time steps; `shapes` announced at most 1",
    ),
    "rows lost": (lambda x, m: block(x[:1], m[:1]), "block 'tokens' has 1 rows of 2"),
    "a mask of numbers": (lambda x, m: block(x, m.float()), "its mask is (2, 1, 3) torch.float32"),
    "a mask of another shape": (lambda x, m: block(x, m[:, :, :1]), "its mask is (2, 1, 1) torch.bool"),
    "no mask": (lambda x, m: block(x, None), "its mask is NoneType"),
}


@pytest.mark.parametrize("pads", [True, False])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_broken_word_names_step_piece_distribution_promise_and_fact(wrong, pads):
    make, words = WRONG[wrong]
    with pytest.raises(PieceError) as told:
        ran(make, pads=pads)
    text = str(told.value)
    assert words in text
    assert text.startswith("streams.face.steps.pool: the adapter 'odd' from odd-pieces 1.2 does not keep its word: ")
    assert "promised were tokens (at most 1 time steps of 3 tokens, width 8)" in text
    assert "fix: mend it, or tell its author" in text


@pytest.mark.parametrize("wrong", ["a bare tensor", "rows lost"])
def test_it_is_told_too_where_some_rows_are_empty(wrong):
    with pytest.raises(PieceError, match="does not keep its word"):
        ran(WRONG[wrong][0], rows=3, lengths=[3, 0, 2])


def test_an_error_in_forward_says_what_came_in_and_where():
    with pytest.raises(PieceError) as told:
        ran(lambda x, m: block(nn.Linear(5, 8)(x), m))
    text = str(told.value)
    assert text.startswith(
        "streams.face.steps.pool: forward() of the adapter 'odd' from odd-pieces 1.2 failed: RuntimeError: "
    )
    assert "mat1 and mat2 shapes cannot be multiplied" in text
    assert "(test_faults.py:" in text
    assert "it was given tokens TokenBlock [2, 1, 3, 8] float32, announced as at most 1 time steps of 3 tokens" in text
    assert isinstance(told.value.__cause__, RuntimeError)


def test_our_own_errors_and_a_lack_of_memory_pass():
    for error in (MediaError("a broken clip"), torch.OutOfMemoryError("no room"), AffectkitError("known")):

        def fail(x, m, error=error):
            raise error

        with pytest.raises(type(error), match=str(error)):
            ran(fail)


def test_a_first_port_that_may_stay_unfilled():
    """It is left out, or it is filled and empty in some rows; a row with nothing in any port comes back empty."""
    ports = (Port("tokens", optional=True), Port("other", optional=True))
    piece = Piece("fusion", "either", object, None, ports=ports, pads=False)

    class Either(nn.Module):
        def forward(self, tokens, other):
            self.rows = [None if b is None else len(b.mask) for b in (tokens, other)]
            some = tokens or other
            return {"tokens": TokenBlock("tokens", some.tokens * some.mask[..., None] + 1, some.mask | True)}

    def out(lengths):
        refs = {port: Ref(step="a.b", block=port) for port in lengths}
        step = Step("s.either", piece, None, refs, {}, {"tokens": Shape(width=8)})
        module = Either()
        known = {
            f"a.b.{port}": TokenBlock(
                port, torch.ones(len(n), 1, 2, 8), torch.arange(2)[None, None] < torch.tensor(n)[:, None, None]
            )
            for port, n in lengths.items()
        }
        return module, Steps(Graph(steps={step.address: step}), {step.address: module}).run([step.address], known)

    module, made = out({"other": [2, 2, 2]})
    assert module.rows == [None, 3]
    assert made["s.either.tokens"].mask.all()
    module, made = out({"tokens": [2, 0, 0], "other": [2, 2, 0]})
    assert made["s.either.tokens"].mask.flatten(1).any(1).tolist() == [True, True, False]
    assert not made["s.either.tokens"].tokens[2].any()


def test_an_error_in_facts_names_the_step_too():
    class Silly(Gives):
        def facts(self, blocks):
            return blocks["gender"]

    piece = Piece("adapter", "odd", object, None, tells=("gender",))
    step = Step("face.pool", piece, None, {}, {}, PROMISED, "disk", "odd-pieces 1.2")
    steps = Steps(Graph(steps={step.address: step}), {step.address: Silly(None)})
    with pytest.raises(
        PieceError, match=r"steps\.pool: facts\(\) of the adapter 'odd' from odd-pieces 1\.2 failed: KeyError"
    ):
        estimate(steps, "face.pool", {})
