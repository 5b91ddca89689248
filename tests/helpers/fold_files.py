"""Fold files, for several test files."""

import numpy as np
from affectkit_plugins.metrics import accuracy, recall

from affectkit.evaluation.prediction import Prediction, write_predictions
from affectkit.evaluation.score import score, write_metrics

LABELS = ("happy", "sad", "neutral")

METRICS = {"uar": recall.build(recall.Settings()), "war": accuracy.build(accuracy.WarSettings())}


def fold(folder, number, sizes, labels=LABELS, first=0):
    """A run folder with the predictions of one fold."""
    rng = np.random.default_rng(number)
    rows = []
    for label, size in zip(labels, sizes, strict=True):
        for _ in range(size):
            answer = label if rng.random() < 0.6 + 0.05 * number else str(rng.choice(labels))
            rows.append(Prediction(f"{first + len(rows)}", "label", "scored", label, answer))
    rows.append(Prediction(f"{first + len(rows)}", "label", "undecodable", labels[0], error="broken"))
    run = folder / f"fold{number}"
    run.mkdir()
    (run / "recipe.yaml").write_text("name: fold\nscore: {metrics: {uar: {use: uar}, war: {use: war}}}\n")
    write_predictions(run / "predictions.jsonl", [*rows, Prediction("0", "reason", "scored", text="so")])
    write_metrics(run, {"test": score(rows, METRICS, labels, resamples=10)})
    return run
