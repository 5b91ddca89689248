"""CLIP's face patches and the classifiers beside them, as facial priors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, Images, freeze_unused, in_parts
from affectkit_plugins.encoders._load_net import transformer
from affectkit_plugins.encoders._pixels import Preprocessing
from affectkit_plugins.encoders.clip_face import FAMILY, Classifier, Settings, classifiers, places, plain, views
from affectkit_plugins.encoders.face_analysis_facts_net import estimates
from affectkit_plugins.encoders.face_analysis_net import scatter
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModel, ViTForImageClassification

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.sample import Fact

LAYER = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
"""Parts of a layer of the image tower as OpenAI and open_clip name them, and as transformers does."""
TOP = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}


class ClipFace(nn.Module):
    """The step: crops uint8 [b t 3*k s s], as `prepare` lays them out -> the blocks of `shapes`, frame by frame."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.views = views(settings)
        self.faces = Sees(ClipPatches(settings), settings.look())
        self.people = nn.ModuleDict(
            {c.fact: Sees(WordProbabilities(settings, c), c.look()) for c in classifiers(settings)}
        )

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        """`age` and `gender` are probabilities of our words."""
        real = pixels.mask
        crops = pixels.values[real]
        found = self._seen(self.faces, crops)
        found["valid"] = torch.ones(len(crops), 1, 1, device=real.device)
        for told, net in self.people.items():
            found[told] = self._seen(net, crops)["words"]
        return {name: scatter(name, tokens, real) for name, tokens in found.items()}

    def _seen(self, net: nn.Module, crops: UInt8[Tensor, "f c s s"]) -> Found:
        """What one network finds in its own channels and corner of the crops."""
        assert isinstance(net, Sees)
        at, size = 3 * self.views.index(net.view), net.view.size
        found: Found = net(crops[:, at : at + 3, :size, :size])
        return found

    def facts(self, blocks: dict[str, TokenBlock]) -> list[dict[str, Fact]]:
        """Age and gender of each row as estimates, averaged over its valid frames; empty where none is asked for."""
        s = self.settings
        if not s.tells:
            return [{} for _ in blocks["valid"].mask]
        return estimates({told: (blocks[told], s.words(told)) for told in s.tells})


class Sees(FrameEncoder):
    """A network with its own mean and standard deviation of colours; uint8 [f 3 h x] -> what the network finds."""

    def __init__(self, net: nn.Module, look: Preprocessing) -> None:
        freeze_unused(net, look.size)
        super().__init__(net, look.mean, look.std)
        self.view = plain(look)

    def forward(self, crops: UInt8[Tensor, "f 3 h x"]) -> Found:  # type: ignore[override]
        return in_parts(self.net, self.found, crops)


class ClipPatches(nn.Module):
    """Normalised crops [f 3 h x] -> `global` [f m d] and `local` [f n d]."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.model, self.weights_origin = transformer(CLIPVisionModel, FAMILY, settings, convert=from_openai)

    def forward(self, images: Images) -> Found:
        s = self.settings
        layers = self.model(images, output_hidden_states=True).hidden_states
        last = layers[-1]
        whole = {"cls": last[:, :1], "grid": cells(last[:, 1:], s.grid)}
        wanted = ("cls", "grid") if s.whole == "both" else (s.whole,)
        local = layers[s.local_layer][:, 1:]
        return {
            "global": torch.cat([whole[name] for name in wanted], 1),
            "local": local if s.local_grid is None else cells(local, s.local_grid),
        }


class WordProbabilities(nn.Module):
    """Normalised crops [f 3 h x] -> probabilities of our words [f 1 k]; classes of one word are summed."""

    def __init__(self, settings: Settings, classifier: Classifier) -> None:
        super().__init__()
        self.model, self.weights_origin = transformer(ViTForImageClassification, classifier.family, classifier)
        self.count, self.places = len(settings.words(classifier.fact)), places(settings, classifier)

    def forward(self, images: Images) -> Found:
        sure = self.model(images).logits.float().softmax(-1)
        at = torch.tensor(self.places, device=sure.device)
        return {"words": sure.new_zeros(len(sure), self.count).index_add(1, at, sure)[:, None]}


def cells(patches: Float[Tensor, "f n d"], grid: int) -> Float[Tensor, "f m d"]:
    """Patches of a square [f n d] as the means of grid x grid cells."""
    side = round(patches.shape[1] ** 0.5)
    square = patches.transpose(1, 2).unflatten(2, (side, side))
    return F.adaptive_avg_pool2d(square, grid).flatten(2).transpose(1, 2)


def from_openai(state: Mapping[str, Tensor], known: Mapping[str, Any]) -> dict[str, Tensor]:
    """The image tower of a bare file of OpenAI's or open_clip's CLIP, under transformers' names."""
    bare = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    # beside the image tower a whole CLIP has one for text, whose parts have the same names
    mine = {key.removeprefix("visual."): t for key, t in bare.items() if key.startswith("visual.")} or bare
    found = {ours: mine[theirs] for theirs, ours in TOP.items() if theirs in mine}
    for i in range(known["layers"]):
        at, to = f"transformer.resblocks.{i}", f"encoder.layers.{i}"
        for theirs, ours in LAYER.items():
            for kind in ("weight", "bias"):
                if (key := f"{at}.{theirs}.{kind}") in mine:
                    found[f"{to}.{ours}.{kind}"] = mine[key]
        for kind in ("weight", "bias"):
            if (key := f"{at}.attn.in_proj_{kind}") in mine:
                parts = zip("qkv", mine[key].chunk(3), strict=True)
                found.update({f"{to}.self_attn.{letter}_proj.{kind}": part for letter, part in parts})
    return found
