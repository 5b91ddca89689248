"""Sets of sentiment: CMU-MOSI and CMU-MOSEI (English), CH-SIMS and its version 2 (Chinese)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from affectkit_plugins.datasets._published import published
from affectkit_plugins.datasets._sentiment import Corpus, Sentiment, labels_of, read_sentiment

from affectkit.pieces import Piece, hookimpl

CMU = "get it through CMU-MultimodalSDK or from the authors of MMSA or MERBench (research only)"
SIMS = "ask the authors of CH-SIMS (research only)"


@dataclass(frozen=True)
class Mosi(Sentiment):
    """CMU-MOSI (Zadeh et al. 2016): 2,199 segments of 93 video reviews, sentiment from -3 to 3; English.

    Splits as published: 1,284, 229 and 686 clips. The value is the answer of the task `sentiment`; `classes` makes a
    label of its sign. Reads MERBench's processed copy (`label.npz`, `subvideo/`) and MMSA's (`label.csv`, `Raw/`). The
    pickle of features that MERBench took its labels from is not read. The npz is known from its files, MMSA's copy from
    its description and public loaders. Facts: `published_label`; in MMSA's copy what each modality alone says.
    """


@dataclass(frozen=True)
class Mosei(Sentiment):
    """CMU-MOSEI (Zadeh et al. 2018): 22,856 segments of 3,225 videos, sentiment from -3 to 3; English.

    Splits as published: 16,326, 1,871 and 4,659 clips. The value is the answer of the task `sentiment`; `classes` makes a
    label of its sign. Reads MERBench's processed copy (`label.npz`, `subvideo_new/`) and MMSA's (`label.csv`, `Raw/`);
    `transcripts` may name the release's `Raw/Transcript/Segmented/Combined`, a file a video. The pickle of features that
    MERBench took its labels from is not read. The npz is known from its files, MMSA's copy from its description and
    public loaders. Facts: `published_label`.
    """


@dataclass(frozen=True)
class Sims(Sentiment):
    """CH-SIMS (Yu et al. 2020): 2,281 clips of Chinese films and shows, sentiment from -1 to 1.

    Splits as published: 1,368, 456 and 457 clips. The value is the answer of the task `sentiment`; `classes` makes a label
    of its sign. Reads the metadata of the release (`metadata/sentiment/label_M.csv`, index files, translations), MMSA's
    `label.csv` (Chinese text only) or MERBench's processed copy (`label.npz`, `video/`). The metadata and the npz are
    known from MERBench's code and files, MMSA's copy from its description. Facts: `published_label`; in MMSA's copy
    what each modality alone says.
    """


@dataclass(frozen=True)
class Sims2(Sentiment):
    """CH-SIMS v2, supervised part (Liu et al. 2022): 4,403 clips of Chinese films and shows, sentiment from -1 to 1.

    Splits as published: 2,722, 647 and 1,034 clips. The value is the answer of the task `sentiment`; `classes` makes a
    label of its sign. Reads the release (`meta.csv`, `Raw/`, also below `ch-simsv2s/`; clip numbers are text and keep
    their zeros; Chinese text only) or MERBench's processed copy (`label.npz`, `video_new/`). Columns, folders and ids are
    known from MERBench's code and label files. Facts: `published_label`, and what each modality alone says.
    """


CORPORA: dict[str, tuple[type[Sentiment], Corpus, str]] = {
    "cmu_mosi": (Mosi, Corpus(), CMU),
    "cmu_mosei": (Mosei, Corpus(videos=("subvideo_new", "subvideo", "video")), CMU),
    "ch_sims": (Sims, Corpus(videos=("video", "subvideo"), digits=4), SIMS),
    "ch_sims_v2": (Sims2, Corpus(inner=("", "ch-simsv2s"), videos=("video_new", "video")), SIMS),
}


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's pieces."""
    return [
        published(name, settings, partial(read_sentiment, corpus=corpus, obtain=obtain), labels_of, obtain)
        for name, (settings, corpus, obtain) in CORPORA.items()
    ]
