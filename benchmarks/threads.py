"""One small training loop on one thread and on two, on a machine to itself and on a busy one, by how long threads spin.

python benchmarks/threads.py [--runs 5]     prints a table and writes benchmarks/threads.json
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

LOOP = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
layer, head = torch.nn.TransformerEncoderLayer(128, 4, 512, batch_first=True), torch.nn.Linear(128, 1000)
optimizer = torch.optim.AdamW([*layer.parameters(), *head.parameters()])
x, y = torch.randn(1, 900, 128), torch.randint(0, 1000, (900,))
begun = time.perf_counter()
for _ in range(20):
    loss = torch.nn.functional.cross_entropy(head(layer(x))[0], y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(time.perf_counter() - begun)
"""
WAYS = {
    "1 thread": ("1", {}),
    "2 threads, as they come": ("2", {}),
    "2 threads, 10000 spins": ("2", {"GOMP_SPINCOUNT": "10000"}),
    "2 threads, passive": ("2", {"OMP_WAIT_POLICY": "passive"}),
}


def seconds(threads, more):
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", LOOP, threads], env=env | more, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def measured(runs):
    """Medians in seconds; in turn, so that a slow minute falls on all of them."""
    times = {way: [] for way in WAYS}
    for _ in range(runs):
        for way, (threads, more) in WAYS.items():
            times[way].append(seconds(threads, more))
    return {way: statistics.median(t) for way, t in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    found = {"alone": measured(runs)}
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        found["beside one busy process"] = measured(runs)
    finally:
        busy.kill()
    rows = [
        {
            "machine is": where,
            "way": way,
            "median_s": round(s, 3),
            "ratio_to_one_thread": round(s / times["1 thread"], 2),
        }
        for where, times in found.items()
        for way, s in times.items()
    ]
    told = {"machine": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(), "runs": runs}
    Path(__file__).with_suffix(".json").write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print("  ".join(str(v).ljust(26) for v in row.values()))


if __name__ == "__main__":
    main()
