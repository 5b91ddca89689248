"""The image tower of open_clip's models: normalised images to patches or image embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import open_clip
from affectkit_plugins._published_net import BROKEN, first_line, refuse_broken, refuse_numbers
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, Images, framed
from affectkit_plugins.encoders._load_net import loads
from affectkit_plugins.encoders._pixels import CLIP_MEAN, CLIP_STD, FILTERS, Preprocessing
from affectkit_plugins.encoders.open_clip import Settings, config, own_config
from open_clip.model import CLIPVisionCfg, _build_vision_tower
from open_clip.transformer import VisionTransformer
from torch import nn

from affectkit import weights
from affectkit.errors import InputError, Problem
from affectkit.weights import on_disk


class OpenClipVision(nn.Module):
    """Images [f c h x] to {patches [f n d]} or {pooled [f 1 d]}."""

    def __init__(self, visual: Any, pool: str) -> None:
        super().__init__()
        if pool != "projected":
            if not isinstance(visual, VisionTransformer):
                what = "this tower is no vision transformer and gives only its embedding"
                raise InputError(Problem("pool", what, "write pool: projected", ("projected",)))
            visual.output_tokens = True
        self.visual, self.pool = visual, pool

    def forward(self, images: Images) -> Found:
        if self.pool == "projected":
            return {"pooled": self.visual(images)[:, None]}
        _, patches = self.visual(images)
        return {"patches": patches} if self.pool == "none" else {"pooled": patches.mean(1, keepdim=True)}


def look(settings: Settings) -> Preprocessing:
    """The preprocessing of open_clip's evaluation transform."""
    known = config(settings)
    size = 224 if known is None else known["vision_cfg"].get("image_size", 224)
    own = own_config(settings.source)
    stated: Mapping[str, Any]
    if own is not None:
        stated = own.get("preprocess_cfg", {})
    else:
        stated = open_clip.get_pretrained_cfg(settings.model, settings.source) if settings.source else {}
    mode, filter_ = stated.get("resize_mode") or "shortest", stated.get("interpolation") or "bicubic"
    if mode not in ("shortest", "squash") and settings.resize == "published":
        raise InputError(Problem("resize", f"open_clip's resize mode {mode!r} is not read here", "write resize: pad"))
    return Preprocessing(
        size,
        "crop" if mode == "shortest" else "squash",
        filter=filter_ if filter_ in FILTERS else "bicubic",
        mean=tuple(stated.get("mean") or CLIP_MEAN),
        std=tuple(stated.get("std") or CLIP_STD),
        halves="even",
    ).resized(settings.resize)


def encoder(settings: Settings) -> FrameEncoder:
    """The encoder as a step, with pretrained or random weights."""
    published = loads(settings.source)
    visual = _loaded(settings) if published else _random(settings)
    origin = settings.source if published else weights.RANDOM
    return framed(OpenClipVision(visual, settings.pool), look(settings), origin)


def _random(settings: Settings) -> nn.Module:
    known = config(settings)
    if known is None:
        what = f"the sizes of {settings.source or settings.model!r} are not known here"
        raise InputError(Problem("model", what, "name a model of open_clip as `model`"))
    return _build_vision_tower(known["embed_dim"], CLIPVisionCfg(**known["vision_cfg"]), known.get("quick_gelu", False))


def _loaded(settings: Settings) -> nn.Module:
    given = [name for name in ("size", "patch", "width", "layers", "head_width", "embed") if getattr(settings, name)]
    refuse_broken(settings.source)
    path = on_disk(settings.source)
    folder = path is not None and path.is_dir()
    name: str = settings.model
    pretrained: str | None = settings.source
    if folder:
        name, pretrained = f"local-dir:{path}", None
    elif path is None and "/" in settings.source:
        name, pretrained = f"hf-hub:{settings.source}", None
    quick = bool(pretrained and open_clip.get_pretrained_cfg(settings.model, pretrained).get("quick_gelu"))
    try:
        model = open_clip.create_model(name, pretrained, require_pretrained=True, force_quick_gelu=quick)
    except BROKEN as error:
        fix = "run.weights=random builds the sizes without weights"
        raise InputError(Problem(settings.source, f"open_clip could not read it ({first_line(error)})", fix)) from error
    refuse_numbers(model, settings.source, settings.source)
    visual = model.visual
    wrong = [
        Problem(
            name,
            f"{getattr(settings, name)} in the recipe, otherwise in {settings.source}",
            f"leave {name} out",
        )
        for name in given
        if not _agrees(visual, name, getattr(settings, name))
    ]
    if wrong:
        raise InputError(wrong)
    return visual


def _agrees(visual: Any, name: str, value: int) -> bool:
    """Whether a tower has a size; what it does not say is taken as given."""
    if not isinstance(visual, VisionTransformer):
        return True
    blocks = visual.transformer.resblocks
    width = visual.conv1.out_channels
    true = {
        "size": visual.image_size[0],
        "patch": visual.patch_size[0],
        "width": width,
        "layers": len(blocks),
        "head_width": width // blocks[0].attn.num_heads,
        "embed": visual.output_dim,
    }
    return bool(true[name] == value)
