"""The model of a recipe: streams to tokens, tokens and words to one packed row, the row to a loss. Plain torch."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from affectkit import weights
from affectkit.blocks import Block, TokenBlock
from affectkit.data.splits import Splits, learned, open_split, open_splits
from affectkit.encode.cache import Cache
from affectkit.encode.faults import (
    blamed_on,
    blocks_in_words,
    check_hidden,
    check_methods,
    in_words,
    place_errors,
    place_of,
    shapes_in_words,
)
from affectkit.encode.perceive import Perceiver
from affectkit.encode.steps import Steps, blocks_of, filled_ports, stack_tokens, unstack
from affectkit.errors import InputError, Problem, RunError, unknown
from affectkit.heads import HEADS
from affectkit.model.batch import Batch, Key, Order, Prompter, Rows, stack
from affectkit.model.packing import (
    BACKBONE_MEMBERS,
    IGNORE,
    Backbone,
    LMInput,
    RowOf,
    assemble,
    context_of,
    last_prompt_places,
    too_long,
)
from affectkit.model.prompts import corpus, make_prompt
from affectkit.pieces import Shape
from affectkit.plan.check import with_width
from affectkit.plan.graph import Graph, cache_plan_of, question_steps
from affectkit.plan.plan import Plan, Stage
from affectkit.plan.references import HIDDEN, Ref, path_of
from affectkit.plan.stages import matching
from affectkit.prompt import Prompt
from affectkit.sample import Sample, Targets, labels_in, targets_in

Texts = Callable[[], Iterable[str]]
"""What a tokenizer that is made for a run learns its words from; a published one never asks."""


class Model(nn.Module):
    """The built steps and the LLM of a plan."""

    def __init__(
        self, plan: Plan, steps: Steps, backbone: nn.Module | None, objectives: Mapping[str, nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.plan, self.steps, self.backbone = plan, steps, backbone
        self.objectives = nn.ModuleDict({a.replace(".", "__"): module for a, module in (objectives or {}).items()})
        """Those of stages that have several losses, by address; see `objective`."""
        self._prompt = None if plan.alone else make_prompt(plan)
        self._may_train = {n for n, p in self.named_parameters() if p.requires_grad and p.is_floating_point()}
        """Parameters that a piece did not fix itself (one that no gradient can reach, a table of positions)."""
        self.labels: tuple[str, ...] = ()
        """The label set that `training_batch` offers in prompts; that of the samples' own split where it is empty."""
        self.cache: Cache | None = None
        """The feature cache of `training_batch` and `features`; the recipe's where there is none."""
        self._training: tuple[object, Perceiver] | None = None

    @property
    def llm(self) -> Backbone:
        """The backbone as the frame sees it. Raises InputError in a model without an LLM."""
        if self.backbone is None:
            heads = ", ".join(self.plan.heads)
            raise InputError(Problem("backbone", "is null: there is no LLM to ask", f"ask a head: {heads}"))
        return self.backbone  # type: ignore[return-value]

    @property
    def prompt(self) -> Prompt:
        """What is asked of the LLM. Raises InputError in a model without one."""
        if self._prompt is None:
            raise InputError(Problem("prompt", "is null: there is no LLM to ask"))
        return self._prompt

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        every = (self if self.backbone is None else self.backbone).parameters()
        return next((p.device for p in every), torch.device("cpu"))

    def address(self, parameter: str) -> str:
        """`stream.step`, `backbone.model`, `backbone.lora` or `objectives.STAGE.NAME`: what the parameter or buffer of that name
        belongs to."""
        if parameter.startswith("backbone."):
            return f"backbone.{self.llm.group(parameter.removeprefix('backbone.'))}"
        return parameter.removeprefix("steps.built.").removeprefix("objectives.").split(".")[0].replace("__", ".")

    def objective(self, address: str) -> nn.Module:
        """The module at `objectives.STAGE.NAME`."""
        return self.objectives[address.replace(".", "__")]

    def freeze(self, trains: Sequence[str]) -> None:
        """Let only these addresses train, globs as in a recipe's stage (`streams.*.projector`, `backbone.lora`); all else is
        frozen and, in `train` mode too, evaluated. Raises InputError for one that names nothing."""
        own = (name.replace("__", ".") for name in self.objectives)
        parts = (*self.plan.graph.steps, "backbone.model", "backbone.lora", *own)
        known = list(dict.fromkeys([*parts, *(self.address(n) for n, _ in self.named_parameters())]))
        found = {pattern: matching(pattern, known) for pattern in trains}
        wrong = [unknown("freeze", "address", pattern, known) for pattern, names in found.items() if not names]
        if wrong:
            raise InputError(wrong)
        chosen = {name for names in found.values() for name in names}
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in self._may_train and self.address(name) in chosen)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing trains inside the `with`; after it what trains, and which module is in train mode, is as it was."""
        learning = [p for p in self.parameters() if p.requires_grad]
        modes = [(module, module.training) for module in self.modules()]
        self.freeze(())
        try:
            yield
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)
            for module, mode in modes:
                module.training = mode

    def train(self, mode: bool = True) -> Model:
        """As usual, except that what is frozen stays in eval mode: its dropout and statistics stand still."""
        super().train(mode)
        parts = [*self.steps.built.values(), *self.objectives.values()]
        for module in [*parts, *([] if self.backbone is None else [self.backbone])]:
            if not any(p.requires_grad for p in module.parameters()):
                module.eval()
        return self

    def blocks(self, batch: Batch, running: Sequence[str]) -> dict[str, Block]:
        """What is known of a batch and what the steps that are left to run make of it; once for each of `batch.turns`
        where that reads the question. Where a head among them reads the LLM's hidden state, the LLM reads the prompts first."""
        if self._late(running):
            return self.with_llm(batch, running, taught=False)[0]
        if not batch.turns:
            return {**batch.known, **self.steps.run(running, batch.known)}
        return {**batch.known, **self.steps.run_turns(running, batch.known, [sample for sample, _ in batch.turns])}

    def _late(self, running: Sequence[str]) -> list[str]:
        """Those of some steps that read the LLM's hidden state."""
        return [a for a in running if HIDDEN in self.plan.graph.steps[a].inputs.values()]

    def with_llm(
        self, batch: Batch, running: Sequence[str], hidden: bool = False, taught: bool = True
    ) -> tuple[dict[str, Block], Tensor]:
        """(what `blocks` gives, the sum of the LLM's loss) of one forward of the LLM, with its state at the last token of each
        prompt where `hidden` asks for it, or a head. Without `taught` nothing is predicted, and the loss is 0."""
        late = self._late(running)
        blocks = self.blocks(batch, [a for a in running if a not in late])
        row = self.row(batch, running, blocks)
        if not (late or hidden):
            return blocks, self.llm.loss(row)[0]
        places = last_prompt_places(row)
        row = row if taught else dataclasses.replace(row, labels=torch.full_like(row.labels, IGNORE))
        total, _, states = self.llm(row, places)  # type: ignore[operator]
        tokens = states.float()[:, None, None]
        blocks[str(HIDDEN)] = TokenBlock(HIDDEN.block, tokens, torch.ones_like(tokens[..., 0], dtype=torch.bool))
        return {**blocks, **self.steps.run(late, blocks)}, total

    def slots(
        self, batch: Batch, running: Sequence[str], blocks: Mapping[str, Block] | None = None
    ) -> dict[str, TokenBlock]:
        """What each slot of the prompt gets, of `blocks`; without them the steps that are left to run are run."""
        if blocks is None:
            late = self._late(running)
            blocks = self.blocks(batch, [address for address in running if address not in late])
        ends = self.plan.graph.ends
        return {s: blocks[f"{ends[s].step}.{ends[s].block}"] for s in self.plan.slots}  # type: ignore[misc]

    def row(self, batch: Batch, running: Sequence[str], blocks: Mapping[str, Block] | None = None) -> LMInput:
        """The packed row of a batch; `blocks` as for `slots`. Raises InputError with the samples that are longer than the LLM's
        context."""
        device, context = self.device, context_of(self.llm)
        slots, row_of = self.slots(batch, running, blocks), self._row_of(batch, running)
        row = assemble(batch.chunks, slots, self.llm, device, row_of)
        sizes = zip(batch.samples, row.lengths, strict=True)
        longer = {s.id: length for s, length in sizes if context is not None and length > context}
        if context is not None and longer:
            raise too_long(longer, len(batch), context)
        return row

    def lengths(self, batch: Batch, running: Sequence[str]) -> list[int]:
        """How many tokens each sample of a batch has in the packed row; the LLM is not needed for that."""
        slots, row_of = self.slots(batch, running), self._row_of(batch, running)
        return [
            sum(int(slots[c.slot].mask[row_of(c.slot, i, c.turn)].sum()) if c.slot else len(c.ids) for c in row)
            for i, row in enumerate(batch.chunks)
        ]

    def _row_of(self, batch: Batch, running: Sequence[str]) -> RowOf:
        """Where the tokens of a slot stand in the blocks of a batch."""
        rows = {place: row for row, place in enumerate(batch.turns)}
        reading = question_steps(self.plan.graph, running) if rows else []
        by_turn = {s for s in self.plan.slots if self.plan.graph.ends[s].step in reading}
        return lambda stream, sample, turn: rows[sample, turn] if stream in by_turn else sample

    def loss(self, batch: Batch, running: Sequence[str] | None = None, objective: str = "") -> tuple[Tensor, int]:
        """(sum, number): of cross-entropy over supervised tokens, or of the own loss of the step or head at `objective` over the
        rows. `running` are the steps that are left to run, those that the batch names where it is None."""
        running = batch.running if running is None else running
        if not objective:
            return self.llm.loss(self.row(batch, running))
        return self.own_loss(objective, self.blocks(batch, running), batch)

    def own_loss(self, address: str, blocks: Mapping[str, Block], batch: Batch) -> tuple[Tensor, int]:
        """(sum, number of rows that count) of the loss of a step or head, which ran to give these blocks."""
        own = blocks_of(address, blocks)
        step, module = self.plan.graph.steps[address], self.steps.module(address)
        with blamed_on(step.piece, step.source, place_of(step), "loss()", lambda: blocks_in_words(own, {})):
            if step.stream == HEADS:
                total, count = module.loss(own, batch.samples)  # type: ignore[operator]
                return total, int(count)
            mean: Tensor = module.loss(own, batch.facts)  # type: ignore[operator]
        return mean * len(batch), len(batch)

    def training_batch(self, samples: Sequence[Sample], task: str = "label", epoch: int = 0) -> Batch:
        """Samples with the answers that they should give, for a training loop of one's own around `loss(batch)`.

        What trains are the parameters that require a gradient as things stand (`freeze` chooses them); frozen steps in
        front run once a sample and are cached, as in `fit`. What is drawn (wordings, mirrored frames) hangs on `epoch`.
        Samples whose media cannot be decoded, and those without an answer in this task, are left out: `batch.samples` says
        who is there.

        Raises InputError for a task that the prompt does not ask, and RunError where no sample is left.
        """
        plan = self.plan
        if task not in plan.tasks:
            raise InputError(unknown("training_batch", "task", task, plan.tasks))
        perceiver = self._perceiver()
        perceiver.broken.clear()  # those of other batches
        perceiver.fill(samples, perceiver.flips, "training batch")
        asked = [s for s in samples if s.id not in perceiver.broken and self.prompt.turns(s, task) != 0]
        order = Order(asked, {task: 1.0}, plan.run.seed, 1, flips=perceiver.flips)
        prompter = Prompter(self.prompt, self.labels or labels_in(samples), plan.run.seed, "train", reads=plan.reads)
        every = Rows(plan, asked, perceiver, prompter, self.llm)
        rows = [every[key] for key in sorted(order.epoch(epoch), key=lambda key: key.index)]
        rows = [row for row in rows if any(chunk.trained for chunk in row.chunks)]
        if not rows:
            why = next(iter(perceiver.broken.values()), f"none has an answer to the task {task!r}")
            raise RunError(Problem("training_batch", f"none of the {len(samples)} samples can be used: {why}"))
        batch = stack(rows).to(perceiver.device)
        return dataclasses.replace(batch, running=tuple(perceiver.cache_plan.rest))

    def _perceiver(self) -> Perceiver:
        """What perceives for the parameters that train now; the same until they are others, for its keys hash weights."""
        steps, device = self.plan.graph.steps, self.device
        moving = [a for a in steps if any(p.requires_grad for p in self.steps.module(a).parameters())]
        still = [p for a in steps if a not in moving for p in self.steps.module(a).parameters()]
        state = device, moving, [(id(p), p._version) for p in still]
        if self._training is None or self._training[0] != state:
            self._training = state, Perceiver.of(self, None, self.cache, device, moving)
        return self._training[1]

    def features(self, samples: Sequence[Sample], address: str) -> TokenBlock:
        """What a step gives for every sample, as a block [b t n d] on the CPU: `stream.step.block`, or `stream.step` for
        its main block. Frozen steps are cached as in `fit`; a sample whose media cannot be decoded has an empty row.

        Raises InputError with the nearest name for a block that there is not.
        """
        graph, device = self.plan.graph, self.device
        step, block = _block_at(graph, address)
        running = graph.upstream([step])
        if any(ref == HIDDEN for a in running for ref in graph.steps[a].inputs.values()):
            what = f"{address} reads the LLM's hidden state, and features are what steps give before the LLM runs"
            raise InputError(Problem("features", what, "`predict` has the answers of such a head"))
        cache_plan = cache_plan_of(graph, running, (), (), [Ref(step=step, block=block)])
        cache = self.cache or Cache(self.plan.cache_folder)
        perceiver = Perceiver(self.plan, self.steps.to(device), cache, device, cache_plan)
        perceiver.fill(samples, (False,), "features")
        prompter = None
        if question_steps(graph, running):  # it reads the words of the question
            prompter = Prompter(self.prompt, self.labels, self.plan.run.seed, "infer", False, self.plan.reads, False)
        rows = Rows(self.plan, samples, perceiver, prompter, None if self.backbone is None else self.llm)
        whole = [i for i in range(len(samples)) if samples[i].id not in perceiver.broken]
        made: dict[int, tuple[Tensor, Tensor]] = {}
        with self.frozen(), torch.no_grad():
            self.eval()
            for start in range(0, len(whole), self.plan.score.batch):
                part = whole[start : start + self.plan.score.batch]
                batch = stack([rows[Key(i, "label")] for i in part]).to(device)
                found = self.blocks(batch, cache_plan.rest)[f"{step}.{block}"]
                assert isinstance(found, TokenBlock)
                made |= {i: unstack(found, row) for row, i in enumerate(part)}
        if not made:
            why = next(iter(perceiver.broken.values()), "there is none")
            raise RunError(Problem("features", f"none of the {len(samples)} samples can be decoded: {why}"))
        return stack_tokens(block, [made.get(i) for i in range(len(samples))]).to(torch.device("cpu"))

    def origins(self) -> list[dict[str, str]]:
        """Where the weights of each part came from: `random`, or its sources; and its `stand_in`, where it has one."""
        out = []
        parts = [(a, self.steps.module(a)) for a in self.plan.graph.steps]
        parts += [] if self.backbone is None else [("backbone", self.backbone)]
        for address, module in parts:
            if any(True for _ in module.parameters()):
                told = {"stand_in": said} if (said := getattr(module, "stand_in", "")) else {}
                out.append({"address": address, "origin": weights.origin_of(module), **told})
        return out


def _block_at(graph: Graph, address: str) -> tuple[str, str]:
    """(step, block) of `stream.step.block`, or `stream.step` for its main block; InputError where there is none."""
    step = ".".join(address.split(".")[:2])
    if step not in graph.steps:
        raise InputError(unknown("features", "step", step, graph.steps))
    there = graph.steps[step]
    block = address.removeprefix(step).removeprefix(".") or there.main
    if block not in there.shapes:
        raise InputError(unknown("features", "block", address, [f"{step}.{name}" for name in there.shapes]))
    return step, block


def seed_for(seed: int, *what: object) -> int:
    """A seed for one purpose, so that a piece starts from the same weights whatever stands around it."""
    text = "/".join(map(str, (seed, *what))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")


def build(
    plan: Plan,
    texts: Texts | None = None,
    saved: str | None = None,
    targets: Mapping[str, Targets] | None = None,
) -> tuple[Model, Plan]:
    """Build every piece of a plan that its prompt or a stage uses; returns the plan too, with what only built modules know:
    widths, shapes, which steps have parameters. Without `texts` those of the stages are read, should a tokenizer ask.
    `targets` says what each head of that name answers, and what the data of each objective's stage has, by its address;
    without it that of the data is taken. Objectives whose targets are not known are not built.

    Raises InputError where a source cannot be read, where widths that were known only now do not meet, and where what a
    stage trains has no parameters. Where the hub cannot be reached, that shows in a second or two.
    """
    weights.fail_fast()
    backbone = None if plan.alone else _built_backbone(plan, texts, saved)
    if plan.width is None and backbone is not None:
        plan = with_width(plan, backbone.width)
    width = backbone.width if backbone is not None else None
    known = data_targets(plan) if targets is None else targets
    steps, plan = build_steps(plan, list(plan.graph.steps), width, targets=known)
    model = Model(plan, steps, backbone, build_objectives(plan, known))
    check_hidden(plan, backbone)
    check_built(plan, dict.fromkeys(model.address(name) for name, _ in model.named_parameters()))
    return model, plan


def _built_backbone(plan: Plan, texts: Texts | None, saved: str | None) -> Any:
    """The LLM of a plan."""
    use = plan.backbone
    assert use is not None
    with weights.using(plan.run.weights), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(plan.run.seed, "backbone"))
        with place_errors(plan, ("backbone",), use.piece, f"the settings {use.settings}"):
            return _checked_backbone(use.piece.build(use.settings, texts or partial(corpus, plan), saved))


def data_targets(plan: Plan, splits: Mapping[str, Splits] | None = None) -> dict[str, Targets]:
    """What each head of a plan answers: the labels and numbers of the data that it is trained on, of the recipe's own data for
    one that no stage trains; and those of the stage's data for each objective, by its address. `splits` are those of the
    stages, where they are open already."""
    found: dict[str, Targets] = {}
    for name in plan.heads:
        stage = next((s for s in plan.stages.values() if f"{HEADS}.{name}" in (s.objective, *s.trains)), None)
        if stage is not None:
            found[name] = _learnable(plan, stage, splits)
        else:
            found[name] = targets_in(open_split(plan.data, "train", plan.recipe.place(("data",))))
    for stage in plan.stages.values():
        own = [loss.objective.address for loss in stage.mixed if loss.objective]
        found |= dict.fromkeys(own, _targets_of(plan, stage, splits)) if own else {}
    return found


def _targets_of(plan: Plan, stage: Stage, splits: Mapping[str, Splits] | None) -> Targets:
    """What the data of a stage can have answered."""
    there = splits[stage.name] if splits else open_splits(plan, stage)
    return Targets(there.labels, there.numbers)


def _learnable(plan: Plan, stage: Stage, splits: Mapping[str, Splits] | None) -> Targets:
    """The same without the labels that no training sample has: what answers them would be guessing."""
    there = splits[stage.name] if splits else open_splits(plan, stage)
    return Targets(learned(there.labels, there.train) or there.labels, there.numbers)


def build_objectives(plan: Plan, targets: Mapping[str, Targets]) -> dict[str, nn.Module]:
    """The objectives of all stages whose targets are known, by address. Raises InputError for one that looks at a head without a
    loss."""
    made: dict[str, nn.Module] = {}
    with weights.using(plan.run.weights), torch.random.fork_rng(devices=[]):
        for loss in (loss for stage in plan.stages.values() for loss in stage.mixed):
            step = loss.objective
            if step is None or step.address not in targets:
                continue
            eats = {port: plan.graph.shape(ref) for port, ref in step.inputs.items()}
            fed = filled_ports(step.piece, eats)
            torch.manual_seed(seed_for(plan.run.seed, step.address))
            with place_errors(plan, path_of(step.address), step.piece, shapes_in_words(eats)):
                module = step.piece.build(step.settings, fed, targets[step.address])
                if not isinstance(module, nn.Module) or not hasattr(module, "count"):
                    raise TypeError(f"build returned {in_words(module)}, not an nn.Module with `count`")
            made[step.address] = module
    return made


def _checked_backbone(built: Any) -> Any:
    """What a backbone's `build` returned; raises TypeError where the frame could not ask it."""
    if not isinstance(built, nn.Module):
        raise TypeError(f"build returned {in_words(built)}, not an nn.Module")
    wanted = (name for name in BACKBONE_MEMBERS if name != "packs")  # true where a backbone does not say
    absent = [name for name in wanted if not hasattr(built, name)]
    if absent:
        raise TypeError(f"the module that it returned has no {', '.join(absent)} (see affectkit.Backbone)")
    return built


def build_steps(
    plan: Plan,
    addresses: Sequence[str],
    width: int | None,
    there: Steps | None = None,
    targets: Mapping[str, Targets] | None = None,
) -> tuple[Steps, Plan]:
    """Some steps, in the given order (which is running order), for an LLM of that width and heads of those targets, or those
    that are `there`; and the plan with what only their modules know."""
    modules: dict[str, nn.Module] = {}
    settled = dict(plan.graph.steps)
    graph = dataclasses.replace(plan.graph, steps=settled)
    with weights.using(plan.run.weights), torch.random.fork_rng(devices=[]):
        for address in addresses:
            step = settled[address]
            eats = {port: graph.shape(ref) for port, ref in step.inputs.items()}
            torch.manual_seed(seed_for(plan.run.seed, address))
            given = f"{shapes_in_words(eats)} and the LLM's width {width}"
            with place_errors(plan, path_of(address), step.piece, given):
                shapes = dict(step.piece.shapes(step.settings, eats, width)) if step.piece.shapes else {}
                aim: object = (targets or {}).get(step.name, Targets()) if step.stream == HEADS else width
                fed = filled_ports(step.piece, eats)
                module = there.module(address) if there else step.piece.build(step.settings, fed, aim)
                if not isinstance(module, nn.Module):
                    raise TypeError(f"build returned {in_words(module)}, not an nn.Module")
            check_methods(plan, address, module)
            real: Mapping[str, Shape] = getattr(module, "out_shapes", None) or {}
            settled[address] = dataclasses.replace(step, eats=eats, shapes={**shapes, **real})
            modules[address] = module
    learns = frozenset(a for a, module in modules.items() if any(True for _ in module.parameters()))
    return Steps(graph, modules), dataclasses.replace(plan, graph=graph, learns=learns)


def with_plan(model: Model, plan: Plan) -> Model:
    """The same weights under another plan of the same steps: with another question, or looking at other frames."""
    width = None if plan.alone else model.llm.width
    plan = plan if plan.width is not None or width is None else with_width(plan, width)
    steps, plan = build_steps(plan, list(plan.graph.steps), width, model.steps)
    there = {a.replace("__", "."): module for a, module in model.objectives.items()}
    return Model(plan, steps, model.backbone, there)


def check_built(plan: Plan, trainable: Collection[str]) -> None:
    """Raise InputError with every stage that trains nothing.

    `trainable` are the addresses that have parameters.
    """
    problems = []
    for name, stage in plan.stages.items():
        if not set(stage.trains) & set(trainable):
            what = f"nothing that trains here has parameters ({', '.join(stage.trains)})"
            known = tuple(trainable)
            problems.append(Problem(plan.recipe.place(("stages", name, "train")), what, "", known))
    if problems:
        raise InputError(plan.recipe.in_order(problems))
