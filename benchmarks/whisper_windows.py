"""What Whisper's encoder gives and costs where it hears a short window instead of 30 seconds.

python benchmarks/whisper_windows.py SOURCE... --sounds FOLDER [--clips 8]     prints a table and writes whisper_windows.json

SOURCE is a folder or hub id of Whisper, FOLDER has sound files; that many of them are heard, one at a time on one thread, and
cut to the shortest window first, so that all windows hear the same. The median of the thread's own time counts, the first clip
is thrown away. The difference is that of a clip's tokens and of their mean from those of the published window: 1 minus their
cosine, mean over the clips.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from pathlib import Path

WINDOWS = (None, 15.0, 8.0, 5.0, 4.0)
ENDINGS = (".wav", ".flac", ".mp3", ".m4a")


def sounds(folder, count):
    """Samples at 16 kHz of files spread evenly over a folder."""
    from affectkit.data.views import look
    from affectkit.recipe.views import Wave
    from affectkit.sample import Sample

    files = sorted(p for p in Path(folder).rglob("*") if p.suffix in ENDINGS)
    assert files, f"no sound in {folder}"
    chosen = files[:: max(1, len(files) // count)][:count]
    return [
        look(Sample(p.name, audio=p), {"wave": Wave(seconds=min(WINDOWS[1:]), cut="start")})["wave"] for p in chosen
    ]


def heard(source, window, raws):
    """Tokens [n d] of each clip, and milliseconds of the median one."""
    import torch
    from affectkit_plugins.encoders import whisper

    from affectkit.blocks import ViewBlock
    from affectkit.pieces import Shape

    settings = whisper.Settings(source=source, window=window)
    net = whisper.build(settings, {"wave": Shape("wave", 1, None, 16_000)}, None).eval()
    tokens, times = [], []
    with torch.no_grad():
        for raw in raws:
            values = torch.from_numpy(whisper.prepare(settings, "wave", raw))[None]
            begun = time.process_time()
            out = net(ViewBlock("wave", values, torch.ones_like(values, dtype=torch.bool)))["frames"]
            times.append(time.process_time() - begun)
            tokens.append(out.tokens[0, 0])
    return tokens, 1000 * statistics.median(times[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--sounds", required=True)
    parser.add_argument("--clips", type=int, default=8)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    raws, rows = sounds(given.sounds, given.clips), []
    for source in given.sources:
        for window in WINDOWS:
            tokens, ms = heard(source, window, raws)
            if window is None:
                whole, slow = tokens, ms
            far = [1 - torch.cosine_similarity(a, b, -1).mean() for a, b in zip(tokens, whole, strict=True)]
            mean = [1 - torch.cosine_similarity(a.mean(0), b.mean(0), -1) for a, b in zip(tokens, whole, strict=True)]
            row = {"source": Path(source).name, "window": window or 30.0, "ms_a_clip": round(ms, 1)}
            row |= {"times_faster": round(slow / ms, 1)}
            for name, parts in (("tokens_differ", far), ("mean_differs", mean)):
                row[name] = round(float(sum(parts) / len(parts)), 4)
            rows.append(row)
            print("  ".join(str(v).ljust(18 if i == 0 else 8) for i, v in enumerate(row.values())), flush=True)
    told = {
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": 1,
        "dtype": "float32",
        "clips": len(raws),
    }
    told |= {
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
        "columns": list(rows[0]),
        "rows": rows,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
