"""A table of short wavs, and a recipe that trains on it in seconds: the smallest data that anybody may have."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from media_files import sine, write_wav

RECIPE = """
name: wavs
data: {use: table, path: t.csv}
views: {wave: {use: wave, seconds: 1}}
streams:
  audio: {steps: {encoder: {use: log_mel, wave: wave}, projector: {use: mlp}}}
prompt:
  use: template
  parts:
    audio: {use: slot, stream: audio}
    words: {use: subtitle}
    ask: {use: label_question, wording: "Emotion?"}
    why: {use: reason_question}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages:
  one: {train: [streams.audio.projector, backbone.model], epochs: 2, batch: 4, lr: 1e-3, save_every: 1}
score: {metrics: {uar: uar, war: war}, resamples: 20, reasons: 0}
run: {accelerator: cpu, folder: runs}
"""


def write(folder: Path, change=lambda row, i: row, count=30, text=RECIPE) -> Path:
    """`count` rows (18 train, 6 val, the rest test) and the recipe; `change` gives each row its last word."""
    (folder / "wav").mkdir(exist_ok=True)
    rows = []
    for i in range(count):
        write_wav(folder / f"wav/c{i:02d}.wav", sine(16000, 200 + 20 * i, 0.3)[None], 16000)
        split = "train" if i < 18 else "val" if i < 24 else "test"
        label = ["happy", "sad", "angry"][i % 3]
        row = {"id": f"c{i:02d}", "path": f"wav/c{i:02d}.wav", "label": label, "split": split}
        rows.append(change({**row, "subtitle": f"text number {i}", "reason": f"because of number {i}"}, i))
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "r.yaml").write_text(text)
    return folder / "r.yaml"


def noise(seed: int, seconds: float = 0.3) -> np.ndarray:
    """White noise [1, a] at 16 kHz."""
    return np.random.default_rng(seed).standard_normal((1, round(16000 * seconds))).astype(np.float32) * 0.1
