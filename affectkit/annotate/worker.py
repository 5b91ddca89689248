"""One annotator at work: clips to cells, the same on this machine and on others.

A cell is what the store keeps of an annotator and a clip: `findings` with their `source`, a `reject`, or the port that is
`empty`; one that `failed` is not kept.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from affectkit.annotate.clips import media_of
from affectkit.annotate.plan import Annotation, AnnotationPlan
from affectkit.annotators import ClipRow, Provenance, Reject
from affectkit.data.views import look_at
from affectkit.errors import AffectkitError, InputError, MediaError, Problem
from affectkit.evaluation.clients import CachedClient, ClientError, spending
from affectkit.files import Json, plain
from affectkit.sample import Sample

StoredCell = Mapping[str, Any]
"""What came of an annotator and a clip, as JSON holds it."""
BROKEN = "cannot be decoded"
"""Why a clip is rejected whose media cannot be read."""


@dataclass(frozen=True)
class ClipTask:
    """What an annotator's worker is told of one clip."""

    blind: Sample
    key: str
    """Its media by content."""
    said: Mapping[str, Json]
    """By port, what others found, and the person."""


class Worker:
    """An annotator with what it needs to look at clips; may be called from several threads."""

    def __init__(self, plan: AnnotationPlan, annotation: Annotation, client: CachedClient | None) -> None:
        self.plan, self.annotation, self.client = plan, annotation, client
        self.settings = {k: v for k, v in plain(annotation.use.block()).items() if k not in ("use", "client")}
        self._built: Any = None
        self._detectors: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._folder = ExitStack()
        self._links: Path | None = None

    @property
    def built(self) -> Any:
        """The annotator, built when it is first needed."""
        with self._lock:
            if self._built is None:
                use = self.annotation.use
                self._built = use.piece.build(use.settings, *([self.client] if self.client else []))
            return self._built

    @property
    def batch(self) -> int:
        """Rows that it takes at a time."""
        return max(1, int(getattr(self.built, "batch", 1)))

    def close(self) -> None:
        """Leave nothing behind."""
        self._folder.close()

    def cells(self, tasks: Sequence[ClipTask]) -> list[StoredCell]:
        """A cell for each of some clips. Raises ClientError where its model is gone, InputError for what is no
        annotator's answer."""
        cells: dict[int, StoredCell] = {}
        rows: dict[int, ClipRow] = {}
        for i, task in enumerate(tasks):
            try:
                rows[i] = self.row(task)
            except MediaError as error:
                cells[i] = {"reject": [BROKEN, error.problems[0].what]}
        empty = {i: port for i, row in rows.items() if (port := self._lacks(row))}
        cells |= {i: {"empty": port} for i, port in empty.items()}
        asked = [i for i in rows if i not in empty]
        if asked:
            cells |= dict(zip(asked, self._ask([rows[i] for i in asked]), strict=True))
        return [cells[i] for i in range(len(tasks))]

    def row(self, task: ClipTask) -> ClipRow:
        """What fills the ports. Raises MediaError."""
        refs, seen = self.annotation.inputs, self._views(task.blind) if self.annotation.views else {}
        found: dict[str, Any] = {}
        for port in (port.name for port in self.annotation.use.piece.ports):
            ref = refs.get(port)
            found[port] = (
                None
                if ref is None
                else seen[ref.view]
                if ref.view
                else self._linked(task)
                if ref.clip
                else task.said[port]
            )
        return found

    def _views(self, blind: Sample) -> Mapping[str, Any]:
        """What its views show of a clip, with those that they are cut from."""
        names = self.annotation.views
        wanted = {*names, *(of for n in names if (of := getattr(self.plan.views[n].settings, "of", None)))}
        settings = {n: v.settings for n, v in self.plan.views.items() if n in wanted}
        return look_at(blind, settings, detector_for=self._detector).views

    def _detector(self, view: str) -> Any:
        with self._lock:
            if view not in self._detectors:
                use = self.plan.views[view].detector
                assert use is not None
                self._detectors[view] = use.piece.build(use.settings)
            return self._detectors[view]

    def _linked(self, task: ClipTask) -> Sample:
        """The clip under names that tell nothing: its id and its files are called by their content."""
        with self._lock:
            if self._links is None:
                self._links = Path(self._folder.enter_context(tempfile.TemporaryDirectory(prefix="affectkit-")))
            links: dict[str, Any] = {}
            for kind, path in media_of(task.blind).items():
                link = self._links / f"{task.key}-{kind}{path.suffix}"
                if not link.exists():
                    _link(path.absolute(), link)
                links[kind] = link
        return replace(task.blind, id=task.key, **links)

    def _lacks(self, row: ClipRow) -> str:
        """The first port that may not be empty and is."""
        ports = self.annotation.use.piece.ports
        return next((p.name for p in ports if not p.optional and _nothing_in(row[p.name])), "")

    def _ask(self, rows: Sequence[ClipRow]) -> list[StoredCell]:
        """What the annotator says of rows, checked, with where it comes from."""
        begun = time.perf_counter()
        with spending() as spent:
            try:
                found = list(self.built(rows))
            except ClientError as error:
                if self.client is None or self.client.gone(error):
                    raise
                return [{"failed": str(error)}] * len(rows)
            except MediaError as error:
                return [{"reject": [BROKEN, error.problems[0].what]}] if len(rows) == 1 else self._one_by_one(rows)
            except AffectkitError:
                raise
            except (
                ArithmeticError,
                AssertionError,
                AttributeError,
                LookupError,
                OSError,
                RuntimeError,
                TypeError,
                ValueError,
            ) as error:
                # one clip that an annotator cannot take costs that clip
                if len(rows) > 1 and not self.annotation.whole:
                    return self._one_by_one(rows)
                return [{"failed": f"{type(error).__name__}: {error}", "raised": True}] * len(rows)
        each = (time.perf_counter() - begun) / len(rows)
        model = spent.model or str(getattr(self.built, "model", ""))
        source = Provenance(self.annotation.use.piece.name, self.settings, model, spent.prompt, spent.calls,
                            round(spent.cost, 6), round(each, 4))  # fmt: skip
        self._check(found, len(rows))
        return [{"reject": [one.reason, one.about]} if isinstance(one, Reject) else
                {"findings": plain(one), "source": source.to_dict()} for one in found]  # fmt: skip

    def _one_by_one(self, rows: Sequence[ClipRow]) -> list[StoredCell]:
        return [cell for row in rows for cell in self._ask([row])]

    def _check(self, found: Sequence[Any], rows: int) -> None:
        """Raise InputError for what is no answer of an annotator."""
        names = set(self.annotation.finds)
        wrong = f"{len(found)} answers to {rows} rows" if len(found) != rows else ""
        for one in found:
            if not isinstance(one, Reject | Mapping):
                wrong = f"{type(one).__name__}, neither findings nor a Reject"
            elif isinstance(one, Mapping) and set(one) - names:
                wrong = f"the finding {min(set(one) - names)!r}, which its piece does not tell"
            elif isinstance(one, Mapping) and self.annotation.finds[0] not in one:
                wrong = f"findings without its main one, {self.annotation.finds[0]!r}"
            elif isinstance(one, Mapping) and (lost := next((n for n, v in one.items() if not _holds(v)), None)):
                wrong = f"as {lost!r} what JSON cannot hold: {one[lost]!r}"
        if wrong:
            place = self.plan.recipe.place(("annotators", self.annotation.name))
            what = f"the annotator {self.annotation.use.piece.name!r} from {self.annotation.source} gave {wrong}"
            raise InputError(Problem(place, what, "tell its author"))


def _link(path: Path, link: Path) -> None:
    """A file under another name; a folder, and a file on another disk, by a link that can be followed back."""
    try:
        os.link(path.resolve(), link)
    except OSError:
        link.symlink_to(path)


def _holds(value: Any) -> bool:
    """Whether JSON can hold a value as it is; numbers and arrays of NumPy count as numbers and lists."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _holds(one) for key, one in value.items())
    if isinstance(value, list | tuple | np.ndarray):
        return all(map(_holds, value))
    if isinstance(value, float | np.floating):
        return bool(np.isfinite(value))
    return value is None or isinstance(value, str | bool | int | np.integer | np.bool_)


def _nothing_in(value: Any) -> bool:
    """Whether a port is empty: nothing, no words, or pictures of which none is valid."""
    valid = getattr(value, "valid", None)
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (valid is not None and not bool(np.any(valid)))
    )
