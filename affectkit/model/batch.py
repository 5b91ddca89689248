"""From samples and what is asked of them to batches: the order of an epoch, the prompt and tokens of each row, padding."""

from __future__ import annotations

import io
import math
import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from affectkit.blocks import Block
from affectkit.encode.cache import CacheEntry
from affectkit.encode.perceive import Perceiver, PreparedViews, facts_of
from affectkit.encode.steps import stack_tokens, stack_views
from affectkit.errors import InputError, Problem
from affectkit.model.packing import Backbone, Chunk, KnownIds, tokenise
from affectkit.plan.graph import is_question, question_steps
from affectkit.plan.plan import Plan
from affectkit.prompt import Ask, Phase, Prompt, Segment, draw_for
from affectkit.sample import Fact, Sample


@dataclass
class Row:
    """A sample that is asked one task, ready to be stacked."""

    sample: Sample
    task: str
    chunks: tuple[Chunk, ...]
    """The prompt, with its answer in training."""
    candidates: tuple[tuple[Chunk, ...], ...]
    """The answers that are scored; none where one is generated or taught."""
    entries: Mapping[str, CacheEntry]
    """By address, what cached steps gave."""
    ports: PreparedViews
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """What a step's own objective learns from."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What to know of the answer, by the names in `prediction.NOTES`; only where one is asked for."""
    later: Mapping[int, Mapping[str, Mapping[str, Tensor]]] = field(default_factory=dict)
    """Of turns after the first that have a slot for what reads the question: their words, as in `ports`."""
    counts: bool = True
    """As in `Key`."""
    prior: tuple[Chunk, ...] = ()
    """The prompt without the sample's media and words, where candidates are compared with what they get there."""


@dataclass
class Batch:
    """Rows stacked: what the model runs on. Lists have an item a row, as in `Row`."""

    samples: list[Sample]
    tasks: list[str]
    chunks: list[tuple[Chunk, ...]]
    candidates: list[tuple[tuple[Chunk, ...], ...]]
    known: dict[str, Block]
    """Cached blocks by `address.block`, prepared views by `address:port`, padded to one length."""
    facts: list[Mapping[str, Fact]]
    notes: list[Mapping[str, str]] = field(default_factory=list)
    turns: tuple[tuple[int, int], ...] = ()
    """(sample, turn) of each row of the question's blocks; empty where they have one row a sample, for its first turn."""
    running: tuple[str, ...] = ()
    """Steps that are left to run on it, where `Model.training_batch` made it."""
    counts: bool = True
    """Whether its loss is to be looked at; see `Key`."""
    priors: list[tuple[Chunk, ...]] = field(default_factory=list)
    terms: tuple[int, ...] = ()
    """In training, the terms of each loss in it."""
    step_terms: tuple[int, ...] = ()
    """The same for all batches of this process in its optimiser step."""

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on a device; Lightning calls this."""
        # towards a GPU only: a copy from one that nobody waits for would be read before it is there
        return replace(self, known={n: b.to(device, device.type == "cuda") for n, b in self.known.items()})

    def pin_memory(self) -> Batch:
        """The same with its tensors in page-locked memory; the loader calls this where batches go to a GPU."""
        return replace(self, known={n: b.pin_memory() for n, b in self.known.items()})

    def __len__(self) -> int:
        return len(self.samples)


@dataclass
class Prompter:
    """How samples become prompts."""

    prompt: Prompt
    labels: tuple[str, ...]
    """The label set that questions offer."""
    seed: int
    """Of what is drawn, such as the wording."""
    phase: Phase
    demographics: bool = True
    """Whether age, gender and race may be stated."""
    reads: tuple[str, ...] = ()
    """Addresses of the steps whose estimated facts the prompt reads."""
    scored: bool = True
    """Whether the answer is one of given candidates; they are not written where it is generated."""
    choices: tuple[str, ...] = ()
    """Names of answers of the sample itself that are the candidates, instead of the labels."""
    stated: Mapping[str, Mapping[str, str]] | None = None
    """By sample, what parts that state age, gender or race say instead of what is known; None: what is known."""
    turn: int = 0
    """The turn of a conversation that is to be answered in phase `infer`; those before it have their answers."""
    prior: bool = False
    """Whether candidates are scored after the empty prompt too."""

    def ask(self, key: Key, sample: Sample, entries: Mapping[str, CacheEntry]) -> Ask:
        """What is asked of a sample in an epoch."""
        estimates = {a: facts_of(entries[a]) for a in self.reads if a in entries}
        draw = draw_for(self.seed, key.epoch, sample.id)
        stated = None if self.stated is None else self.stated.get(sample.id, {})
        return Ask(key.task, self.phase, self.turn, draw, self.labels, estimates, self.demographics, stated=stated)

    def segments(self, key: Key, sample: Sample, entries: Mapping[str, CacheEntry]) -> tuple[Segment, ...]:
        """The prompt, with its answer in phase `train`."""
        return self.prompt.segments(sample, self.ask(key, sample, entries))

    def empty(self, key: Key, sample: Sample) -> list[Segment]:
        """The prompt as it is for a sample without media, words and facts, and without places for streams."""
        bare = replace(self, demographics=False)
        return [s for s in bare.segments(key, Sample(sample.id, turns=sample.turns), {}) if not s.slot]

    def question(self, key: Key, sample: Sample, entries: Mapping[str, CacheEntry], turn: int = 0) -> str:
        """The words of a turn, for text-conditioned steps."""
        ask = self.ask(key, sample, entries)
        return self.prompt.question(sample, ask if ask.turn == turn else replace(ask, turn=turn))

    def candidates(self, key: Key, sample: Sample, entries: Mapping[str, CacheEntry]) -> list[tuple[Segment, ...]]:
        """The answer that each label of the set would be taught as, or each of the sample's own texts."""
        ask = self.ask(key, sample, entries)
        return self.prompt.choices(sample, ask, self.choices) if self.choices else self.prompt.candidates(sample, ask)


class _WithoutNetworks(pickle.Pickler):
    """Pickles a module with all that is in it but its tensors and the modules below it."""

    def __init__(self, file: io.BytesIO, whole: object) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.whole = whole

    def reducer_override(self, value: object) -> Any:
        """An empty tensor or module in the place of a tensor or module."""
        if isinstance(value, Tensor):
            return torch.empty, (0,)
        if isinstance(value, nn.Module) and value is not self.whole:
            return nn.Module, ()
        return NotImplemented


class Rows(Dataset[Row]):
    """Samples by key, from the cache and the prompt pieces; runs in loader processes."""

    def __init__(
        self,
        plan: Plan,
        samples: Sequence[Sample],
        perceiver: Perceiver,
        prompter: Prompter | None,
        backbone: Backbone | None,
        objective: str = "",
    ) -> None:
        self.plan, self.samples, self.perceiver = plan, samples, perceiver
        self.prompter, self.backbone, self.objective = prompter, backbone, objective
        self._ids: KnownIds = {}
        self._question_ports = [
            (address, port)
            for address in (plan.needed() if prompter else ())
            for port, ref in plan.graph.steps[address].inputs.items()
            if is_question(plan.graph, ref)
        ]
        """Steps and their ports that eat the words of the turn."""
        reading = question_steps(plan.graph, plan.needed()) if self._question_ports else []
        self._by_turn = {s for s in plan.slots if plan.graph.ends[s].step in reading}
        """Slots whose tokens hang on those words."""

    def __getstate__(self) -> dict[str, object]:
        """Loader processes that are not forked get the tokenizer of the backbone, not its networks.

        Raises InputError where it cannot travel to another process.
        """
        made = io.BytesIO()
        try:
            _WithoutNetworks(made, self.backbone).dump(self.backbone)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            what = f"the tokenizer of the backbone cannot be sent to loader processes: {error}"
            raise InputError(Problem("run.workers", what, "set run.workers=0")) from error
        return {**self.__dict__, "backbone": made.getvalue()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, backbone=pickle.loads(state["backbone"]))

    def __getitem__(self, key: Key) -> Row:
        sample = self.samples[key.index]
        entries, ports = self.perceiver.item(sample, key.flip)
        if self.prompter is None:
            targets, notes = self._targets(sample, ports), self._file_notes(sample)
            return Row(sample, key.task, (), (), entries, ports, targets, notes=notes, counts=key.counts)
        segments = self.prompter.segments(key, sample, entries)
        notes = self._notes(key, segments, entries, ports) if self.prompter.phase == "infer" else {}
        later: dict[int, dict[str, dict[str, Tensor]]] = {}
        if self._question_ports:
            ports = {**ports, **self._questions(self.prompter.question(key, sample, entries))}
            for turn in sorted({s.turn for s in segments if s.turn and s.slot in self._by_turn}):
                later[turn] = self._questions(self.prompter.question(key, sample, entries, turn))
        candidates: tuple[tuple[Chunk, ...], ...] = ()
        prior: tuple[Chunk, ...] = ()
        if self.scores(key):
            candidates = tuple(self._tokens(c) for c in self.prompter.candidates(key, sample, entries))
            prior = self._tokens(self.prompter.empty(key, sample)) if self.prompter.prior else ()
        chunks = self._tokens(segments)
        return Row(
            sample, key.task, chunks, candidates, entries, ports, notes=notes, later=later, counts=key.counts,
            prior=prior,
        )  # fmt: skip

    def scores(self, key: Key) -> bool:
        """Whether candidates are scored as answers to a prompt."""
        asked = self.prompter
        chosen = asked is not None and asked.scored and (key.task == "label" or bool(asked.choices))
        return asked is not None and asked.phase == "infer" and chosen

    def count(self, segments: Sequence[Segment]) -> int:
        """The tokens of segments, without those of slots."""
        return sum(len(chunk.ids) for chunk in self._tokens(segments))

    def _notes(
        self, key: Key, segments: Sequence[Segment], entries: Mapping[str, CacheEntry], ports: PreparedViews
    ) -> dict[str, str]:
        """Whether the files were broken, and whether anything of the sample reaches the model: tokens, or words that
        the prompt would not hold for a sample without media, subtitle and facts. If something does, what does not."""
        assert self.prompter is not None
        sample = self.samples[key.index]
        notes = self._file_notes(sample)
        seen = any(bool(t.any()) for e in entries.values() for n, t in e.tensors.items() if n.endswith("/mask"))
        seen = seen or any(bool(p["mask"].any()) for p in ports.values() if p is not None)
        bare = () if seen else self.prompter.segments(key, Sample(sample.id, turns=sample.turns), {})
        if not seen and [s.text for s in segments] == [s.text for s in bare]:
            views = [n for n, v in self.plan.graph.views.items() if v.use != "question"]
            told = f"the recipe looks at {', '.join(views) or 'nothing'}, where this sample shows nothing"
            return {name: why for name, why in notes.items() if name == "partial"} | {"unseen": told}
        spoken = replace(sample, subtitle="…")
        if not sample.subtitle.strip() and self.prompter.segments(key, spoken, entries) != tuple(segments):
            notes["wordless"] = "no subtitle is given"
        return notes

    def _file_notes(self, sample: Sample) -> dict[str, str]:
        """Whether the files were broken, and what of them is not there."""
        partial = self.perceiver.partial.get(sample.id)
        return {**({"partial": partial} if partial else {}), **self.perceiver.notices.get(sample.id, {})}

    def _tokens(self, segments: Sequence[Segment]) -> tuple[Chunk, ...]:
        assert self.backbone is not None
        return tokenise(segments, self.backbone, self._ids)

    def _questions(self, words: str) -> dict[str, dict[str, Tensor]]:
        """The text view `question`, prepared for every step that eats it."""
        made: dict[str, dict[str, Tensor]] = {}
        for address, port in self._question_ports:
            step = self.plan.graph.steps[address]
            assert step.piece.prepare is not None
            ids = np.asarray(step.piece.prepare(step.settings, port, words), dtype=np.int64)
            mask = torch.ones(len(ids), dtype=torch.bool)
            made[f"{address}:{port}"] = {"values": torch.from_numpy(ids), "mask": mask}
        return made

    def _targets(self, sample: Sample, ports: PreparedViews) -> dict[str, Fact]:
        """Facts for a step's own objective: those per frame cut to the frames that the step sees."""
        looks = next(
            (v for n, v in ports.items() if n.startswith(f"{self.objective}:") and v is not None and "indices" in v),
            None,
        )
        if looks is None:
            return {n: f for n, f in sample.facts.items() if not f.per_frame}
        indices = looks["indices"].numpy()
        facts = {
            n: replace(f, value=np.asarray(f.value)[indices]) if f.per_frame and f.value is not None else f
            for n, f in sample.facts.items()
        }
        if "boxes" in looks:
            height, width = (int(n) for n in looks["frame_size"])
            boxes = looks["boxes"].numpy() * np.array([width, height, width, height])
            facts |= {"crop_box": Fact(boxes, per_frame=True), "frame_size": Fact((height, width))}
        return facts


def stack(rows: Sequence[Row]) -> Batch:
    """Rows to a batch."""
    known: dict[str, Block] = {}
    for address in rows[0].entries:
        names = {n.split("/")[0] for row in rows for n in row.entries[address].tensors}
        for name in sorted(names):
            every = [row.entries[address].tensors for row in rows]
            items = [(t[f"{name}/tokens"], t[f"{name}/mask"]) if f"{name}/tokens" in t else None for t in every]
            known[f"{address}.{name}"] = stack_tokens(name, items)
    turns = tuple((i, turn) for i, row in enumerate(rows) for turn in (0, *row.later))
    by_turn = {p for row in rows for words in row.later.values() for p in words}
    for port in {p for row in rows for p in row.ports}:
        known[port] = stack_views(port, [row.ports.get(port) for row in rows])
    for port in by_turn:
        words = [rows[i].later[turn] if turn else rows[i].ports for i, turn in turns]
        known[port] = stack_views(port, [w.get(port) for w in words])
    return Batch(
        [r.sample for r in rows], [r.task for r in rows], [r.chunks for r in rows], [r.candidates for r in rows],
        known, [r.facts for r in rows], [r.notes for r in rows], turns if by_turn else (),
        counts=any(r.counts for r in rows), priors=[r.prior for r in rows],
    )  # fmt: skip


def loader(rows: Rows, batches: Batches, workers: int, device: torch.device) -> DataLoader[Any]:
    """A loader of the batches that `batches` holds whenever it is iterated over, in their order.

    Its worker processes live as long as it does. They hold the rows as they were when it was first iterated over: what
    changes from epoch to epoch travels with each `Key`.
    """
    return DataLoader(
        rows,
        batch_sampler=batches,
        collate_fn=stack,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )


def texts(
    plan: Plan,
    prompt: Prompt,
    samples: Sequence[Sample],
    labels: tuple[str, ...],
    tasks: Sequence[str],
    seed: int,
) -> Iterator[str]:
    """Every text of the training split, for a tokenizer that is trained on the spot: prompts, answers, all labels."""
    prompter = Prompter(prompt, labels, seed, "train")
    seen: set[str] = set()
    for index in range(len(samples)):
        sample = samples[index]
        for task in tasks:
            said: list[Any] = [*prompter.segments(Key(index, task), sample, {})]
            if index == 0 and task == "label":
                said += [s for c in prompter.candidates(Key(index, task), sample, {}) for s in c]
            for segment in said:
                if segment.text and (segment.text not in seen or segment.trained):
                    seen.add(segment.text)
                    yield segment.text


def answers(plan: Plan, prompt: Prompt, samples: Sequence[Sample], labels: tuple[str, ...], task: str) -> bool:
    """Whether any of the samples has something that the task can teach."""
    prompter = Prompter(prompt, labels, plan.run.seed, "train")
    there = (i for i in range(len(samples)) if prompt.turns(samples[i], task) != 0)
    asked = (prompter.segments(Key(i, task), samples[i], {}) for i in there)
    return any(segment.trained for segments in asked for segment in segments)


@dataclass(frozen=True)
class Key:
    """One row of an epoch: the sample's place, its task, and whether views are mirrored."""

    index: int
    task: str
    epoch: int = 0
    flip: bool = False
    counts: bool = True
    """False for a row that only keeps a process busy, where there are fewer rows than processes: its loss is nothing."""


@dataclass(frozen=True)
class Order:
    """The order of a stage: a function of (seed, epoch, position), the same in every process."""

    samples: Sequence[Sample]
    tasks: Mapping[str, float]
    """Task to share, as `StageSettings` has it; so `batch` and `balance`."""
    seed: int
    batch: int
    balance: str = "none"
    flips: tuple[bool, ...] = (False,)
    """(False, True) where half of the visits show a sample mirrored."""
    world: int = 1
    """Processes that share the rows."""
    rank: int = 0
    """Which of them this is."""
    one_task: bool = False
    """One task for each visit of a sample, drawn with odds as the shares are."""
    asks: Callable[[Sample, str], bool] = lambda sample, task: True
    """Whether there is anything to ask a sample in a task; it is not visited where there is not."""

    def epoch(self, epoch: int) -> list[Key]:
        """Every row of an epoch, shuffled. A share of 0.5 asks a task of every other sample and the rest next time."""
        keys = []
        for place, index in enumerate(self._balanced(epoch)):
            sample = self.samples[index]
            flip = len(self.flips) > 1 and draw_for(self.seed, epoch, sample.id)("flip").random() < 0.5
            tasks = {t: share for t, share in self.tasks.items() if self.asks(sample, t)}
            if self.one_task and tasks:
                draw = draw_for(self.seed, epoch, sample.id)(f"visit {place}")
                keys.append(Key(index, draw.choices(list(tasks), list(tasks.values()))[0], epoch, flip))
                continue
            for task, share in tasks.items():
                offset = draw_for(self.seed, 0, sample.id)(f"task {task}").random()
                times = math.floor(share * (epoch + 1) + offset) - math.floor(share * epoch + offset)
                keys += [Key(index, task, epoch, flip)] * times
        random.Random(f"{self.seed}/{epoch}/order").shuffle(keys)
        return keys

    def _balanced(self, epoch: int) -> list[int]:
        if self.balance == "none":
            return list(range(len(self.samples)))
        labels = [self.samples[i].label for i in range(len(self.samples))]
        counts = Counter(labels)
        power = 0.5 if self.balance == "sqrt" else 1.0
        weights = [counts[label] ** -power for label in labels]
        return random.Random(f"{self.seed}/{epoch}/balance").choices(range(len(labels)), weights, k=len(labels))

    def batches(self, epoch: int, done: int = 0) -> list[list[Key]]:
        """This rank's batches of an epoch of which `done` rows were had already. Step k of all ranks together holds the rows
        that one process with a batch `world` times as large would hold. No row is left out: where the last step has fewer
        rows than ranks, the others get one that does not count."""
        keys = self.epoch(epoch)
        size = self.batch * self.world
        steps = [keys[i : i + size] for i in range(done, len(keys), size)]
        return [step[self.rank :: self.world] or [replace(step[0], counts=False)] for step in steps]


class Batches(Sampler[list[Key]]):
    """The batches of one epoch from an offset on; those of another may be put in their place before it begins."""

    def __init__(self, batches: Sequence[list[Key]] = ()) -> None:
        self.batches = list(batches)

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
