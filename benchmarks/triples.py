"""Joins a face, a voice and words of one label into one sample: an artificial set, on which fusion can be seen to do something.

python benchmarks/triples.py PACKS --out FOLDER [--seed 0]

PACKS has tables faces.csv, speech_pl.csv and text.csv with columns path or text, label and split. The three of a sample have the
label and the split in common and nothing else: no person has this face and this voice. Rare ones come more than once (45 test
samples of surprise have 19 faces), so intervals over samples are too narrow. Beside `triples.csv` there is
`triples_conflict.csv`, whose samples have three labels in three senses.
"""

import argparse
import csv
import itertools
import random
from pathlib import Path

LABELS = ("anger", "happiness", "neutral", "sadness", "surprise")
COUNTS = {"train": 240, "val": 40, "test": 45}
"""Samples of each label."""
SENSES = {
    "face": ("faces.csv", "path", "image"),
    "voice": ("speech_pl.csv", "path", "audio"),
    "words": ("text.csv", "text", "subtitle"),
}
"""Sense to its table, the column there, and the column here."""


def pools(packs, rng):
    """By sense, split and label: rows in an order of chance, without an end."""
    found = {}
    for sense, (table, column, _) in SENSES.items():
        rows = list(csv.DictReader((packs / table).open()))
        for split, label in itertools.product(COUNTS, LABELS):
            own = [row for row in rows if row["split"] == split and row["label"] == label]
            rng.shuffle(own)
            base = "" if column == "text" else f"{packs.resolve()}/"
            found[sense, split, label] = itertools.cycle(
                [{"value": base + row[column], "person": row.get("speaker", "")} for row in own]
            )
    return found


def joined(packs, seed, labels_of):
    """Rows of a table; `labels_of(label, rng)` says which label each sense of a sample has."""
    rng = random.Random(seed)
    from_ = pools(packs, rng)
    rows = []
    for split, count in COUNTS.items():
        for label, i in itertools.product(LABELS, range(count)):
            own = labels_of(label, rng)
            parts = {sense: next(from_[sense, split, own[sense]]) for sense in SENSES}
            row = {"id": f"{split}_{label}_{i}", "label": label, "split": split, "person": parts["voice"]["person"]}
            row |= {here: parts[sense]["value"] for sense, (_, _, here) in SENSES.items()}
            rows.append(row | {f"{sense}_label": own[sense] for sense in SENSES})
    return rows


def agreeing(label, rng):
    """All three senses show the label."""
    return dict.fromkeys(SENSES, label)


def conflicting(label, rng):
    """The face shows the label, the voice and the words two others."""
    return dict(zip(SENSES, (label, *rng.sample([other for other in LABELS if other != label], 2)), strict=True))


def write(folder, packs, seed):
    """All tables; returns their paths by what they are called."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"triples": joined(packs, seed, agreeing), "triples_conflict": joined(packs, seed, conflicting)}
    paths = {}
    for name, rows in tables.items():
        paths[name] = folder / f"{name}.csv"
        save(paths[name], rows)
    return paths


def save(path, rows):
    """Rows as a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name, path in write(given.out, given.packs, given.seed).items():
        print(f"{name}: {path}")


if __name__ == "__main__":
    main()
