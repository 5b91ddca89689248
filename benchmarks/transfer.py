"""What pretrained weights give: a linear probe on a frozen network, and on the same network with its weights dealt out anew.

python -m benchmarks transfer --packs FOLDER --weights FOLDER [--out runs/transfer]     prints a table and writes transfer.json

FOLDER as for `real`. In the random network the values of every tensor have changed places within it: shapes, scale and
distribution are those of the pretrained one, what it learnt is gone. Other seeds are other shuffles. UAR on the test split.
The folders of random weights stay in --out, for `python -m benchmarks real --set backbone.source=…` to train on.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
from pathlib import Path

HERE = Path(__file__).parent
END = """
heads: {probe: {use: linear_probe, tokens: STREAM.scale}}
backbone: null
stages: {probe: {train: [heads.probe], objective: heads.probe}}
score: {metrics: {uar: uar}, calibrate: ""}
"""
FACES = """
name: faces
data: {use: table, path: PACKS/faces.csv, leave_out: [fear, disgust, contempt]}
views: {frames: {use: frames, count: 1}, faces: {use: faces, of: frames, margin: 0}}
streams:
  face:
    steps:
      net: {use: face_api, pixels: faces, source: SOURCE, grid: 3}
      scale: {use: standardise, tokens: face.net.global}
"""
SPEECH = """
name: speech
data: {use: table, path: PACKS/speech_pl.csv}
views: {wave: {use: wave, seconds: 4}}
streams:
  voice:
    steps:
      encoder: {use: whisper, wave: wave, source: SOURCE, layer: 3, window: 4}
      pool: {use: statistics, of: [mean, std]}
      scale: {use: standardise}
"""
ROWS = {
    "face-api": FACES + END.replace("STREAM", "face"),
    "whisper-base": SPEECH + END.replace("STREAM", "voice"),
}
"""Folder of weights to the recipe of a probe on it."""


def dealt_out(folder, out, seed):
    """A folder of weights with the values of every tensor in other places: safetensors, or TensorFlow.js shards."""
    if out.is_dir():
        return out
    part = out.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part)
    for path in part.rglob("*"):
        if path.suffix == ".safetensors":
            deal_tensors(path, seed)
        elif path.name.endswith("manifest.json"):
            deal_shards(path, seed)
    return part.rename(out)


def deal_tensors(path, seed):
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(seed)
    state = load_file(path)
    dealt = {name: t.flatten()[torch.randperm(t.numel())].reshape(t.shape) for name, t in state.items()}
    save_file(dealt, path, {"format": "pt"})


def deal_shards(manifest, seed):
    """Tensors lie one behind the other in the shards of their group, as bytes or as float32."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for group in json.loads(manifest.read_text()):
        shards = [manifest.parent / name for name in group["paths"]]
        values, at = np.concatenate([np.fromfile(s, np.uint8) for s in shards]), 0
        for told in group["weights"]:
            size = np.dtype(told.get("quantization", told)["dtype"]).itemsize
            count = int(np.prod(told["shape"]))
            own = values[at : at + size * count].reshape(count, size)
            own[:] = own[rng.permutation(count)]
            at += size * count
        ends = np.cumsum([s.stat().st_size for s in shards])
        for shard, part in zip(shards, np.split(values, ends[:-1]), strict=True):
            part.tofile(shard)


def uar(recipe, source, given, name):
    """Of the probe on a network's features."""
    from affectkit import fit
    from affectkit.evaluation.score import read_metrics

    text = recipe.replace("PACKS", str(given.packs.resolve())).replace("SOURCE", str(source))
    run = fit(text, [f"run.folder={given.out / 'runs' / name}"])
    return read_metrics(run.folder)["test"].metrics["uar"].value


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    given = parser.parse_args()
    found = {}
    for name, recipe in ROWS.items():
        folder = given.weights.resolve() / name
        told = {"pretrained": uar(recipe, folder, given, name), "random": []}
        for seed in given.seeds:
            random = dealt_out(folder, given.out.resolve() / f"{name}-{seed}", seed)
            told["random"].append(uar(recipe, random, given, random.name))
        found[name] = told
        print(f"{name}: probe {told['pretrained']:.3f}, with random weights {statistics.mean(told['random']):.3f}")
    dealt_out(given.weights.resolve() / "smollm2", given.out.resolve() / "smollm2-0", 0)
    how = {"seeds": given.seeds, "machine": platform.machine(), "cores": os.cpu_count()}
    record = {"what": __doc__.split("\n")[0], "rows": found, "how": how}
    (HERE / "transfer.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
