"""Pictures of a puppet: curves through its landmarks, filled with colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .cast import Person
from .emotion import UNITS, Course
from .face import Pose, depth, moved, placed, rest

OVER = 3
"""Pictures are drawn that many times larger and averaged down, so that edges are smooth."""
Colour = tuple[int, int, int]
_SKINS: tuple[Colour, ...] = (
    (246, 228, 214), (243, 222, 202), (240, 214, 184), (228, 196, 158), (208, 172, 132),
    (172, 130, 94), (142, 102, 72), (116, 80, 58), (94, 66, 50), (78, 56, 46),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = ((32, 26, 24), (62, 42, 30), (112, 72, 40), (196, 156, 90), (150, 66, 36))
_IRISES: tuple[Colour, ...] = ((70, 42, 26), (84, 104, 60), (66, 100, 140), (100, 100, 104))


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of the other colour in the first."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True)
class Paints:
    """The colours of one person."""

    skin: Colour
    shade: Colour
    line: Colour
    hair: Colour
    brow: Colour
    lips: Colour
    white: Colour
    iris: Colour
    clothes: Colour


def paints_of(person: Person) -> Paints:
    """Skin, hair and the rest."""
    skin = _SKINS[person.tone]
    hair = mix(_HAIRS[person.hair], (205, 205, 208), 0.92 * person.grey)
    red = (186, 62, 72) if person.gender == 0 and person.age >= 1 else (188, 98, 92)
    return Paints(
        skin=skin,
        shade=mix(skin, (60, 20, 20), 0.22),
        line=mix(skin, (24, 8, 8), 0.62),
        hair=hair,
        brow=mix(mix(hair, (20, 14, 12), 0.55), (16, 12, 12), 0.5 if person.tone > 6 else 0.0),
        lips=mix(skin, red, 0.62),
        white=(244, 244, 240),
        iris=_IRISES[person.iris],
        clothes=person.clothes,
    )


def _curve_matrix(count: int, closed: bool, fine: int) -> np.ndarray:
    """Catmull-Rom: [count * fine (+ 1), count] weights that lay a smooth curve through `count` points."""
    spans = count if closed else count - 1
    rows = []
    for span in range(spans):
        ids = [span - 1, span, span + 1, span + 2]
        ids = [i % count for i in ids] if closed else [min(max(i, 0), count - 1) for i in ids]
        for u in np.arange(fine) / fine:
            v = 1 - u
            weights = (-u * v**2 / 2, (2 - 5 * u**2 + 3 * u**3) / 2, (u + 4 * u**2 - 3 * u**3) / 2, -v * u**2 / 2)
            row = np.zeros(count)
            np.add.at(row, ids, weights)
            rows.append(row)
    if not closed:
        rows.append(np.eye(count)[-1])
    return np.array(rows)


_OPEN = {count: _curve_matrix(count, False, 5) for count in (4, 5, 7)}
"""Open curves through 4 (eyelids), 5 (brows, inner lips) and 7 (outer lips) points."""


def _extra(person: Person) -> dict[str, np.ndarray]:
    """Curves beside the landmarks, in face units [n, 2]: crown, hair, ears, folds."""
    arc = np.pi * np.arange(0, 13) / 12
    crown = np.stack([-0.98 * np.cos(arc), -0.25 - 0.98 * np.sin(arc)], 1)
    outer = np.stack([-1.07 * np.cos(arc), -0.22 - 1.12 * np.sin(arc)], 1)
    high = {0: 0.95, 1: 0.60, 2: 0.42, 3: 0.58, 4: 0.55}[person.style]
    hairline = np.stack([-0.96 * np.cos(arc), -0.30 - high * np.sin(arc) ** 0.7], 1)
    if person.style == 2:
        hairline[1:-1:2, 1] -= 0.09
    ear = np.stack([np.cos(np.linspace(0, 2 * np.pi, 9)) * 0.13, np.sin(np.linspace(0, 2 * np.pi, 9)) * 0.22], 1)
    side = np.array([(-1.05, -0.4), (-1.16, 0.2), (-1.12, 0.9), (-0.95, 1.3), (-0.6, 1.35), (0.6, 1.35), (0.95, 1.3),
                     (1.12, 0.9), (1.16, 0.2), (1.05, -0.4)])  # fmt: skip
    waves = [np.array([(-0.45, y), (-0.15, y - 0.035), (0.15, y - 0.035), (0.45, y)]) for y in (-0.80, -0.92)]
    frown = [np.array([(s * 0.05, -0.62), (s * 0.07, -0.44)]) for s in (-1, 1)]
    crow = [np.array([(s * 0.70, -0.20 + d), (s * 0.86, -0.26 + 2.6 * d)]) for s in (-1, 1) for d in (0.0, 0.05)]
    fold = [np.array([(s * 0.25, 0.34), (s * 0.38, 0.46), (s * 0.46, 0.62)]) for s in (-1, 1)]
    snarl = [np.array([(s * 0.04, -0.10 + d), (s * 0.16, -0.02 + d)]) for s in (-1, 1) for d in (0.0, 0.10)]
    curves = {"crown": crown, "outer": outer, "hairline": hairline, "side": side}
    curves |= {"ear0": ear - np.array([1.0, 0.0]), "ear1": ear + np.array([1.0, 0.0])}
    for name, lines in (("wave", waves), ("frown", frown), ("crow", crow), ("fold", fold), ("snarl", snarl)):
        curves |= {f"{name}{n}": line for n, line in enumerate(lines)}
    curves["cheeks"] = np.array([(-0.58, 0.28), (0.58, 0.28)])
    for n, s in enumerate((-1, 1)):
        curves[f"pull{n}"] = np.array([(s * 0.70, 0.58), (s * 0.76, 0.72), (s * 0.70, 0.86)])
        curves[f"press{n}"] = np.array([(s * 0.30, 0.56), (s * 0.27, 0.69), (s * 0.30, 0.82)])
    curves["chin"] = np.array([(-0.12, 0.93), (0.0, 0.90), (0.12, 0.93)])
    return curves


class Puppet:
    """One person's face over a clip: landmarks and curves of all frames in pixels, and how to draw a frame."""

    def __init__(self, person: Person, course: Course, pose: Pose, size: int) -> None:
        self.person, self.size, self.pose = person, size, pose
        self.paints = paints_of(person)
        self.units = course.both
        marks = moved(rest(person), course)
        extra = _extra(person)
        flat = np.concatenate(list(extra.values()))
        solid = np.concatenate([flat, depth(flat)[:, None]], 1)
        everything = np.concatenate([marks, np.repeat(solid[None], len(marks), 0)], 1)
        pixels = placed(everything, pose, size)
        self.marks = pixels[:, :68]
        """[frames, 68, 2] pixels of the film."""
        ends = np.cumsum([68] + [len(c) for c in extra.values()])
        self._curves = {name: pixels[:, a:b] * OVER for name, a, b in zip(extra, ends[:-1], ends[1:], strict=True)}
        large = self.marks * OVER
        self._curves |= {
            "lid0": _OPEN[4] @ large[:, 36:40], "under0": _OPEN[4] @ large[:, [36, 41, 40, 39]],
            "lid1": _OPEN[4] @ large[:, 42:46], "under1": _OPEN[4] @ large[:, [42, 47, 46, 45]],
            "brow0": _OPEN[5] @ large[:, 17:22], "brow1": _OPEN[5] @ large[:, [26, 25, 24, 23, 22]],
            "lip_top": _OPEN[7] @ large[:, 48:55], "lip_low": _OPEN[7] @ large[:, [54, 55, 56, 57, 58, 59, 48]],
            "in_top": _OPEN[5] @ large[:, 60:65], "in_low": _OPEN[5] @ large[:, [64, 65, 66, 67, 60]],
            "wings": _OPEN[5] @ large[:, 31:36],
        }  # fmt: skip

    def unit(self, frame: int, number: int) -> float:
        """The strength of an action unit in a frame."""
        return float(self.units[frame, UNITS.index(number)])

    def draw(self, frame: int, scene: Image.Image) -> Image.Image:
        """The frame before the camera: `OVER` times the film's size, on a copy of the background."""
        image = scene.copy()
        pen = ImageDraw.Draw(image)
        curve = {name: points[frame] for name, points in self._curves.items()}
        marks, unit = self.marks[frame] * OVER, float(self.pose.scale[frame]) * self.size * OVER
        self._body(pen, curve, marks, unit)
        self._folds(pen, curve, frame, unit)
        self._nose(pen, curve, marks, unit)
        for side in (0, 1):
            self._eye(pen, curve, marks, unit, side)
        self._mouth(pen, curve, frame, unit)
        self._hair(pen, curve, unit)
        for side in (0, 1):
            self._brow(pen, curve[f"brow{side}"], unit)
        if self.person.glasses:
            self._glasses(pen, marks, unit)
        return image.reduce(OVER)

    def _body(self, pen: ImageDraw.ImageDraw, curve: dict[str, np.ndarray], marks: np.ndarray, unit: float) -> None:
        """Shoulders, neck, hair behind, ears and the face itself."""
        paints = self.paints
        x, y = marks[8]
        if self.person.style == 3:
            _fill(pen, np.concatenate([curve["outer"][::-1], curve["side"]]), mix(paints.hair, (0, 0, 0), 0.15))
        pen.ellipse((x - 1.5 * unit, y + 0.42 * unit, x + 1.5 * unit, y + 3 * unit), fill=paints.clothes)
        neck = np.array([(-0.45, -0.5), (0.45, -0.5), (0.5, 0.55), (-0.5, 0.55)]) * unit + (x, y)
        _fill(pen, neck, paints.shade)
        for ear in ("ear0", "ear1"):
            _fill(pen, curve[ear], mix(paints.skin, paints.shade, 0.5))
        _fill(pen, np.concatenate([marks[:17], curve["crown"][::-1]]), paints.skin)
        if self.person.beard > 0:
            cheeks = np.array([(0.12, -0.18), (0.0, -0.08), (0.0, -0.08), (-0.12, -0.18)]) * unit
            ring = np.concatenate([marks[1:16], marks[[54, 52, 50, 48]] + cheeks])
            _fill(pen, ring, mix(paints.skin, paints.hair, 0.3 + 0.5 * self.person.beard))

    def _folds(self, pen: ImageDraw.ImageDraw, curve: dict[str, np.ndarray], frame: int, unit: float) -> None:
        """Lines and blush that action units (and years) bring."""
        old = max(0.0, (self.person.age - 3) / 4)
        au = {number: self.unit(frame, number) for number in UNITS}
        depths = {
            "wave": max(0.55 * old, 0.9 * au[2], 0.7 * au[1]) * (1 - 0.6 * au[4]),
            "frown": max(0.2 * old, 1.1 * au[4]),
            "crow": max(0.6 * old, 0.9 * au[6]),
            "fold": max(0.6 * old, 0.9 * au[12], 0.9 * au[10], 0.8 * au[9]),
            "snarl": au[9],
            "chin": 0.9 * au[17],
            "press": au[23],
            "pull": au[20],
        }
        blush = mix(self.paints.skin, (214, 96, 88), 0.08 + 0.34 * au[6] + (0.08 if self.person.age < 2 else 0.0))
        for x, y in curve["cheeks"]:
            high = y - 0.07 * unit * au[6]
            pen.ellipse((x - 0.2 * unit, high - 0.13 * unit, x + 0.2 * unit, high + 0.13 * unit), fill=blush)
        for name, points in curve.items():
            strength = depths.get(name.rstrip("0123456789"), 0.0)
            if strength > 0.12:
                _line(pen, points, mix(self.paints.skin, self.paints.line, 0.85 * strength), 0.045 * unit)

    def _nose(self, pen: ImageDraw.ImageDraw, curve: dict[str, np.ndarray], marks: np.ndarray, unit: float) -> None:
        """A shaded bridge, wings and nostrils."""
        paints = self.paints
        _line(pen, marks[28:31], mix(paints.skin, paints.shade, 0.7), 0.09 * unit)
        _fill(pen, np.concatenate([curve["wings"], [marks[30]]]), mix(paints.skin, paints.shade, 0.7))
        _line(pen, curve["wings"], paints.line, 0.04 * unit)

    def _eye(
        self,
        pen: ImageDraw.ImageDraw,
        curve: dict[str, np.ndarray],
        marks: np.ndarray,
        unit: float,
        side: int,
    ) -> None:
        """The white, an iris that the lids cover where they close, and the lash line."""
        paints, lid, under = self.paints, curve[f"lid{side}"], curve[f"under{side}"]
        _fill(pen, np.concatenate([lid, under[::-1]]), paints.white)
        corners = marks[[36, 39]] if side == 0 else marks[[42, 45]]
        x, y = corners.mean(0) - np.array([0.0, 0.01 * unit])
        radius = 0.105 * unit * self.person.eyes
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=paints.iris)
        pen.ellipse((x - radius / 2, y - radius / 2, x + radius / 2, y + radius / 2), fill=(12, 10, 10))
        pen.ellipse((x + radius * 0.1, y - radius * 0.6, x + radius * 0.5, y - radius * 0.2), fill=(255, 255, 255))
        cover = mix(paints.skin, paints.shade, 0.45)
        high = np.stack([lid[::-1, 0], lid[::-1, 1].clip(max=lid[:, 1].min() + 0.02 * unit) - 0.07 * unit], 1)
        high[:, 1] = np.minimum(high[:, 1], y - radius)
        _fill(pen, np.concatenate([lid, high]), cover)
        low = under[::-1] + np.array([0.0, 0.05 * unit])
        low[:, 1] = np.maximum(low[:, 1], y + radius)
        _fill(pen, np.concatenate([under, low]), paints.skin)
        _line(pen, lid, mix(paints.line, (10, 6, 6), 0.6), 0.055 * unit)
        _line(pen, under, mix(paints.skin, paints.line, 0.6), 0.025 * unit)

    def _mouth(self, pen: ImageDraw.ImageDraw, curve: dict[str, np.ndarray], frame: int, unit: float) -> None:
        """Lips, and between them the dark, teeth and tongue."""
        paints = self.paints
        _fill(pen, np.concatenate([curve["lip_top"], curve["lip_low"]]), paints.lips)
        top, low = curve["in_top"], curve["in_low"][::-1]
        gap = float((low[:, 1] - top[:, 1]).max())
        if gap > 0.05 * unit:
            _fill(pen, np.concatenate([top, low[::-1]]), (66, 20, 26))
            teeth = np.stack([top[:, 0], np.minimum(top[:, 1] + 0.09 * unit, low[:, 1])], 1)
            _fill(pen, np.concatenate([top, teeth[::-1]]), (238, 234, 226))
            if gap > 0.22 * unit:
                tongue = np.stack([low[:, 0], np.maximum(low[:, 1] - 0.10 * unit, teeth[:, 1])], 1)
                _fill(pen, np.concatenate([tongue[4:-4], low[4:-4][::-1]]), (196, 92, 96))
        _line(pen, top, mix(paints.lips, (30, 6, 8), 0.7), 0.05 * unit)

    def _hair(self, pen: ImageDraw.ImageDraw, curve: dict[str, np.ndarray], unit: float) -> None:
        """What lies on the head."""
        if self.person.style == 0:
            return
        _fill(pen, np.concatenate([curve["outer"], curve["hairline"][::-1]]), self.paints.hair)
        if self.person.style == 4:
            for x, y in curve["outer"]:
                pen.ellipse((x - 0.2 * unit, y - 0.2 * unit, x + 0.2 * unit, y + 0.2 * unit), fill=self.paints.hair)

    def _brow(self, pen: ImageDraw.ImageDraw, line: np.ndarray, unit: float) -> None:
        """A band that gets thicker towards the nose."""
        thick = np.linspace(0.035, 0.065, len(line)) * unit * self.person.brow
        up, down = line.copy(), line.copy()
        up[:, 1] -= thick
        down[:, 1] += thick
        _fill(pen, np.concatenate([up, down[::-1]]), self.paints.brow)

    def _glasses(self, pen: ImageDraw.ImageDraw, marks: np.ndarray, unit: float) -> None:
        """Two rims and a bridge."""
        centres = [marks[36:42].mean(0), marks[42:48].mean(0)]
        for x, y in centres:
            pen.ellipse(
                (x - 0.34 * unit, y - 0.27 * unit, x + 0.34 * unit, y + 0.29 * unit),
                outline=(40, 36, 40),
                width=max(2, round(0.035 * unit)),
            )
        (x0, y0), (x1, y1) = centres
        _line(pen, np.array([(x0 + 0.34 * unit, y0), (x1 - 0.34 * unit, y1)]), (40, 36, 40), 0.035 * unit)


def _fill(pen: ImageDraw.ImageDraw, points: np.ndarray, colour: Colour) -> None:
    pen.polygon(points.ravel().tolist(), fill=colour)


def _line(pen: ImageDraw.ImageDraw, points: np.ndarray, colour: Colour, width: float) -> None:
    pen.line(points.ravel().tolist(), fill=colour, width=max(1, round(width)), joint="curve")
