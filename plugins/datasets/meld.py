"""MELD: emotions in the dialogues of a television series."""

from __future__ import annotations

from dataclasses import dataclass

from affectkit_plugins.datasets._annotations import table, words
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._processed import clips_in, emotions, first_there
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.errors import Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample

PUBLISHED = {
    "anger": "angry", "joy": "happy", "sadness": "sad", "neutral": "neutral", "disgust": "disgust", "fear": "fear",
    "surprise": "surprise",
}  # fmt: skip
"""Published word to ours, in MERBench's order."""
LABELS = tuple(PUBLISHED.values())
CODES = {**PUBLISHED, **{str(i): name for i, name in enumerate(LABELS)}}
OBTAIN = "get MELD.Raw from its authors' page (labels under GPL-3.0, the clips belong to a television series)"
FILES = {"train": "train_sent_emo.csv", "val": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}
FOLDERS = {
    "train": ("train/train_splits", "train_splits", "train"),
    "val": ("dev/dev_splits_complete", "dev_splits_complete", "dev"),
    "test": ("test/output_repeated_splits_test", "output_repeated_splits_test", "test"),
}
"""Where the clips of a split lie: as the archives unpack, as MERBench wants them."""
NPZ = "label.npz"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """MELD (Poria et al. 2019): 13,708 utterances of dialogues, seven emotions and a polarity; English.

    Splits as published: `train`, `val` (their dev) and `test`. Reads the release (`train_sent_emo.csv` … and a folder of
    clips a split) or MERBench's processed copy (`label.npz`, `subvideo/`). Ids are MERBench's (`train_dia0_utt3`), since
    the numbers repeat in each split. The polarity is the answer of the task `sentiment` (csv only). Facts:
    `published_label` (`joy`; a number in the npz), `person`. Columns and counts are known from the csv files, folders
    from public loaders. That `train_dia125_utt3` is broken and `val_dia110_utt7` is not there is general knowledge.
    """

    annotations: str | None = None
    """The npz of the processed copy where it has another name; null reads the csv files, else `label.npz`."""
    video: str | None = None
    """The folder of all clips of a processed copy; null looks for the split's own, then `subvideo/` and `video/`."""
    without: tuple[str, ...] = ()
    """Clips to leave out, by id, such as those that the release has not got or that are broken."""


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, CODES, LABELS, OBTAIN)
    if settings.annotations or (first_there(reader.root, (*FILES.values(), NPZ)) == NPZ):
        video = clips_in(reader, settings.video, ("subvideo", "video"))
        splits = emotions(reader, reader.root / (settings.annotations or NPZ), video)
    else:
        had = [split for split, file in FILES.items() if (reader.root / file).is_file()]
        splits = {split: _part(reader, settings, split) for split in had or FILES}
    kept = {split: [s for s in samples if s.id not in settings.without] for split, samples in splits.items()}
    strange = set(settings.without) - {s.id for samples in splits.values() for s in samples}
    if strange:
        reader.problems.append(Problem("data.without", f"there is no clip {sorted(strange)[0]!r}"))
    return reader.end({"train": [], **kept})


def _part(reader: SampleReader, settings: Settings, split: str) -> list[Sample]:
    """A split of the release."""
    path = reader.root / FILES[split]
    _, _, rows = table(path, ("Dialogue_ID",), ("Utterance_ID", "Emotion"))
    video = clips_in(reader, settings.video, (*FOLDERS[split], "subvideo", "video"))
    reader.another()
    found = []
    for row in rows:
        clip = f"dia{row.cells['Dialogue_ID']}_utt{row.cells['Utterance_ID']}"
        if reader.once(f"{split}_{clip}", row.place):
            found.append(_sample(reader, (f"{split}_{clip}", clip), row.cells, row.place, video))
    return found


def _sample(
    reader: SampleReader, names: tuple[str, str], cells: dict[str, str], place: str, video: Folder | None
) -> Sample:
    code, polarity = words(cells["Emotion"]).lower(), words(cells.get("Sentiment")).lower()
    facts = {"person": Fact(cells["Speaker"])} if cells.get("Speaker") else {}
    answers = {"sentiment": polarity} if polarity else {}
    return reader.sample(names, video, words(cells.get("Utterance")), code, place, answers=answers, facts=facts)


PIECE = published("meld", Settings, read, LABELS, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
