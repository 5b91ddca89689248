"""Clips a second of an evaluation, by candidate scoring and by greedy generation, in batches and one by one.

python benchmarks/answers.py RUN [--clips 128] [--runs 5]     prints a table and writes benchmarks/answers.json

Published code generates up to 500 tokens greedily, one clip at a time, for an answer of one word, and runs its frozen
encoders again in every evaluation. Every way is asked of the same weights in one process, in turn, and the median counts.
Features of frozen encoders are cached before, except where a way says that it makes them.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from affectkit.api import load
from affectkit.data.splits import open_split
from affectkit.encode.cache import Cache
from affectkit.evaluation.predict import AnswerOptions, predict

WAYS = {
    "candidates, batches of 32": AnswerOptions(method="candidates", batch=32),
    "candidates, one by one": AnswerOptions(method="candidates", batch=1),
    "generation, batches of 32": AnswerOptions(method="generate", batch=32, max_new_tokens=500),
    "generation, one by one": AnswerOptions(method="generate", batch=1, max_new_tokens=500),
    "candidates, batches of 32, making features": AnswerOptions(method="candidates", batch=32),
    "generation, one by one, making features": AnswerOptions(method="generate", batch=1, max_new_tokens=500),
}
SLOWEST = "generation, one by one, making features"
"""What published code does from a raw clip."""


def answered(loaded, samples, way, cache):
    """The answers of one way; without the cache, a clip at a time where the way asks so."""
    options = WAYS[way]
    if "making features" not in way:
        return predict(loaded.model, samples, loaded.labels, cache, options)
    step = len(samples) if options.batch > 1 else 1
    found = []
    for start in range(0, len(samples), step):
        with tempfile.TemporaryDirectory() as empty:
            few = samples[start : start + step]
            found += predict(loaded.model, few, loaded.labels, Cache(Path(empty)), options)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="folder of a trained run")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    loaded = load(given.run)
    split = open_split(loaded.plan.data, "test", "data")
    samples = [split[i] for i in range(min(given.clips, len(split)))]
    times = {way: [] for way in WAYS}
    right = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        for turn in range(given.runs + 1):  # the first is a warm-up, and fills the cache
            for way in WAYS:
                begun = time.perf_counter()
                found = answered(loaded, samples, way, cache)
                if turn:
                    times[way].append(time.perf_counter() - begun)
                right[way] = sum(p.label == p.truth for p in found) / len(found)
    slowest = statistics.median(times[SLOWEST])
    rows = []
    for way, seconds in times.items():
        middle = statistics.median(seconds)
        rows.append({
            "way": way, "clips_per_s": round(len(samples) / middle, 1), "times_faster": round(slowest / middle, 2),
            "spread_s": [round(min(seconds), 3), round(max(seconds), 3)], "right": round(right[way], 3),
        })  # fmt: skip
        print(f"{way:45} {rows[-1]['clips_per_s']:8} clips/s  {rows[-1]['times_faster']:6} x  right {right[way]:.3f}")
    about = {
        "machine": platform.platform(), "threads": os.environ.get("OMP_NUM_THREADS"), "recipe": loaded.plan.name,
        "clips": len(samples), "runs": given.runs, "load": [round(x, 1) for x in os.getloadavg()],
    }  # fmt: skip
    Path(__file__).with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
