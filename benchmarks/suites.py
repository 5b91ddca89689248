"""A suite on k checkpoints: encodings a clip and seconds, against an evaluation a checkpoint; and open answers in batches.

python benchmarks/suites.py RUN [--task open_labels] [--clips 96] [--runs 3]     prints and writes benchmarks/suites.json

RUN is a trained run whose last stage kept its epochs (`keep_every: 1`). Published code runs its frozen encoders anew for
every checkpoint, and writes one answer at a time. Ways take turns in one process, the median counts.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import yaml

from affectkit.api import load
from affectkit.data.splits import open_split
from affectkit.encode.cache import Cache
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.studies.suite_checkpoints import checkpoints_of
from affectkit.studies.suite_run import evaluate_suite
from affectkit.train.run_folder import evaluated_run


def suite_file(folder, plan, task):
    """The test split of the run's own data as a suite of one set."""
    metrics = {"words": {"use": "hit_rate", "task": task, "read": "auto"}} if task != "label" else {"war": "war"}
    entry = {"data": plan.data.block(), "task": task, "metrics": metrics, "max_new_tokens": 40}
    path = Path(folder) / "own.yaml"
    path.write_text(yaml.safe_dump({"name": "own", "sets": {"own": entry}}))
    return path


def timed_suite(run, suite, folder, points):
    """Seconds, and what suite.json says of encodings, with a cache that is empty at first."""
    with tempfile.TemporaryDirectory() as cache:
        own = [f"run.cache={cache}", f"run.folder={folder}/runs"]
        begun = time.perf_counter()
        made = evaluate_suite([run], suite, own, say=lambda _: None, checkpoints=points)
        seconds = time.perf_counter() - begun
    return seconds, json.loads((made.folder / "suite.json").read_text())["encodings"]


def checkpoints(run, suite, folder, names, runs):
    """Both ways, in turn."""
    times = {"together": [], "one by one": []}
    for _ in range(runs):
        seconds, once = timed_suite(run, suite, folder, "all")
        times["together"].append(seconds)
        each = [timed_suite(run, suite, folder, name) for name in names]
        times["one by one"].append(sum(s for s, _ in each))
        encoded = sum(e["encoded"] for _, e in each)
    middle = {way: statistics.median(seconds) for way, seconds in times.items()}
    return {
        "checkpoints": len(names), "clips": once["clips"],
        "encodings_per_clip": {"together": once["per_clip"], "one by one": encoded / once["clips"]},
        "seconds": {way: round(s, 2) for way, s in middle.items()},
        "times_faster": round(middle["one by one"] / middle["together"], 2),
    }  # fmt: skip


def answers(loaded, task, count, runs):
    """Clips a second of writing answers, features cached: in batches, and one by one."""
    split = open_split(loaded.plan.data, "test", "data")
    samples = [split[i] for i in range(min(count, len(split)))]
    ways = {"batches of 32": 32, "batches of 96": 96, "one by one": 1}
    times, texts = {way: [] for way in ways}, {}
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        for turn in range(runs + 1):  # the first is a warm-up, and fills the cache
            for way, batch in ways.items():
                options = AnswerOptions(task, "generate", batch, max_new_tokens=40)
                begun = time.perf_counter()
                found = predict(loaded.model, samples, loaded.labels, cache, options)
                times[way] += [time.perf_counter() - begun] if turn else []
                texts[way] = [p.text for p in found]
    middle = {way: statistics.median(seconds) for way, seconds in times.items()}
    same = sum(len(set(each)) == 1 for each in zip(*texts.values(), strict=True))
    return {
        "clips": len(samples), "same_answers": same,
        "clips_per_s": {way: round(len(samples) / s, 1) for way, s in middle.items()},
        "times_faster": {way: round(middle["one by one"] / s, 2) for way, s in middle.items()},
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="folder of a trained run")
    parser.add_argument("--task", default="open_labels")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    loaded = load(given.run)
    names = [c.name for c in checkpoints_of(evaluated_run(loaded.run), loaded.plan)]
    with tempfile.TemporaryDirectory() as folder:
        suite = suite_file(folder, loaded.plan, given.task)
        found = {"checkpoints": checkpoints(given.run, suite, folder, names, given.runs)}
    found["answers"] = answers(loaded, given.task, given.clips, given.runs)
    about = {
        "machine": platform.platform(), "threads": os.environ.get("OMP_NUM_THREADS"), "recipe": loaded.plan.name,
        "task": given.task, "runs": given.runs, "load": [round(x, 1) for x in os.getloadavg()],
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    Path(__file__).with_suffix(".json").write_text(json.dumps({**about, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
