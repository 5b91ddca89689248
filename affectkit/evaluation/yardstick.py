"""The yardstick: what a head without a training loop makes of the same frozen features that the LLM was trained on.

A figure of an LLM says little as long as nobody knows whether a linear model of the same features would have done. So every
evaluation of a run that trained an LLM on features of frozen steps shows one beside it, unless the recipe says
`score.yardstick: null`. Where the prompt says a sample's subtitle, the head reads that too: the mean hidden state that the LLM
had for these words before it was trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import nn

from affectkit.blocks import Block, TokenBlock
from affectkit.data.splits import Splits, open_splits
from affectkit.encode.cache import Cache
from affectkit.encode.faults import blamed_on
from affectkit.encode.steps import Steps, filled_ports
from affectkit.errors import AffectkitError, InputError, Problem
from affectkit.evaluation.figures import OtherSystem
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.evaluation.prediction import Prediction, count_metrics
from affectkit.evaluation.protocol import BuiltMetric, finalise
from affectkit.evaluation.score import Scoring
from affectkit.files import Say
from affectkit.heads import HEADS
from affectkit.model.batch import Batch, Key, Prompter
from affectkit.model.model import Model
from affectkit.model.packing import Chunk, assemble, context_of
from affectkit.pieces import Shape
from affectkit.plan.check import plan_recipe
from affectkit.plan.graph import Step, cache_plan_of
from affectkit.plan.metrics import Query
from affectkit.plan.plan import MODEL, YARDSTICK, Plan, Stage
from affectkit.plan.references import Ref
from affectkit.plan.use import Use, task_of_head
from affectkit.recipe.load import load_recipe
from affectkit.recipe.sections import StageSettings
from affectkit.sample import LABEL, Sample, Targets, labels_in
from affectkit.train.fit_head import fit_head
from affectkit.train.run_folder import Run, evaluated_run
from affectkit.train.trainer import device

WORDS = Ref(step="llm", block="words")
"""What the frozen LLM makes of a sample's subtitle."""
MOST_TOKENS = 2048
"""Tokens of words that the LLM reads in one forward, give or take the last text."""


class Yardstick:
    """A head that learned from the training samples of the LLM's last stage."""

    def __init__(self, model: Model, use: Use, cache: Cache, taught: Plan) -> None:
        """Fits it; `taught` is the plan by which the LLM learned. Raises AffectkitError where there are no features, and where
        these or the labels will not do."""
        self.task = task_of_head(use.piece, use.settings)
        self.stage = last_stage(taught, self.task)
        assert self.stage is not None
        splits = open_splits(taught, self.stage)
        refs = [Ref(step=step, block=block) for step, own in frozen_blocks(model.plan).items() for block in own]
        said = says_words(model, splits, self.task)
        why = unreadable(model) if said else ""
        refs += [WORDS] if said and not why else []
        if not refs:
            none = f"no frozen step feeds the LLM{', and ' + why if why else ''}"
            raise AffectkitError(f"{none}, so there are no features to compare on")
        self.model = _with_head(model, use, splits, refs)
        address = f"{HEADS}.{YARDSTICK}"
        own = Stage(YARDSTICK, StageSettings((address,), objective=address), self.stage.data, (address,))
        fit_head(self.model.to(device(model.plan)), own, splits, cache, device(model.plan))

    @property
    def about(self) -> str:
        """What it is, and what it reads."""
        step = self.model.plan.graph.steps[f"{HEADS}.{YARDSTICK}"]
        said = ", ".join(f"{k} {v}" for k, v in getattr(self.model.steps.module(step.address), "chosen", {}).items())
        read = ("the frozen LLM's words" if ref == WORDS else str(ref) for ref in step.inputs.values())
        return f"{step.piece.name} on {', '.join(read)}" + (f" ({said})" if said else "")


class WordReader(Model):
    """A model whose head reads, beside blocks of steps, what the frozen LLM makes of the words."""

    def blocks(self, batch: Batch, running: Sequence[str]) -> dict[str, Block]:
        use = self.plan.backbone
        assert use is not None
        source, given = self.plan.registry.source_of(use.piece), f"the words of {len(batch)} samples"
        with blamed_on(use.piece, source, "backbone", "forward()", lambda: given):
            words = read_words(self.backbone, [sample.subtitle for sample in batch.samples], self.device)
        return super().blocks(replace(batch, known={**batch.known, str(WORDS): words}), running)


def read_words(llm: Any, texts: Sequence[str], device: torch.device) -> TokenBlock:
    """What an LLM without its adapters makes of texts, each alone behind what a prompt starts with: the mean of its last hidden
    states over the text's tokens, float32 [b 1 1 w]; a text without words has none. The end of one that is longer than the
    context is left out."""
    start, context = tuple(llm.start_ids), context_of(llm)
    room = None if context is None else max(1, context - len(start))
    ids = [tuple(llm.tokenise(text.strip())[:room]) for text in texts]
    totals = list(accumulate(len(start) + len(own) for own in ids))
    means = torch.zeros(len(ids), llm.width, device=device)
    # float32 in every pass: the head is fitted outside of the trainer's mixed precision, and answers inside
    with torch.autocast(device.type, enabled=False), llm.without_adapters():
        spoken = (i for i, own in enumerate(ids) if own)
        for _, group in groupby(spoken, key=lambda i: totals[i] // MOST_TOKENS):
            rows = list(group)
            row = assemble([[Chunk((*start, *ids[i]))] for i in rows], {}, llm, device)
            states = llm(row, torch.arange(len(row.embeds), device=device))[2].float()
            for i, own in zip(rows, states.split(row.lengths), strict=True):
                means[i] = own[len(start) :].mean(0)
    there = torch.tensor([bool(own) for own in ids], device=device)
    return TokenBlock(WORDS.block, means[:, None, None], there[:, None, None])


def says_words(model: Model, splits: Splits, task: str) -> bool:
    """Whether the prompt of a task says what is said in a sample: whether any training sample's is another one without."""
    prompter = Prompter(model.prompt, splits.labels, model.plan.run.seed, "infer", reads=model.plan.reads)
    samples = ((Key(i, task), splits.train[i]) for i in range(len(splits.train)))
    spoken = ((key, sample) for key, sample in samples if sample.subtitle.strip())
    return any(prompter.segments(k, s, {}) != prompter.segments(k, replace(s, subtitle=""), {}) for k, s in spoken)


def unreadable(model: Model) -> str:
    """Why there is no frozen LLM that could read the words of a prompt; empty where there is."""
    plan = model.plan
    backbone: Any = model.backbone
    tuned = next((name for name, stage in plan.stages.items() if MODEL in stage.trains), None)
    if tuned is not None:
        return f"stage {tuned} trains the LLM itself, which reads the words"
    if type(backbone).forward is nn.Module.forward or not hasattr(backbone, "without_adapters"):
        name = plan.backbone.piece.name if plan.backbone else ""
        return f"the backbone {name!r} lacks `forward(row, hidden_at)` or `without_adapters()` to read the words with"
    return ""


def heads_beside(
    model: Model,
    cache: Cache,
    yardstick: Yardstick | None,
    metrics: Mapping[str, BuiltMetric],
    samples: Sequence[Sample],
    answers: dict[Query, list[Prediction]],
    say: Say = print,
) -> dict[str, OtherSystem]:
    """Figures of the heads beside who answers the same task for the recipe, the yardstick first; what they
    answered is added to `answers`."""
    plan, found = model.plan, {}
    asked = [(yardstick.model, YARDSTICK, yardstick.task, yardstick.about)] if yardstick else []
    asked += [(model, name, task, "a head of the recipe") for name, task in plan.heads.items()]
    for under, name, task, about in asked:
        main = (task, plan.method(task))
        own = {n: one.metric for n, one in metrics.items() if one.query == main}
        if name != main[1] and main in answers:
            quick = dict(count_metrics(own)) if task == LABEL else own
            how = Scoring(quick, labels_in(samples), plan.run.seed, plan.score.resamples, task)
            options = AnswerOptions.of(plan.score, task, name)
            theirs = [finalise(p) for p in predict(under, samples, how.labels, cache, options)]
            answers[task, name] = theirs
            # the LLM guesses where nothing of a sample is there, a head does not: such samples tell nothing of who reads better
            read = [p for p in theirs if p.state != "unparsed"]
            blind = len(theirs) - len(read)
            about += (
                f" (nothing to read in {blind} of {len(theirs)} samples, which no difference counts)" if blind else ""
            )
            try:
                found[name] = OtherSystem(about, how.compare(read, answers[main]), how.figures(theirs))
            except AffectkitError as error:  # a metric of ratings that the data has not got
                say(f"{name} has no figures: {error}")
    return found


def last_stage(plan: Plan, task: str = LABEL) -> Stage | None:
    """The last stage that trains the LLM's loss on a task; None where there is none."""
    return next((s for s in reversed([*plan.stages.values()]) if s.llm and task in s.settings.tasks), None)


def frozen_blocks(plan: Plan) -> dict[str, tuple[str, ...]]:
    """By step, the blocks that no stage of the LLM's loss changes and that its trained steps, or the LLM, are fed."""
    moving = plan.learning({a for stage in plan.stages.values() if stage.llm for a in stage.trains})
    kept = cache_plan_of(plan.graph, plan.needed(), moving, (), plan.ends()).blocks
    return {address: blocks for address, blocks in kept.items() if blocks}


def make_yardstick(model: Model, cache: Cache, run: Run, say: Say) -> Yardstick | None:
    """The yardstick of a run; None, with a word why, where there are no frozen features to learn from: it must never cost the
    figures of the run itself."""
    plan, use, trained = model.plan, model.plan.yardstick, evaluated_run(run)
    # nobody here has encoded what imported weights were trained on
    if use is None or plan.alone or "imported" in trained.notes():
        return None
    try:
        taught = plan if trained.folder == run.folder else _plan_of(trained, plan)
        if last_stage(taught, task_of_head(use.piece, use.settings)) is None:
            return None
        return Yardstick(model, use, cache, taught)
    except AffectkitError as error:  # training data that is not here any more, one class, media that cannot be decoded
        say(f"no yardstick: {error}")
        return None


def _plan_of(run: Run, plan: Plan) -> Plan:
    """By which a run was trained: `plan` may look at other data."""
    found, problems = plan_recipe(load_recipe(run.recipe), plan.registry)
    if problems:
        raise InputError(problems)
    return found


def _with_head(model: Model, use: Use, splits: Splits, refs: Sequence[Ref]) -> Model:
    """The model with one head more, which reads these blocks."""
    graph, address = model.plan.graph, f"{HEADS}.{YARDSTICK}"
    port = use.piece.ports[0].name
    inputs = {f"{port}#{i}" if i else port: ref for i, ref in enumerate(refs)}
    words = Shape(tokens=1, width=model.llm.width)
    eats = {key: words if ref == WORDS else graph.shape(ref) for key, ref in inputs.items()}
    module = use.piece.build(use.settings, filled_ports(use.piece, eats), Targets(splits.labels, splits.numbers))
    if not hasattr(module, "fit"):
        what = f"the head {use.piece.name!r} learns in a stage of its own, and a yardstick without one"
        raise InputError(
            Problem(model.plan.recipe.place(("score", YARDSTICK)), what, "name linear_probe or nearest_mean")
        )
    shapes = dict(use.piece.shapes(use.settings, eats, None)) if use.piece.shapes else {}
    source = model.plan.registry.source_of(use.piece)
    step = Step(address, use.piece, use.settings, inputs, eats, shapes, "none", source)
    whole = replace(graph, steps={**graph.steps, address: step}, written=(*graph.written, address))
    plan = replace(model.plan, graph=whole)
    built = {a: model.steps.module(a) for a in graph.steps}
    made = (WordReader if WORDS in refs else Model)(plan, Steps(whole, {**built, address: module}), model.backbone)
    return made.eval()
