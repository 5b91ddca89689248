"""`predict`: the answers of a model to samples, as the likeliest label of the set or as generated text.

Every sample ends in one state. What a user asks about (files, pictures, sound) becomes samples in `user_input`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import lightning
import torch

from affectkit.encode.cache import Cache
from affectkit.encode.perceive import Perceiver
from affectkit.encode.steps import blocks_of
from affectkit.errors import InputError, Problem
from affectkit.evaluation.prediction import NOT_FINITE, Prediction, unparsed_if_empty
from affectkit.heads import HEADS, Answer
from affectkit.model.batch import Batch, Batches, Key, Prompter, Rows, loader
from affectkit.model.lengths import check_context
from affectkit.model.model import Model
from affectkit.model.packing import Chunk, assemble, ids_of
from affectkit.pieces import EndsAnswers
from affectkit.reading import Reader, Reading, is_like_a_label, read_plain
from affectkit.recipe.sections import ScoreSettings
from affectkit.sample import LABEL, LABELS, NUMBERS, Sample, Targets, targets_in
from affectkit.train.trainer import devices, precision, quiet_lightning

TIE = 1e-6
"""Scores that are nearer than this, as a share of the best, are equal: float32 tells no more."""


@dataclass(frozen=True)
class AnswerOptions:
    """How to ask a split."""

    task: str = "label"
    """What is asked: `label`, or a task whose answer is a text."""
    method: str = "candidates"
    """`candidates` scores every label as an answer and takes the likeliest; `generate` lets the model write."""
    batch: int = 16
    """Samples in one forward pass."""
    strict: bool = False
    """One sample at a time, so that no answer depends on others to the last bit."""
    max_new_tokens: int = 64
    """The longest text that is generated, in tokens."""
    demographics: bool = True
    """Whether the prompt may state age, gender and race."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Label to the sample's answer of that name: the likeliest of these texts is chosen, and its label is the answer."""
    normalise: Literal["sum", "mean", "prior"] = "sum"
    """How candidates are compared, as `ScoreSettings.normalise` says it."""
    stated: Mapping[str, Mapping[str, str]] | None = None
    """By sample, what is stated of age, gender and race instead of what is known; a sample that is not in it, nothing."""
    turn: int = 0
    """The turn of a conversation that is to be answered; those before it stand in the prompt with their answers."""
    reader: Reader | None = None
    """How labels and ratings are read from texts; None reads whole labels alone."""
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The ratings that are asked, each with the ends of its scale."""

    @classmethod
    def of(cls, score: ScoreSettings, task: str, method: str) -> AnswerOptions:
        """As a recipe says."""
        return cls(task, method, score.batch, score.strict, score.max_new_tokens, normalise=score.normalise)


class AnswerModule(lightning.LightningModule):
    """A model as Lightning's `predict` sees it."""

    def __init__(self, model: Model, running: Sequence[str], options: AnswerOptions, labels: tuple[str, ...]) -> None:
        """`running` are the steps that the cache leaves to run."""
        super().__init__()
        self.model, self.running, self.labels = model, list(running), labels
        use = model.plan.reader
        reader = use.piece.build(use.settings) if use and not options.reader else options.reader
        self.options = replace(options, reader=reader, numbers=options.numbers or model.plan.scales(options.task))
        self.made: list[Prediction] = []
        """The answers so far. Not what `predict_step` returns: Lightning takes frozen dataclasses apart."""
        self.priors: dict[tuple[tuple[Chunk, ...], tuple[tuple[int, ...], ...]], list[float]] = {}
        """Scores after empty prompts, by prompt and candidates."""

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Answers a batch."""
        for sample, answer, notes in zip(batch.samples, self._answers(batch), batch.notes, strict=True):
            made = judge(sample, self.labels, answer, self.options)
            self.made.append(replace(made, notes={**notes, **made.notes}))

    def _answers(self, batch: Batch) -> Sequence[str | Sequence[float] | Answer | None]:
        """The text of each sample, or the scores of its candidates; None where the LLM's numbers are not finite."""
        row, llm, options = self.model.row(batch, self.running), self.model.llm, self.options
        if options.method == "candidates" and batch.candidates[0]:
            ids = [[[i for chunk in c for i in chunk.ids] for c in row_] for row_ in batch.candidates]
            scores = llm.score(row, ids)
            if options.normalise == "mean":
                return [[s / len(c) for s, c in zip(*one, strict=True)] for one in zip(scores, ids, strict=True)]
            if options.normalise == "prior":
                priors = [self._prior(*one) for one in zip(batch.priors, ids, strict=True)]
                return [[s - p for s, p in zip(*one, strict=True)] for one in zip(scores, priors, strict=True)]
            return scores
        template = self.model.plan.template.settings if self.model.plan.template else None
        # texts that end an answer, where the template ends it with words and not with the tokenizer's end
        ends = template.stops() if isinstance(template, EndsAnswers) else ()
        stops = [ids_of(llm, text, ((0, len(text)),)) for text in ends]
        answers = llm.generate(row, options.max_new_tokens, [s for s in stops if s])
        return [None if ids is None else llm.untokenise(ids).strip() for ids in answers]

    def _prior(self, prompt: tuple[Chunk, ...], ids: Sequence[Sequence[int]]) -> list[float]:
        """The scores of candidates after the empty prompt, each prompt alone: neighbours change nothing."""
        key = prompt, tuple(map(tuple, ids))
        if key not in self.priors:
            if not any(chunk.ids for chunk in prompt):
                what = "nothing is left of the prompt without the sample's media and words"
                raise InputError(Problem("score.normalise", what, "take mean or sum, or let the prompt ask something"))
            llm = self.model.llm
            row = assemble([prompt], {}, llm, self.model.device)
            self.priors[key] = llm.score(row, [ids])[0]
        return self.priors[key]


class HeadModule(AnswerModule):
    """The same for a head: `options.method` is its name."""

    def _answers(self, batch: Batch) -> Sequence[Answer | None]:
        """What the head answers to each sample; None where its numbers are not finite."""
        address = f"{HEADS}.{self.options.method}"
        blocks = self.model.blocks(batch, self.running)
        own = blocks_of(address, blocks)
        answers: Sequence[Answer] = self.model.steps.module(address).answers(own)  # type: ignore[operator]
        numbers = ([*a.scores.values(), *a.numbers.values()] for a in answers)
        return [a if all(map(math.isfinite, n)) else None for a, n in zip(answers, numbers, strict=True)]


def predict(
    model: Model,
    samples: Sequence[Sample],
    labels: tuple[str, ...],
    cache: Cache,
    options: AnswerOptions,
    changing: Sequence[str] = (),
) -> list[Prediction]:
    """The answer to every sample, in order. Broken media become `undecodable`; nothing is left out or replaced.

    `changing` are steps whose weights other checkpoints have otherwise: what stands before them is kept for all of these.
    """
    trainer = _trainer(model)
    head = options.method if options.method in model.plan.heads else ""
    if head:  # which no prompt tells the scales
        options = replace(options, numbers=options.numbers or targets_in(samples).numbers)
    perceiver = perceive(model, samples, cache, trainer, changing, head)
    whole = [i for i in range(len(samples)) if samples[i].id not in perceiver.broken]
    plan, rows = model.plan, _rows(model, samples, labels, perceiver, options)
    size = 1 if options.strict else options.batch
    hidden = plan.reads_hidden(head)
    keys = [Key(i, plan.task_of(head) if hidden else options.task) for i in whole]
    batches = Batches([keys[i : i + size] for i in range(0, len(keys), size)])
    if hidden or not head:
        check_context(model, rows, keys, perceiver.cache_plan.rest)
    answering = (HeadModule if head else AnswerModule)(model, perceiver.cache_plan.rest, options, labels)
    if whole:
        with model.frozen(), quiet_lightning():
            data = loader(rows, batches, plan.run.workers, perceiver.device)
            trainer.predict(answering, data, return_predictions=False)
    made = dict(zip(whole, answering.made, strict=True))
    for i in set(range(len(samples))).difference(whole):
        why = perceiver.broken[samples[i].id]
        made[i] = replace(blank(samples[i], options), state="undecodable", error=why)
    return [made[i] for i in range(len(samples))]


def _rows(
    model: Model, samples: Sequence[Sample], labels: tuple[str, ...], perceiver: Perceiver, options: AnswerOptions
) -> Rows:
    plan, scored = model.plan, options.method == "candidates"
    if options.method in plan.heads and not plan.reads_hidden(options.method):
        return Rows(plan, samples, perceiver, None, None, f"{HEADS}.{options.method}")
    prompter = Prompter(
        model.prompt, labels, plan.run.seed, "infer", options.demographics, plan.reads, scored,
        tuple(options.choices.values()), options.stated, options.turn, options.normalise == "prior",
    )  # fmt: skip
    return Rows(plan, samples, perceiver, prompter, model.llm)


def check_prompts(
    model: Model, samples: Sequence[Sample], labels: tuple[str, ...], cache: Cache, options: AnswerOptions
) -> None:
    """Raises InputError with the samples whose prompts are surely longer than the LLM's context, before they are looked at."""
    perceiver = Perceiver.of(model, None, cache)
    rows = _rows(model, samples, labels, perceiver, replace(options, demographics=False))
    keys = [Key(i, options.task) for i in range(len(samples))]
    check_context(model, rows, keys, perceiver.cache_plan.rest, perceived=False)


def perceive(
    model: Model,
    samples: Sequence[Sample],
    cache: Cache,
    trainer: lightning.Trainer | None = None,
    changing: Sequence[str] = (),
    head: str = "",
) -> Perceiver:
    """A perceiver whose cache holds what frozen steps give for every sample; what is not there yet is decoded and encoded now.

    Without a trainer one is made for the recipe's device. `changing` as for `predict`; `head` names one that is to answer
    instead of the LLM.
    """
    device = (trainer or _trainer(model)).strategy.root_device
    demand = model.plan.demand(None, changing, head)
    perceiver = Perceiver(model.plan, model.steps.to(device), cache, device, demand)
    perceiver.fill(samples, (False,), "evaluate")
    return perceiver


def _trainer(model: Model) -> lightning.Trainer:
    """Lightning's trainer for answers: on one device, in the recipe's precision, without a word."""
    run = model.plan.run
    count = devices(model.plan)
    with quiet_lightning():
        return lightning.Trainer(
            accelerator=run.accelerator,
            devices=1 if isinstance(count, int) and count > 0 else count,
            precision=precision(model.plan),  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
        )


def blank(sample: Sample, options: AnswerOptions) -> Prediction:
    """A prediction with what is known of the sample, not judged yet."""
    media = str(sample.video or sample.image or sample.audio or "")
    facts = {n: str(f.value) for n, f in sample.facts.items() if isinstance(f.value, str | int) and f.origin == "label"}
    if sample.subtitle:
        facts["subtitle"] = sample.subtitle
    made = Prediction(sample.id, options.task, "scored", media=media, facts=facts)
    if options.choices or options.task == LABEL:  # one of several texts is a label like any other
        return replace(made, task=LABEL, truth=sample.label)
    if options.task == LABELS:
        return replace(made, true_labels=sample.labels or ({sample.label: 1.0} if sample.label else {}))
    if options.task == NUMBERS:
        told = off_scale(sample.numbers, options.numbers)
        return replace(made, true_numbers=sample.numbers, notes={"off_scale": told} if told else {})
    facts["reference"] = truth = sample.answers.get(options.task, "")  # the fact goes with version 0.3
    others = {LABEL: sample.label, **sample.answers, options.task: None}
    return replace(made, truth=truth or None, truths={task: text for task, text in others.items() if text})


def judge(
    sample: Sample, labels: tuple[str, ...], answer: str | Sequence[float] | Answer | None, options: AnswerOptions
) -> Prediction:
    """An answer as a prediction: a text, the score of each label (of each text of `options.choices`), or what a head said.

    What a text says is read by `options.reader`. None, or a score that is not
    finite, is `invalid` and no label. Of labels that are equally likely the first counts; the note `tie` tells of them.
    """
    made = blank(sample, options)
    labels = tuple(options.choices) or labels
    if isinstance(answer, Answer):
        offered = {name: score for name, score in answer.scores.items() if not labels or name in labels}
        if options.task != LABEL or not offered:
            return _of_head(made, offered, answer, options)
        labels, answer = tuple(offered), tuple(offered.values())
    if answer is None or not (isinstance(answer, str) or all(map(math.isfinite, answer))):
        return replace(made, state="invalid", error=NOT_FINITE)
    if isinstance(answer, str):
        made = replace(made, text=answer)
        return _parsed(made, labels, options) if options.task in UNREAD else unparsed_if_empty(made)
    best = max(answer)
    label = labels[list(answer).index(best)]
    alike = [name for name, score in zip(labels, answer, strict=True) if math.isclose(score, best, rel_tol=TIE)]
    notes = {"tie": f"{' and '.join(alike)} have the same score"} if len(alike) > 1 else {}
    odds = dict(zip(labels, torch.tensor(answer, dtype=torch.float64).softmax(0).tolist(), strict=True))
    return replace(made, label=label, text=label, probabilities=odds, notes=notes)


def _of_head(made: Prediction, offered: Mapping[str, float], answer: Answer, options: AnswerOptions) -> Prediction:
    """A prediction with what a head said of several labels, of those that are on offer, or of ratings; or why with nothing."""
    if answer.scores and not offered:
        error = f"the head knows none of these labels, only {', '.join(answer.scores)}"
        return replace(made, state="unparsed", error=error)
    if not (offered or answer.numbers):
        return replace(made, state="unparsed", error="nothing of what the head reads is there")
    if options.task == NUMBERS:
        text = ", ".join(f"{n} {v:.3g}" for n, v in answer.numbers.items())
        scales = {name: ends for name, ends in options.numbers.items() if name in answer.numbers}
        return _rated(replace(made, text=text), answer.numbers, scales, "")
    named = tuple(name for name in answer.labels if name in offered)
    return replace(made, labels=named, probabilities=dict(offered), text=", ".join(named))


def judge_formerly(
    sample: Sample, labels: tuple[str, ...], answer: Mapping[str, Any], options: AnswerOptions
) -> Prediction:
    """`judge` as `affectkit.answer` had it: `answer` holds `scores` or a `text`, and perhaps `notes`. Goes with version 0.3."""
    made = judge(sample, labels, answer["scores"] if "scores" in answer else str(answer["text"]), options)
    return replace(made, notes={**made.notes, **answer.get("notes", {})})


UNREAD = {LABEL: "no label can be read", LABELS: "no labels can be read", NUMBERS: "no number can be read"}
"""Why an answer is `unparsed`, by task."""


def _parsed(made: Prediction, labels: tuple[str, ...], options: AnswerOptions) -> Prediction:
    """A prediction with what its text says, or why it says nothing that was asked."""
    numbers = options.numbers if options.task == NUMBERS else {}
    targets = Targets(() if options.task == NUMBERS else labels, numbers)
    read = (options.reader or _whole_label)(made.text, targets)
    said = made.text if read.answer is None else read.answer
    found = {LABEL: read.label is not None, LABELS: bool(read.labels), NUMBERS: bool(read.numbers)}[options.task]
    if not found and read.refused:
        return replace(made, state="refused", error="the model says that it will not or cannot answer")
    if not found and not read.error and not any(sign.isalnum() for sign in said):
        return replace(made, state="unparsed", error="the answer is empty")
    if not found and (options.task != LABEL or read.error or not is_like_a_label(said, labels)):
        return replace(made, state="unparsed", error=read.error or f"{UNREAD[options.task]} from the answer")
    if options.task == NUMBERS:
        return _rated(made, read.numbers, numbers, read.error)
    names = tuple(read.labels) if options.task == LABELS else (said if read.label is None else read.label,)
    outside = [name for name in names if name not in labels]
    error = f"{' and '.join(map(repr, outside))} {'is no label' if len(outside) == 1 else 'are no labels'} of the set"
    made = replace(made, labels=names) if options.task == LABELS else replace(made, label=names[0])
    if len(outside) == len(names):
        return replace(made, state="out_of_vocabulary", error=error)
    return replace(made, notes={"outside": error}) if outside else made


def _rated(
    made: Prediction, read: Mapping[str, float], scales: Mapping[str, tuple[float, float]], error: str
) -> Prediction:
    """A prediction with numbers: one that is not finite is none, one outside its scale counts as it is; both are told."""
    finite = {name: float(value) for name, value in read.items() if math.isfinite(value)}
    missing = [name for name in scales if name not in finite]
    error = error or f"no {' and no '.join(missing or read)} can be read from the answer"
    if not finite:
        return replace(made, state="unparsed", error=error)
    notes = {**made.notes, "outside": off_scale(finite, scales), "unread": error if missing else ""}
    return replace(made, numbers=finite, notes={name: text for name, text in notes.items() if text})


def off_scale(numbers: Mapping[str, float], scales: Mapping[str, tuple[float, float]]) -> str:
    """Which of some ratings lie outside their scales, in words; nothing where none does."""
    outside = [(n, v, *scales[n]) for n, v in numbers.items() if n in scales and not scales[n][0] <= v <= scales[n][1]]
    return "; ".join(f"{n} {v:g} is outside its scale, {low:g} to {high:g}" for n, v, low, high in outside)


def _whole_label(text: str, targets: Targets) -> Reading:
    return read_plain(text, targets.labels)
