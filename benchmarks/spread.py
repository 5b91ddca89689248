"""What a Ray cluster on one machine gains and costs: seconds of annotation and of features, in this process and on workers.

python benchmarks/spread.py [--runs 3] [--workers 2]     prints a table and writes benchmarks/spread.json

Each run is a process of its own with an empty cache; the media are made before the clock starts, imports count. The runs of
both engines take turns, so that a busy machine slows both, and the ratio is of runs that follow one another.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = """
name: features
data: {use: puppets, count: COUNT}
views:
  wave: {use: wave}
  frames: {use: frames, count: 4}
streams:
  audio:
    steps:
      encoder: {use: log_mel, wave: wave}
      adapter: {use: conv_transformer, width: 128, channels: 64, layers: 2}
      projector: {use: mlp}
prompt: {use: template, parts: {audio: {use: slot, stream: audio}, ask: {use: label_question}}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages: {train: {train: [streams.audio.projector]}}
run: {accelerator: cpu}
"""
SLOW = '''"""Sleeps as long as a model takes to reply."""
import time
from dataclasses import dataclass
from affectkit import Piece, Port, hookimpl

@dataclass(frozen=True)
class Settings:
    """A model that takes half a second a clip."""

    seconds: float = 0.5
    """How long."""

def build(settings):
    """The annotator."""
    def look(rows):
        time.sleep(settings.seconds * len(rows))
        return [{"size": len(row["text"])} for row in rows]
    return look

@hookimpl
def affectkit_pieces():
    return [Piece("annotator", "waits", Settings, build, ports=(Port("text", "finding", "a text"),), tells=("size",))]
'''
WAITING = """
data: {use: puppets}
views: {words: {use: subtitle}}
annotators: {said: {use: spoken_words}, waits: {use: waits, text: said}}
"""


def commands(count, workers):
    """By what is measured, the command of each engine."""
    ray = ["--engine", "ray", "--workers", str(workers)]
    spread = ["run.engine=ray", f"run.workers={workers}"]
    voices = ["annotate", "annotate/voices", f"run.most={count}", "run.cache=cache"]
    waits = ["annotate", "waits.yaml", f"run.most={count}", "run.cache=cache", "--plugin", "waits.py"]
    build = ["cache", "build", "features.yaml", "run.cache=cache"]
    return {
        f"voices of {count} clips": (voices, [*voices, *spread]),
        f"half a second a clip, {count} clips": (waits, [*waits, *spread]),
        "features of 210 clips": (build, [*build, *ray]),
    }


def seconds(arguments, folder):
    """How long a command takes in an empty folder."""
    (folder / "features.yaml").write_text(RECIPE.replace("COUNT", "210"))
    (folder / "waits.yaml").write_text(WAITING)
    (folder / "waits.py").write_text(SLOW)
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "affectkit", *arguments], cwd=folder, check=True, capture_output=True)
    return time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--only", default="", help="measure what has this in its name, and keep the other rows")
    given = parser.parse_args()
    out = Path(__file__).with_suffix(".json")
    rows = [r for r in json.loads(out.read_text())["rows"] if given.only not in r["what"]] if given.only else []
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every worker compiles Ray and its friends anew
    with tempfile.TemporaryDirectory() as media:
        os.environ["AFFECTKIT_CACHE"] = media
        for what, engines in commands(given.count, given.workers).items():
            if given.only not in what:
                continue
            with tempfile.TemporaryDirectory() as folder:
                few = ["run.most=1"] if engines[0][0] == "annotate" else []
                seconds([*engines[0], *few], Path(folder))  # makes the media
                seconds([*engines[1], *few], Path(folder))  # compiles what workers import
            found = []
            for _ in range(given.runs):
                pair = []
                for arguments in engines:
                    with tempfile.TemporaryDirectory() as folder:
                        pair.append(seconds(arguments, Path(folder)))
                found.append(pair)
            local, spread = (statistics.median(column) for column in zip(*found, strict=True))
            ratio = statistics.median(one / other for one, other in found)
            rows.append({
                "what": what, "local_s": round(local, 1), "ray_s": round(spread, 1), "times_faster": round(ratio, 2),
            })  # fmt: skip
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    about = {"machine": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    about |= {"load": [round(one, 1) for one in os.getloadavg()], "runs": given.runs, "workers": given.workers}
    out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
