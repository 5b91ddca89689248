"""Any image classifier of transformers as an encoder that tells its own labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from affectkit_plugins._values import named
from affectkit_plugins.encoders._architectures import foreign
from affectkit_plugins.encoders._images import PIXELS, prepare
from affectkit_plugins.encoders._pixels import HALF, Preprocessing
from affectkit_plugins.encoders._sizes import Family, grid_tokens, read_json, sizes
from affectkit_plugins.encoders._vision import BASE, NAMES, TINY, VisionSettings, seen
from affectkit_plugins.encoders.face_api import EXPRESSIONS

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn

FAMILY = Family(names=NAMES, published=BASE, absent=dict.fromkeys(NAMES))


@dataclass(frozen=True)
class Settings(VisionSettings):
    """An image classifier of transformers (`AutoModelForImageClassification`), such as a ViT of face expressions.

    `patches` are the last layer's tokens without class tokens, `pooled` what the last linear layer reads, `probabilities` those
    of its labels; the likeliest label is told as an estimate. Without a source it is ViT-B/16 with random weights.
    """

    source: str = ""
    """Hub id (`trpakov/vit-face-expression`) or folder written by `save_pretrained`; empty for random weights."""
    labels: tuple[str, ...] = EXPRESSIONS
    """Labels of a network with random weights; a source has its own."""
    words: dict[str, str] = field(default_factory=dict)
    """Our word for labels of the source that are spelt otherwise (`{angry: anger}`)."""
    fact: str = "expression"
    """The name of the fact that is estimated: the likeliest label with its probability, averaged over the frames with a face."""

    def problems(self) -> list[tuple[str, str]]:
        """Labels that are none."""
        found = named(self, "labels") + ([] if self.fact else [("fact", "needs a name")])
        return found + foreign(self.source, "classifier of pictures", ("pictures",))

    def look(self) -> Preprocessing:
        """As its preprocessor says, else as `ViTImageProcessor` does."""
        return seen(FAMILY, self, Preprocessing(224, "squash", filter="bilinear", mean=HALF, std=HALF))

    def known_labels(self) -> tuple[str, ...] | None:
        """The labels in our words, in the network's order; None where only the hub knows them."""
        config = read_json(self.source, "config.json")
        if config is None:
            return self.labels if not self.source else None
        stated = config.get("id2label") or {}
        return tuple(self.words.get(stated[key], stated[key]) for key in sorted(stated, key=int)) or None


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The blocks, main one first; counts of networks that are no vision transformers, and what the last layer reads (twice as
    much in DINOv2), come to light when they are built."""
    time, known, labels = inputs["pixels"].time, sizes(FAMILY, settings), settings.known_labels()
    config = read_json(settings.source, "config.json") or {}
    wide = known["width"] or (config.get("hidden_sizes") or [None])[-1]
    patches = grid_tokens(known["size"], known["patch"]) if "patch_size" in config or not settings.source else None
    return {
        "patches": Shape("tokens", time, patches, wide),
        "pooled": Shape("tokens", time, 1, wide),
        "probabilities": Shape("tokens", time, 1, None if labels is None else len(labels)),
    }


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The network; raises InputError where the source cannot be read, or lacks weights."""
    from affectkit_plugins.encoders.image_classifier_net import ImageClassifier

    return ImageClassifier(settings, inputs["pixels"].time)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [
        Piece(
            "encoder",
            "image_classifier",
            Settings,
            build,
            shapes=shapes,
            ports=PIXELS,
            needs=("transformers",),
            tiny={**TINY, "labels": ("happy", "sad")},
            prepare=prepare,
            tells=lambda settings: (settings.fact,),
        )
    ]
