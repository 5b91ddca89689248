"""What annotators with small real weights hear and see: Whisper's transcripts, and labels of the expression network.

python -m benchmarks hearing --packs FOLDER --english FOLDER --weights FOLDER [--parts transcripts faces] [--count 120]

FOLDER of packs has speech_pl.csv, speech_de.csv and faces.csv with the media that they name, that of English has speech.csv; that
of weights has `whisper-base` and `face-api` (docs/small-weights.md). Of each language so many clips are drawn by seed, of English
all. Prints tables and writes hearing.json.

Words are compared without case and marks: NFKC, case folded, what is neither letter nor digit a blank. The word error rate is
edits over the words that were said, over all clips; a clip without a transcript (rejected) counts with all its words deleted. Its
interval is that of clips drawn anew. Where Whisper finds the right language it writes what it writes with the language given,
token by token, so such clips are transcribed once.
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
        print(f"{language}: {one['clips']} clips, WER with the language {', '.join(parts)}; right {one['language_right']:.3f}")


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


PARTS = {"transcripts": (transcripts, show_transcripts)}


if __name__ == "__main__":
    main()
