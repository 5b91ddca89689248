"""Neighbouring tokens side by side in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import filled, over, times

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """Groups of consecutive tokens, each group side by side in one wider token; it has no parameters.

    With patches in row order and `group: 4` these are the 1 x 4 strips of MiniGPT-v2 and Emotion-LLaMA: 1,024
    patches of width 1,408 become 256 of 5,632. A last group that is short is filled with zeros.

    Source: Chen et al., MiniGPT-v2 (2023), section 2.1.
    """

    group: int = 4
    """How many tokens become one."""

    def problems(self) -> list[tuple[str, str]]:
        return at_least(self, 1, "group")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`group` times fewer tokens, `group` times wider."""
    given = filled(inputs, "tokens")[0]
    wide = times(given.width, settings.group)
    return {"tokens": replace(given, tokens=over(given.tokens, settings.group), width=wide)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; it has no parameters."""
    from affectkit_plugins.adapters.pool_net import Concat

    return Concat(settings.group)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("adapter", "concat_tokens", Settings, build, shapes, (Port("tokens", about="tokens in order"),))]
