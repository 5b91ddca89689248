"""Wall time of the commands that must be light, against a bare Python start, and whether torch was imported.

python benchmarks/startup.py [--runs 7]     prints a table and writes benchmarks/startup.json
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "affectkit --help": ["-m", "affectkit", "--help"],
    "affectkit check recipes/emo_llama.yaml": ["-m", "affectkit", "check", "recipes/emo_llama.yaml"],
    "affectkit check recipes/paper/emo_llama.yaml": ["-m", "affectkit", "check", "recipes/paper/emo_llama.yaml"],
    "affectkit pieces": ["-m", "affectkit", "pieces"],
    "affectkit plugins": ["-m", "affectkit", "plugins"],
}


def seconds(words):
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def imports_torch(words):
    if words[0] != "-m":
        return False
    lines = (
        f"import sys, runpy; sys.argv = {['affectkit', *words[2:]]!r}",
        "try: runpy.run_module('affectkit', run_name='__main__')",
        "except SystemExit: pass",
        "print('torch' in sys.modules, file=sys.stderr)",
    )
    code = "\n".join(lines)
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return out.stderr.strip().endswith("True")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    times = {name: [] for name in COMMANDS}
    for _ in range(
        runs + 1
    ):  # in turn, so that a slow minute of the machine falls on all of them; the first is a warm-up
        for name, words in COMMANDS.items():
            times[name].append(seconds(words))
    base = statistics.median(times["python -c pass"][1:])
    rows = []
    for name, words in COMMANDS.items():
        middle = statistics.median(times[name][1:])
        rows.append(
            {
                "command": name,
                "median_s": round(middle, 3),
                "ratio_to_python": round(middle / base, 1),
                "imports_torch": imports_torch(words),
            }
        )
        print(f"{name:48} {middle:.3f} s  {middle / base:5.1f} x python  torch: {rows[-1]['imports_torch']}")
    about = {"machine": platform.platform(), "python": platform.python_version(), "runs": runs}
    Path(__file__).with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
