"""Annotation on a local Ray cluster of two workers: the same records as in one process, whoever is killed, within one budget."""

import json
import os
import re
import signal
import tempfile
import threading
import time
import wave
from pathlib import Path

import pytest
from chat_server import serving

from affectkit.annotate import on_ray
from affectkit.annotate.plan import check_annotation
from affectkit.annotate.run import annotate
from affectkit.cluster import Cluster
from affectkit.errors import InputError, RunError
from affectkit.evaluation.clients import ClientError, allowing

ray = pytest.importorskip("ray")

COUNT = 24
PLUGIN = '''"""Says how long a text is, and notes which process said it; ends that process at a text on request."""
import os
import signal
import time
from dataclasses import dataclass
from affectkit import Piece, Port, hookimpl

@dataclass(frozen=True)
class Settings:
    """An annotator for a test."""

    log: str = ""
    """File of the processes."""
    ends: str = ""
    """A text that ends the process."""
    wrong: str = ""
    """A text that it cannot take."""

def build(settings):
    """The annotator."""
    def look(rows):
        with open(settings.log, "a") as file:
            file.write(f"{os.getpid()} {rows[0]['text']}\\\\n")
        if rows[0]["text"] == settings.ends:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)
        return [{"size": None if row["text"] == settings.wrong else len(row["text"]), "odd": row["text"] == settings.wrong}
                if row["text"] != settings.wrong else {"unknown": 1} for row in rows]
    return look

@hookimpl
def affectkit_pieces():
    return [Piece("annotator", "slow_length", Settings, build, ports=(Port("text", "finding", "t"),), tells=("size", "odd"))]
'''.replace("\\\\", "\\")
RECIPE = """\
name: spread
data: {use: table, path: t.csv, val: 0, columns: {path: audio}}
views: {words: {use: subtitle}}
annotators:
  said: {use: spoken_words}
  size: {use: slow_length, text: said, log: log.txt}
run: {cache: cache, workers: 2}
"""
ASKING = """\
name: asked
data: {use: table, path: t.csv, val: 0, columns: {path: audio}}
views: {words: {use: subtitle}}
annotators:
  said: {use: spoken_words}
  merge: {use: merge_clues, words: said, client: {use: openai_compatible, model: m, url: URL, parallel: 4, tries: 1, wait: 0}}
run: {cache: cache, workers: 2}
"""
KEY = "sk-very-secret-0451"


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """One cluster for the module: whoever finds one joins it."""
    with Cluster(workers=2) as made:
        made.join()
        yield made


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(on_ray, "TRIAL", 0.0)
    monkeypatch.setattr(on_ray, "WORTH", 0.0)
    lines = ["audio,subtitle,label,split,id"]
    for i in range(COUNT):
        with wave.open(str(tmp_path / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes([i, 0]) * 800)
        lines.append(f"{i}.wav,text {i:02} {'so ' * i},{'happy' if i % 2 else 'sad'},train,s{i}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "slow_length.py").write_text(PLUGIN)
    (tmp_path / "a.yaml").write_text(RECIPE)
    return tmp_path


def run(*overrides, calls=None):
    """The text of the records without the seconds that each finding took, and the summary."""
    plan = check_annotation("a.yaml", overrides, ["slow_length.py"], data=True)
    out = annotate(plan, calls)
    text = (out / "records.jsonl").read_text(encoding="utf-8")
    return re.sub(r'"seconds": [0-9.e-]+', '"seconds": 0', text), json.loads((out / "summary.json").read_text())


def processes():
    """By text, the processes that looked at it."""
    found = {}
    for line in Path("log.txt").read_text().splitlines():
        process, _, text = line.partition(" ")
        found.setdefault(text, []).append(int(process))
    return found


def kill_one(after, killed):
    """Kill a worker once it has looked at so many texts, and note which."""
    end = time.monotonic() + 120
    while time.monotonic() < end and not killed:
        known = [p for found in processes().values() for p in found] if Path("log.txt").exists() else []
        for process in [p for p in {*known} - {os.getpid()} if known.count(p) >= after][:1]:
            os.kill(process, signal.SIGKILL)
            killed.append(process)
        time.sleep(0.02)


def test_the_records_are_those_of_one_process_though_a_worker_is_killed():
    local, _ = run()
    Path("log.txt").unlink()
    killed = []
    killer = threading.Thread(target=kill_one, args=(3, killed))
    killer.start()
    spread, told = run("run.engine=ray", "run.cache=other")
    killer.join()
    assert spread == local
    assert told["made"] == {"said": COUNT, "size": COUNT}
    seen = processes()
    assert len(seen) == COUNT
    assert killed[0] in [p for found in seen.values() for p in found]
    assert len({found[-1] for found in seen.values()} - {os.getpid(), *killed}) >= 1
    assert COUNT <= sum(map(len, seen.values())) <= COUNT + 3, "what the killed one had begun is looked at again"
    again, told = run("run.engine=ray", "run.cache=other")
    assert (again, told["made"]) == (spread, {})


@pytest.mark.slow
def test_a_clip_that_ends_every_process_ends_the_run_with_its_number():
    text = (Path("t.csv").read_text().splitlines()[6]).split(",")[1].strip()
    with pytest.raises(RunError, match=r"part \d+ was given to 4 workers in turn"):
        run("run.engine=ray", f"annotators.size.ends='{text}'")


@pytest.mark.slow
def test_what_an_annotator_does_wrong_comes_back_as_itself_with_what_was_made():
    text = (Path("t.csv").read_text().splitlines()[9]).split(",")[1].strip()
    with pytest.raises(InputError, match="the finding 'unknown', which its piece does not tell"):
        run("run.engine=ray", f"annotators.size.wrong='{text}'")


def ask(server, calls=None, key=None, engine="ray"):
    Path("a.yaml").write_text(ASKING.replace("URL", server.url))
    with allowing("*", key=key):
        return run(f"run.engine={engine}", calls=calls)


def reply(body):
    return "The person says " + body["messages"][-1]["content"].split("What is said: ")[1].split("\n")[0]


def test_a_budget_holds_for_all_workers_together_and_the_key_is_written_nowhere():
    begun = time.time()
    with serving(reply) as server:
        rows, told = ask(server, calls=9, key=KEY)
        assert told["calls"] == len(server.seen) == 9
        assert "the budget was spent in merge" in told["stopped"]
        assert {headers.get("Authorization") for _, headers, _ in server.seen} == {f"Bearer {KEY}"}
        rows, told = ask(server, key=KEY)
        assert (told["used"], told["calls"], len(server.seen)) == (COUNT, COUNT - 9, COUNT)
        assert ask(server, engine="local")[0] == rows
    logs = Path(ray._private.worker._global_node.get_session_dir_path())
    files = [p for top in (Path.cwd(), logs) for p in top.rglob("*") if p.is_file()]
    assert len(files) > 40
    assert [p for p in files if KEY.encode() in p.read_bytes()] == []
    left = [p for p in Path(tempfile.gettempdir()).glob("affectkit-*") if p.stat().st_mtime > begun]
    assert left == []


@pytest.mark.slow
def test_a_server_that_is_gone_ends_the_run_and_what_was_answered_stays():
    heard = []

    def say(body):
        heard.append(1)
        return reply(body) if len(heard) <= 6 else 500

    with serving(say) as server:
        with pytest.raises(ClientError):
            ask(server)
        server.reply = reply
        _, told = ask(server, engine="local")
    assert told["calls"] <= COUNT - 6
    assert told["used"] == COUNT


def test_a_server_must_be_allowed():
    with serving(reply) as server:
        Path("a.yaml").write_text(ASKING.replace("URL", server.url))
        with pytest.raises(InputError, match="which you have not allowed"):
            run("run.engine=ray")


def test_a_missing_ray_is_told_by_check(monkeypatch):
    monkeypatch.setattr("affectkit.cluster.NEEDS", ("ray", "no_such_package"))
    with pytest.raises(InputError, match=r"run.engine(.|\n)*no_such_package(.|\n)*pip install 'affectkit\[ray\]'"):
        check_annotation("a.yaml", ["run.engine=ray"], ["slow_length.py"])
    with pytest.raises(InputError, match=r"pip install 'affectkit\[ray\]'"):
        Cluster().join()
