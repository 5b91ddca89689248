"""The store of answers: kept for good, the first stays, whoever writes."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from affectkit.annotate.store import Store
from affectkit.errors import InputError, WriteError


def test_what_is_put_is_there_for_others_and_the_first_stays(tmp_path):
    with Store(tmp_path / "a.sqlite") as one, Store(tmp_path / "a.sqlite") as two:
        for i in range(1200):
            one.put(str(i), {"n": i})
        one.flush()
        two.put("7", {"n": -1})
        two.flush()
        assert two.get(map(str, range(1300))) == {str(i): {"n": i} for i in range(1200)}
    with Store(tmp_path / "a.sqlite") as again:
        assert again.get(["7", "none"]) == {"7": {"n": 7}}


def test_answers_of_a_killed_process_are_there_but_for_the_last_moment(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom affectkit.annotate.store import Store\n"
        f"store = Store(Path({str(tmp_path / 'a.sqlite')!r}))\n"
        "for i in range(100000):\n    store.put(str(i), {'n': i})\n    print(i, flush=True)\n    time.sleep(0.002)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) >= 200:
            break
    os.kill(process.pid, signal.SIGKILL)
    said = [int(line) for line in process.communicate()[0].split() if line] or [200]
    with Store(tmp_path / "a.sqlite") as store:
        there = store.get(str(i) for i in range(said[-1] + 1))
    assert len(there) >= 20, "what was put well before the kill is there, however slow the disk"
    assert sorted(int(k) for k in there) == list(range(len(there))), "in order, none lost between"


def test_a_file_that_is_no_store_is_told(tmp_path):
    (tmp_path / "a.sqlite").write_text("no database " * 1000)
    with pytest.raises(InputError, match="is no store of answers"):
        Store(tmp_path / "a.sqlite")


def test_answers_that_cannot_be_written_end_it(tmp_path):
    store = Store(tmp_path / "a.sqlite")
    store.put("a", {})
    store.flush()
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as db, db:
        db.execute("DROP TABLE answers")
    store.put("b", {})
    with pytest.raises(WriteError, match="cannot be written"):
        store.flush()
