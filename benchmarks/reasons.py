"""Reasons to learn from: what is measured in a face and a voice, and what is said, in English sentences.

python -m benchmarks reasons TABLE --weights FOLDER --out TABLE      adds a column `reason` to a table of triples

Nothing here reads a label but the last word of each reason. Face-api's landmarks give the opening of mouth and eyes, the corners
of the mouth and the height of the brows; the wave gives pitch, its movement, loudness and pauses. Each is told where it lies
away from the mean of the training rows by more than 0.7 of their spread, in one of several wordings; three words of the text
are quoted. The senses come in one order, for a small model that has to find out which it has spoken of goes in circles, and a
model that has not got a sense must not learn to speak of it. What it then says of other clips it says by itself.
"""

import argparse
import csv
import random
from pathlib import Path

import numpy as np

from benchmarks import triples

AWAY = 0.7
"""Spreads from the mean from which on a cue is told."""
CUES = {
    "mouth": (("the mouth is open", "the lips are apart", "the jaw has dropped"), ("the lips are closed", "the mouth is shut")),
    "corners": (("the corners of the mouth go up", "the lips curl upwards", "the mouth is drawn wide and up"),
                ("the corners of the mouth hang down", "the lips point downwards")),
    "eyes": (("the eyes are wide open", "the eyes are widened"), ("the eyes are narrow", "the lids are lowered")),
    "brows": (("the brows are raised", "the brows have gone up"), ("the brows are lowered", "the brows press down")),
    "pitch": (("the voice is high", "the pitch is high"), ("the voice is low", "the pitch is low")),
    "movement": (("its pitch moves a lot", "the melody rises and falls"), ("its pitch hardly moves", "it sounds flat")),
    "loudness": (("the voice is loud", "it is spoken with force"), ("the voice is quiet", "it is spoken softly")),
    "pauses": (("there are long pauses", "the speech is halting"), ("the words come without a pause", "the speech is quick")),
}  # fmt: skip
"""Cue to its wordings above and below the mean."""
FACE, VOICE = ("mouth", "corners", "eyes", "brows"), ("pitch", "movement", "loudness", "pauses")


def face_cues(points):
    """[68 2] landmarks, x to the right and y down, to the four cues of a face."""

    def apart(a, b):
        return float(np.linalg.norm(points[a] - points[b]))

    height = apart(27, 8) + 1e-6
    lips, corners = points[[51, 57], 1].mean(), points[[48, 54], 1].mean()
    eyes = (apart(37, 41) + apart(38, 40) + apart(43, 47) + apart(44, 46)) / (
        2 * (apart(36, 39) + apart(42, 45)) + 1e-6
    )
    brows = points[36:48, 1].mean() - points[17:27, 1].mean()
    return {
        "mouth": apart(62, 66) / height,
        "corners": (lips - corners) / height,
        "eyes": eyes,
        "brows": brows / height,
    }


def voice_cues(wave, rate=16_000):
    """float32 [a] to the four cues of a voice: pitch and its spread in semitones, level in dB, share of silence."""
    size, hop = int(0.04 * rate), int(0.02 * rate)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, (0, max(0, size - len(wave)))), size)[::hop]
    level = 20 * np.log10(np.sqrt((frames**2).mean(1)) + 1e-5)
    spoken = level > level.max() - 25
    power = np.abs(np.fft.rfft(frames * np.hanning(size), 2 * size)) ** 2
    alike = np.fft.irfft(power)[:, : rate // 60]
    alike = alike / (alike[:, :1] + 1e-9)
    low, high = rate // 450, rate // 70
    lag, voiced = low + alike[:, low:high].argmax(1), alike[:, low:high].max(1) > 0.45
    tones = 12 * np.log2(rate / lag[voiced & spoken] / 100.0)
    tones = tones if len(tones) else np.zeros(1)
    return {"pitch": float(np.median(tones)), "movement": float(tones.std()), "loudness": float(level[spoken].mean()),
            "pauses": float(1 - spoken.mean())}  # fmt: skip


def measured(rows, source):
    """Cue by name for each row."""
    import torch
    from affectkit_plugins.encoders import face_api

    from affectkit.blocks import ViewBlock
    from affectkit.data.views import look
    from affectkit.pieces import Shape
    from affectkit.recipe.views import Faces, Frames, Wave
    from affectkit.sample import Sample

    settings = face_api.Settings(source=source, places="crop")
    net = face_api.build(settings, {"pixels": Shape("pixels", 1)}, None).eval()
    views = {"frames": Frames(count=1), "faces": Faces(margin=0), "wave": Wave(seconds=4)}
    found = []
    for row in rows:
        seen = look(Sample(row["id"], image=Path(row["image"]), audio=Path(row["audio"])), views)
        pixels = torch.from_numpy(face_api.prepare(settings, "pixels", seen["faces"]))[None]
        with torch.no_grad():
            points = net(ViewBlock("faces", pixels, torch.ones(1, 1, dtype=torch.bool)))["landmarks"].tokens[0, 0]
        found.append(face_cues(points.numpy()) | voice_cues(seen["wave"].samples))
    return found


def said(cues, names, rng):
    """A sentence of the cues that lie away from the mean, the two farthest; empty for none."""
    far = sorted((n for n in names if abs(cues[n]) > AWAY), key=lambda n: -abs(cues[n]))[:2]
    parts = [rng.choice(CUES[n][0 if cues[n] > 0 else 1]) for n in far]
    return rng.choice((" and ", ", and ", " while ")).join(parts)


def reason(row, cues, senses, rng):
    """The sentences of a row, of these senses."""
    words = row["subtitle"].split()
    start = rng.randrange(max(1, len(words) - 2))
    quoted = " ".join(words[start : start + 3]).strip(".\"'")
    parts = {
        "face": said(cues, FACE, rng) or rng.choice(("the face is still", "little moves in the face")),
        "voice": said(cues, VOICE, rng)
        or rng.choice(("the voice is even", "the voice is of middling height and force")),
        "words": rng.choice(('the words "{}" fit', '"{}" is what is said', 'what is said is "{}"')).format(quoted),
    }
    end = rng.choice(("All this speaks of {}.", "So it is {}.", "That is {}.")).format(row["label"])
    return " ".join(parts[sense][0].upper() + parts[sense][1:] + "." for sense in senses) + f" {end}"


def add(rows, source, senses=tuple(triples.SENSES), seed=0):
    """The rows with a `reason` each, of these senses."""
    cues = measured(rows, source)
    names = (*FACE, *VOICE)
    train = np.array([[c[n] for n in names] for c, row in zip(cues, rows, strict=True) if row["split"] == "train"])
    mean, spread = train.mean(0), train.std(0) + 1e-9
    away = [{n: (c[n] - m) / s for n, m, s in zip(names, mean, spread, strict=True)} for c in cues]
    return [
        row | {"reason": reason(row, c, senses, random.Random(f"{seed} {row['id']}"))}
        for row, c in zip(rows, away, strict=True)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--senses", nargs="+", choices=triples.SENSES, default=list(triples.SENSES))
    given = parser.parse_args()
    rows = add(list(csv.DictReader(given.table.open())), str(given.weights / "face-api"), given.senses)
    triples.save(given.out, rows)


if __name__ == "__main__":
    main()
