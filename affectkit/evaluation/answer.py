"""Answers of a trained model: the likeliest label of the set, or generated text. Every sample ends in one state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import lightning
import torch

from affectkit.encode.cache import Cache
from affectkit.encode.perceive import Perceiver
from affectkit.evaluation.prediction import Prediction
from affectkit.model.batch import Batch, Batches, Key, Prompter, Rows, loader
from affectkit.model.model import Model
from affectkit.pieces import EndsAnswers
from affectkit.sample import Sample
from affectkit.train.trainer import devices, precision, quiet_lightning

LABEL_WORDS, LABEL_LETTERS = 2, 30
"""An answer of more words or letters than this, and than every label of the set, is no label."""
SENTENCE_MARKS = ".,;:!?\n。，、；：！？"
"""An answer with one of these inside is no label."""


@dataclass(frozen=True)
class AnswerOptions:
    """How to ask a split."""

    task: str = "label"
    method: str = "candidates"
    batch: int = 16
    strict: bool = False
    max_new_tokens: int = 64
    demographics: bool = True
    choices: Mapping[str, str] = field(default_factory=dict)
    """Label to the sample's answer of that name: the likeliest of these texts is chosen, and its label is the answer."""
    per_token: bool = True
    """Whether such texts are compared by the mean log-probability of their tokens, or by the sum, which favours short ones."""
    stated: Mapping[str, Mapping[str, str]] | None = None
    """By sample, what is stated of age, gender and race instead of what is known; a sample that is not in it, nothing."""
    turn: int = 0
    """The turn of a conversation that is to be answered; those before it stand in the prompt with their answers."""


class AnswerModule(lightning.LightningModule):
    """A model as Lightning's `predict` sees it."""

    def __init__(self, model: Model, running: Sequence[str], options: AnswerOptions, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.running, self.options, self.labels = model, list(running), options, labels

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Any]]:
        """One dict a row: `scores` (log-probability of each candidate) or `text`, and `notes`."""
        return [a | {"notes": n} for a, n in zip(self._answers(batch), batch.notes, strict=True)]

    def _answers(self, batch: Batch) -> list[dict[str, Any]]:
        row = self.model.row(batch, self.running)
        if self.options.method == "candidates" and batch.candidates[0]:
            ids = [[[i for chunk in c for i in chunk.ids] for c in row_] for row_ in batch.candidates]
            scores = self.model.llm.score(row, ids)
            if self.options.choices and self.options.per_token:
                scores = [[s / len(c) for s, c in zip(*one, strict=True)] for one in zip(scores, ids, strict=True)]
            return [{"scores": s} for s in scores]
        stops = [self.model.llm.tokenise(s) for s in stop_texts(batch, self.model)]
        answers = self.model.llm.generate(row, self.options.max_new_tokens, [s for s in stops if s])
        return [{"text": self.model.llm.untokenise(ids).strip()} for ids in answers]


def stop_texts(batch: Batch, model: Model) -> list[str]:
    """Texts that end an answer, where the template ends it with words and not with the tokenizer's end."""
    template = model.plan.template.settings if model.plan.template else None
    return list(template.stops()) if isinstance(template, EndsAnswers) else []


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
    perceiver = perceive(model, samples, cache, trainer, changing)
    answers = _ask(model, trainer, samples, labels, perceiver, options)
    made = []
    for i in range(len(samples)):
        sample = samples[i]
        if i in answers:
            made.append(judge(sample, labels, answers[i], options))
        else:
            made.append(replace(blank(sample, options), state="undecodable", error=perceiver.broken[sample.id]))
    return made


def perceive(
    model: Model,
    samples: Sequence[Sample],
    cache: Cache,
    trainer: lightning.Trainer | None = None,
    changing: Sequence[str] = (),
) -> Perceiver:
    """What the heads give for every sample, in the cache; each that is not there yet is decoded and encoded now."""
    perceiver = Perceiver.of(model, None, cache, (trainer or _trainer(model)).strategy.root_device, changing)
    perceiver.fill(samples, (False,), "evaluate")
    return perceiver


def _trainer(model: Model) -> lightning.Trainer:
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


def _ask(
    model: Model,
    trainer: lightning.Trainer,
    samples: Sequence[Sample],
    labels: tuple[str, ...],
    perceiver: Perceiver,
    options: AnswerOptions,
) -> dict[int, dict[str, Any]]:
    """What the model says of every sample that can be decoded, by its place among all."""
    whole = [i for i in range(len(samples)) if samples[i].id not in perceiver.broken]
    if not whole:
        return {}
    plan = model.plan
    scored = options.method == "candidates"
    prompter = Prompter(
        model.prompt, labels, plan.run.seed, "infer", options.demographics, plan.reads, scored,
        tuple(options.choices.values()), options.stated,
        options.turn,
    )  # fmt: skip
    rows = Rows(plan, samples, perceiver, prompter, model.llm)
    keys = [Key(i, options.task) for i in whole]
    size = 1 if options.strict else options.batch
    batches = [keys[i : i + size] for i in range(0, len(keys), size)]
    answering = AnswerModule(model, perceiver.cache_plan.rest, options, labels)
    with model.frozen(), quiet_lightning():
        out = trainer.predict(answering, loader(rows, Batches(batches), plan.run.workers, perceiver.device))
    assert out is not None
    return dict(zip(whole, [a for batch in out for a in batch], strict=True))


def blank(sample: Sample, options: AnswerOptions) -> Prediction:
    """A prediction with what is known of the sample, not judged yet."""
    media = str(sample.video or sample.image or sample.audio or "")
    facts = {n: str(f.value) for n, f in sample.facts.items() if isinstance(f.value, str | int) and f.origin == "label"}
    if sample.subtitle:
        facts["subtitle"] = sample.subtitle
    if options.choices:  # one of several texts is a label like any other
        return Prediction(sample.id, "label", "scored", sample.label, media=media, facts=facts)
    if options.task != "label":  # free text is read by people, beside what somebody wrote; nothing scores it here
        facts["reference"] = sample.answers.get(options.task, "")
        others = {"label": sample.label, **sample.answers, options.task: None}
        truths = {task: text for task, text in others.items() if text}
        return Prediction(sample.id, options.task, "scored", media=media, facts=facts, truths=truths)
    return Prediction(sample.id, options.task, "scored", sample.label, media=media, facts=facts)


def judge(sample: Sample, labels: tuple[str, ...], answer: Mapping[str, Any], options: AnswerOptions) -> Prediction:
    """An answer as a prediction. Text counts as a label only if it is one, case and marks at the ends aside."""
    made = blank(sample, options)
    labels = tuple(options.choices) or labels
    if "scores" in answer:
        scores = torch.tensor(answer["scores"], dtype=torch.float64)
        chances = scores.softmax(0).tolist()
        label = labels[int(scores.argmax())]
        made = replace(made, label=label, text=label, probabilities=dict(zip(labels, chances, strict=True)))
    else:
        made = replace(made, text=str(answer["text"]))
        if options.task == "label":
            made = _parsed(made, labels)
    return replace(made, notes=dict(answer.get("notes", {})))


def _parsed(made: Prediction, labels: tuple[str, ...]) -> Prediction:
    word = made.text.strip().strip(".!,;:\"'").lower()
    if not word:
        return replace(made, state="unparsed", error="the answer is empty")
    hits = [label for label in labels if label.lower() == word]
    if hits:
        return replace(made, label=hits[0])
    if not _is_like_a_label(word, labels):
        return replace(made, state="unparsed", error="no label can be read from the answer")
    return replace(made, state="out_of_vocabulary", label=made.text, error=f"{made.text!r} is no label of the set")


def _is_like_a_label(text: str, labels: Sequence[str]) -> bool:
    """Whether a text has the form of a label, if of none of these: a word or two, or as many as the longest of them has.

    What it means nobody looks up, so `cannot tell` passes for a label; a list of several and a sentence do not.
    """
    words = max([LABEL_WORDS, *(len(label.split()) for label in labels)])
    letters = max([LABEL_LETTERS, *(len(label) for label in labels)])
    inner = text.strip(SENTENCE_MARKS)
    return (
        len(inner.split()) <= words
        and len(inner) <= letters
        and any(letter.isalpha() for letter in inner)
        and not any(mark in inner for mark in SENTENCE_MARKS)
    )
