"""Annotators over samples, one annotator after the other: what is kept is not asked again, whatever depends on a change is."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from affectkit.annotate.plan import ESTIMATES, PERSON, Annotation, AnnotationPlan, Input, main_finding
from affectkit.annotate.store import Store
from affectkit.annotators import ClipRow, FoundValue, Provenance, Reject
from affectkit.data.splits import open_split
from affectkit.data.views import look_at
from affectkit.encode.cache import Keys, Memo, digest
from affectkit.errors import InputError, MediaError, Problem
from affectkit.evaluation.clients import CachedClient, ClientError, Message, spending
from affectkit.files import Json, cache_folder, plain, track
from affectkit.plan.graph import Graph
from affectkit.plan.plan import Plan
from affectkit.sample import Sample

EMPTY = "nothing to look at"
"""Why a clip is rejected that has nothing for a port; with the port behind it."""


class BudgetSpent(Exception):
    """The calls or the cost that were allowed are spent."""


@dataclass
class Budget:
    """How often models may be asked, and what it may cost; None is no bound."""

    calls: int | None = None
    cost: float | None = None
    spent_calls: int = 0
    spent_cost: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self) -> None:
        """Count a call before it is sent. Raises BudgetSpent where none is left."""
        with self._lock:
            over = self.calls is not None and self.spent_calls >= self.calls
            if over or (self.cost is not None and self.spent_cost >= self.cost):
                raise BudgetSpent
            self.spent_calls += 1

    def pay(self, cost: float) -> None:
        """Count what a call cost."""
        with self._lock:
            self.spent_cost += cost


class BoundClient:
    """A client whose calls come out of a budget."""

    def __init__(self, client: Any, budget: Budget) -> None:
        self.client, self.budget = client, budget
        self.tries, self.wait = getattr(client, "tries", 1), getattr(client, "wait", 1.0)
        self.parallel = getattr(client, "parallel", 1)

    @property
    def identity(self) -> Mapping[str, Json]:
        """The client's own."""
        found: Mapping[str, Json] = self.client.identity
        return found

    def ask(self, messages: Sequence[Message]) -> str:
        """The client's reply. Raises BudgetSpent before it is asked."""
        self.budget.take()
        text: str = self.client.ask(messages)
        self.budget.pay(float(getattr(text, "cost", 0.0)))
        return text


@dataclass
class Clip:
    """A sample on its way: what may be known of it, and what was found."""

    sample: Sample
    split: str
    blind: Sample
    """The sample without its label, answers, facts and all else that somebody said of it."""
    key: str = ""
    """All of its files that views look at, by content."""
    findings: dict[str, dict[str, FoundValue]] = field(default_factory=dict)
    """By annotator, then by finding."""
    rejected: tuple[str, Reject] | None = None
    """The annotator that rejected it, and why."""
    failed: tuple[str, str] | None = None
    """The annotator whose model did not reply, or which raised, and what was said; asked about again next time."""
    todo: str = ""
    """The annotator that had not come to it when the run ended."""

    @property
    def live(self) -> bool:
        """Whether annotators still look at it."""
        return not (self.rejected or self.failed or self.todo)


def blinded(sample: Sample) -> Sample:
    """A sample as annotators may see it: its media, its words, who it is, and what a network estimated of its face."""
    person = sample.fact(PERSON)
    seen = {name: fact for name in ("face_box", *ESTIMATES) if (fact := sample.fact(name)).origin == "estimate"}
    facts = {**seen, **({PERSON: person} if person.value is not None else {})}
    return replace(sample, label=None, labels={}, numbers={}, answers={}, turns=(), facts=facts, features={})


@dataclass(frozen=True)
class Outcome:
    """What an annotation came to."""

    clips: Sequence[Clip]
    calls: int
    cost: float
    kept: Mapping[str, int]
    """By annotator, how many answers were there from before."""
    made: Mapping[str, int]
    """By annotator, how many were made now."""
    seconds: float
    stopped: str = ""
    """Why it ended before all was done; empty where all was."""


class Engine:
    """Runs a plan."""

    def __init__(self, plan: AnnotationPlan, store: Store, budget: Budget) -> None:
        self.plan, self.store, self.budget = plan, store, budget
        self.folder = Path(plan.run.cache) if plan.run.cache else cache_folder()
        shell = Plan(plan.recipe, plan.registry, Graph(plan.views), plan.data)
        self.keys = Keys(shell, None, Memo(self.folder))  # type: ignore[arg-type]  # no steps are named here
        self.detectors: dict[str, Any] = {}
        self.kept: Counter[str] = Counter()
        self.made: Counter[str] = Counter()

    def run(self) -> Outcome:
        """Every annotator over every clip that is left, in the order of the recipe."""
        begun = time.monotonic()
        clips = list(self._clips())
        stopped = ""
        for annotation in self.plan.annotators.values():
            try:
                self._annotate(annotation, [c for c in clips if c.live])
            except BudgetSpent:
                stopped = f"the budget was spent in {annotation.name}"
            self.store.flush()
            for clip in clips:
                if stopped and clip.live and annotation.name not in clip.findings:
                    clip.todo = annotation.name
            if stopped:
                break
        took = time.monotonic() - begun
        spent = self.budget
        return Outcome(clips, spent.spent_calls, spent.spent_cost, self.kept, self.made, took, stopped)

    def _clips(self) -> Iterator[Clip]:
        for split in self.plan.run.splits:
            samples = open_split(self.plan.data, split, self.plan.recipe.place(("data",)))
            most = len(samples) if self.plan.run.most is None else min(self.plan.run.most, len(samples))
            for sample in (samples[i] for i in range(most)):
                clip = Clip(sample, split, blinded(sample))
                try:
                    clip.key = self.keys.sample(clip.blind, False)
                except MediaError as error:
                    clip.rejected = ("", Reject("cannot be decoded", str(error)))
                yield clip
        self.keys.keep()

    def _annotate(self, annotation: Annotation, clips: Sequence[Clip]) -> None:
        """One annotator over clips: answers that are kept are taken, the others made and kept."""
        ready = [clip for clip in clips if self._has_inputs(annotation, clip)]
        job = _Job(self, annotation, ready)
        known = self.store.get(job.keys.values())
        todo = []
        for i, clip in enumerate(ready):
            cell = known.get(job.keys[i])
            if cell is None:
                todo.append(i)
            else:
                self.kept[annotation.name] += 1
                self._take(annotation, clip, cell)
        if todo:
            job.make(todo)

    def _has_inputs(self, annotation: Annotation, clip: Clip) -> bool:
        """Whether the findings that a clip's ports want are there; where they are not, the clip is rejected or passed over."""
        for port in annotation.use.piece.ports:
            ref = annotation.inputs.get(port.name)
            if (
                ref is not None
                and ref.annotator
                and not port.optional
                and ref.finding not in clip.findings.get(ref.annotator, {})
            ):
                self._nothing(annotation, clip, port.name)
                return False
        return True

    def _nothing(self, annotation: Annotation, clip: Clip, port: str) -> None:
        if annotation.missing == "reject":
            clip.rejected = (annotation.name, Reject(f"{EMPTY}: {port}"))
        else:
            clip.findings[annotation.name] = {}

    def _take(self, annotation: Annotation, clip: Clip, cell: Mapping[str, Any]) -> None:
        """Put an answer that is kept, or was just made, into a clip."""
        if "empty" in cell:
            self._nothing(annotation, clip, cell["empty"])
        elif "reject" in cell:
            clip.rejected = (annotation.name, Reject(*cell["reject"]))
        else:
            source = Provenance(**cell["source"])
            clip.findings[annotation.name] = {n: FoundValue(v, source) for n, v in cell["findings"].items()}

    def value(self, clip: Clip, ref: Input) -> Any:
        """What fills a port that is no view: a finding's value, or a fact's as JSON can hold it, the person's as a word."""
        if ref.annotator:
            found = clip.findings.get(ref.annotator, {}).get(ref.finding)
            return None if found is None else found.value
        known = clip.blind.fact(ref.fact).value
        return None if known is None else str(known) if ref.fact == PERSON else plain(known)

    def views(self, clip: Clip, names: Sequence[str]) -> Mapping[str, Any]:
        """What some views show of a clip, with those that they are cut from. Raises MediaError."""
        wanted = {*names, *(of for n in names if (of := getattr(self.plan.views[n].settings, "of", None)))}
        settings = {n: v.settings for n, v in self.plan.views.items() if n in wanted}
        return look_at(clip.blind, settings, detector_for=self._detector).views

    def _detector(self, view: str) -> Any:
        if view not in self.detectors:
            use = self.plan.views[view].detector
            assert use is not None
            self.detectors[view] = use.piece.build(use.settings)
        return self.detectors[view]


class _Job:
    """One annotator with the clips that it looks at."""

    def __init__(self, engine: Engine, annotation: Annotation, clips: Sequence[Clip]) -> None:
        self.engine, self.annotation, self.clips = engine, annotation, clips
        use, plan = annotation.use, engine.plan
        self.client = None
        if use.client is not None:
            built = use.client.piece.build(use.client.settings)
            self.client = CachedClient(BoundClient(built, engine.budget), engine.folder)
        asked = dict(self.client.client.identity) if self.client else {}
        code = plan.registry.fingerprint(use.piece)
        self.settings = {k: v for k, v in plain(use.block()).items() if k not in ("use", "client")}
        self._built: Any = None
        self._lock = threading.Lock()
        ran = "" if self.client else str(getattr(self.built, "model", ""))
        own = digest("finding", use.piece.name, code, self.settings, asked, ran)
        looked = [engine.keys.view(name) for name in annotation.views]
        inputs = [digest(own, looked, clip.key if looked else "", self._said(clip)) for clip in clips]
        together = digest(sorted(inputs)) if self.whole else ""
        self.keys = {i: digest(one, together) if together else one for i, one in enumerate(inputs)}

    @property
    def whole(self) -> bool:
        """Whether it wants all rows at once."""
        said = self.annotation.use.piece.per_batch
        return bool(said(self.annotation.use.settings) if callable(said) else said)

    def _said(self, clip: Clip) -> dict[str, Json]:
        refs = {port: ref for port, ref in self.annotation.inputs.items() if not ref.view}
        return {port: self.engine.value(clip, ref) for port, ref in refs.items()}

    @property
    def built(self) -> Any:
        """The annotator, built when it is first needed."""
        with self._lock:
            if self._built is None:
                use = self.annotation.use
                self._built = use.piece.build(use.settings, *([self.client] if self.client else []))
            return self._built

    def make(self, todo: Sequence[int]) -> None:
        """The answers that are not there yet."""
        size = len(todo) if self.whole else max(1, int(getattr(self.built, "batch", 1)))
        parts = [todo[start : start + size] for start in range(0, len(todo), size)]
        name = self.annotation.name
        if self.client is None or self.client.parallel == 1:
            for part in track(parts, f"annotate {name}"):
                self._settle(part, self._answers(part))
            return
        with ThreadPoolExecutor(self.client.parallel) as pool:
            for part, found in _in_flight(pool, self._answers, parts, 2 * self.client.parallel, f"annotate {name}"):
                self._settle(part, found)

    def _settle(self, part: Sequence[int], cells: Sequence[Mapping[str, Any]]) -> None:
        """Keep answers, and put them into their clips; what failed is not kept."""
        for i, cell in zip(part, cells, strict=True):
            clip = self.clips[i]
            if "failed" in cell:
                clip.failed = (self.annotation.name, cell["failed"])
                continue
            self.engine.store.put(self.keys[i], cell)
            self.engine.made[self.annotation.name] += 1
            self.engine._take(self.annotation, clip, cell)

    def _answers(self, part: Sequence[int]) -> list[Mapping[str, Any]]:
        """A cell for each of some clips: findings, why it is rejected, which port has nothing, or why it failed."""
        cells: dict[int, Mapping[str, Any]] = {}
        rows: dict[int, ClipRow] = {}
        for i in part:
            try:
                rows[i] = self._row(self.clips[i])
            except MediaError as error:
                cells[i] = {"reject": ["cannot be decoded", str(error)]}
        empty = {i: port for i, row in rows.items() if (port := self._lacks(row))}
        cells |= {i: {"empty": port} for i, port in empty.items()}
        asked = [i for i in rows if i not in empty]
        if asked:
            cells |= dict(zip(asked, self._ask([rows[i] for i in asked]), strict=True))
        return [cells[i] for i in part]

    def _row(self, clip: Clip) -> ClipRow:
        seen = self.engine.views(clip, self.annotation.views) if self.annotation.views else {}
        said = self._said(clip)
        ports = (port.name for port in self.annotation.use.piece.ports)
        refs = self.annotation.inputs
        return {p: (seen[refs[p].view] if refs[p].view else said[p]) if p in refs else None for p in ports}

    def _lacks(self, row: ClipRow) -> str:
        """The first port that may not be empty and is."""
        ports = self.annotation.use.piece.ports
        return next((p.name for p in ports if not p.optional and _nothing_in(row[p.name])), "")

    def _ask(self, rows: Sequence[ClipRow]) -> list[Mapping[str, Any]]:
        """What the annotator says of rows, checked, with where it comes from."""
        begun = time.perf_counter()
        with spending() as spent:
            try:
                found = list(self.built(rows))
            except ClientError as error:
                if self.client is None or self.client.gone(error):
                    raise
                return [{"failed": str(error)}] * len(rows)
        each = (time.perf_counter() - begun) / len(rows)
        model = spent.model or str(getattr(self.built, "model", ""))
        source = Provenance(self.annotation.use.piece.name, self.settings, model, spent.prompt, spent.calls,
                            round(spent.cost, 6), round(each, 4))  # fmt: skip
        self._check(found, len(rows))
        return [{"reject": [one.reason, one.about]} if isinstance(one, Reject) else
                {"findings": plain(one), "source": source.to_dict()} for one in found]  # fmt: skip

    def _check(self, found: Sequence[Any], rows: int) -> None:
        """Raise InputError for what is no answer of an annotator."""
        names = set(self.annotation.finds)
        wrong = f"{len(found)} answers to {rows} rows" if len(found) != rows else ""
        for one in found:
            if not isinstance(one, Reject | Mapping):
                wrong = f"{type(one).__name__}, neither findings nor a Reject"
            elif isinstance(one, Mapping) and set(one) - names:
                wrong = f"the finding {min(set(one) - names)!r}, which its piece does not tell"
        if wrong:
            place = self.engine.plan.recipe.place(("annotators", self.annotation.name))
            what = f"the annotator {self.annotation.use.piece.name!r} from {self.annotation.source} gave {wrong}"
            raise InputError(Problem(place, what, "tell its author"))


def _nothing_in(value: Any) -> bool:
    """Whether a port is empty: nothing, no words, or pictures of which none is valid."""
    valid = getattr(value, "valid", None)
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (valid is not None and not bool(np.any(valid)))
    )


def _in_flight(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], parts: Sequence[Any], most: int, what: str
) -> Iterator[tuple[Any, Any]]:
    """(part, result) in the order in which they are done, with at most so many submitted at a time. Where one raises, no more are
    submitted, and those that were asked already are given first."""
    waiting: dict[Future[Any], Any] = {}
    todo, raised = iter(parts), None
    for _ in track(parts, what):
        while raised is None and len(waiting) < most and (part := next(todo, None)) is not None:
            waiting[pool.submit(work, part)] = part
        if not waiting:
            break
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        one = done.pop()
        part = waiting.pop(one)
        error = one.exception()
        if error is None:
            yield part, one.result()
        else:
            raised = raised or error
            for other in [f for f in waiting if f.cancel()]:
                del waiting[other]
    for one, part in list(waiting.items()):
        if one.exception() is None:
            yield part, one.result()
    if raised is not None:
        raise raised


def item_values(plan: AnnotationPlan, clip: Clip) -> list[dict[str, Json]]:
    """The instruction items of a clip that was not rejected: those whose findings are there."""
    found: list[dict[str, Json]] = []
    for name, settings in plan.items.items() if clip.live else ():
        annotator, finding = main_finding(plan, settings.answer or settings.turns)
        one = clip.findings.get(annotator, {}).get(finding)
        if one is None or one.value in (None, "", []):
            continue
        asked = {"question": settings.question} if settings.question else {}
        found.append({"name": name, "task": settings.task, **asked, "answer" if settings.answer else "turns": one.value,
                      "from": f"{annotator}.{finding}"})  # fmt: skip
    return found
