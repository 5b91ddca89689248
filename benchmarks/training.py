"""Training samples a second, memory and where the time goes, with features kept and with frozen parts run for every batch.

python benchmarks/training.py [--recipe R] [--stage S] [--steps 60] [--runs 3] [KEY=VALUE ...]

prints a table and writes benchmarks/training.json. Published code runs its frozen encoders again in every epoch; here they run
once. Each way is a process of its own with the same stage of the recipe, in turn; the median counts, and the shares are those of
the median run. Published sizes want a GPU; with random weights and puppets nothing has to be downloaded:

python benchmarks/training.py --recipe recipes/paper/emo_llama.yaml --stage joint --steps 20 run.weights=random \\
    "data={use: puppets, count: 400}" stages.joint.data=null
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = {"features kept": "disk", "encoded for every batch": "none"}


def measured(recipe, stage, overrides, cache):
    """The profile of one stage, in this process."""
    from affectkit.api import train
    from affectkit.plan.check import check
    from affectkit.train.run_folder import start

    plan = check(recipe, overrides)
    others = [f"stages.{name}=null" for name in plan.stages if name != stage]
    streams = [f"streams.{name}.cache={cache}" for name in dict.fromkeys(a.split(".")[0] for a in plan.graph.steps)]
    with tempfile.TemporaryDirectory() as folder:
        places = [f"run.folder={folder}/runs", f"run.cache={folder}/cache"]
        run = start(check(recipe, [*overrides, *others, *streams, *places, "run.profile=true"]))
        train(check(run.recipe), run, lambda line: None)
        about = json.loads(run.about.read_text())
    return {**about["stages"][stage]["profile"], "weights": sorted({w["origin"] for w in about["weights"]})}


def device():
    """The GPU by name, or the processor."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--recipe", default="recipes/emo_llama.yaml")
    parser.add_argument("--stage", default="instruct")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    overrides = [*given.overrides, f"stages.{given.stage}.max_steps={given.steps}"]
    if given.one:
        print(json.dumps(measured(given.recipe, given.stage, overrides, given.one)))
        return
    found = {way: [] for way in WAYS}
    for _ in range(given.runs):
        for way, cache in WAYS.items():
            words = [sys.executable, __file__, "--one", cache, *sys.argv[1:]]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    slowest = min(statistics.median(p["samples_per_second"] for p in profiles) for profiles in found.values())
    rows = []
    for way, profiles in found.items():
        speeds = [p["samples_per_second"] for p in profiles]
        middle = sorted(profiles, key=lambda p: p["samples_per_second"])[len(profiles) // 2]
        whole = sum(middle["training"].values())
        rows.append({
            "way": way, "samples_per_s": round(statistics.median(speeds), 2),
            "spread": [round(min(speeds), 2), round(max(speeds), 2)],
            "times_faster": round(statistics.median(speeds) / slowest, 2), "most_bytes": middle["most_bytes"],
            "before_s": middle["before"], "shares": {part: round(s / whole, 3) for part, s in middle["training"].items()},
        })  # fmt: skip
        print(
            f"{way:26} {rows[-1]['samples_per_s']:8} samples/s {rows[-1]['times_faster']:6} x  {middle['most_bytes']}"
        )
        for part, share in rows[-1]["shares"].items():
            print(f"    {part:32} {share:6.1%}")
    about = {
        "machine": platform.platform(), "device": device(), "threads": os.environ.get("OMP_NUM_THREADS"),
        "recipe": given.recipe, "stage": given.stage, "overrides": overrides, "runs": given.runs,
        "weights": found["features kept"][0]["weights"], "load": [round(x, 1) for x in os.getloadavg()],
    }  # fmt: skip
    Path(__file__).with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
