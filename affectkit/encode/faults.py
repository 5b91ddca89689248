"""What is said of a piece that fails, or puts out what it did not promise: step, piece, distribution, promise and fact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from affectkit.blocks import Block, TokenBlock, ViewBlock
from affectkit.errors import AffectkitError, InputError, PieceError, Problem, cause
from affectkit.heads import HEADS
from affectkit.pieces import Piece, Shape
from affectkit.plan.graph import Step
from affectkit.plan.plan import Plan
from affectkit.plan.references import HIDDEN, path_of
from affectkit.plan.use import at_key
from affectkit.recipe.marked_yaml import Path_

FIX = "mend it, or tell its author; affectkit.testing.keeps_its_promises(piece) tries all that a piece of its kind promises"


@contextmanager
def blamed_on(piece: Piece, source: str, place: str, deed: str, given: Callable[[], str]) -> Iterator[None]:
    """Raise what a stranger's code raises as a PieceError that names it and what it was given.

    Our own errors pass, they say what is wrong; so does a lack of memory, which is not the piece's fault.
    """
    try:
        yield
    except (AffectkitError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        what = f"{deed} of {named(piece, source)} failed: {cause(error)}; it was given {given()}"
        raise PieceError(Problem(place, what, FIX)) from error


@contextmanager
def place_errors(plan: Plan, path: Path_, piece: Piece, given: str) -> Iterator[None]:
    """Give what a piece tells of its weights or settings while it is built their place in the recipe; what it raises
    without a word for the user names it and what it was given."""
    source, place = plan.registry.source_of(piece), f"{'.'.join(map(str, path))} ({plan.recipe.place(path)})"
    try:
        with blamed_on(piece, source, place, "build()", lambda: given):
            yield
    except InputError as error:
        raise InputError([at_key(plan.recipe, problem, path, piece) for problem in error.problems]) from error


def named(piece: Piece, source: str) -> str:
    """`the adapter 'mean' from affectkit 0.2.0`."""
    return f"the {piece.kind} {piece.name!r}" + (f" from {source}" if source else "")


def place_of(step: Step) -> str:
    """`streams.audio.steps.adapter`."""
    return ".".join(map(str, path_of(step.address)))


def shapes_in_words(shapes: Mapping[str, Shape]) -> str:
    """`tokens (at most 4 time steps of 8 tokens, width 64)`, one after another."""
    return ", ".join(f"{name} ({_shape(shape)})" for name, shape in shapes.items()) or "nothing"


def _shape(shape: Shape) -> str:
    time, tokens, width = ("any" if n is None else n for n in (shape.time, shape.tokens, shape.width))
    return f"at most {time} time steps of {tokens} tokens, width {width}" if shape.kind == "tokens" else shape.kind


def blocks_in_words(blocks: Mapping[str, Block | None], shapes: Mapping[str, Shape]) -> str:
    """What came in at each port, beside what was announced for it."""
    found = []
    for name, block in blocks.items():
        told = f", announced as {_shape(shapes[name])}" if name in shapes else ""
        found.append(f"{name} {in_words(block)}{told}")
    return "; ".join(found)


def in_words(value: Any) -> str:
    """`TokenBlock [4, 1, 8, 64] float32`; of all else its type, and shape and numbers where it has them."""
    tensor = value.tokens if isinstance(value, TokenBlock) else value.values if isinstance(value, ViewBlock) else value
    kind = "a bare tensor" if isinstance(value, Tensor) else type(value).__name__
    if not isinstance(tensor, Tensor):
        return kind
    return f"{kind} {list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def check_output(step: Step, out: object, rows: int) -> None:
    """Raise PieceError where a step does not put out what its `shapes` announced, for a batch of so many rows.

    More blocks than announced, or in another order, harm nothing here; the contract test tells.
    """
    announced = step.shapes
    found = list(wrong_form(out)) if not isinstance(out, Mapping) else []
    if not found and isinstance(out, Mapping):
        absent = [name for name in announced if name not in out]
        if absent:
            found.append(
                f"it puts out {', '.join(map(str, out)) or 'nothing'}; `shapes` announced {', '.join(announced)}"
            )
        found += (w for n, shape in announced.items() if n in out for w in wrong_block(n, out[n], shape, rows))
    if found:
        what = f"{named(step.piece, step.source)} does not keep its word: {'; '.join(found)}"
        promised = f"; promised were {shapes_in_words(announced)}"
        raise PieceError(Problem(place_of(step), what + promised, FIX))


def wrong_form(out: object) -> Iterator[str]:
    """What is wrong with a forward's result that is no mapping of names to blocks."""
    if not isinstance(out, Mapping):
        yield f"forward returned {in_words(out)}, not a dict of block name to TokenBlock"


def wrong_block(name: str, block: object, shape: Shape, rows: int) -> Iterator[str]:
    """What of one block is not as announced: form, type of numbers, mask, rows, width, counts."""
    if not isinstance(block, TokenBlock) or block.tokens.dim() != 4 or not block.tokens.is_floating_point():
        yield f"block {name!r} is no TokenBlock with floating tokens [b t n d], it is {in_words(block)}"
        return
    if block.tokens.dtype == torch.float64 != torch.get_default_dtype():
        yield f"block {name!r} has float64 tokens; streams are in float32 or less"
    b, t, n, d = block.tokens.shape
    if not isinstance(block.mask, Tensor):
        yield f"block {name!r}: its mask is {in_words(block.mask)}, not a tensor [b t n]"
    elif block.mask.shape != (b, t, n) or block.mask.dtype != torch.bool:
        yield f"block {name!r}: its mask is {tuple(block.mask.shape)} {block.mask.dtype}, its tokens {(b, t, n, d)}"
    if b != rows:
        yield f"block {name!r} has {b} rows of {rows}"
    if shape.width not in (None, d):
        yield f"block {name!r} is {d} wide; `shapes` announced {shape.width}"
    for what, count, most in (("time steps", t, shape.time), ("tokens a time step", n, shape.tokens)):
        if most is not None and count > most:
            yield f"block {name!r} has {count} {what}; `shapes` announced at most {most}"


def check_methods(plan: Plan, address: str, module: object) -> None:
    """Raise InputError where a stage wants the loss of a step, or the prompt its facts, and the module has none.

    `check` takes a piece's word for both; a sentence on age and gender would go missing without a trace.
    """
    piece = plan.graph.steps[address].piece
    by_stage = any(stage.objective == address for stage in plan.stages.values())
    wanted = {"loss": ("objective=True", by_stage), "facts": ("tells", address in plan.reads)}
    wanted |= dict.fromkeys(("fit", "fitted"), ("fits=True", piece.fits))
    named = False
    if address.startswith(f"{HEADS}."):
        named = any(address == f"{HEADS}.{head}" for s in plan.stages.values() for one in s.mixed for head in one.heads)
        learns = named or not hasattr(module, "fit")
        named = named and hasattr(module, "fit")
        wanted = {"answers": ("that it is a head", True), "loss": ("that it is a head", learns)}
    at = plan.recipe.place(path_of(address))
    fix = (
        "a loss of the recipe looks at it, and it learns without one: use a head that is trained by steps"
        if named
        else ""
    )
    problems = [
        Problem(at, f"the {piece.kind} {piece.name!r} says {said}, and its module has no `{method}`", fix)
        for method, (said, needed) in wanted.items()
        if needed and not hasattr(module, method)
    ]
    if problems:
        raise InputError(problems)


def check_hidden(plan: Plan, backbone: object) -> None:
    """Raise InputError where a head or an objective reads the LLM's hidden state, and the backbone does not give it."""
    if getattr(type(backbone), "forward", nn.Module.forward) is not nn.Module.forward or plan.backbone is None:
        return
    reading = [path_of(f"{HEADS}.{name}") for name in plan.heads if plan.reads_hidden(name)]
    own = [loss.objective for stage in plan.stages.values() for loss in stage.mixed if loss.objective]
    reading += [path_of(step.address) for step in own if HIDDEN in step.inputs.values()]
    what = (
        f"reads {HIDDEN}, and the backbone {plan.backbone.piece.name!r} has no `forward(row, hidden_at)` that gives it"
    )
    if reading:
        raise InputError([Problem(plan.recipe.place(path), what, "let it read a block of a step") for path in reading])
