"""Networks of transformers from a hub id, a folder or a file, or of the same sizes with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from affectkit_plugins._published_net import first_line, published
from affectkit_plugins.encoders._sizes import Family, disagreements, sizes
from torch import Tensor, nn
from transformers import AutoConfig

from affectkit import weights
from affectkit.errors import InputError, Problem
from affectkit.weights import on_disk

UNREADABLE = "give a hub id or a folder of save_pretrained; run.weights=random builds it without weights"
Convert = Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Tensor]]
"""From the keys of a bare file of weights, and the sizes, to the keys of the network."""


def transformer(
    model: type, family: Family, settings: Any, prefix: str = "", convert: Convert | None = None
) -> tuple[Any, str]:
    """The network and where its weights came from.

    `prefix` is where a checkpoint of several networks keeps this one; `convert` reads a bare file of weights.
    Raises `InputError` where the source cannot be read, lacks weights, or is of other sizes than the recipe
    says.
    """
    source = settings.source
    path = on_disk(source)
    folder = path is not None and path.is_dir()
    bare = bool(source) and path is not None and not folder
    if bare and convert is None and not weights.random():
        raise InputError(
            Problem(source, "is a single file, and this encoder is read from a hub id or a folder", UNREADABLE)
        )
    if not source or bare or (weights.random() and not folder):
        config = _config(model, family, settings)
        if not bare or weights.random():
            return model(config), weights.RANDOM
        return _from_file(model(config), Path(source).expanduser(), sizes(family, settings), convert), source
    config = _read_config(model, family, settings)
    if not loads(source):
        return model(config), weights.RANDOM
    return _from_pretrained(model, config, source, prefix), source


def of_any_family(kind: Any, family: Family, settings: Any, made: Callable[[dict[str, Any]], Any]) -> tuple[Any, str]:
    """The same for an auto class of transformers (`AutoModel` …), which takes the architecture from the source. `made` gives
    the configuration of a network without one, of the sizes under their names in config.json. Raises InputError as
    `transformer` does."""
    source = settings.source
    if not source or (weights.random() and on_disk(source) is None):
        config = made({family.names[name]: value for name, value in sizes(family, settings).items()})
        return kind.from_config(config), weights.RANDOM
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unreadable(source, error) from error
    if wrong := disagreements(family, settings, config.to_dict()):
        raise InputError(wrong)
    if not loads(source):
        return kind.from_config(config), weights.RANDOM
    return published(kind, source, source, {"config": config, "dtype": torch.float32}, UNREADABLE), source


def loads(source: str) -> bool:
    """Whether weights are to be read: a source is named, random ones are not wanted, and more than shapes is built."""
    return bool(source) and not weights.random() and torch.get_default_device().type != "meta"


def _config(model: Any, family: Family, settings: Any) -> Any:
    found = {family.names[name]: value for name, value in sizes(family, settings).items()}
    return model.config_class(**{**family.fixed, **found})


def _read_config(model: Any, family: Family, settings: Any) -> Any:
    """The configuration that the source states; the recipe's sizes must agree with it."""
    try:
        found, _ = model.config_class.get_config_dict(settings.source)
    except (OSError, ValueError) as error:
        raise _unreadable(settings.source, error) from error
    wrong = disagreements(family, settings, found)
    if wrong:
        raise InputError(wrong)
    part = found.get(family.section, found) if family.section else found
    return model.config_class.from_dict({k: v for k, v in part.items() if k != "model_type"})


def _from_pretrained(model: Any, config: Any, source: str, prefix: str) -> nn.Module:
    mapping = {rf"^{prefix}\.": ""} if prefix else None
    options = {"config": config, "dtype": torch.float32, "key_mapping": mapping}
    net: nn.Module = published(model, source, source, options, UNREADABLE)
    return net


def _from_file(net: nn.Module, path: Path, known: Mapping[str, Any], convert: Convert | None) -> nn.Module:
    assert convert is not None
    state = convert(weights.load_state(path), known)
    fill(net, state, str(path), "network", "is it a checkpoint of this kind, and are the sizes right?")
    return net


def fill(net: nn.Module, state: Mapping[str, Tensor], source: str, what: str, fix: str) -> None:
    """Load weights under the network's own names in float32; what else there is in `state` is passed over.

    Raises InputError, with `fix`, where weights of this `what` are missing, and where some have another shape, are no fractions
    or not finite.
    """
    mine = net.state_dict(keep_vars=True)
    missing = sorted(mine.keys() - state.keys())
    if missing:
        raise InputError(
            Problem(source, f"lacks {len(missing)} weights of this {what}: {', '.join(missing[:3])} …", fix)
        )
    for name, tensor in mine.items():
        if tensor.shape != state[name].shape:
            sizes_ = f"{name} is {tuple(state[name].shape)} there, {tuple(tensor.shape)} by the recipe's sizes"
            raise InputError(Problem(source, sizes_, fix))
    weights.refuse_unfit(mine, state, source)
    net.load_state_dict({name: state[name].float() for name in mine})


def _unreadable(source: str, error: Exception) -> InputError:
    return InputError(Problem(source, f"no network could be read from there ({first_line(error)})", UNREADABLE))
