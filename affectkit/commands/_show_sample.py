"""One sample on its way: file, views, blocks, prompt, tokens. What `affectkit show RECIPE --sample N` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from rich.console import Console
from rich.text import Text

from affectkit.blocks import TokenBlock
from affectkit.data.splits import Splits, open_splits
from affectkit.encode.perceive import CHUNK, Perceiver, facts_of
from affectkit.encode.steps import blocks_of
from affectkit.errors import InputError, Problem
from affectkit.evaluation.predict import AnswerOptions, judge
from affectkit.heads import HEADS
from affectkit.model.batch import Batch, Key, Prompter, Rows, stack
from affectkit.model.model import Model, build, data_targets
from affectkit.model.scales import WORDS, rms_of, scales, unequal
from affectkit.plan.check import Stage
from affectkit.plan.plan import Plan
from affectkit.raw import RawPixels, RawWave
from affectkit.report.answers import answer_text, truth_text
from affectkit.report.terminal import table
from affectkit.sample import Sample
from affectkit.train.fit_head import fit_steps
from affectkit.train.losses import StageLosses
from affectkit.weights import random_parts


def show_sample(plan: Plan, number: int, stage_name: str | None = None) -> None:
    """Follow one training sample; the model is built with the weights it starts from."""
    stage = _stage(plan, stage_name)
    told = plan.surveys.get(("stages", stage.name, "data") if stage.settings.data else ("data",))
    if told and told.splits:  # before clips are made
        _check_number(number, told.splits.get("train", 0))
    splits = open_splits(plan, stage)
    _check_number(number, len(splits.train))
    sample = splits.train[number]
    model, plan = build(plan, targets=data_targets(plan))
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    _print_sample(sample)
    perceiver = Perceiver.of(model, stage)
    _print_views(perceiver, sample)
    perceiver.fill([sample])
    _print_estimates(model, perceiver, sample)
    _fit_on_first(model, perceiver, splits.train)
    rows, tasks = Rows(plan, [sample], perceiver, None, None, stage.objective), ["objective"]
    if plan.asks(stage):
        prompter = Prompter(model.prompt, splits.labels, plan.run.seed, "train", reads=plan.reads)
        rows, tasks = Rows(plan, [sample], perceiver, prompter, model.llm), list(stage.settings.tasks)
        for task in tasks:
            _print_prompt(model, rows, Key(0, task), console)
    else:
        _print_blocks(_every_block(model, rows, stack([rows[Key(0, tasks[0])]])), "3. blocks")
    if stage.mixed:
        _print_losses(model, stage, rows, tasks[0])
    for head in dict.fromkeys(name for loss in stage.losses for name in loss.heads):
        asked = plan.task_of(head) if plan.reads_hidden(head) else tasks[0]
        _print_answer(model, head, splits, rows, asked, 5 if plan.asks(stage) else 4)


def _fit_on_first(model: Model, perceiver: Perceiver, train: Sequence[Sample]) -> None:
    """Let steps that learn from training samples see the first of them, where they have seen none."""
    unfitted = model.steps.unfitted(perceiver.cache_plan.rest)
    if unfitted:
        first = [train[i] for i in range(min(CHUNK, len(train)))]
        perceiver.fill(first)
        fit_steps(model, [s for s in first if s.id not in perceiver.broken], perceiver)
        print(
            f"{', '.join(unfitted)}: fitted on the first {len(first)} training samples here, on all of them in a run\n"
        )


def _check_number(number: int, count: int) -> None:
    if not 0 <= number < count:
        raise InputError(
            Problem("--sample", f"there is no sample {number}", f"the training split has 0 to {count - 1}")
        )


def _stage(plan: Plan, name: str | None) -> Stage:
    heads = [f"{HEADS}.{head}" for head in plan.heads]
    stages = {n: s for n, s in plan.stages.items() if s.llm or s.mixed or s.objective in heads}
    if name is not None and name not in stages:
        raise InputError(Problem("--stage", f"no stage {name!r} that trains the LLM or a head", known=tuple(stages)))
    if not stages:
        raise InputError(Problem("--sample", "the recipe has no stage that trains the LLM or a head"))
    last = [s for s in stages.values() if s.llm] or list(stages.values())
    return stages[name] if name else last[-1]


def _print_sample(sample: Sample) -> None:
    rows = [
        ["id", sample.id],
        ["media", str(sample.video or sample.image or sample.audio)],
        ["subtitle", sample.subtitle],
        ["label", str(sample.label)],
    ]
    rows += [["labels", ", ".join(f"{n} {w:g}" for n, w in sample.labels.items())]] if sample.labels else []
    rows += [[f"rating {name}", f"{value:g}"] for name, value in sample.numbers.items()]
    rows += [[f"answer to {task}", text] for task, text in sample.answers.items()]
    rows += [[f"turn {n}", f"{question} {answer}"] for n, (question, answer) in enumerate(sample.turns, 1)]
    for name, fact in sample.facts.items():
        value = f"array {fact.value.shape}" if hasattr(fact.value, "shape") and fact.value.shape else str(fact.value)
        rows.append([f"fact {name}", f"{value[:80]} ({fact.origin}{', per frame' if fact.per_frame else ''})"])
    table("1. the sample", ["what", "is"], rows)


def _print_views(perceiver: Perceiver, sample: Sample) -> None:
    rows = []
    for name, raw in perceiver.load_views(sample).views.items():
        if isinstance(raw, RawPixels):
            sizes = sorted({f"{f.shape[1]}x{f.shape[0]}" for f in raw.frames})
            text = f"{len(raw.frames)} images {', '.join(sizes[:3])} of frames {raw.indices.tolist()}"
        elif isinstance(raw, RawWave):
            text = f"{len(raw.samples)} samples at {raw.rate} Hz"
        else:
            text = "nothing" if raw is None else str(raw)[:80]
        rows.append([name, text])
    table("2. what is looked at", ["view", "is"], rows)


def _print_estimates(model: Model, perceiver: Perceiver, sample: Sample) -> None:
    """What steps say of the sample, which a prompt may state as if somebody knew it; and whose weights are random."""
    if sample.id in perceiver.broken:
        return
    random = set(random_parts(model.origins()))
    rows, guessed = [], []
    for address, entry in perceiver.item(sample)[0].items():
        facts = facts_of(entry)
        drawn = [a for a in model.plan.graph.upstream([address]) if a in random] if facts else []
        guessed += [a for a in drawn if a not in guessed]
        by = f"{address} (random weights)" if drawn else address
        read = ", read by the prompt" if address in model.plan.reads else ""
        for name, fact in facts.items():
            sure = "" if fact.probability is None else f"{fact.probability:.3f}"
            rows.append([name, "nothing" if fact.origin == "missing" else str(fact.value)[:60], sure, by + read])
    if rows:
        table("what steps estimate of it", ["fact", "value", "probability", "told by"], rows)
    if guessed:
        print(
            f"{', '.join(guessed)}: the weights are random here, so these estimates are guesses (no stage has trained yet)\n"
        )


def _print_losses(model: Model, stage: Stage, rows: Rows, task: str) -> None:
    """What each of several losses counts of the sample."""
    counts = StageLosses(model, stage, rows.perceiver.cache_plan.rest).count(stack([rows[Key(0, task)]]))
    shown = [[loss.name, f"{loss.weight:g}", str(n)] for loss, n in zip(stage.losses, counts, strict=True)]
    table(f"what the losses of {stage.name} count of it", ["loss", "weight", "terms"], shown)


def _print_answer(model: Model, name: str, splits: Splits, rows: Rows, asked: str, number: int) -> None:
    """What a head reads of the sample (behind the prompt of a task, where it reads the LLM's state), and what it answers with the
    weights that it starts from; `number` counts the tables."""
    plan, batch, address = model.plan, stack([rows[Key(0, asked)]]), f"{HEADS}.{name}"
    running = rows.perceiver.cache_plan.rest
    task, step = plan.heads[name], plan.graph.steps[address]
    model.eval()
    with torch.no_grad():
        blocks = model.blocks(batch, running)
    read = {str(ref) for ref in step.inputs.values()}
    _print_blocks({n: b for n, b in blocks.items() if n in read}, f"{number}. what the head {name} reads")
    own = blocks_of(address, blocks)
    options = AnswerOptions(task, name, numbers=splits.numbers)
    (answer,) = model.steps.module(address).answers(own)  # type: ignore[operator]
    made = judge(batch.samples[0], splits.labels, answer, options)
    odds = ", ".join(f"{n} {v:.3f}" for n, v in made.probabilities.items())
    rows_of = [[task, truth_text(made) or "nothing", answer_text(made) or made.error, odds]]
    table(
        f"{number + 1}. the answer of {name}, before any training",
        ["task", "truth", "answer", "probabilities"],
        rows_of,
    )


def _every_block(model: Model, rows: Rows, batch: Batch) -> dict[str, object]:
    """The blocks of a sample: those that the cache holds, those in front of them, and those that are made from them."""
    perceiver = rows.perceiver
    views = perceiver.load_views(batch.samples[0]).views
    heads = (
        perceiver.run_heads([perceiver.prepare(views, perceiver.head_ports)])[0] if perceiver.cache_plan.heads else {}
    )
    model.eval()
    with torch.no_grad():
        return {**heads, **model.blocks(batch, perceiver.cache_plan.rest)}


def _print_blocks(blocks: Mapping[str, object], title: str) -> None:
    real = {n: b for n, b in sorted(blocks.items()) if isinstance(b, TokenBlock)}
    sizes = {n: value for n, b in real.items() if (value := rms_of(b)) is not None}
    seen = [
        [n, " x ".join(map(str, b.tokens.shape[1:])), str(int(b.mask.sum())), f"{sizes[n]:.3g}" if n in sizes else ""]
        for n, b in real.items()
    ]
    table(title, ["block", "time x tokens x width", "real tokens", "RMS"], seen)


def _print_prompt(model: Model, rows: Rows, key: Key, console: Console) -> None:
    row = rows[key]
    batch = stack([row])
    running = [a for a in model.plan.needed() if a not in rows.perceiver.cache_plan.heads]
    _print_blocks(_every_block(model, rows, batch), f"3. blocks ({key.task})")
    with torch.no_grad():
        packed = model.row(batch, running)
    sizes = scales(model, batch, running)
    print(
        f"the words of the prompt have the RMS {sizes[WORDS]:.3g}\n",
        *(f"{said}\n" for said in unequal(sizes).values()),
        sep="\n",
    )
    console.print(
        Text(
            f"4. the prompt, {key.task}: {sum(packed.lengths)} tokens, {int((packed.labels >= 0).sum())} trained (green)",
            style="bold",
        )
    )
    spans = iter(packed.where)
    text = Text()
    for chunk in row.chunks:
        if chunk.slot:
            span = next(spans)
            text.append(f"<{chunk.slot} ×{span.stop - span.start}>", style="magenta")
        else:
            text.append(
                model.llm.untokenise(chunk.ids) or f"<{len(chunk.ids)} special>",
                style="green bold" if chunk.trained else "",
            )
    console.print(text)
    console.print()
