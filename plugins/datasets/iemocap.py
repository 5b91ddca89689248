"""IEMOCAP: acted dialogues of two people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import text_of
from affectkit_plugins.datasets._folders import SOUND, Folder
from affectkit_plugins.datasets._processed import clips_in, emotions, first_there, session_of, sound_in
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample
from affectkit.tables import text_lines

CLASSES = {
    "four": {"hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral", "ang": "angry"},
    "six": {"hap": "happy", "sad": "sad", "neu": "neutral", "ang": "angry", "exc": "excited", "fru": "frustrated"},
}
"""Published code to ours, in MERBench's order."""
LABELS = {classes: tuple(dict.fromkeys(codes.values())) for classes, codes in CLASSES.items()}
OTHERS = ("hap", "exc", "sad", "neu", "ang", "fru", "fea", "sur", "dis", "oth", "xxx")
"""All codes of the release: the turns of those that are in no class are left out."""
NPZ = {"four": "label_4way.npz", "six": "label_6way.npz"}
DIMENSIONS = ("valence", "arousal", "dominance")
FULL = "IEMOCAP_full_release"
OBTAIN = "fill in the request form of IEMOCAP's authors at USC (research only)"
TURN = re.compile(r"\[([\d.]+) - ([\d.]+)\]\t(\S+)\t(\w+)\t\[(.+)\]")
"""A turn in EmoEvaluation: its times, id, code, and the three dimensions."""
SAID = re.compile(r"(Ses\S+) \[[\d.]+-[\d.]+\]:\s*(.*)")


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """IEMOCAP (Busso et al. 2008): five sessions of two actors; four classes (happy with excited) or six; English.

    Splits: `test` is one session, `train` and `val` (a share of the clips, of the same speakers) are the others.
    Reads MERBench's processed copy (`label_4way.npz`, `subvideo-tgt/`, `subaudio/`) or the release
    (`Session1/dialog/EmoEvaluation/` …), whose clips are the sound of each turn: its videos are whole dialogues of two
    people side by side and are not cut here, so name a folder of cut ones. Facts: `published_label` (`exc`; a number in
    the npz), and from the release `person` (`Ses01M`), `valence`, `arousal`, `dominance` (1 to 5; numbers too). The npz
    is known from its files, the release's folders and lines from public loaders, its codes are general knowledge. The npz
    counts 5,531 clips of four classes and 7,433 of six; the release's own labels may give other numbers.
    """

    classes: Literal["four", "six"] = "four"
    """four: happy (with excited), sad, neutral, angry; six: excited and frustrated are classes of their own."""
    session: Literal[1, 2, 3, 4, 5] = 5
    """The session that is the test (MER-UniBench: 5, with 1,241 clips of four classes)."""
    annotations: str | None = None
    """The npz of a processed copy where it has another name; null looks for the usual ones, else for the release."""
    video: str | None = None
    """The folder of cut clips by turn; null looks for `subvideo-tgt/` and `subvideo/`, and goes without in the release."""
    audio: str | None = None
    """The folder of sound by turn; null looks for `subaudio/` and `audio/`, or takes the release's own."""


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    codes = CLASSES[settings.classes]
    labels = LABELS[settings.classes]
    reader = SampleReader(settings, {**codes, **{str(i): n for i, n in enumerate(labels)}}, labels, OBTAIN)
    npz = settings.annotations or first_there(reader.root, (NPZ[settings.classes],))
    if npz:
        sound_in(reader, ("subaudio", "audio"))
        video = clips_in(reader, settings.video, ("subvideo-tgt", "subvideo"))
        samples = [s for part in emotions(reader, reader.root / npz, video).values() for s in part]
    else:
        samples = _release(reader, settings)
    parts = {n: [s for s in samples if session_of(s.id) == n] for n in "12345"}
    strange = next((s.id for s in samples if not session_of(s.id)), None)
    if strange is not None:
        reader.problems.append(Problem(str(reader.root), f"the clip {strange!r} tells of no session (Ses01 to Ses05)"))
    test = str(settings.session)
    train = [s for n, part in parts.items() if n != test for s in part]
    return reader.end({"train": train, "test": parts[test]})


def _release(reader: SampleReader, settings: Settings) -> list[Sample]:
    """The turns of all dialogues that are there."""
    root = reader.root / FULL if (reader.root / FULL).is_dir() else reader.root
    files = sorted(root.glob("Session[1-5]/dialog/EmoEvaluation/Ses*.txt"))
    if not files:
        near = tuple(sorted(p.name for p in root.iterdir())[:30])
        what = f"there is neither {NPZ[settings.classes]} nor Session1/dialog/EmoEvaluation/"
        raise InputError(Problem(str(root), what, OBTAIN, near))
    reader.numbers = dict.fromkeys(DIMENSIONS, (1.0, 5.0))
    video = reader.clips(settings.video) if settings.video else None
    found, left = [], Counter[str]()
    for file in files:
        session = file.parent.parent.parent
        said = _said(session / "dialog" / "transcriptions" / file.name)
        sound = Folder(session / "sentences" / "wav" / file.stem, SOUND)
        for place, name, code, dimensions in _turns(file):
            if code in OTHERS and code not in reader.codes:
                left[code] += 1
            elif reader.once(name, place):
                facts = {"person": Fact(speaker(name)), **dimensions}
                sample = reader.sample((name,), video, said.get(name, ""), code, place, facts=facts)
                found.append(sample if sample.audio else replace(sample, audio=sound.find(name)))
    if left:
        counts = ", ".join(f"{n} {code}" for code, n in sorted(left.items()))
        reader.notes.append(f"turns that are in none of the classes are left out: {counts}")
    return found


def _turns(file: Path) -> Iterator[tuple[str, str, str, dict[str, Fact]]]:
    """(place, id, code, dimensions) of each turn; the lines between them are single raters'."""
    for number, line in enumerate(text_lines(text_of(file)), 1):
        match = TURN.match(line)
        if match:
            numbers = [float(n) for n in re.findall(r"[\d.]+", match[5])]
            facts = {n: Fact(v) for n, v in zip(DIMENSIONS, numbers, strict=False)}
            yield f"{file}:{number}", match[3], match[4].lower(), facts


def speaker(name: str) -> str:
    """Who says a turn: two people play in each session (`Ses01F_impro01_M003` is the man of the first, `Ses01M`)."""
    return name[:5] + name.rpartition("_")[2][:1]


def _said(file: Path) -> dict[str, str]:
    """What is said by turn; lines of another form are no turns."""
    if not file.is_file():
        return {}
    lines = (SAID.match(line) for line in text_lines(text_of(file)))
    return {m[1]: m[2].strip() for m in lines if m}


PIECE = published("iemocap", Settings, read, lambda settings: LABELS[settings.classes], OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
