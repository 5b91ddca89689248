"""An annotator's work on the workers of a Ray cluster: the same answers as on this machine, with one budget for all."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectkit.annotate.budget import BoundClient, Budget, BudgetSpent
from affectkit.annotate.plan import AnnotateRun, AnnotationPlan
from affectkit.annotate.spread import Part, PartsBar, on_threads
from affectkit.annotate.worker import ClipTask, StoredCell, Worker
from affectkit.cluster import Call, Cluster
from affectkit.errors import InputError, Problem
from affectkit.evaluation.clients import Access, CachedClient, access, allowing

GROUP = 16
"""The most parts that a worker takes at a time where it asks nobody."""
TRIAL, WORTH = 1.0, 30.0
"""Seconds after which an annotator that asks nobody may leave this process, where what is left would take so many more: that
workers start costs as much."""


class OnRay(Cluster):
    """A `Spread` over a cluster. An annotator that wants all clips at once, or has little to do, works here."""

    def __init__(self, run: AnnotateRun) -> None:
        super().__init__(run.address, run.workers, run.gpus)

    def __call__(
        self, worker: Worker, tasks: Sequence[ClipTask], parts: Sequence[Sequence[int]], bar: PartsBar
    ) -> Iterator[Part]:
        """See `Spread`."""
        done, begun = 0, time.monotonic()
        if (worker.client is None and not self.gpus) or len(parts) == 1:
            for part in on_threads(worker, tasks, parts, bar):
                yield part
                done += 1
                took = time.monotonic() - begun
                if took >= TRIAL and len(parts) - done > 1 and took / done * (len(parts) - done) >= WORTH:
                    break
        if done < len(parts):
            yield from self._spread(worker, tasks, parts[done:], bar)

    def _spread(
        self, worker: Worker, tasks: Sequence[ClipTask], parts: Sequence[Sequence[int]], bar: PartsBar
    ) -> Iterator[Part]:
        client, budget, threads = worker.client, Budget(), 1
        most = len(parts)
        if client is not None:
            budget, most = client.client.budget, min(most, client.parallel)  # type: ignore[attr-defined]
        workers = self.size(most)
        if client is not None:
            threads = max(1, client.parallel // workers)
        group = 2 * threads if client is not None else min(GROUP, -(-len(parts) // (4 * workers)))
        desk = self.desk(SharedBudget.of(budget, access()))
        things = [[tasks[i] for i in part] for part in parts]
        work = AnnotatorWork.of(worker, workers)
        made = self.map(work, things, desk, workers, threads, group, bar.what, bar.note)
        try:
            for number, cells in made:
                budget.spent_calls, budget.spent_cost = desk("spent")
                yield parts[number], cells
        finally:
            budget.spent_calls, budget.spent_cost = desk("spent")


@dataclass
class SharedBudget:
    """What the workers share: the budget, and whom they may ask with which key. The key stays in the memory of processes."""

    budget: Budget
    access: Access

    @staticmethod
    def of(budget: Budget, access: Access) -> Callable[[], SharedBudget]:
        """What makes one elsewhere."""
        bounds = budget.calls, budget.cost, budget.spent_calls, budget.spent_cost
        return lambda: SharedBudget(Budget(*bounds), access)

    def take(self) -> bool:
        """Count a call before it is sent; whether there was one left."""
        try:
            self.budget.take()
        except BudgetSpent:
            return False
        return True

    def pay(self, cost: float) -> None:
        """Count what a call cost."""
        self.budget.pay(cost)

    def spent(self) -> tuple[int, float]:
        """Calls and cost so far."""
        return self.budget.spent_calls, self.budget.spent_cost

    def may_ask(self) -> Access:
        """Servers, and their key."""
        return self.access


class DeskBudget(Budget):
    """The budget that all workers share, as one of them sees it."""

    def __init__(self, desk: Call) -> None:
        super().__init__()
        self.desk = desk

    def take(self) -> None:
        """See `Budget`."""
        if not self.desk("take"):
            raise BudgetSpent

    def pay(self, cost: float) -> None:
        """See `Budget`."""
        if cost:
            self.desk("pay", cost)


class SharedClient(BoundClient):
    """A client of one of several workers: what a server is asked in a minute is shared among them."""

    def __init__(self, client: Any, budget: Budget, workers: int) -> None:
        super().__init__(client, budget)
        for name in ("per_minute", "tokens_per_minute"):
            if allowed := getattr(client, name, None):
                setattr(self, name, allowed / workers)


@dataclass(frozen=True)
class AnnotatorWork:
    """An annotator's work as it travels to the workers."""

    plan: bytes
    name: str
    folder: Path | None
    """Where replies are kept."""
    workers: int
    code: Sequence[str]
    """What the piece's results depend on, where the work comes from."""

    @classmethod
    def of(cls, worker: Worker, workers: int) -> AnnotatorWork:
        """Of a worker on this machine."""
        plan, one, client = worker.plan, worker.annotation, worker.client
        folder = client.folder.parent.absolute() if client else None
        return cls(pickle.dumps(plan), one.name, folder, workers, plan.registry.fingerprint(one.use.piece))

    def __call__(self, desk: Call) -> Callable[[Sequence[ClipTask]], Sequence[StoredCell]]:
        """The cells of some clips. Raises InputError where this machine has other code than the one that it came from."""
        plan: AnnotationPlan = pickle.loads(self.plan)
        annotation, client = plan.annotators[self.name], None
        use = annotation.use
        if plan.registry.fingerprint(use.piece) != self.code:
            what = f"a worker has other code of {use.piece.name!r} from {annotation.source}"
            raise InputError(Problem("engine ray", what, "install the same versions on all machines of the cluster"))
        allowed: Access = desk("may_ask")
        with allowing(*allowed.servers, key=allowed.key):
            if use.client is not None:
                own = SharedClient(use.client.piece.build(use.client.settings), DeskBudget(desk), self.workers)
                client = CachedClient(own, self.folder)
            worker = Worker(plan, annotation, client)
            worker.built  # noqa: B018  # while its servers may be asked
        return worker.cells
