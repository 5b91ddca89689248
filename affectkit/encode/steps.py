"""Run the steps of a graph on a batch: empty rows dropped and restored, equal lengths where padding would show."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from affectkit import weights
from affectkit.blocks import Block, TokenBlock, ViewBlock
from affectkit.encode.faults import blamed_on, blocks_in_words, check_output, named, place_of, shapes_in_words
from affectkit.errors import InputError, Problem, unknown
from affectkit.pieces import KINDS, STEP_KINDS, Piece, Shape, port_of
from affectkit.plan.graph import Graph, Ref, Step, is_question, question_steps
from affectkit.plan.use import Use
from affectkit.registry import Registry

T = TypeVar("T")


def choice(rule: Callable[[object], bool] | bool, settings: object) -> bool:
    """A piece's `pads` or `per_batch`: a truth, or a function of the settings."""
    return bool(rule(settings)) if callable(rule) else rule


def rows_of(block: Block, rows: Tensor) -> Block:
    """Some rows of a block. Padding along samples, ids or tokens is cut to what they need; time is left as it is, so that
    blocks of the same frames stay of one length."""
    if isinstance(block, ViewBlock):
        mask = block.mask[rows]
        most = _longest(mask) if block.values.dim() == 2 else mask.shape[1]
        boxes = None if block.boxes is None else block.boxes[rows][:, :most]
        return ViewBlock(block.name, block.values[rows][:, :most], mask[:, :most], boxes)
    mask = block.mask[rows]
    n = _longest(mask.any(1))
    return TokenBlock(block.name, block.tokens[rows][:, :, :n], mask[:, :, :n])


def _longest(mask: Tensor) -> int:
    """One more than the last true column of any row, at least 1."""
    columns = mask.any(0).nonzero()
    return int(columns[-1]) + 1 if len(columns) else 1


class Steps(nn.Module):
    """The built steps of a graph, by address."""

    def __init__(self, graph: Graph, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.graph = graph
        self.built = nn.ModuleDict({address.replace(".", "__"): module for address, module in modules.items()})

    def module(self, address: str) -> nn.Module:
        """The module at `stream.step`."""
        return self.built[address.replace(".", "__")]

    def unfitted(self, addresses: Iterable[str]) -> list[str]:
        """Those of some steps that are to learn from training samples before they are used, and have not."""
        return [a for a in addresses if self.graph.steps[a].piece.fits and not bool(self.module(a).fitted)]

    def check_fitted(self, addresses: Iterable[str]) -> None:
        """Raise InputError with these steps."""
        fix = "train the recipe (affectkit fit), or start from a run that was (run.start=RUN)"
        problems = []
        for step in (self.graph.steps[a] for a in self.unfitted(addresses)):
            what = f"{named(step.piece, step.source)} has seen no training samples, from which it learns what it needs"
            problems.append(Problem(place_of(step), what, fix))
        if problems:
            raise InputError(problems)

    def run(self, addresses: Sequence[str], known: Mapping[str, Block]) -> dict[str, Block]:
        """Run steps in order. `known` holds what is there already: prepared views under `address:port`, cached blocks
        under `address.block`. Returns the blocks of the steps that ran, under `address.block`."""
        blocks: dict[str, Block] = dict(known)
        made: dict[str, Block] = {}
        for address in addresses:
            step = self.graph.steps[address]
            inputs = {port: self._input(step, port, ref, blocks) for port, ref in step.inputs.items()}
            out = self.run_step(step, inputs)
            made.update({f"{address}.{name}": block for name, block in out.items()})
            blocks.update(made)
        return made

    def present(self, addresses: Sequence[str], known: Mapping[str, Block]) -> dict[str, Tensor]:
        """By `address.block`, which rows [b] are there in `known` or will be when these steps have run: those that they run on.
        That a step may put out nothing for a row is not foreseen."""
        found = {name: block.there for name, block in known.items()}
        for address in addresses:
            step = self.graph.steps[address]
            fed = {p: found[f"{address}:{p}" if ref.view else str(ref)] for p, ref in step.inputs.items()}
            found |= dict.fromkeys((f"{address}.{block}" for block in step.shapes), _rows_to_run(step.piece, fed))
        return found

    def inputs(self, step: Step, known: Mapping[str, Block]) -> dict[str, Block | tuple[Block, ...] | None]:
        """What fills the ports of a step, as its forward gets it, from what `run` and its `known` give."""
        return by_port(step.piece, {key: self._input(step, key, ref, known) for key, ref in step.inputs.items()})

    def run_turns(
        self, addresses: Sequence[str], known: Mapping[str, Block], owners: Sequence[int]
    ) -> dict[str, Block]:
        """The same where samples have several turns: `owners` says whose each row of the question's blocks is. Steps that
        read the question, or eat what such a step gives, have a row a turn; all others run once a sample."""
        asked = question_steps(self.graph, addresses)
        made = self.run([a for a in addresses if a not in asked], known)
        once = {**known, **made}
        by_turn = dict(once)
        rows = torch.tensor(owners)
        for address in asked:
            for port, ref in self.graph.steps[address].inputs.items():
                name = f"{address}:{port}" if ref.view else f"{ref.step}.{ref.block}"
                if not (is_question(self.graph, ref) if ref.view else ref.step in asked):
                    by_turn[name] = rows_of(once[name], rows.to(once[name].mask.device))
        return {**made, **self.run(asked, by_turn)}

    @staticmethod
    def _input(step: Step, port: str, ref: Ref, blocks: Mapping[str, Block]) -> Block:
        """What fills a port; a view of features as tokens where the port eats these."""
        if not ref.view:
            return blocks[f"{ref.step}.{ref.block}"]
        view = blocks[f"{step.address}:{port}"]
        eats = next(p.eats for p in step.piece.ports if p.name == port_of(port))
        return as_tokens(view) if eats == "tokens" and isinstance(view, ViewBlock) else view

    def run_step(self, step: Step, inputs: dict[str, Block]) -> dict[str, TokenBlock]:
        """One step on a batch: only rows that hold something in every required port (where none is required: in one
        port at least); the others come back empty. Where a row padded among longer ones would differ from the row alone,
        equal lengths run together."""
        there = _rows_to_run(step.piece, {p: block.there for p, block in inputs.items()})
        rows, total = there.nonzero().flatten(), len(there)
        if not len(rows):
            return {name: self._nothing(step, name, total, inputs) for name in step.shapes}
        parts = [rows]
        if len(rows) > 1 and not choice(step.piece.pads, step.settings):
            main = next(inputs[p.name] for p in step.piece.ports if p.name in inputs)
            lengths = main.mask[rows].flatten(1).sum(1)
            parts = [rows[lengths == length] for length in lengths.unique()]
        elif len(rows) == total:
            return self._call(step, inputs)
        made = [(part, self._call(step, {p: rows_of(b, part) for p, b in inputs.items()})) for part in parts]
        return {name: _join([(part, out[name]) for part, out in made], total) for name in made[0][1]}

    def _call(self, step: Step, inputs: dict[str, Block]) -> dict[str, TokenBlock]:
        self.check_fitted([step.address])
        with blamed_on(
            step.piece, step.source, place_of(step), "forward()", lambda: blocks_in_words(inputs, step.eats)
        ):
            out = self._forward(step, inputs)
        check_output(step, out, next(iter(inputs.values())).mask.shape[0])
        return out

    def _forward(self, step: Step, inputs: Mapping[str, Block]) -> dict[str, TokenBlock]:
        out: dict[str, TokenBlock] = self.module(step.address)(**by_port(step.piece, inputs))
        return out

    def _nothing(self, step: Step, name: str, total: int, inputs: Mapping[str, Block]) -> TokenBlock:
        """A block of empty rows."""
        device = next(iter(inputs.values())).mask.device
        width = step.shapes[name].width or int(getattr(self.module(step.address), "width", 1))
        mask = torch.zeros(total, 1, 1, dtype=torch.bool, device=device)
        return TokenBlock(name, torch.zeros(total, 1, 1, width, device=device), mask)


def _rows_to_run(piece: Piece, there: Mapping[str, Tensor]) -> Tensor:
    """The rows [b] that a step runs on: those with something in every required port, or, where none is required, in one port.
    `there` has the rows that hold something in each."""
    required = [p.name for p in piece.ports if not (p.optional or p.many) and p.name in there]
    fed = torch.stack([there[p] for p in required or there])
    return fed.all(0) if required else fed.any(0)


def by_port(piece: Piece, inputs: Mapping[str, T]) -> dict[str, T | tuple[T, ...] | None]:
    """Inputs by port, a tuple for a port that takes `many`; None for an optional port that nothing fills."""
    found: dict[str, T | tuple[T, ...] | None] = {}
    for port in piece.ports:
        every = tuple(one for key, one in inputs.items() if port_of(key) == port.name)
        found[port.name] = every if port.many else every[0] if every else None
    return found


def filled_ports(piece: Piece, inputs: Mapping[str, T]) -> dict[str, T | tuple[T, ...]]:
    """The same, without ports that nothing fills."""
    return {port: one for port, one in by_port(piece, inputs).items() if one is not None}


def blocks_of(address: str, blocks: Mapping[str, T]) -> dict[str, T]:
    """Those of one step, under their own names."""
    return {name.removeprefix(f"{address}."): b for name, b in blocks.items() if name.startswith(f"{address}.")}


def as_tokens(view: ViewBlock) -> TokenBlock:
    """Precomputed features [b t n d] as tokens; an empty batch of them has no width."""
    values = view.values if view.values.dim() == 4 else view.values.float()[:, :, None, None]
    return TokenBlock(view.name, values, view.mask[:, :, None].expand(values.shape[:3]))


def _join(parts: Sequence[tuple[Tensor, TokenBlock]], total: int) -> TokenBlock:
    """Blocks of some rows each, put where these stand among `total` rows; the others are empty."""
    t = max(b.mask.shape[1] for _, b in parts)
    n = max(b.mask.shape[2] for _, b in parts)
    first = parts[0][1]
    tokens = first.tokens.new_zeros(total, t, n, first.tokens.shape[3])
    mask = first.mask.new_zeros(total, t, n)
    for rows, block in parts:
        tokens = tokens.index_copy(0, rows, _pad(block.tokens, t, n))
        mask = mask.index_copy(0, rows, _pad(block.mask, t, n))
    return TokenBlock(first.name, tokens, mask)


def _pad(x: Tensor, t: int, n: int) -> Tensor:
    shape = (x.shape[0], t, n, *x.shape[3:])
    if x.shape == shape:
        return x
    out = x.new_zeros(shape)
    out[:, : x.shape[1], : x.shape[2]] = x
    return out


def stack_views(name: str, items: Sequence[Mapping[str, Tensor] | None]) -> ViewBlock:
    """Prepared views of single samples to one padded block; None and missing ones are empty rows."""
    real = [i for i in items if i is not None]
    if not real:
        return ViewBlock(name, torch.zeros(len(items), 1), torch.zeros(len(items), 1, dtype=torch.bool))
    first = real[0]["values"]
    most = max(len(i["values"]) for i in real)
    values = first.new_zeros(len(items), most, *first.shape[1:])
    mask = torch.zeros(len(items), most, dtype=torch.bool)
    boxes = torch.zeros(len(items), most, 4) if "boxes" in real[0] else None
    for row, item in enumerate(items):
        if item is None:
            continue
        length = len(item["values"])
        values[row, :length] = item["values"]
        mask[row, :length] = item["mask"]
        if boxes is not None and "boxes" in item:
            boxes[row, :length] = item["boxes"]
    return ViewBlock(name, values, mask, boxes)


def stack_tokens(name: str, items: Sequence[tuple[Tensor, Tensor] | None]) -> TokenBlock:
    """(tokens [t n d], mask [t n]) of single samples to one padded block [b t n d]; None is an empty row, at least one is not."""
    real = {row: item for row, item in enumerate(items) if item is not None}
    t, n, width = (max(x.shape[axis] for x, _ in real.values()) for axis in range(3))
    tokens = next(iter(real.values()))[0].new_zeros(len(items), t, n, width)
    mask = torch.zeros(len(items), t, n, dtype=torch.bool)
    for row, (x, m) in real.items():
        if bool(m.any()):
            tokens[row, : m.shape[0], : m.shape[1]] = x
            mask[row, : m.shape[0], : m.shape[1]] = m
    return TokenBlock(name, tokens, mask)


def unstack(block: TokenBlock, row: int) -> tuple[Tensor, Tensor]:
    """One sample's tokens and mask, padding cut."""
    one = rows_of(block, torch.tensor([row], device=block.mask.device))
    assert isinstance(one, TokenBlock)
    return one.tokens[0], one.mask[0]


def weights_digest(module: nn.Module) -> str:
    """A name for the values of every parameter and buffer."""
    total = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        total.update(name.encode())
        total.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        )
    return total.hexdigest()


def build(
    kind: str,
    name: str,
    settings: Mapping[str, object] | None = None,
    inputs: Mapping[str, Shape] | None = None,
    width: int | None = None,
    plugins: Sequence[str | Path] = (),
) -> nn.Module:
    """One step by itself, as a plain module for a network of one's own.

    `inputs` says by port what it will eat (`{"tokens": Shape(tokens=4, width=64)}`); `width` is that of the LLM, for steps
    that give tokens to one. The module takes one argument a port, a `TokenBlock` or, where the port eats pixels, sound or
    text, a `ViewBlock` (None where an optional port stays empty), and returns a dict of `TokenBlock`s. Its `out_shapes` says
    which, a `Shape` each: the `inputs` of the next. It trains from the torch seed of the moment. In a recipe the frame never
    gives a step rows that are empty in a required port; whoever calls it otherwise leaves them out, too.

    Raises InputError with the nearest name for an unknown piece, setting or port, and where the inputs do not fit;
    PieceError for a piece that fails without a word for the user.
    """
    registry = Registry.load(plugins)
    if kind not in STEP_KINDS:
        also = "all else is built from a recipe" if kind in KINDS else ""
        raise InputError(unknown("build", "kind of step", kind, STEP_KINDS, also))
    piece = registry.piece(kind, name)
    if piece.kind != kind:
        raise InputError(Problem("build", f"{name!r} is no {kind}", f"write {piece.kind!r}", tuple(STEP_KINDS)))
    inputs = inputs or {}
    problems = _wrong_inputs(piece, inputs)
    if problems:
        raise InputError(problems)
    use = Use.of(piece, settings or {}, name)
    weights.fail_fast()
    shapes = dict(piece.shapes(use.settings, inputs, width)) if piece.shapes else {}
    with blamed_on(piece, registry.source_of(piece), "build", "build()", lambda: shapes_in_words(inputs)):
        made: Any = piece.build(use.settings, inputs, width)
    made.out_shapes = {**shapes, **(getattr(made, "out_shapes", None) or {})}
    module: nn.Module = made
    return module


def _wrong_inputs(piece: Piece, inputs: Mapping[str, Shape]) -> list[Problem]:
    """What keeps a step from eating these shapes."""
    ports = {port.name: port for port in piece.ports}
    problems = [unknown(f"{piece.name}: inputs", "port", name, ports) for name in inputs if name not in ports]
    for name, port in ports.items():
        if name in inputs and inputs[name].kind != port.eats:
            what = f"the port {name!r} eats {port.eats}, not {inputs[name].kind}"
            problems.append(Problem(f"{piece.name}: inputs", what, f'give Shape("{port.eats}", …)'))
        elif name not in inputs and not port.optional:
            what = f"nothing is given for the port {name!r} ({port.about or port.eats})"
            problems.append(Problem(f"{piece.name}: inputs", what, f'add {{"{name}": Shape("{port.eats}", …)}}'))
    return problems
