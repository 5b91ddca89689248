"""A face as points: the 68 landmarks of iBUG, moved by action units, turned in space and put into the frame.

Face units: x to the right, y down, z towards the viewer; the origin is between the eyes and the mouth, half the face's
width is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cast import Person
from .emotion import UNITS, Course

_MIRROR = np.array(
    [16 - n for n in range(17)]
    + [26 - n for n in range(10)]
    + [27, 28, 29, 30]
    + [35, 34, 33, 32, 31]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
    + [64, 63, 62, 61, 60, 67, 66, 65]
)
"""Landmark -> the one on the other side."""

_MOVES: dict[int, dict[int, tuple[float, float]]] = {
    1: {21: (0.02, -0.31), 20: (0, -0.21), 19: (0, -0.05)},
    2: {17: (0, -0.12), 18: (0, -0.2), 19: (0, -0.19), 20: (0, -0.07)},
    4: {
        21: (0.11, 0.19), 20: (0.09, 0.19), 19: (0.05, 0.14), 18: (0.03, 0.08), 17: (0, 0.03), 37: (0, 0.01),
    },
    5: {37: (0, -0.09), 38: (0, -0.1), 41: (0, 0.01), 40: (0, 0.01)},
    6: {41: (0, -0.09), 40: (0, -0.08), 36: (0, -0.02)},
    7: {37: (0, 0.07), 38: (0, 0.07), 41: (0, -0.06), 40: (0, -0.06)},
    9: {
        30: (0, -0.05), 31: (-0.05, -0.11), 32: (-0.01, -0.09), 33: (0, -0.07), 21: (0.05, 0.11),
        20: (0.03, 0.1), 19: (0, 0.05), 50: (0, -0.06), 51: (0, -0.06), 49: (0, -0.04), 41: (0, -0.05),
        40: (0, -0.06), 38: (0, 0.04), 37: (0, 0.03),
    },
    10: {
        49: (-0.01, -0.1), 50: (0, -0.13), 51: (0, -0.11), 61: (0, -0.1), 62: (0, -0.1), 31: (-0.02, -0.03),
        60: (0, -0.02),
    },
    12: {
        48: (-0.21, -0.26), 60: (-0.2, -0.25), 49: (-0.1, -0.09), 59: (-0.1, -0.08), 50: (-0.02, 0.02),
        58: (-0.02, 0.04), 51: (0, 0.03), 57: (0, 0.05), 61: (-0.04, 0), 67: (-0.03, 0.04), 62: (0, 0.02),
        66: (0, 0.04),
    },
    15: {48: (-0.02, 0.21), 60: (-0.02, 0.2), 49: (0, 0.03), 59: (-0.01, 0.08), 67: (0, 0.01), 61: (0, 0.01)},
    17: {
        58: (0, -0.09), 57: (0, -0.11), 59: (0, -0.03), 66: (0, -0.07), 67: (0, -0.05), 50: (0, -0.05),
        51: (0, -0.06), 61: (0, -0.06), 62: (0, -0.07), 49: (0, -0.01), 8: (0, -0.05), 7: (0, -0.03),
    },
    20: {
        48: (-0.31, 0.07), 60: (-0.30, 0.07), 49: (-0.1, 0.02), 59: (-0.1, 0), 61: (-0.06, 0), 67: (-0.06, 0.01),
    },
    23: {
        48: (0.17, 0), 60: (0.16, 0), 49: (0.04, 0.06), 50: (0.02, 0.075), 51: (0, 0.06), 59: (0.04, -0.05),
        58: (0.02, -0.07), 57: (0, -0.07),
    },
    25: {
        61: (0, -0.03), 62: (0, -0.03), 67: (0, 0.08), 66: (0, 0.09), 58: (0, 0.07), 57: (0, 0.07),
        59: (0, 0.04), 50: (0, -0.02), 51: (0, -0.02),
    },
    26: {
        67: (0.02, 0.24), 66: (0, 0.27), 58: (0.01, 0.24), 57: (0, 0.26), 59: (0.04, 0.17), 48: (0.06, 0.06),
        60: (0.06, 0.06), 49: (0.03, 0), 8: (0, 0.2), 7: (0, 0.18), 6: (0, 0.14), 5: (0, 0.09), 4: (0, 0.04),
    },
    45: {37: (0, 0.18), 38: (0, 0.18), 41: (0, -0.01), 40: (0, -0.01)},
}  # fmt: skip
"""Action unit -> landmark of the left half of the picture (or the middle) -> how far it moves at full strength."""


@dataclass(frozen=True)
class Pose:
    """Where the head is in each frame: degrees, and the frame's own units (0 to 1)."""

    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    x: np.ndarray
    y: np.ndarray
    scale: np.ndarray
    """Half the face's width as a share of the frame."""


def rest(person: Person) -> np.ndarray:
    """The landmarks of a face at rest, [68, 3]."""
    child = max(0.0, 1.0 - person.age / 1.6)
    angle = np.pi * np.arange(17) / 16
    jaw = np.stack([-0.98 * np.cos(angle), -0.25 + (1.40 - 0.16 * child) * np.sin(angle) ** 0.92], 1)
    jaw[:, 0] *= 1 + (person.jaw - 1 + 0.04 * child) * np.clip(jaw[:, 1] / 0.8, 0, 1)
    brow = np.array([(-0.82, -0.52), (-0.68, -0.63), (-0.51, -0.67), (-0.34, -0.64), (-0.19, -0.58)])
    size = person.eyes * (1 + 0.22 * child - 0.012 * person.age)
    eye = np.array([(-0.22, 0.0), (-0.09, -0.12), (0.08, -0.12), (0.20, 0.02), (0.08, 0.09), (-0.08, 0.09)])
    eye = eye * (0.5 + 0.5 * size, size) + (-0.43 * person.spread, -0.22 + 0.06 * child)
    bridge = np.array([(0, -0.22), (0, -0.06), (0, 0.10), (0, 0.26 - 0.08 * child)])
    width = person.nose * (1 - 0.2 * child)
    wings = np.array([(-0.20, 0.36), (-0.10, 0.39), (0, 0.41), (0.10, 0.39), (0.20, 0.36)]) * (width, 1) - (
        0,
        0.08 * child,
    )
    full = person.lips * (1 + 0.05 * child - 0.02 * person.age)
    outer = np.array([(-0.36, 0), (-0.21, -0.07), (-0.07, -0.10), (0, -0.085), (0.07, -0.10), (0.21, -0.07), (0.36, 0),
                      (0.21, 0.085), (0.08, 0.125), (0, 0.13), (-0.08, 0.125), (-0.21, 0.085)])  # fmt: skip
    inner = np.array(
        [
            (-0.31, 0),
            (-0.12, -0.008),
            (0, -0.004),
            (0.12, -0.008),
            (0.31, 0),
            (0.12, 0.012),
            (0, 0.016),
            (-0.12, 0.012),
        ]
    )
    mouth = (0.0, 0.69 - 0.03 * child)
    outer, inner = outer * (1 - 0.1 * child, full) + mouth, inner * (1 - 0.1 * child, 1) + mouth
    mirrored = brow[::-1] * (-1, 1)
    other = (eye * (-1, 1))[[3, 2, 1, 0, 5, 4]]
    flat = np.concatenate([jaw, brow, mirrored, bridge, wings, eye, other, outer, inner])
    return np.concatenate([flat, depth(flat)[:, None] + _relief()[:, None]], 1)


def depth(points: np.ndarray) -> np.ndarray:
    """How far the head's surface stands out at points [..., 2]."""
    return 0.85 * np.sqrt(np.clip(1.0 - 0.85 * points[..., 0] ** 2 - 0.45 * points[..., 1] ** 2, 0.0, 1.0))


def _relief() -> np.ndarray:
    """What stands out beyond the head's surface: nose and lips; the eyes lie a little deeper. [68]"""
    relief = np.zeros(68)
    relief[27:31] = (0.05, 0.14, 0.24, 0.33)
    relief[31:36] = (0.08, 0.15, 0.2, 0.15, 0.08)
    relief[36:48] = -0.05
    relief[48:] = 0.06
    return relief


def moved(points: np.ndarray, course: Course) -> np.ndarray:
    """Landmarks [frames, 68, 3] of a resting face [68, 3] under a course of action units."""
    left, right = np.zeros((len(UNITS), 68, 2)), np.zeros((len(UNITS), 68, 2))
    for row, unit in enumerate(UNITS):
        for mark, (dx, dy) in _MOVES[unit].items():
            middle = mark == _MIRROR[mark]
            left[row, mark] += (dx, dy / 2 if middle else dy)
            right[row, _MIRROR[mark]] += (-dx, dy / 2 if middle else dy)
    shift = np.einsum("tu,und->tnd", course.left, left) + np.einsum("tu,und->tnd", course.right, right)
    out = np.repeat(points[None], len(shift), 0)
    out[..., :2] += shift
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65)):
        out[:, upper, 1] = np.minimum(out[:, upper, 1], out[:, lower, 1] - 0.012)
    for lip, edge, sign in ((61, 50, -1), (62, 51, -1), (63, 52, -1), (67, 58, 1), (66, 57, 1), (65, 56, 1)):
        out[:, edge, 1] = sign * np.maximum(sign * out[:, edge, 1], sign * out[:, lip, 1] + 0.035)
    return out


def placed(points: np.ndarray, pose: Pose, size: int) -> np.ndarray:
    """Points [frames, n, 3] in face units, turned and projected: pixels [frames, n, 2]."""
    yaw, pitch, roll = (np.radians(a)[:, None] for a in (pose.yaw, pose.pitch, pose.roll))
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
    y = y * np.cos(pitch) - z * np.sin(pitch)
    x, y = x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)
    scale = pose.scale[:, None]
    return np.stack([pose.x[:, None] + x * scale, pose.y[:, None] + y * scale], -1) * size


def sway(person: Person, times: np.ndarray, rng: np.random.Generator) -> Pose:
    """A head that is somewhere in the frame, turned a little, and moves a little."""

    def wave(middle: float, width: float) -> np.ndarray:
        return middle + width * np.sin(2 * np.pi * (rng.uniform(0.2, 0.7) * times + rng.random()))

    small = 0.9 if person.age == 0 else 1.0
    return Pose(
        yaw=wave(rng.uniform(-13, 13), rng.uniform(1, 4)),
        pitch=wave(rng.uniform(-7, 7), rng.uniform(1, 3)),
        roll=wave(rng.uniform(-7, 7), rng.uniform(1, 3)),
        x=wave(0.5 + rng.uniform(-0.09, 0.09), rng.uniform(0.0, 0.02)),
        y=wave(0.52 + rng.uniform(-0.06, 0.06), rng.uniform(0.0, 0.015)),
        scale=wave(rng.uniform(0.29, 0.35) * small, rng.uniform(0.0, 0.006)),
    )


def boxes(marks: np.ndarray) -> np.ndarray:
    """Face boxes [frames, 4] (x0 y0 x1 y1, pixels) around landmarks [frames, 68, 2], with a forehead."""
    low, high = marks.min(1), marks.max(1)
    height = high[:, 1] - low[:, 1]
    return np.stack([low[:, 0], low[:, 1] - 0.22 * height, high[:, 0], high[:, 1]], 1)
