"""timm's networks: normalised images to the places of their last feature map, or to one token."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any

import timm
import torch
from affectkit_plugins._published_net import BROKEN, WHOLE, first_line, refuse_broken, refuse_numbers
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, Images, framed
from affectkit_plugins.encoders._load_net import loads
from affectkit_plugins.encoders._pixels import FILTERS, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from affectkit_plugins.encoders._sizes import read_json
from affectkit_plugins.encoders.timm import Settings, name_of
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from affectkit import weights
from affectkit.errors import InputError, Problem, unknown
from affectkit.weights import on_disk


class TimmFeatures(nn.Module):
    """Images [f c h x] to {patches [f n d]} or {pooled [f 1 d]}."""

    def __init__(self, model: Any, pool: str) -> None:
        super().__init__()
        self.model, self.pool = model, pool
        self.prefix = int(getattr(model, "num_prefix_tokens", 0))
        self.last = getattr(model, "output_fmt", "NCHW")
        if pool == "cls" and not self.prefix:
            raise InputError(Problem("pool", "this network has no class token", known=("none", "mean", "head")))

    def forward(self, images: Images) -> Found:
        features = self.model.forward_features(images)
        if self.pool == "head":
            return {"pooled": self.model.forward_head(features, pre_logits=True)[:, None]}
        if features.ndim == 4:
            features = features.flatten(1, 2) if str(self.last) == "NHWC" else features.flatten(2).transpose(1, 2)
        if self.pool == "cls":
            return {"pooled": features[:, :1]}
        patches = features[:, self.prefix :]
        return {"patches": patches} if self.pool == "none" else {"pooled": patches.mean(1, keepdim=True)}


def look(settings: Settings) -> Preprocessing:
    """The preprocessing of timm's evaluation transform."""
    stated = (read_json(settings.source, "config.json") or {}).get("pretrained_cfg") or _registered(settings)
    size = int(stated.get("input_size", (3, 224, 224))[-1]) if settings.size is None else settings.size
    mode, filter_ = stated.get("crop_mode") or "center", stated.get("interpolation") or "bicubic"
    if mode not in ("center", "squash") and settings.resize == "published":
        raise InputError(Problem("resize", f"timm's crop mode {mode!r} is not read here", "write resize: pad"))
    return Preprocessing(
        size,
        "crop" if mode == "center" else "squash",
        edge=math.floor(size / (stated.get("crop_pct") or 0.875)),
        filter=filter_ if filter_ in FILTERS else "bicubic",
        mean=tuple(stated.get("mean") or IMAGENET_MEAN),
        std=tuple(stated.get("std") or IMAGENET_STD),
        halves="even",
    ).resized(settings.resize)


def _registered(settings: Settings) -> dict[str, Any]:
    name = settings.source.removeprefix("timm/") if settings.source.startswith("timm/") else name_of(settings)
    return _pretrained(name if not name.startswith("hf-hub:") else settings.model)


@functools.lru_cache(maxsize=16)
def _pretrained(name: str) -> dict[str, Any]:
    found = timm.get_pretrained_cfg(name)
    return {} if found is None else found.to_dict()


def encoder(settings: Settings) -> FrameEncoder:
    """The encoder as a step, with pretrained or random weights."""
    model = _model(settings)
    features = TimmFeatures(model, settings.pool)
    seen = look(settings)
    if settings.width is not None or settings.tokens is not None:
        _check(settings, features, seen.size)
    return framed(features, seen, settings.source if loads(settings.source) else weights.RANDOM)


def _model(settings: Settings) -> nn.Module:
    name = name_of(settings)
    plain = not name.startswith(("hf-hub:", "local-dir:"))
    if plain and not timm.is_model(name.split(".")[0]):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:40] or timm.list_models("vit*")[:40]
        raise InputError(unknown("model", "timm model", name.split(".")[0], near))
    stated: dict[str, Any] = {"num_classes": 0}
    if settings.size is not None and _fixed_size(settings):
        stated["img_size"] = settings.size
    path = on_disk(settings.source)
    if loads(settings.source) and path is not None and path.is_file():
        stated["pretrained_cfg_overlay"] = {"file": str(path)}
    if not loads(settings.source):
        return _created(name, settings, stated)
    refuse_broken(settings.source)
    with missing_keys() as missing:
        model = _created(name, settings, {**stated, "pretrained": True})
    lacks = sorted(
        missing & {*dict(model.named_parameters()), *(n for n, _ in model.named_buffers() if "running_" in n)}
    )
    if lacks:
        what = f"lacks {len(lacks)} weights of {settings.model or name} ({', '.join(lacks[:3])} …)"
        raise InputError(Problem(settings.source, what, WHOLE))
    refuse_numbers(model, settings.source, settings.source)
    return model


def _created(name: str, settings: Settings, stated: dict[str, Any]) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(name, **stated)
    except BROKEN as error:
        fix = "run.weights=random builds it without weights"
        why = f"timm could not build it ({first_line(error)})"
        raise InputError(Problem(settings.source or name, why, fix)) from error
    return model


@contextlib.contextmanager
def missing_keys() -> Iterator[set[str]]:
    """The parameters and buffers for which weights loaded inside the `with` have no value.

    timm loads without a word of them where it leaves the classifier out.
    """
    missing: set[str] = set()
    seen: set[nn.Module] = set()

    def watch(module: nn.Module, _name: str, _parameter: nn.Parameter | None) -> None:
        if module not in seen:
            seen.add(module)
            module.register_load_state_dict_post_hook(lambda _, told: missing.update(told.missing_keys))

    handle = register_module_parameter_registration_hook(watch)
    try:
        yield missing
    finally:
        handle.remove()


def _fixed_size(settings: Settings) -> bool:
    stated = (read_json(settings.source, "config.json") or {}).get("pretrained_cfg") or _registered(settings)
    return bool(stated.get("fixed_input_size", False))


def _check(settings: Settings, features: TimmFeatures, size: int) -> None:
    """What the recipe states of the network must be true."""
    some = next(features.parameters())
    with torch.no_grad():
        (tokens,) = features.eval()(torch.zeros(1, 3, size, size, device=some.device)).values()
    features.train()
    found = {"width": tokens.shape[2]} | ({"tokens": tokens.shape[1]} if settings.pool == "none" else {})
    wrong = [
        Problem(name, f"{getattr(settings, name)} in the recipe, {value} in {name_of(settings)}", f"write {value}")
        for name, value in found.items()
        if getattr(settings, name) not in (None, value)
    ]
    if wrong:
        raise InputError(wrong)
