"""The engine of annotation: throughput by concurrency, what a kill costs, and what filters and people buy on puppets.

python -m benchmarks annotate [calls kills filters loop] [--out FOLDER] [--seeds 3] [--kills 20] [--count 1000]

`calls`: short questions to a server in a process of its own that takes 200 ms for each, whatever their number; the rate is that
of the server, from the first question to the last reply. `kills`: the same with 40 ms, killed (SIGKILL)
at random moments and started again until it was killed so often; then once to its end. `filters` annotates puppets by the
recipes of MERR and MER-Caption. `loop` trains one small system on true labels, raw pseudo labels, filtered ones, and filtered
ones that a person looked through (who knows the truth, and sees every fifth clip), and compares them on the same people, whom
nobody saw. `filters` and `loop` want the run of recipes/teachers.yaml in FOLDER/runs/teachers. Prints tables and writes
annotate.json.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
RECIPES = HERE.parent / "recipes" / "annotate"
LATENCY, CONCURRENCY = 0.2, (1, 4, 8, 16, 32, 64)
RECIPE = """\
name: calls
data: {use: table, path: t.csv, val: 0.0}
views: {words: {use: subtitle}}
annotators:
  said: {use: spoken_words}
  merge:
    use: merge_clues
    words: said
    client: {use: openai_compatible, model: m, url: "URL", parallel: COUNT, tries: 6, wait: 0.05}
items: {why: {task: reason, answer: merge}}
run: {folder: runs, cache: cache}
"""
LABELS = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
REVIEWED = 5
"""Every so many clips, one is looked at by a person."""


async def answer(reader, writer, latency, log):
    """Chat completions over one kept line."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            asked = json.loads(await reader.readexactly(length))["messages"][-1]["content"]
            words = asked.split("What is said: ")[-1].split("\n")[0]
            log.write(f"{time.monotonic():.4f}\t{words}\n")
            log.flush()
            await asyncio.sleep(latency)
            text = json.dumps(
                {"choices": [{"message": {"role": "assistant", "content": f"The person says {words}."}}]}
            ).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text) + text
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(latency, path):
    with open(path or os.devnull, "a") as log:
        server = await asyncio.start_server(lambda r, w: answer(r, w, latency, log), "127.0.0.1", 0, backlog=256)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


class Server:
    """The server in a process of its own."""

    def __init__(self, latency, log=""):
        command = [sys.executable, "-m", "benchmarks.annotate", "serve", str(latency), str(log)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def prepared(folder, url, rows, parallel):
    """A folder with a table of texts and the recipe that asks about them; returns the command."""
    (folder / "t.csv").write_text(
        "id,subtitle,label,split\n" + "".join(f"s{i},words of clip {i},sad,train\n" for i in range(rows))
    )
    (folder / "a.yaml").write_text(RECIPE.replace("URL", url).replace("COUNT", str(parallel)))
    return [sys.executable, "-m", "affectkit", "annotate", "a.yaml", "--server", url]


def calls():
    """A row for each concurrency: questions a second, the share of what latency allows, processor seconds a thousand."""
    found = []
    for parallel in CONCURRENCY:
        rows = max(50, 50 * parallel)
        with tempfile.TemporaryDirectory() as name, Server(LATENCY, Path(name) / "asked.txt") as server:
            command = prepared(Path(name), server.url, rows, parallel)
            first = children_seconds(command, name)
            told = json.loads((Path(name) / "runs/last/summary.json").read_text())
            # a second run, for which all is kept, takes what all but the questions takes
            rest = children_seconds(command, name)
            times = [float(line.split("\t")[0]) for line in (Path(name) / "asked.txt").open()]
        rate = rows / (times[-1] - times[0] + LATENCY)
        found.append({"concurrency": parallel, "calls": told["calls"], "calls_per_s": round(rate, 1),
                      "share_of_bound": round(rate * LATENCY / parallel, 3),
                      "cpu_s_per_1000_calls": round((first - rest) * 1000 / rows, 2)})  # fmt: skip
        print(found[-1], flush=True)
    return found


def children_seconds(command, folder):
    """Processor seconds of a command, which is to succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def kills(count, rows=900, parallel=8, seed=0):
    """What a run that is killed so often asks, keeps and writes."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, Server(0.04, Path(name) / "asked.txt") as server:
        folder = Path(name)
        command = prepared(folder, server.url, rows, parallel)
        stored, killed, again = [], 0, 0
        while killed < count:
            process = subprocess.Popen(command, cwd=name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            log, wanted = folder / "asked.txt", draw.randint(1, 60)
            base, deadline = len(log.read_text().splitlines()) if log.exists() else 0, time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                if log.exists() and len(log.read_text().splitlines()) >= base + wanted:
                    break
                time.sleep(0.005)
            time.sleep(draw.random() * 0.08)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.wait()
            lost = [key for key in stored if key not in stored_keys(folder)]
            assert not lost, f"{len(lost)} answers were stored and are gone"
            stored = list(stored_keys(folder))
            if process.returncode == 0:
                again += 1
                for path in (folder / "cache").glob("annotations.sqlite*"):
                    path.unlink()
                stored = []
        subprocess.run(command, cwd=name, check=True, capture_output=True)
        records = [json.loads(line) for line in (folder / "runs/last/records.jsonl").open()]
        told = json.loads((folder / "runs/last/summary.json").read_text())
        asked = [line.partition("\t")[2] for line in (folder / "asked.txt").read_text().splitlines()]
    ids = [record["id"] for record in records]
    right = sum(
        r["items"][0]["answer"] == f"The person says words of clip {r['id'][1:]}." for r in records if r["items"]
    )
    return {"kills": killed, "rows": rows, "records": len(ids), "lost": rows - right, "doubled": len(ids) - len(set(ids)),
            "kept_by_the_last_run": told["kept"].get("merge", 0), "made_by_the_last_run": told["made"].get("merge", 0),
            "asked_in_all": len(asked), "asked_twice": len(asked) - len(set(asked)), "begun_again": again}  # fmt: skip


def stored_keys(folder):
    """The keys in the store, those of the second annotator among them."""
    path = folder / "cache/annotations.sqlite"
    if not path.exists():
        return set()
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as db:
            return {key for (key,) in db.execute("SELECT key FROM answers")}
    except sqlite3.OperationalError:
        return set()


def annotated(recipe, folder, *overrides):
    """The run folder of a shipped recipe."""
    from affectkit.annotate.plan import check_annotation
    from affectkit.annotate.run import annotate

    return annotate(check_annotation(RECIPES / f"{recipe}.yaml", (*overrides, f"run.folder={folder}/runs"), data=True))


def filters(folder, count):
    """By recipe, the table of its filters."""
    found = {}
    for recipe in ("merr", "mer_caption"):
        told = json.loads((annotated(recipe, folder, f"data.count={count}") / "summary.json").read_text())
        found[recipe] = {"samples": told["samples"], "used": told["used"], "label": told["audit"]["label"],
                         "passed": told["audit"]["passed"], "rejected": told["rejected"]}  # fmt: skip
    return found


def looked_through(run):
    """The records after a person looked at every fifth clip, who knows the truth: labels that were wrong are set right."""
    from affectkit.annotate.reviews import ReviewFile, Verdict, reviewed, shown_hash

    records = [json.loads(line) for line in (run / "records.jsonl").open()]
    truth = truths(len(records))
    file = ReviewFile(run / "reviews.jsonl")
    for record in records[::REVIEWED]:
        item = next((item for item in record["items"] if item["task"] == "label"), None)
        if item is None:
            continue
        right = truth[record["id"]]
        same = item["answer"] == right
        edits = {} if same else {item["name"]: right}
        file.append(
            Verdict(
                record["id"],
                record["split"],
                "a person",
                "accept" if same else "edit",
                edits,
                seconds=5.0,
                seen=shown_hash(record),
            )
        )
    path = run / "looked_through.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in reviewed(records, file.verdicts)))
    return path


def truths(count):
    """The true label of each training puppet."""
    from affectkit.registry import Registry

    piece = Registry.load(()).piece("dataset", "puppets")
    samples = piece.build(piece.settings(count=round(count / 0.7)), "train")
    return {s.id: s.label for s in (samples[i] for i in range(len(samples)))}


def loop(folder, count, seeds):
    """Mean UAR of each training set over seeds, and how far each lies above the raw pseudo labels, paired by person."""
    from affectkit.api import fit
    from affectkit.evaluation.bootstrap import paired
    from affectkit.evaluation.prediction import read_predictions
    from affectkit.evaluation.protocol import build_metrics
    from affectkit.plan.check import check

    run = annotated("mer_caption", folder, f"data.count={count}")
    held = looked_through(run)
    runs = f"run.folder={folder}/runs"
    base = [
        f"data.count={count}",
        f"run.start={folder}/runs/teachers/last",
        "stages.face=null",
        "stages.voice=null",
        "score.yardstick=null",
    ]
    pseudo = "{use: annotated, path: PATH, val: 0.1, labels: [happy, sad, neutral, angry, surprise, disgust, fear]MORE}"

    def of(path, more=""):
        return "stages.learn.data=" + pseudo.replace("PATH", str(path)).replace("MORE", more)

    data = {
        "true labels": [],
        "raw pseudo labels": [of(run / "records.jsonl", ", label: emotions.first")],
        "filtered": [of(run / "records.jsonl")],
        "filtered, looked through": [of(held)],
    }
    answers, sizes = {}, {}
    for name, more in data.items():
        for seed in range(seeds):
            made = fit(RECIPES.parent / "student.yaml", [*base, *more, runs, f"run.seed={seed}"], say=lambda _: None)
            told = json.loads((made.folder / "run.json").read_text())["stages"]["learn"]
            sizes[name] = told["train"]
            answers.setdefault(name, []).append(
                [p for p in read_predictions(made.folder / "predictions.jsonl") if p.split == "test"]
            )
    plan = check(RECIPES.parent / "student.yaml", base)
    metrics = {"uar": build_metrics(plan)["uar"].metric}
    import numpy as np

    first = answers["true labels"][0]
    people = [p.facts.get("person", p.id) for p in first]
    clusters = np.unique(people, return_inverse=True)[1]
    rows = []
    for name in data:
        pair = paired(metrics, answers["raw pseudo labels"], answers[name], LABELS, 0, clusters)["uar"]
        uars = [metrics["uar"](one, LABELS)["value"] for one in answers[name]]
        rows.append({"trained on": name, "clips": sizes[name], "uar": round(statistics.fmean(uars), 4), "each": uars,
                     "above raw": pair.value, "low": pair.low, "high": pair.high})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["calls", "kills", "filters", "loop", []])
    parser.add_argument("--out", default="annotate-bench")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    out = Path(args.out).absolute()
    parts = {"calls": calls, "kills": lambda: kills(args.kills), "filters": lambda: filters(out, args.count),
             "loop": lambda: loop(out, args.count, args.seeds)}  # fmt: skip
    path = HERE / "annotate.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for name in args.parts or ["calls", "kills"]:
        found[name] = parts[name]()
        found["machine"] = {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        }
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found[name], indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(float(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""))
    else:
        main()
