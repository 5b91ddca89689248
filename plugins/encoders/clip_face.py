"""Facial priors from libraries alone: a CLIP trained on faces, and classifiers of age and gender."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._values import named, once
from affectkit_plugins.encoders._images import PIXELS
from affectkit_plugins.encoders._pixels import CLIP_MEAN, CLIP_STD, HALF, Preprocessing, pixels, published
from affectkit_plugins.encoders._sizes import Family, grid_tokens, read_json, sizes
from affectkit_plugins.encoders._vision import BASE, NAMES, TINY, VisionSettings, seen
from affectkit_plugins.encoders.face_analysis import AGES, GENDERS

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

FAMILY = Family(names=NAMES, published=BASE, absent={**BASE, "patch": 32}, section="vision_config")
LABELS = {
    "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
    "gender": ("Female", "Male"),
}
"""Classes of FairFace (Karkkainen and Joo 2021), as its classifiers name them."""
FactName = Literal["age", "gender"]
_NUMBERS = (
    (re.compile(r"(\d+)\s*(?:-|–|to)\s*(\d+)"), lambda m: (int(m[1]), int(m[2]))),
    (re.compile(r"(\d+)\s*\+|(?:more than|over|above)\s*(\d+)"), lambda m: (int(m[1] or m[2]), inf)),
    (re.compile(r"(\d+)"), lambda m: (int(m[1]), int(m[1]))),
)


@dataclass(frozen=True)
class Settings(VisionSettings):
    """Facial priors without a face network: patches of a CLIP trained on faces, and two image classifiers.

    The default sizes are FaRL's (Zheng et al. 2022, ViT-B/16 at 224 pixels), read through transformers' `CLIPVisionModel`
    from a folder or hub id (`Green-Sky/FaRL-Base-Patch16-LAIONFace20M-ep64`) or from the published `.pth`, which has the
    layout of OpenAI and open_clip; any other CLIP will do. `global` is its class token and its patches pooled to `grid` x
    `grid`, `local` its patches. Age and gender come from transformers' `ViTForImageClassification`
    (`dima806/fairface_age_image_detection`, `…_gender_…`); classes that fall into one of our words are summed. It has no
    landmarks, and race is left out.
    """

    whole: Literal["both", "grid", "cls"] = "both"
    """What the global tokens are: the class token and the pooled patches, or one of them."""
    grid: int = 7
    """The patches are pooled to grid x grid global tokens."""
    local_grid: int | None = None
    """The local tokens are pooled to as many by as many; None leaves every patch."""
    local_layer: int = -1
    """Which layer's patches are the local tokens, counted from the end."""
    tells: tuple[FactName, ...] = ("age", "gender")
    """Which facts it estimates; each needs a classifier of its own."""
    age_source: str = ""
    """Hub id or folder of the classifier of age; empty for random weights."""
    gender_source: str = ""
    """Hub id or folder of the classifier of gender; empty for random weights."""
    classifier: dict[str, int] = field(default_factory=dict)
    """Sizes of both classifiers (size, patch, width, layers, heads, hidden) where no checkpoint states them; ViT-B/16's
    otherwise."""
    ages: tuple[str, ...] = AGES
    """Words for the age bands."""
    genders: tuple[str, ...] = GENDERS
    """Words for the genders."""
    age_words: dict[str, str] = field(default_factory=dict)
    """Our word for classes of the checkpoint that lie in none of our bands."""
    gender_words: dict[str, str] = field(default_factory=dict)
    """Our word for classes of the checkpoint that are spelt otherwise."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and the networks cannot take."""
        found = [
            (n, f"{v} is less than 1") for n in ("grid", "local_grid") if (v := getattr(self, n)) is not None and v < 1
        ]
        if self.local_layer > -1:
            found.append(("local_layer", "counted from the end: -1 is the last layer"))
        if unknown := sorted(set(self.classifier) - set(NAMES)):
            found.append(("classifier", f"knows no {', '.join(unknown)}, only {', '.join(NAMES)}"))
        return found + once(self, "fact", "tells") + named(self, "ages", "genders")

    def look(self) -> Preprocessing:
        """How CLIP sees a crop, as published: shorter side, then the centre."""
        return seen(FAMILY, self, Preprocessing(224, "crop", mean=CLIP_MEAN, std=CLIP_STD))

    def words(self, told: str) -> tuple[str, ...]:
        """Our words for a fact."""
        return self.ages if told == "age" else self.genders


@dataclass(frozen=True)
class Classifier:
    """One of the image classifiers, as `_load_net.transformer` reads it."""

    fact: str
    source: str
    size: int | None = None
    patch: int | None = None
    width: int | None = None
    layers: int | None = None
    heads: int | None = None
    hidden: int | None = None

    @property
    def family(self) -> Family:
        """ViT-B/16 with FairFace's classes, where no checkpoint says otherwise."""
        return Family(names=NAMES, published=BASE, absent=BASE, fixed={"id2label": dict(enumerate(LABELS[self.fact]))})

    def labels(self) -> tuple[str, ...]:
        """The classes of the checkpoint, or FairFace's where it does not lie on disk."""
        stated = (read_json(self.source, "config.json") or {}).get("id2label")
        return LABELS[self.fact] if not stated else tuple(stated[key] for key in sorted(stated, key=int))

    def look(self) -> Preprocessing:
        """How it sees a crop: as its preprocessor says, else as `ViTImageProcessor` does."""
        usual = Preprocessing(224, "squash", filter="bilinear", mean=HALF, std=HALF)
        return published(self.source, usual).sized(sizes(self.family, self)["size"])


def classifiers(settings: Settings) -> list[Classifier]:
    """Those that the settings ask for, in their order."""
    return [Classifier(told, getattr(settings, f"{told}_source"), **settings.classifier) for told in settings.tells]


def places(settings: Settings, told: Classifier) -> list[int]:
    """The index of our word for each class of a classifier. Raises InputError for classes that are none of our words."""
    field_ = f"{told.fact}_words"
    found, wrong = columns(told.labels(), settings.words(told.fact), getattr(settings, field_), field_)
    if wrong:
        raise InputError(wrong)
    return found


def band(word: str) -> tuple[int, float] | None:
    """The least and the largest age that a word such as `20-29`, `70+` or `more than 70` stands for."""
    for pattern, read in _NUMBERS:
        if match := pattern.fullmatch(word.strip().lower()):
            return read(match)
    return None


def placed(theirs: str, ours: Sequence[str], own: Mapping[str, str]) -> int | None:
    """The index of our word for theirs: as `own` says, the same but for capitals, or the band that holds theirs."""
    said = own.get(theirs, theirs).strip().lower()
    words = [word.lower() for word in ours]
    if said in words:
        return words.index(said)
    inner = band(said)
    for index, word in enumerate(words):
        outer = band(word)
        if inner and outer and outer[0] <= inner[0] and inner[1] <= outer[1]:
            return index
    return None


def columns(
    theirs: Sequence[str], ours: Sequence[str], own: Mapping[str, str], field: str
) -> tuple[list[int], list[Problem]]:
    """For each class of theirs the index of our word, and what is wrong: classes that are none of our words."""
    found = [placed(word, ours, own) for word in theirs]
    lost = [repr(word) for word, place in zip(theirs, found, strict=True) if place is None]
    if not lost:
        return [place for place in found if place is not None], []
    what = f"the classifier's {', '.join(lost)} are none of our words"
    return [], [Problem(field, what, f"say which ones they are: {field}: {{{lost[0]}: …}}", tuple(ours))]


def views(settings: Settings) -> list[Preprocessing]:
    """The ways in which a crop is resized, each once: CLIP's first. Colours are normalised later, network by network."""
    looks = [settings.look(), *(c.look() for c in classifiers(settings))]
    return list(dict.fromkeys(plain(look) for look in looks))


def plain(look: Preprocessing) -> Preprocessing:
    """The same look but for its colours."""
    return replace(look, mean=HALF, std=HALF)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`global`, `local`, `valid` and a block for each fact; all have the time of the crops."""
    time, known = inputs["pixels"].time, sizes(FAMILY, settings)
    for one in classifiers(settings):
        places(settings, one)
    d, patches = known["width"], grid_tokens(known["size"], known["patch"])
    count = settings.grid**2 * (settings.whole != "cls") + (settings.whole != "grid")
    local = patches if settings.local_grid is None else settings.local_grid**2
    people: dict[str, Shape] = {told: Shape("tokens", time, 1, len(settings.words(told))) for told in settings.tells}
    return {
        "global": Shape("tokens", time, count, d),
        "local": Shape("tokens", time, local, d),
        "valid": Shape("tokens", time, 1, 1),
        **people,
    }


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    """Face crops (`RawPixels`) as each network wants them, uint8 [t 3*k s s]: three channels for each of the k ways to
    resize, the smaller ones in the upper left corner."""
    import numpy as np

    looks = views(settings)
    side = max(look.size for look in looks)
    out = np.zeros((len(raw.frames), 3 * len(looks), side, side), np.uint8)
    for i, look in enumerate(looks):
        out[:, 3 * i : 3 * i + 3, : look.size, : look.size] = pixels(raw, look)
    return out


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The networks; raises InputError where a source cannot be read, or is of other sizes or classes."""
    from affectkit_plugins.encoders.clip_face_net import ClipFace

    return ClipFace(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    tiny = {**TINY, "grid": 2, "classifier": dict(TINY)}
    return [
        Piece(
            "encoder",
            "clip_face",
            Settings,
            build,
            shapes=shapes,
            ports=PIXELS,
            needs=("transformers",),
            tiny=tiny,
            prepare=prepare,
            tells=lambda settings: settings.tells,
        )
    ]
