"""How often a model that knows nothing answers with the shorter label, by `score.normalise`.

python benchmarks/label_lengths.py [--seeds 6] [--clips 176]     prints a table and writes benchmarks/label_lengths.json

Untrained stand-in LLMs, one a seed, are asked about samples of words alone. There is nothing to know: a fair comparison
gives the shorter of two labels about half of the answers, whichever weights were drawn.
"""

import argparse
import json
import statistics
import tempfile
import time
import wave
from dataclasses import replace
from pathlib import Path

import torch

from affectkit.api import starting
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.sample import Sample

PAIRS = [("joy", "contemptuously amused"), ("sad", "pleasantly surprised"), ("fear", "sadly disappointed by it")]
"""Two labels each, of few tokens and of many."""
WAYS = ("sum", "mean", "prior")

RECIPE = """
name: label_lengths
data: {use: table, path: TABLE}
prompt:
  use: template
  parts: {words: {use: subtitle}, ask: {use: label_question}}
backbone: {use: causal_lm, layers: 2, width: 64, heads: 4}
stages: {all: {train: [backbone.model]}}
score: {metrics: {war: war}, reasons: 0}
run: {accelerator: cpu, seed: SEED, folder: RUNS, cache: CACHE}
"""


MOODS = ("again", "today", "at last", "as ever", "for nothing", "with you", "alone")


def words(number):
    """What is said in a clip: nothing that tells of a label."""
    return f"number {number} {MOODS[number % 7]}"


def table(path, labels, clips):
    """Clips that the tokenizer learns from."""
    rows = []
    for i in range(clips):
        sound = path.with_name(f"s{i}.wav")
        with wave.open(str(sound), "wb") as out:
            out.setparams((1, 2, 16000, 0, "NONE", "NONE"))
            out.writeframes(i.to_bytes(2, "little") * 800)
        rows.append(f"{sound.name},{labels[i % 2]},{('train', 'test')[i % 2]},{words(i)}")
    path.write_text("\n".join(["path,label,split,subtitle", *rows]) + "\n")


def shares(folder, labels, clips, seed):
    """The shorter label's share of the answers and the tokens of both labels, by one LLM."""
    table(folder / "t.csv", labels, 32)
    places = {"TABLE": folder / "t.csv", "RUNS": folder / "runs", "CACHE": folder / "cache", "SEED": seed}
    text = RECIPE
    for name, value in places.items():
        text = text.replace(name, str(value))
    (folder / "r.yaml").write_text(text)
    loaded = starting(folder / "r.yaml", say=lambda line: None)
    samples, found = [Sample(f"s{i}", subtitle=words(i), label=labels[i % 2]) for i in range(clips)], {}
    for way in WAYS:
        options = replace(AnswerOptions.of(loaded.plan.score, "label", "candidates"), normalise=way, batch=64)
        answers = predict(loaded.model, samples, labels, loaded.cache, options)
        found[way] = sum(a.label == labels[0] for a in answers) / len(answers)
    return found, [len(loaded.model.llm.tokenise(label)) for label in labels]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--clips", type=int, default=176)
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun, rows = time.monotonic(), []
    for labels in PAIRS:
        for seed in range(given.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found, tokens = shares(Path(folder), labels, given.clips, seed)
            rows.append({"labels": labels, "tokens": tokens, "seed": seed, **found})
    means = {way: statistics.mean(row[way] for row in rows) for way in WAYS}
    for way, mean in means.items():
        spread = sorted(row[way] for row in rows)
        print(f"{way:6} {mean:.3f}   (by LLM and pair of labels {spread[0]:.3f} to {spread[-1]:.3f})")
    seconds = round(time.monotonic() - begun, 1)
    out = {"clips": given.clips, "seeds": given.seeds, "seconds": seconds, "shorter": means, "rows": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
