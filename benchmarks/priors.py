"""Time and memory of each source of facial priors for one frame, at published size with random weights.

python benchmarks/priors.py [--frames 4] [--runs 5] [--device cpu]     prints a table and writes benchmarks/priors.json

Each source runs in a process of its own, one thread, on crops that are there already: decoding and finding faces are not
counted. Each run is one batch; the first is thrown away, and the median of the others counts. On a CPU, time is that of the
one thread, whatever else the machine does. Memory is what the process grows by: while the network is built (code and
weights), and beyond that to its peak, by frame of the batch; on a GPU, what torch kept.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SOURCES = {
    "facexformer": {"use": "facexformer"},
    "facexformer without parsing": {"use": "facexformer", "parsing": False},
    "clip_face (FaRL, age and gender)": {"use": "clip_face"},
    "clip_face (FaRL alone)": {"use": "clip_face", "tells": []},
    "face_analysis (the stand-in)": {"use": "face_analysis"},
    "face_api": {"use": "face_api"},
    "mini_xception (label and patches, no priors)": {"use": "mini_xception"},
}


def held(device):
    """A function that tells the most bytes that were held so far."""
    if device == "cpu":
        return lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    import torch

    torch.zeros(1, device=device)
    return torch.cuda.max_memory_allocated


def measured(block, frames, runs, device):
    """Milliseconds and bytes of one source, in this process."""
    import numpy as np
    import torch

    from affectkit import weights
    from affectkit.blocks import ViewBlock
    from affectkit.pieces import Shape
    from affectkit.raw import RawPixels
    from affectkit.recipe import settings
    from affectkit.registry import Registry

    torch.set_num_threads(1)
    piece = Registry.load().find("encoder", block.pop("use"))
    given, problems = settings.read(piece.settings, block, str)
    assert not problems, problems
    kept, clock = held(device), time.process_time if device == "cpu" else time.perf_counter
    before = kept()
    with weights.using("random"):
        net = piece.build(given, {"pixels": Shape("pixels", frames)}, None).eval().to(device)
    rng = np.random.default_rng(0)
    crops = tuple(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(frames))
    raw = RawPixels(crops, np.arange(frames), np.arange(frames) / 25, np.ones(frames, bool))
    values = torch.from_numpy(piece.prepare(given, "pixels", raw))[None]
    view = ViewBlock("faces", values, torch.ones(1, frames, dtype=torch.bool)).to(device)
    times, built = [], kept()
    with torch.no_grad():
        for _ in range(runs + 1):
            begun = clock()
            out = net(view)
            float(next(iter(out.values())).tokens.sum())  # waits for a GPU
            times.append(clock() - begun)
    parameters = sum(p.numel() for p in net.parameters())
    bytes_ = {n: 4 * b.tokens[0, 0].numel() for n, b in out.items() if n in ("global", "local", "patches")}
    return {
        "ms_a_frame": round(1000 * statistics.median(times[1:]) / frames, 1),
        "built_mb": round((built - before) / 1e6),
        "forward_mb_a_frame": round((kept() - built) / 1e6 / frames),
        "parameters_m": round(parameters / 1e6, 1),
        "cached_kb_a_frame": round(sum(bytes_.values()) / 1e3, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help="a source as JSON: measure it in this process")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(json.loads(given.one), given.frames, given.runs, given.device)))
        return
    rows = []
    for name, block in SOURCES.items():
        same = [f"--frames={given.frames}", f"--runs={given.runs}", f"--device={given.device}"]
        done = subprocess.run(
            [sys.executable, __file__, *same, "--one", json.dumps(block)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
            text=True,
        )
        rows.append({"source": name, **json.loads(done.stdout.splitlines()[-1])})
        print("  ".join(str(v).ljust(34 if i == 0 else 10) for i, v in enumerate(rows[-1].values())), flush=True)
    told = {"machine": platform.platform(), "cpus": os.cpu_count(), "device": given.device, "frames": given.frames}
    told |= {"runs": given.runs, "threads": 1, "dtype": "float32", "columns": list(rows[0])}
    Path(__file__).with_suffix(".json").write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
