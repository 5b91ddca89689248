"""Facial landmarks as regions: what the miners check of them before anything is built. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectkit_plugins.encoders.face_analysis import REGIONS

from affectkit.errors import Problem
from affectkit.pieces import Port, Shape

__all__ = ["LANDMARKS", "REGIONS", "problems", "time_problems"]

LANDMARKS = Port(
    "landmarks", about="landmarks, one a token, as fractions of the frame, of the same frames", optional=True
)


def problems(inputs: Mapping[str, Shape], regions: Sequence[int]) -> list[Problem]:
    """What keeps the block of the port `landmarks` from being cut into these regions."""
    given, wanted = inputs.get("landmarks"), sum(regions)
    if given is None or given.tokens in (None, wanted):
        return []
    what = f"has {given.tokens} points a frame where the regions have {wanted} ({' + '.join(map(str, regions))})"
    return [Problem("port landmarks", what, "name a block of landmarks, or set `regions` to its points")]


def time_problems(inputs: Mapping[str, Shape], names: Sequence[str]) -> list[Problem]:
    """Which of these ports have another time than the visual tokens."""
    time = inputs["tokens"].time
    fix = "cut the faces from the same frames (`{use: faces, of: <the frames' view>}`)"
    return [
        Problem(f"port {n}", f"has {inputs[n].time} time steps where the visual tokens have {time}", fix)
        for n in names
        if None not in (inputs[n].time, time) and inputs[n].time != time
    ]
