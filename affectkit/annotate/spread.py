"""Where the parts of an annotator's work are done: on threads of this machine."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from affectkit.annotate.worker import ClipTask, StoredCell, Worker
from affectkit.files import track

Part = tuple[Sequence[int], Sequence[StoredCell]]
"""Clips by their number, and their cells."""


class Spread(Protocol):
    """Does an annotator's work somewhere."""

    def __call__(
        self, worker: Worker, tasks: Sequence[ClipTask], parts: Sequence[Sequence[int]], bar: PartsBar
    ) -> Iterator[Part]:
        """Every part (numbers of tasks) with its cells, in any order. Where one raises, those that were asked already are given
        first."""
        ...


@dataclass(frozen=True)
class PartsBar:
    """What is shown while parts are done."""

    what: str
    note: Callable[[], str]
    """Said behind the counts (`120 calls, cost 0.3`)."""


def on_threads(
    worker: Worker, tasks: Sequence[ClipTask], parts: Sequence[Sequence[int]], bar: PartsBar
) -> Iterator[Part]:
    """On this machine, on as many threads as the annotator's client takes questions at a time."""
    parallel = worker.client.parallel if worker.client else 1

    def work(part: Sequence[int]) -> Sequence[StoredCell]:
        return worker.cells([tasks[i] for i in part])

    if parallel == 1:
        for part in track(parts, bar.what, bar.note):
            yield part, work(part)
        return
    with ThreadPoolExecutor(parallel) as pool:
        yield from _in_flight(pool, work, parts, 2 * parallel, bar)


def _in_flight(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[int]], Sequence[StoredCell]],
    parts: Sequence[Sequence[int]],
    most: int,
    bar: PartsBar,
) -> Iterator[Part]:
    """(part, result) in the order in which they are done, with at most so many submitted at a time. Where one raises, no more are
    submitted, and those that were asked already are given first."""
    waiting: dict[Future[Sequence[StoredCell]], Sequence[int]] = {}
    ended: queue.SimpleQueue[Future[Sequence[StoredCell]]] = (
        queue.SimpleQueue()
    )  # `wait` would look at all of them each time
    todo, raised = iter(parts), None
    for _ in track(parts, bar.what, bar.note):
        while raised is None and len(waiting) < most and (part := next(todo, None)) is not None:
            future = pool.submit(work, part)
            waiting[future] = part
            future.add_done_callback(ended.put)
        if not waiting or raised is not None:
            break
        one = ended.get()
        part = waiting.pop(one)
        raised = one.exception()
        if raised is None:
            yield part, one.result()
    for one, part in list(waiting.items()):
        if not one.cancel() and one.exception() is None:
            yield part, one.result()
    if raised is not None:
        raise raised
