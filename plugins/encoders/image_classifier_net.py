"""An image classifier of transformers: patches, what its head reads, and its labels."""

from __future__ import annotations

from math import isqrt
from typing import Any

from affectkit_plugins.encoders._frames_net import Found, Images, framed
from affectkit_plugins.encoders._load_net import of_any_family
from affectkit_plugins.encoders.face_analysis_facts_net import estimates
from affectkit_plugins.encoders.image_classifier import FAMILY, Settings
from torch import Tensor, nn
from transformers import AutoModelForImageClassification, ViTConfig

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError, Problem
from affectkit.pieces import Shape
from affectkit.sample import Fact


class Labelled(nn.Module):
    """Normalised images [f 3 h x] -> patches [f n d], pooled [f 1 d] and probabilities [f 1 k]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == model.config.num_labels]
        if not heads:
            raise InputError(Problem("source", f"{type(model).__name__} has no linear layer that gives its labels"))
        self._read: Tensor | None = None
        heads[-1].register_forward_pre_hook(self._keep)
        self.width = heads[-1].in_features

    def _keep(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._read = inputs[0]

    def forward(self, images: Images) -> Found:
        out = self.model(images, output_hidden_states=True)
        last, pooled = out.hidden_states[-1], self._read
        assert pooled is not None
        self._read = None  # no graph is held beyond its step
        if last.ndim == 4:
            last = last.flatten(2).transpose(1, 2)
        patches = last[:, last.shape[1] - isqrt(last.shape[1]) ** 2 :]  # a square of patches, behind class tokens
        return {"patches": patches, "pooled": pooled[:, None], "probabilities": out.logits.float().softmax(-1)[:, None]}


class ImageClassifier(nn.Module):
    """The step: frames uint8 [b t 3 h x] -> the blocks of `shapes`, frame by frame."""

    def __init__(self, settings: Settings, time: int | None) -> None:
        super().__init__()
        model, origin = classifier(settings)
        names = model.config.id2label
        self.words = tuple(settings.words.get(names[i], names[i]) for i in range(model.config.num_labels))
        if strange := sorted(set(settings.words) - set(names.values())):
            known = tuple(names.values())
            raise InputError(Problem("words", f"the network has no label {strange[0]!r}", "", known))
        self.fact = settings.fact
        net = Labelled(model)
        self.out_shapes = {"pooled": Shape("tokens", time, 1, net.width)}
        self.frames = framed(net, settings.look(), origin)

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        return self.frames(pixels)

    def facts(self, blocks: dict[str, TokenBlock]) -> list[dict[str, Fact]]:
        """The likeliest label of each row, with its probability."""
        return estimates({self.fact: (blocks["probabilities"], self.words)})


def classifier(settings: Settings) -> tuple[Any, str]:
    """The network and where its weights came from. Raises InputError where the source cannot be read, lacks weights, or is of
    other sizes than the recipe says."""
    labels = dict(enumerate(settings.labels))
    kind = AutoModelForImageClassification
    return of_any_family(kind, FAMILY, settings, lambda sizes: ViTConfig(**sizes, id2label=labels))
