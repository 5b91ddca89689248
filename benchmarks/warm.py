"""What it costs to start when all features are cached already: processor time, memory and bytes read, by entries.

python benchmarks/warm.py [--runs 3]     prints a table and writes benchmarks/warm.json

Entries are simulated: samples are files of a few bytes, and what the cache holds of them are zeros of the given size. Each
warm start is a process of its own, which imports everything before the clock starts; the files lie in the page cache. The
first start after filling, which reads and verifies every shard, is not measured.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = ((1_000, 200_000), (3_000, 200_000), (10_000, 200_000), (10_000, 200), (30_000, 200), (100_000, 200))
"""Entries, and bytes of each."""
RECIPE = """
name: warm
data: {use: puppets, count: 42}
views:
  wave: {use: wave, seconds: 2}
streams:
  audio:
    steps:
      encoder: {use: log_mel, wave: wave}
      adapter: {use: conv_transformer, width: 32, channels: 16, layers: 1}
      projector: {use: mlp}
prompt: {use: template, parts: {audio: {use: slot, stream: audio}, ask: {use: label_question}}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages: {train: {train: [streams.audio.projector]}}
run: {accelerator: cpu}
"""


def perceiver_in(folder):
    """A perceiver whose cache lies in `folder`, with its steps built."""
    from affectkit.encode.cache import Cache
    from affectkit.encode.perceive import Perceiver
    from affectkit.model.model import build
    from affectkit.plan.check import check

    (folder / "recipe.yaml").write_text(RECIPE)
    model, plan = build(check(folder / "recipe.yaml"))
    return Perceiver.of(model, plan.stages["train"], Cache(folder))


def samples_in(folder, entries):
    from affectkit.sample import Sample

    return [Sample(str(i), video=folder / f"{i}.mp4") for i in range(entries)]


def fill(folder, entries, size):
    """A cache that holds everything of `entries` samples."""
    import torch

    from affectkit.encode.cache import CacheEntry
    from affectkit.encode.perceive import CHUNK

    samples = samples_in(folder, entries)
    for sample in samples:
        sample.video.write_text(sample.id)
    perceiver = perceiver_in(folder)
    names = [perceiver.names.sample(sample, False) for sample in samples]
    perceiver.names.keep()
    made = CacheEntry(
        {"frames/tokens": torch.zeros(1, 1, size // 4), "frames/mask": torch.ones(1, 1, 1, dtype=torch.bool)}
    )
    for _, key, kind in perceiver._targets():
        for start in range(0, entries, CHUNK):
            perceiver.cache.put(key, dict.fromkeys(names[start : start + CHUNK], made), kind)


def start(folder, entries):
    """One warm start: processor seconds, megabytes of memory added, megabytes read by calls and through mapped files."""
    samples, perceiver = samples_in(folder, entries), perceiver_in(folder)
    memory, mapped, read = resident("VmRSS"), resident("RssFile"), read_so_far()
    begun = time.process_time()
    type(perceiver)(
        perceiver.plan, perceiver.steps, type(perceiver.cache)(folder), perceiver.device, perceiver.cache_plan
    ).fill(samples)
    seconds = time.process_time() - begun
    print(json.dumps([seconds, resident("VmRSS") - memory, read_so_far() - read + resident("RssFile") - mapped]))


def resident(what):
    """Megabytes of this process's memory; `RssFile` is what it has read of the files that it maps."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(f"{what}:"))


def read_so_far():
    """Megabytes that this process read by calls."""
    return int(Path("/proc/self/io").read_text().split()[1]) / 1e6


def child(*words):
    done = subprocess.run([sys.executable, __file__, *map(str, words)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", help="where the caches are made (up to 2.2 GB at a time)")
    given = parser.parse_args()
    rows = []
    for entries, size in SIZES:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            child("fill", folder, entries, size)
            found = [child("start", folder, entries) for _ in range(given.runs)]
        cpu, memory, read = (statistics.median(column) for column in zip(*found, strict=True))
        first = next((r for r in rows if r["bytes"] == size), None)
        rows.append({
            "entries": entries, "bytes": size, "cpu_s": round(cpu, 2), "added_mb": round(memory, 1),
            "read_mb": round(read, 1), "entry_us": round(1e6 * cpu / entries, 1),
            "ratio_an_entry": round(1e6 * cpu / entries / first["entry_us"], 2) if first else 1.0,
        })  # fmt: skip
        print("  ".join(f"{name} {value:>9}" for name, value in rows[-1].items()), flush=True)
    about = {"machine": platform.platform(), "python": platform.python_version(), "runs": given.runs}
    Path(__file__).with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["fill"]:
        fill(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["start"]:
        start(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
