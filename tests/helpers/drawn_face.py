"""A face drawn with whole numbers, the same on every machine: golden values of face networks are of this picture."""

import numpy as np


def drawn_face(high=150, wide=121):
    """uint8 [high wide 3]: a skin-coloured ellipse with eyes, brows, nose and an open mouth on a sloping ground."""
    y, x = np.mgrid[:high, :wide]
    image = np.stack([60 + x * 80 // wide, 90 + y * 60 // high, 120 + (x + y) * 50 // (high + wide)], -1)

    def fill(row, column, tall, broad, colour):
        """An ellipse, in thousandths of the picture."""
        down, across = (
            (y * 1000 - row * high) * 1000 // (tall * high),
            (x * 1000 - column * wide) * 1000 // (broad * wide),
        )
        image[down * down + across * across <= 1000 * 1000] = colour

    fill(500, 500, 430, 360, (214, 172, 142))
    for column in (360, 640):
        fill(420, column, 35, 75, (245, 240, 235))
        fill(420, column, 30, 30, (60, 40, 30))
        fill(335, column, 14, 95, (70, 50, 40))
    fill(545, 500, 80, 35, (190, 145, 118))
    fill(720, 500, 60, 140, (120, 40, 45))
    fill(700, 500, 22, 120, (240, 235, 230))
    return image.astype(np.uint8)
