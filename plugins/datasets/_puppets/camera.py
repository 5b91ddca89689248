"""What surrounds a puppet: the background, the lamp and the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .draw import OVER


def scenery(size: int, rng: np.random.Generator) -> Image.Image:
    """A background, `OVER` times the film's size: two colours that run into each other, and a few soft shapes."""
    small = rng.uniform(40, 220, (3, 3, 3))
    small = 0.6 * small + 0.4 * rng.uniform(40, 220, 3)
    large = size * OVER
    image = Image.fromarray(small.astype(np.uint8)).resize((large, large), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 4))):
        x, y, wide, tall = rng.uniform(0, large, 2).tolist() + rng.uniform(0.1 * large, 0.5 * large, 2).tolist()
        red, green, blue = (int(c) for c in rng.integers(30, 230, 3))
        shape = pen.rectangle if rng.random() < 0.6 else pen.ellipse
        shape((x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2), fill=(red, green, blue))
    return image


@dataclass(frozen=True)
class Camera:
    """Lamp and sensor of one clip."""

    gain: np.ndarray
    """[size, size, 3] factor: brightness, colour of the light, and the side it comes from."""
    grain: float
    """Standard deviation of the noise, in grey levels."""

    def take(self, picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """uint8 [size, size, 3]."""
        values = np.asarray(picture, dtype=np.float32) * self.gain
        values += self.grain * rng.standard_normal((*values.shape[:2], 1), dtype=np.float32)
        return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def camera_of(size: int, rng: np.random.Generator) -> Camera:
    """A lamp from anywhere, warm or cold, bright or dim; a sensor with more or less grain."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.3)
    side = 1 + slope * (np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None])
    warm = rng.uniform(-0.08, 0.08)
    colour = np.array([1 + warm, 1.0, 1 - warm], dtype=np.float32) * rng.uniform(0.7, 1.1)
    return Camera((side[..., None] * colour).astype(np.float32), rng.uniform(1.0, 5.0))
