"""EMO-LLaMA's Face Info Mining as we read it: visual tokens look at global and local facial priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Settings:
    """Global and local facial information mined into a scene, frame by frame, by attention and as tokens.

    EMO-LLaMA (Xing et al. 2024) publishes only that the module draws global and local information from the
    priors of a face network over two attention paths; directions, widths and the gates (zero at the start, so
    that the scene's tokens pass unchanged) are our reading. The ports are
    called `global_prior` and `local_prior` because `global` is a word of Python.
    """

    heads: int = 16
    """Attention heads; they must divide the width of the visual tokens."""
    inject: Literal["enrich", "tokens", "both"] = "both"
    """Enrich the visual tokens, put out face tokens of their own, or both."""
    order: Literal["parallel", "global_then_local", "local_then_global"] = "parallel"
    """Whether both attentions look from the same visual tokens, or the second from what the first made."""
    use_global: bool = True
    """Use the global prior where one is given."""
    use_local: bool = True
    """Use the local prior where one is given."""
    hidden: int | None = None
    """Hidden width of the face tokens' MLPs; the width of the visual tokens where not given."""
    dropout: float = 0.0
    """Share of attended values dropped in training before the gate."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and the miner cannot take."""
        found = []
        if self.heads < 1:
            found.append(("heads", f"{self.heads} is less than 1"))
        if self.hidden is not None and self.hidden < 1:
            found.append(("hidden", f"{self.hidden} is less than 1"))
        if not 0 <= self.dropout < 1:
            found.append(("dropout", f"{self.dropout} is not at least 0 and below 1"))
        if self.inject == "tokens" and not (self.use_global or self.use_local):
            found.append(("inject", "face tokens need use_global or use_local"))
        return found


def priors(settings: Settings, inputs: Mapping[str, Shape]) -> tuple[str, ...]:
    """The prior ports that are given and wanted, in the order of the settings."""
    wanted = {"global_prior": settings.use_global, "local_prior": settings.use_local}
    names = [name for name, use in wanted.items() if use and name in inputs]
    return tuple(reversed(names)) if settings.order == "local_then_global" else tuple(names)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`enriched`, shaped like the visual tokens, and `face_tokens`, one for each prior (global before local).

    Raises `InputError` where a prior has another time than the tokens, the heads do not divide the width, or
    face tokens alone are wanted and no prior is given.
    """
    tokens, used = inputs["tokens"], priors(settings, inputs)
    found = [
        Problem(
            f"port {name}",
            f"has {inputs[name].time} time steps where the visual tokens have {tokens.time}",
            "cut the faces from the same frames (`{use: faces, of: <the frames' view>}`)",
        )
        for name in used
        if None not in (inputs[name].time, tokens.time) and inputs[name].time != tokens.time
    ]
    if tokens.width is not None and tokens.width % settings.heads:
        found.append(Problem("heads", f"{settings.heads} heads do not divide the width {tokens.width}"))
    if settings.inject == "tokens" and not used:
        fix = "name blocks of a face network for them"
        found.append(Problem("inject", "face tokens need global_prior or local_prior, and neither is given", fix))
    if found:
        raise InputError(found)
    out = {}
    if settings.inject != "tokens":
        out["enriched"] = tokens
    if settings.inject != "enrich" and used:
        out["face_tokens"] = Shape("tokens", tokens.time, len(used), tokens.width)
    return out


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The miner for these widths; raises what `shapes` raises."""
    from affectkit_plugins.miners.face_info_mining_net import FaceInfoMining

    blocks = tuple(shapes(settings, inputs, width))
    wide = {name: inputs[name].width or 0 for name in ("tokens", *priors(settings, inputs))}
    return FaceInfoMining(settings, wide, blocks)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [
        Piece(
            "miner",
            "face_info_mining",
            Settings,
            build,
            shapes=shapes,
            ports=(
                Port("tokens", about="visual tokens, frame by frame"),
                Port("global_prior", about="tokens of the whole face, of the same frames", optional=True),
                Port("local_prior", about="tokens of the face's regions, of the same frames", optional=True),
            ),
            needs=("torch",),
            tiny={"heads": 2},
        )
    ]
