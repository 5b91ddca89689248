"""Sets of sentiment: CMU-MOSI and CMU-MOSEI (English), CH-SIMS and its version 2 (Chinese)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import is_number, table, there, words
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._processed import clips_in, corpora, first_there, sentiment, sound_in
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.errors import InputError, Problem, unknown
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample
from affectkit.tables import TableRow, fail

SPLITS = {"train": "train", "valid": "val", "val": "val", "dev": "val", "test": "test"}
POLARITY = ("negative", "neutral", "positive")
TABLES = ("label.csv", "meta.csv")
METADATA = "metadata/sentiment/label_M.csv"
NPZ = "label.npz"
RAW = ("Raw", "raw")
SINGLE = {"label_T": "sentiment_of_text", "label_A": "sentiment_of_sound", "label_V": "sentiment_of_pictures"}
"""Columns that hold what one modality alone says."""
CMU = "get it through CMU-MultimodalSDK or from the authors of MMSA or MERBench (research only)"
SIMS = "ask the authors of CH-SIMS (research only)"


@dataclass(frozen=True)
class Sentiment(PublishedSettings):
    """Settings that the readers of sentiment share."""

    classes: Literal["none", "two", "three"] = "none"
    """The label of a clip: none, negative or positive (none for a 0), or negative, neutral or positive."""
    annotations: str | None = None
    """The table or npz of labels; null looks for the names that copies have (`label.csv`, `meta.csv`, `label.npz` …)."""
    video: str | None = None
    """The folder of the clips; null looks for `Raw/` beside a table, for MERBench's folders beside an npz."""


@dataclass(frozen=True)
class Corpus:
    """The properties in which the sets of sentiment differ."""

    inner: tuple[str, ...] = ("",)
    """Folders below the root in which a copy may lie, the likeliest first."""
    videos: tuple[str, ...] = ("subvideo", "video")
    """Where a processed copy has its cut clips."""
    scale: tuple[float, float] = (-3.0, 3.0)
    """The ends of its scale of sentiment."""
    digits: int = 0
    """Clip numbers are padded with zeros to this length."""


@dataclass(frozen=True)
class Mosi(Sentiment):
    """CMU-MOSI (Zadeh et al. 2016): 2,199 segments of 93 video reviews, sentiment from -3 to 3; English.

    Splits as published: 1,284, 229 and 686 clips. The value is a number, and the answer of the task `sentiment`;
    `classes` makes a label of its sign. Reads MERBench's processed copy (`label.npz`, `subvideo/`) and MMSA's
    (`label.csv`, `Raw/`). The pickle of features that MERBench took its labels from is not read. The npz is known from
    its files, MMSA's copy from its description and public loaders. Facts: `published_label`; in MMSA's copy what each
    modality alone says.
    """


@dataclass(frozen=True)
class Mosei(Sentiment):
    """CMU-MOSEI (Zadeh et al. 2018): 22,856 segments of 3,225 videos, sentiment from -3 to 3; English.

    Splits as published: 16,326, 1,871 and 4,659 clips. The value is a number, and the answer of the task `sentiment`;
    `classes` makes a label of its sign. Reads MERBench's processed copy (`label.npz`, `subvideo_new/`) and MMSA's
    (`label.csv`, `Raw/`); `transcripts` may name the release's `Raw/Transcript/Segmented/Combined`, a file a video. The
    pickle of features that MERBench took its labels from is not read. The npz is known from its files, MMSA's copy from
    its description and public loaders. Facts: `published_label`.
    """


@dataclass(frozen=True)
class Sims(Sentiment):
    """CH-SIMS (Yu et al. 2020): 2,281 clips of Chinese films and shows, sentiment from -1 to 1.

    Splits as published: 1,368, 456 and 457 clips. The value is a number, and the answer of the task `sentiment`;
    `classes` makes a label of its sign. Reads the metadata of the release (`metadata/sentiment/label_M.csv`, index files,
    translations), MMSA's `label.csv` (Chinese text only) or MERBench's processed copy (`label.npz`, `video/`). The
    metadata and the npz are known from MERBench's code and files, MMSA's copy from its description. Facts:
    `published_label`; in MMSA's copy what each modality alone says.
    """


@dataclass(frozen=True)
class Sims2(Sentiment):
    """CH-SIMS v2, supervised part (Liu et al. 2022): 4,403 clips of Chinese films and shows, sentiment from -1 to 1.

    Splits as published: 2,722, 647 and 1,034 clips. The value is a number, and the answer of the task `sentiment`;
    `classes` makes a label of its sign. Reads the release (`meta.csv`, `Raw/`, also below `ch-simsv2s/`; clip numbers are
    text and keep their zeros; Chinese text only) or MERBench's processed copy (`label.npz`, `video_new/`). Columns,
    folders and ids are known from MERBench's code and label files. Facts: `published_label`, and what each modality alone
    says.
    """


CORPORA: dict[str, tuple[type[Sentiment], Corpus, str]] = {
    "cmu_mosi": (Mosi, Corpus(), CMU),
    "cmu_mosei": (Mosei, Corpus(videos=("subvideo_new", "subvideo", "video")), CMU),
    "ch_sims": (Sims, Corpus(videos=("video", "subvideo"), scale=(-1.0, 1.0), digits=4), SIMS),
    "ch_sims_v2": (Sims2, Corpus(inner=("", "ch-simsv2s"), videos=("video_new", "video"), scale=(-1.0, 1.0)), SIMS),
}


@dataclass(frozen=True)
class Utterance:
    """A row on its way to being a sample."""

    name: str
    place: str
    split: str
    value: str
    text: str | Mapping[str, str] = ""
    """The words, or cells that hold them by language."""
    folder: str = ""
    """The folder of its video in a release, empty in a processed copy."""
    files: tuple[str, ...] = ()
    """Names that its clip may have in that folder."""
    facts: Mapping[str, Fact] = field(default_factory=dict)


def labels_of(settings: Sentiment) -> tuple[str, ...]:
    """The label set."""
    return {"none": (), "two": (POLARITY[0], POLARITY[2]), "three": POLARITY}[settings.classes]


def polarity(value: float, classes: str) -> str | None:
    """The label of a value."""
    if classes == "none" or (classes == "two" and value == 0):
        return None
    return POLARITY[1 + (value > 0) - (value < 0)]


def read_sentiment(settings: Sentiment, corpus: Corpus, obtain: str) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, {}, labels_of(settings), obtain)
    reader.numbers = {"sentiment": corpus.scale}
    where, file = _found(reader.root, settings, corpus)
    path = reader.root / where / file
    if file.endswith(".npz"):
        sound_in(reader, ("subaudio", "audio"))
        video = clips_in(reader, settings.video, corpus.videos)
        rows = [
            Utterance(name, place, split, "" if value is None else f"{value:.6g}")
            for split, cells in corpora(path).items()
            for name, place, _, value in cells
        ]
    else:
        raw = first_there(reader.root / where, RAW) or RAW[0]
        video = reader.clips(settings.video or (f"{where}/{raw}" if where else raw))
        rows = _indexed(path, corpus) if file == METADATA else _rows(path, corpus)
    return _opened(reader, settings, rows, video)


def _found(root: Path, settings: Sentiment, corpus: Corpus) -> tuple[str, str]:
    """The folder below the root, and the file of labels in it."""
    tries = (settings.annotations,) if settings.annotations else (*TABLES, METADATA, NPZ)
    for where in corpus.inner:
        file = first_there(root / where, [t for t in tries if t])
        if file:
            return where, file
    if settings.annotations:
        there(root / settings.annotations)
    near = tuple(sorted(p.name for p in root.iterdir())[:30])
    what = f"there is none of {', '.join(tries[:2])}, {METADATA}, {NPZ}"
    raise InputError(Problem(str(root), what, "name the file of labels: `data.annotations`", near))


def _rows(path: Path, corpus: Corpus) -> list[Utterance]:
    """The table of MMSA's copies and of CH-SIMS v2: a row an utterance, with its split in `mode`."""
    _, _, rows = table(path, ("video_id",), ("clip_id", "label", "mode"))
    found = []
    for row in rows:
        cells = row.cells
        alone = {ours: words(cells.get(theirs)) for theirs, ours in SINGLE.items()}
        facts = {ours: Fact(float(text)) for ours, text in alone.items() if is_number(text)}
        text = words(cells.get("text"))
        found.append(_named(corpus, row, cells["mode"].lower(), text, facts))
    return found


def _indexed(path: Path, corpus: Corpus) -> list[Utterance]:
    """CH-SIMS' own metadata: labels in one table, the rows of each split in others, translations in a third."""
    folder = path.parent.parent
    _, _, rows = table(path, ("video_id",), ("clip_id", "label"))
    said = {}
    if (folder / "Translation.csv").is_file():
        _, _, lines = table(folder / "Translation.csv", ("video_id",))
        said = {(r.cells["video_id"], r.cells["clip_id"].lstrip("0")): r.cells for r in lines}
    found, problems = [], []
    for split in ("train", "val", "test"):
        file = folder / f"{split}_index.csv"
        _, key, lines = table(file, ("index",))
        for line in lines:
            number = line.cells[key]
            if not number.isdigit() or int(number) >= len(rows):
                problems.append(Problem(line.place, f"{number!r} is no row of {path.name}, which has {len(rows)}"))
                continue
            row = rows[int(number)]
            told = said.get((row.cells["video_id"], row.cells["clip_id"].lstrip("0")), {})
            found.append(_named(corpus, row, split, told, {}))
    fail(problems)
    return found


def _named(
    corpus: Corpus, row: TableRow, split: str, text: str | Mapping[str, str], facts: Mapping[str, Fact]
) -> Utterance:
    """A row of a table; `text` are the words, or cells with them in both languages."""
    video, clip = row.cells["video_id"], row.cells["clip_id"]
    # only where numbers are numbers may zeros be added or dropped: in CH-SIMS v2 0001 and 00001 are two clips
    padded = (clip.zfill(corpus.digits), clip, clip.lstrip("0") or "0")
    files = tuple(dict.fromkeys(padded)) if corpus.digits and clip.isdigit() else (clip,)
    value = words(row.cells["label"])
    return Utterance(f"{video}_{files[0]}", row.place, split, value, text, video, files, facts)


def _opened(
    reader: SampleReader, settings: Sentiment, rows: Sequence[Utterance], video: Folder | None
) -> PublishedSamples:
    splits: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    inner: dict[str, Folder] = {}
    bare = outside = 0
    for row in rows:
        split = SPLITS.get(row.split)
        if split is None:
            reader.problems.append(unknown(row.place, "split", row.split, SPLITS))
        elif row.value and not is_number(row.value):
            reader.problems.append(Problem(row.place, f"the sentiment {row.value!r} is no number"))
        elif reader.once(row.name, row.place):
            folder = video
            if video is not None and row.folder and row.folder not in inner:
                inner[row.folder] = Folder(video.path / row.folder, video.endings)
            sample = _sample(reader, settings, row, inner.get(row.folder, folder))
            splits[split].append(sample)
            bare += not row.value
            outside += bool(row.value) and not sample.numbers
    if bare:
        reader.notes.append(f"{bare} clips have no value")
    if outside:
        low, high = reader.numbers["sentiment"]
        reader.notes.append(f"{outside} clips have a value outside the scale ({low:g} to {high:g}), and no number")
    if not splits["val"]:
        del splits["val"]
    return reader.end(splits)


def _sample(reader: SampleReader, settings: Sentiment, row: Utterance, folder: Folder | None) -> Sample:
    """The sample of a row."""
    answers = sentiment(row.value) if row.value else {}
    low, high = reader.numbers["sentiment"]
    numbers = {"sentiment": float(row.value)} if row.value and low <= float(row.value) <= high else {}
    label = polarity(float(row.value), settings.classes) if row.value else None
    text = row.text if isinstance(row.text, str) else words(row.text.get(settings.language.capitalize()))
    sample = reader.sample(
        (row.name,), None, text, row.value, label=label, answers=answers, facts=row.facts, numbers=numbers
    )
    return sample if folder is None else replace(sample, video=folder.find(*(row.files or (row.name,))))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's pieces."""
    return [
        published(name, settings, partial(read_sentiment, corpus=corpus, obtain=obtain), labels_of, obtain)
        for name, (settings, corpus, obtain) in CORPORA.items()
    ]
