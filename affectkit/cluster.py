"""A function of one thing over many things, on the workers of a Ray cluster. Ray is imported when it is used."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

from affectkit.errors import InputError, Problem, RunError, cause
from affectkit.files import FOLDER, cache_folder, track

INSTALL = "pip install 'affectkit[ray]'"
NEEDS = ("ray", "pyarrow", "pandas")
"""Packages of the extra."""
RETRIES = 3
"""How often a thing is given to another worker after the one that did it was lost: one that ends every process must not do so for
ever."""
GOES_ON = "what was made is kept; the same command goes on with it"
Result = tuple[str, Any]
"""`made` with what came of a thing, `raised` with an error, or `left` where another had failed before."""
Call = Callable[..., Any]
"""Asks the desk: the name of a method, and its arguments."""


class Work(Protocol):
    """What is done on a cluster; travels to its workers by pickle."""

    def __call__(self, desk: Call) -> Callable[[Any], Any]:
        """Called once in each worker: what does one thing. `desk` calls a method of the object that all workers share."""
        ...


def missing_ray(place: str) -> Problem | None:
    """What is wrong where Ray is wanted and not installed. Imports nothing."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return Problem(place, f"work is spread by Ray, and {' and '.join(missing)} cannot be imported", INSTALL)


class Cluster:
    """A Ray cluster, joined or started on this machine when it is first used, and left or ended at the end of the `with`."""

    def __init__(self, address: str = "", workers: int = 0, gpus: float = 0.0) -> None:
        """`workers` 0 takes one a CPU of the cluster, or as many as its GPUs suffice for with `gpus` each."""
        self.address, self.workers, self.gpus = address, workers, gpus
        self._own = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            import ray

            ray.shutdown()
            self._own = False

    def size(self, most: int) -> int:
        """How many workers `most` parts of work are given to."""
        import ray

        self.join()
        there = ray.cluster_resources()
        fit = int(there.get("GPU", 0) / self.gpus) if self.gpus else int(there.get("CPU", 1))
        return max(1, min(self.workers or fit, most))

    def has_gpus(self) -> bool:
        """Whether the cluster has any."""
        import ray

        self.join()
        return ray.cluster_resources().get("GPU", 0) >= 1

    def join(self) -> None:
        """Join the cluster, or start one. Raises InputError where Ray is missing or the cluster cannot be reached."""
        wrong = missing_ray("engine ray")
        if wrong:
            raise InputError(wrong)
        # Before Ray is imported: nothing is sent anywhere.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        if ray.is_initialized():
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if not self.address:
            quiet |= {"num_cpus": self.workers or os.cpu_count(), "include_dashboard": False}
        try:
            ray.init(address=self.address or "local", **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = self.address or "on this machine"
            what = f"no Ray cluster {where}: {' '.join(str(error).split())[:300]}"
            raise InputError(
                Problem("engine ray", what, "start one (`ray start --head`), or leave out the address")
            ) from None
        self._own = True

    def desk(self, make: Callable[[], Any]) -> Desk:
        """An object that all workers share, made by `make` in a process beside this one."""
        self.join()
        return Desk(make)

    def map(
        self, work: Work, things: Sequence[Any], desk: Desk, workers: int, threads: int = 1, group: int = 1, what: str = "",
        note: Callable[[], str] | None = None,
    ) -> Iterator[tuple[int, Any]]:  # fmt: skip
        """(number of the thing, what came of it), in the order in which they are done, with a bar.

        Each of the `workers` takes `group` things at a time, on so many threads. Where one raises, no more are begun, those that
        were are given first, and then it is raised. Raises RunError where workers are lost time and again.
        """
        import ray

        rows = self._rows((work, desk, threads), things, workers, group)
        done, errors = set[int](), list[BaseException]()
        made = _made(rows, done, errors)
        try:
            for _ in track(things, what, note):
                if (one := next(made, None)) is None:
                    break
                yield one
        except ray.exceptions.RayError as error:
            said = f"the cluster lost its workers: {' '.join(str(error).split())[:300]}"
            raise RunError(Problem("engine ray", said, GOES_ON)) from error
        finally:
            with suppress(ray.exceptions.RayError):
                desk.stop()
            rows.close()
        if errors:
            raise errors[0]
        if len(done) < len(things):
            said = f"{len(things) - len(done)} of {len(things)} parts of the work did not come back"
            raise RunError(Problem("engine ray", said, GOES_ON))

    def _rows(
        self, hand: tuple[Work, Desk, int], things: Sequence[Any], workers: int, group: int
    ) -> Generator[tuple[int, Result]]:
        import ray
        import ray.data

        work, desk, threads = hand
        given = pickle.dumps(work), desk, threads, os.getcwd(), str(cache_folder())
        rows = [{"number": i, "thing": pickle.dumps(thing)} for i, thing in enumerate(things)]
        size = ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2)
        pool: dict[str, Any] = {"compute": size, "num_gpus": self.gpus or None}
        with _quiet_data():
            blocks = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / group))
            made = blocks.map_batches(_Hand, batch_size=None, fn_constructor_args=given, **pool)
            for row in made.iter_rows():
                yield int(row["number"]), pickle.loads(row["result"])


def _made(rows: Iterator[tuple[int, Result]], done: set[int], errors: list[BaseException]) -> Iterator[tuple[int, Any]]:
    """Of rows those that were made, each once; the errors of others are noted."""
    for number, (kind, value) in rows:
        if kind == "made" and number not in done:
            done.add(number)
            yield number, value
        elif kind == "raised":
            errors.append(value)


class Desk:
    """A handle to an object that the workers of a cluster share; travels to them. Lives as long as the process that made it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # with the process that started it: where that is gone, nobody waits for an answer
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._actor = ray.remote(_Shared).options(num_cpus=0, max_concurrency=1, scheduling_strategy=here).remote()
        self._call("make", make)

    def __call__(self, name: str, *args: Any) -> Any:
        """What the method of the object gives."""
        return self._call("call", name, args)

    def stop(self) -> None:
        """Let no worker begin anything more."""
        self._call("stop")

    def begin(self, number: int) -> int:
        """How often a thing was begun, this time included; 0 where nothing more is to be begun."""
        return int(self._call("begin", number))

    def _call(self, name: str, *args: Any) -> Any:
        import ray

        return ray.get(getattr(self._actor, name).remote(*args))


class _Shared:
    """What lives in the desk's process."""

    def __init__(self) -> None:
        self.thing: Any = None
        self.end = False
        self.begun: Counter[int] = Counter()

    def make(self, make: Callable[[], Any]) -> None:
        self.thing = make()

    def call(self, name: str, args: Sequence[Any]) -> Any:
        return getattr(self.thing, name)(*args)

    def stop(self) -> None:
        self.end = True

    def begin(self, number: int) -> int:
        self.begun[number] += 1
        return 0 if self.end else self.begun[number]


class _Hand:
    """What lives in a worker's process."""

    def __init__(self, work: bytes, desk: Desk, threads: int, folder: str, cache: str) -> None:
        self.work, self.desk, self.threads, self.folder, self.cache = work, desk, threads, folder, cache
        self.function: Callable[[Any], Any] | None = None
        self.lock = threading.Lock()

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """One block of things, with what came of each."""
        things = [(int(number), bytes(thing)) for number, thing in zip(rows["number"], rows["thing"], strict=True)]
        if self.threads == 1 or len(things) == 1:
            found = [self._one(*thing) for thing in things]
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                found = list(pool.map(self._one, *zip(*things, strict=True)))
        return {"number": rows["number"], "result": [pickle.dumps(one) for one in found]}

    def _one(self, number: int, thing: bytes) -> Result:
        begun = self.desk.begin(number)
        if not begun:
            return "left", None
        try:
            if begun > RETRIES + 1:
                what = f"part {number} was given to {begun - 1} workers in turn, and each was lost with it"
                raise RunError(
                    Problem("engine ray", what, "see whether one of its samples ends the process, or memory")
                )
            with self.lock:
                self.function = self.function or self._built()
            return "made", self.function(pickle.loads(thing))
        except Exception as error:
            self.desk.stop()
            return "raised", portable(error)

    def _built(self) -> Callable[[Any], Any]:
        """What does one thing; made at the first, where its errors can be told."""
        if not Path(self.folder).is_dir():
            what = f"a worker has no folder {self.folder}"
            raise InputError(Problem("engine ray", what, "let all machines of the cluster share their folders"))
        os.chdir(self.folder)  # recipes and tables name files from there
        os.environ[FOLDER] = self.cache
        function: Callable[[Any], Any] = pickle.loads(self.work)(self.desk)
        return function


def portable(error: Exception) -> Exception:
    """An error that can travel to another process and be raised there: itself, or its words."""
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # pickling runs code of whoever made the error: any kind can come of it
        again = None
    return error if type(again) is type(error) else RunError(Problem("engine ray", f"a worker failed: {cause(error)}"))


@contextmanager
def _quiet_data() -> Iterator[None]:
    """Ray Data's own bars and remarks stay out of the terminal."""
    import ray.data

    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = {name: getattr(context, name) for name in ("enable_progress_bars", "print_on_execution_start")}
    level = logger.level
    for name in before:
        setattr(context, name, False)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        logger.setLevel(level)
