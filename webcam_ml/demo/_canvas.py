"""A canvas that draws every shape into all maps of a foreground at once.

`_scenery` decides what stands in front of which camera; `_picture` lights the maps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from webcam_ml.demo._cameras import Camera

Floats = NDArray[np.float32]
Point = tuple[float, float]
Colour = tuple[int, int, int]

OVERSAMPLING = 2  # against jagged edges


@dataclass(frozen=True)
class Scenery:
    """Maps of a camera's foreground.

    Attributes:
        open: 1 where the sky shows, (height, width).
        albedo: Reflectance where something hides the sky, linear, (3, height, width).
        depth: 0 near, 1 at the horizon; 0 in the sky, (height, width).
        water: 1 on water, (height, width).
        lamps: Light of windows and lamps that burn at dusk, linear, (3, height, width).
    """

    open: Floats
    albedo: Floats
    depth: Floats
    water: Floats
    lamps: Floats


class Canvas:
    """Draws one shape into all maps; coordinates are fractions of the picture's width and height."""

    def __init__(self, camera: Camera) -> None:
        self.size = (camera.width * OVERSAMPLING, camera.height * OVERSAMPLING)
        self._maps = tuple(Image.new(mode, self.size) for mode in ("RGB", "L", "L", "L", "RGB"))
        # One for each map and all its shapes: making one takes as long as a small shape.
        self._drawers = tuple(ImageDraw.Draw(image) for image in self._maps)

    def box(
        self, left: float, top: float, right: float, bottom: float, colour: Colour, *, depth: float
    ) -> None:
        """A filled rectangle."""
        self._shape(_corners(left, top, right, bottom), colour, depth, water=False)

    def polygon(self, points: Sequence[Point], colour: Colour, *, depth: float) -> None:
        """A filled shape."""
        self._shape(points, colour, depth, water=False)

    def water(self, top: float, bottom: float, colour: Colour) -> None:
        """Water from one height to another, over the whole width."""
        steps = 12
        for step in range(steps):
            begin = top + (bottom - top) * step / steps
            end = top + (bottom - top) * (step + 1) / steps
            distance = 0.8 * (1 - step / steps) ** 2
            self._shape(_corners(0, begin, 1, end), colour, distance, water=True)

    def line(self, points: Sequence[Point], colour: Colour, *, width: float, depth: float) -> None:
        """A stroke; its width is a fraction of the picture's width."""
        pixels = self._pixels(points)
        thickness = max(1, round(width * self.size[0]))
        for drawer, fill in self._fills(colour, depth, water=False):
            drawer.line(pixels, fill=fill, width=thickness, joint="curve")

    def disk(self, centre: Point, radius: float, colour: Colour, *, depth: float) -> None:
        """A round blob; its radius is a fraction of the picture's width."""
        x, y = centre[0] * self.size[0], centre[1] * self.size[1]
        r = radius * self.size[0]
        for drawer, fill in self._fills(colour, depth, water=False):
            drawer.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def lamp(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A window or lamp that burns at dusk."""
        (x0, y0), (x1, y1) = self._pixels(((left, top), (right, bottom)))
        box = (x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))
        self._drawers[-1].rectangle(box, fill=colour)

    def scenery(self, texture: Floats) -> Scenery:
        """The finished maps; `texture` roughens every surface that is not water."""
        albedo, cover, depth, water, lamps = (
            _planes(image.reduce(OVERSAMPLING)) for image in self._maps
        )
        albedo **= 2.2
        albedo *= 1 + texture * (1 - water)
        lamps **= 2.2
        return Scenery(open=1 - cover, albedo=albedo, depth=depth, water=water, lamps=lamps)

    def _shape(self, points: Sequence[Point], colour: Colour, depth: float, *, water: bool) -> None:
        pixels = self._pixels(points)
        for drawer, fill in self._fills(colour, depth, water=water):
            drawer.polygon(pixels, fill=fill)

    def _fills(
        self, colour: Colour, depth: float, *, water: bool
    ) -> Iterator[tuple[ImageDraw.ImageDraw, Colour | int]]:
        """Pair what draws albedo, cover, depth, water and lamps with what it draws a shape in."""
        fills = (colour, 255, round(255 * depth), 255 if water else 0, (0, 0, 0))
        return zip(self._drawers, fills, strict=True)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.size[0], y * self.size[1]) for x, y in points]


def _corners(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _planes(image: Image.Image) -> Floats:
    """Values from 0 to 1, (height, width) or (3, height, width)."""
    values = np.asarray(image, np.float32) * np.float32(1 / 255)
    return np.ascontiguousarray(np.moveaxis(values, -1, 0)) if values.ndim == 3 else values
