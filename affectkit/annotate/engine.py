"""Annotators over samples, one annotator after the other: what is kept is not asked again, whatever depends on a change is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from affectkit.annotate.budget import BoundClient, Budget, BudgetSpent
from affectkit.annotate.clips import Clip, Outcome, blinded, found_value
from affectkit.annotate.plan import Annotation, AnnotationPlan
from affectkit.annotate.spread import PartsBar, Spread, on_threads
from affectkit.annotate.store import Store
from affectkit.annotate.worker import BROKEN, ClipTask, StoredCell, Worker
from affectkit.annotators import FoundValue, Provenance, Reject
from affectkit.data.splits import open_split
from affectkit.encode.cache import Keys, Memo, digest
from affectkit.errors import MediaError, Problem, RunError
from affectkit.evaluation.clients import SILENT, CachedClient
from affectkit.files import Json, cache_folder, track
from affectkit.plan.graph import Graph
from affectkit.plan.plan import Plan

EMPTY = "nothing to look at"
"""Why a clip is rejected that has nothing for a port; with the port behind it."""


class Engine:
    """Runs a plan."""

    def __init__(self, plan: AnnotationPlan, store: Store, budget: Budget, spread: Spread = on_threads) -> None:
        self.plan, self.store, self.budget, self.spread = plan, store, budget, spread
        self.folder = Path(plan.run.cache) if plan.run.cache else cache_folder()
        shell = Plan(plan.recipe, plan.registry, Graph(plan.views), plan.data)
        self.keys = Keys(shell, None, Memo(self.folder))  # type: ignore[arg-type]  # no steps are named here
        self.kept: Counter[str] = Counter()
        self.made: Counter[str] = Counter()

    def run(self) -> Outcome:
        """Every annotator over every clip that is left, in the order of the recipe."""
        begun = time.monotonic()
        clips = self.clips()
        stopped = ""
        for annotation in self.plan.annotators.values():
            try:
                Job(self, annotation, clips).finish()
            except BudgetSpent:
                stopped = f"the budget was spent in {annotation.name}"
            self.store.flush()
            if stopped:
                self._leave_open(clips, annotation.name)
                break
        took = time.monotonic() - begun
        spent = self.budget
        return Outcome(clips, spent.spent_calls, spent.spent_cost, self.kept, self.made, took, stopped)

    def _leave_open(self, clips: Sequence[Clip], name: str) -> None:
        """Note what is still to be done where a run ended in an annotator: clips that no later one saw are not finished."""
        order = list(self.plan.annotators)
        for clip in (clip for clip in clips if clip.live):
            clip.todo = next((later for later in order[order.index(name) :] if later not in clip.findings), "")

    def clips(self) -> list[Clip]:
        """Every sample of the splits, with its media by content; those that cannot be read are rejected."""
        found = list(track(list(self._samples()), "read the media"))
        for clip in found:
            try:
                clip.key = self.keys.sample(clip.blind, False)
            except MediaError as error:
                clip.rejected = ("", Reject(BROKEN, error.problems[0].what))
        self.keys.keep()
        return found

    def _samples(self) -> Iterator[Clip]:
        for split in self.plan.run.splits:
            samples = open_split(self.plan.data, split, self.plan.recipe.place(("data",)))
            most = len(samples) if self.plan.run.most is None else min(self.plan.run.most, len(samples))
            for sample in (samples[i] for i in range(most)):
                yield Clip(sample, split, blinded(sample))


class Job:
    """One annotator with the clips that it looks at: those that are left and have what its ports want."""

    def __init__(self, engine: Engine, annotation: Annotation, clips: Sequence[Clip], client: Any = None) -> None:
        """`client` is asked instead of the annotator's own."""
        self.engine, self.annotation = engine, annotation
        self.clips = [clip for clip in clips if clip.live and self._has_inputs(clip)]
        use, plan = annotation.use, engine.plan
        self.client = None
        if use.client is not None:
            own = client or BoundClient(use.client.piece.build(use.client.settings), engine.budget)
            self.client = CachedClient(own, engine.folder)
        self.worker = Worker(plan, annotation, self.client)
        self.tasks = [ClipTask(clip.blind, clip.key, self._said(clip)) for clip in self.clips]
        self.keys = self._keys()
        self._raised = 0

    def _keys(self) -> list[str]:
        """The names of the cells: all that they depend on."""
        use, engine = self.annotation.use, self.engine
        asked = dict(self.client.client.identity) if self.client else {}
        asked |= {"schema": True} if getattr(self.client and self.client.client, "takes_schema", False) else {}
        code = engine.plan.registry.fingerprint(use.piece)
        model = str(getattr(self.worker.built, "model", "")) if self.tasks else ""
        own = digest("finding", use.piece.name, code, self.worker.settings, asked, *([model] if model else []))
        looked = [engine.keys.view(name) for name in self.annotation.views]
        seen = bool(looked) or any(ref.clip for ref in self.annotation.inputs.values())
        inputs = [digest(own, looked, task.key if seen else "", task.said) for task in self.tasks]
        if not self.annotation.whole:
            return inputs
        together = digest(inputs)
        return [digest(one, together, place) for place, one in enumerate(inputs)]  # two may be alike

    def _said(self, clip: Clip) -> dict[str, Json]:
        refs = {port: ref for port, ref in self.annotation.inputs.items() if not (ref.view or ref.clip)}
        return {port: found_value(clip, ref) for port, ref in refs.items()}

    def _has_inputs(self, clip: Clip) -> bool:
        """Whether the findings that a clip's ports want are there; where they are not, the clip is rejected or passed over."""
        for port in self.annotation.use.piece.ports:
            ref = self.annotation.inputs.get(port.name)
            wanted = ref is not None and ref.annotator and not port.optional
            if wanted and ref and ref.finding not in clip.findings.get(ref.annotator, {}):
                self._nothing(clip, port.name)
                return False
        return True

    def _nothing(self, clip: Clip, port: str) -> None:
        if self.annotation.missing == "reject":
            clip.rejected = (self.annotation.name, Reject(f"{EMPTY}: {port}"))
        else:
            clip.findings[self.annotation.name] = {}

    def take_kept(self) -> list[int]:
        """Put the answers that are kept into their clips; gives the numbers of the clips without one."""
        known = self.engine.store.get(self.keys)
        todo = []
        for i, clip in enumerate(self.clips):
            cell = known.get(self.keys[i])
            if cell is None:
                todo.append(i)
            else:
                self.engine.kept[self.annotation.name] += 1
                self._take(clip, cell)
        return todo

    def finish(self) -> None:
        """Take the answers that are kept, and make and keep the others."""
        todo = self.take_kept()
        if not todo:
            return
        size = len(todo) if self.annotation.whole else self.worker.batch
        parts = [todo[start : start + size] for start in range(0, len(todo), size)]
        budget = self.engine.budget
        bar = PartsBar(f"annotate {self.annotation.name}", budget.summary if self.client else str)
        try:
            for part, cells in self.engine.spread(self.worker, self.tasks, parts, bar):
                self._settle(part, cells)
        finally:
            self.worker.close()

    def _settle(self, part: Sequence[int], cells: Sequence[StoredCell]) -> None:
        """Keep answers, and put them into their clips; what failed is not kept. Raises RunError where an annotator only fails."""
        name = self.annotation.name
        for i, cell in zip(part, cells, strict=True):
            clip = self.clips[i]
            if "failed" not in cell:
                self._raised = -1
                self.engine.store.put(self.keys[i], cell)
                self.engine.made[name] += 1
                self._take(clip, cell)
                continue
            clip.failed = (name, cell["failed"])
            if cell.get("raised") and self._raised >= 0:
                self._raised += 1
                if self._raised >= SILENT or self.annotation.whole:
                    place = self.engine.plan.recipe.place(("annotators", name))
                    what = f"the annotator {self.annotation.use.piece.name!r} from {self.annotation.source} fails"
                    fault = f"{what} on clip after clip; on {clip.sample.id}: {cell['failed']}"
                    raise RunError(Problem(place, fault, "tell its author"))

    def _take(self, clip: Clip, cell: Mapping[str, Any]) -> None:
        """Put an answer that is kept, or was just made, into a clip."""
        if "empty" in cell:
            self._nothing(clip, cell["empty"])
        elif "reject" in cell:
            clip.rejected = (self.annotation.name, Reject(*cell["reject"]))
        else:
            source = Provenance(**cell["source"])
            clip.findings[self.annotation.name] = {n: FoundValue(v, source) for n, v in cell["findings"].items()}
