"""EMO-LLaMA's Face Info Mining as we read it: visual tokens look at global and local facial priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit_plugins.miners._regions import LANDMARKS, REGIONS, problems, time_problems

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Settings:
    """Global and local facial information mined into a scene, frame by frame, by attention and as tokens.

    EMO-LLaMA (Xing et al. 2024) publishes only that the module draws global and local information from the
    priors of a face network over two attention paths; directions, widths and the gates (zero at the start, so
    that the scene's tokens pass unchanged) are our reading. `landmarks`, where they are given, become one local
    token a region. The ports are called `global_prior` and `local_prior` because `global` is a word of Python.
    """

    heads: int = 16
    """Attention heads; they must divide the width of the visual tokens."""
    inject: Literal["enrich", "tokens", "both"] = "both"
    """Enrich the visual tokens, put out face tokens of their own, or both; with `tokens` the visual tokens pass unchanged."""
    order: Literal["parallel", "global_then_local", "local_then_global"] = "parallel"
    """Whether both attentions look from the same visual tokens, or the second from what the first made."""
    use_global: bool = True
    """Use the global prior where one is given."""
    use_local: bool = True
    """Use the local prior and the landmarks where they are given."""
    regions: tuple[int, ...] = REGIONS
    """How many landmarks each region has, in their order; each region becomes a local token by a small MLP of its own."""
    region_hidden: int | None = None
    """Hidden width of those MLPs; the width of the visual tokens where not given, 0 for one linear layer each."""
    coordinates: Literal["face", "given"] = "face"
    """Landmarks as they lie in the face (its box from -1 to 1 along the longer side), or as they are given."""
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
        if not self.regions or min(self.regions) < 1:
            found.append(("regions", f"{self.regions} are not counts of at least 1"))
        if self.region_hidden is not None and self.region_hidden < 0:
            found.append(("region_hidden", f"{self.region_hidden} is less than 0"))
        if not 0 <= self.dropout < 1:
            found.append(("dropout", f"{self.dropout} is not at least 0 and below 1"))
        if not (self.use_global or self.use_local):
            found.append(("use_local", "is false, as use_global is: there is nothing to mine; set the step to null"))
        return found


def paths(settings: Settings, inputs: Mapping[str, Shape]) -> dict[str, tuple[str, ...]]:
    """The paths of attention that are wanted and have something to look at, in the order of the settings, each with the
    ports that feed it: landmarks are looked at beside the local prior."""
    wanted = {"global_prior": ("global_prior",), "local_prior": ("landmarks", "local_prior")}
    use = {"global_prior": settings.use_global, "local_prior": settings.use_local}
    found = {name: tuple(p for p in ports if p in inputs) for name, ports in wanted.items() if use[name]}
    names = [name for name, ports in found.items() if ports]
    return {name: found[name] for name in (reversed(names) if settings.order == "local_then_global" else names)}


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`enriched`, shaped like the visual tokens (and equal to them where nothing enriches them), and `face_tokens`, one for
    each path (global before local).

    Raises `InputError` where a prior has another time than the tokens, landmarks are not those of the regions, the heads
    do not divide the width, or face tokens alone are wanted and no prior is given.
    """
    tokens, used = inputs["tokens"], paths(settings, inputs)
    found = time_problems(inputs, [port for ports in used.values() for port in ports])
    if settings.use_local:
        found += problems(inputs, settings.regions)
    if tokens.width is not None and tokens.width % settings.heads:
        found.append(Problem("heads", f"{settings.heads} heads do not divide the width {tokens.width}"))
    if settings.inject == "tokens" and not used:
        fix = "name blocks of a face network for them"
        found.append(Problem("inject", "face tokens need global_prior or local_prior, and neither is given", fix))
    if found:
        raise InputError(found)
    out = {"enriched": tokens}
    if settings.inject != "enrich" and used:
        out["face_tokens"] = Shape("tokens", tokens.time, len(used), tokens.width)
    return out


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The miner for these widths; raises what `shapes` raises."""
    from affectkit_plugins.miners.face_info_mining_net import FaceInfoMining

    shapes(settings, inputs, width)
    used = paths(settings, inputs)
    wide = {name: inputs[name].width or 0 for name in ("tokens", *(port for ports in used.values() for port in ports))}
    return FaceInfoMining(settings, wide, used)


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
                LANDMARKS,
            ),
            needs=("torch",),
            tiny={"heads": 2, "regions": (1, 3)},
        )
    ]
