"""What annotators found, kept by all that it depends on: an append-only SQLite table with one writer.

Answers are committed together, those of at most `GROUP` seconds: a process that is killed loses no more than these. Any number
of processes may share a store; the first answer to a key stays.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem
from affectkit.files import Json, cannot_write

GROUP = 0.05
"""Seconds within which answers are committed together."""
MANY = 500
"""Keys that are looked up at a time: SQLite takes a bounded number of values in one question."""
WAIT = 60.0
"""Seconds to wait for another process that writes."""
TABLE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


class Store:
    """Answers by key. Raises InputError where the file is no store, WriteError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.SimpleQueue[tuple[str, str] | threading.Event | None] = queue.SimpleQueue()
        self._failed: Exception | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._begin()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise cannot_write(path, None, error) from error
            raise InputError(
                Problem(str(path), f"is no store of answers: {error}", "remove it, or name another cache")
            ) from None
        except OSError as error:
            raise cannot_write(path, None, error) from error
        self._writer = threading.Thread(target=self._write, name="annotations", daemon=True)
        self._writer.start()

    def _begin(self) -> None:
        """Make the table. SQLite does not wait where several processes are the first ones at a time."""
        until = time.monotonic() + WAIT
        while True:
            try:
                with closing(self._connect()) as db, db:
                    db.execute("PRAGMA journal_mode=WAL")
                    db.execute(TABLE)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._writer.join()
        self._check()

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """The answers that are there, by key."""
        wanted = list(keys)
        found: dict[str, Any] = {}
        with closing(self._connect()) as db:
            for start in range(0, len(wanted), MANY):
                part = wanted[start : start + MANY]
                marks = ",".join("?" * len(part))
                rows = db.execute(f"SELECT key, value FROM answers WHERE key IN ({marks})", part)
                found.update((key, json.loads(value)) for key, value in rows)
        return found

    def put(self, key: str, value: Mapping[str, Json]) -> None:
        """Keep an answer; it is there for good once `flush` returns. Raises WriteError where an earlier one could not be kept."""
        self._check()
        # as ASCII, for half an emoji that a model sent is no UTF-8
        self._queue.put((key, json.dumps(value, ensure_ascii=True, allow_nan=False)))

    def flush(self) -> None:
        """Wait until all that was put is committed."""
        done = threading.Event()
        self._queue.put(done)
        done.wait()
        self._check()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=WAIT)

    def _check(self) -> None:
        if self._failed is not None:
            raise cannot_write(self.path, None, self._failed) from self._failed

    def _write(self) -> None:
        """The one writer: takes what comes within `GROUP` seconds of the first and commits it."""
        with closing(self._connect()) as db:
            going = True
            while going:
                rows, waiting, going = self._group()
                if rows and self._failed is None:
                    try:
                        with db:
                            db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
                    except Exception as error:  # whoever waits would wait for ever
                        self._failed = error
                for event in waiting:
                    event.set()

    def _group(self) -> tuple[list[tuple[str, str]], list[threading.Event], bool]:
        """Answers to commit, who waits for them, and whether more will come."""
        rows: list[tuple[str, str]] = []
        waiting: list[threading.Event] = []
        until: float | None = None
        while True:
            try:
                item = self._queue.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                return rows, waiting, True
            if item is None:
                return rows, waiting, False
            if isinstance(item, threading.Event):
                return rows, [item], True
            rows.append(item)
            until = until or time.monotonic() + GROUP
