"""What the sample pictures share: noise, blur, colour and the way to an image."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Array = npt.NDArray[Any]
OVERSAMPLING = 2
"""Every picture is drawn this many times as large and then scaled down: smooth edges."""


def noise(height: int, width: int, cells: float, rng: np.random.Generator) -> Array:
    """Return smooth noise.

    A `(height, width)` array of about -1 to 1; `cells` bumps fit across the width. The draw does
    not depend on the size, so a picture keeps its shapes at every width.
    """
    columns = max(2, round(cells))
    rows = max(2, round(cells * 0.75))
    grid = Image.fromarray(rng.uniform(-1.0, 1.0, (rows, columns)).astype(np.float32))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def fractal(
    height: int,
    width: int,
    cells: float,
    octaves: int,
    rng: np.random.Generator,
    gain: float = 0.5,
) -> Array:
    """Return noise at `octaves` scales, each twice as fine and `gain` times as strong."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        total += gain**octave * noise(height, width, cells * 2**octave, rng)
    return total


def blur(array: Array, radius: float) -> Array:
    """Return a 2-D array blurred by about `radius` pixels: three box filters in a row."""
    half = max(1, round(radius))
    for _ in range(3):
        for axis in (0, 1):
            pad = [(0, 0), (0, 0)]
            pad[axis] = (half + 1, half)
            sums = np.cumsum(np.pad(array, pad, mode="edge"), axis=axis, dtype=np.float64)
            length = sums.shape[axis]
            later = np.take(sums, np.arange(2 * half + 1, length), axis)
            earlier = np.take(sums, np.arange(length - 2 * half - 1), axis)
            array = ((later - earlier) / (2 * half + 1)).astype(np.float32)
    return array


def sample(texture: Array, x: Array, y: Array) -> Array:
    """Look a 2-D texture up between its points; it spans one unit and repeats mirrored."""
    rows, columns = texture.shape
    column = (1.0 - np.abs(1.0 - np.mod(x, 2.0))) * (columns - 1.001)
    row = (1.0 - np.abs(1.0 - np.mod(y, 2.0))) * (rows - 1.001)
    left, top = column.astype(np.int32), row.astype(np.int32)
    across, down = (column - left).astype(np.float32), (row - top).astype(np.float32)
    flat, corner = texture.ravel(), top * columns + left
    upper = flat[corner] * (1 - across) + flat[corner + 1] * across
    lower = flat[corner + columns] * (1 - across) + flat[corner + columns + 1] * across
    result: Array = upper * (1 - down) + lower * down
    return result


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Return 0 below `low`, 1 above `high` and a smooth ramp between."""
    ramp = np.clip((value - low) / (high - low), 0.0, 1.0)
    result: Array = ramp * ramp * (3.0 - 2.0 * ramp)
    return result


def ink(code: str) -> Array:
    """Return the sRGB levels of a `#rrggbb` colour in 0..1, shape `(3,)`."""
    return np.array([int(code[start : start + 2], 16) / 255 for start in (1, 3, 5)], np.float32)


def colour(code: str) -> Array:
    """Return the linear light of a `#rrggbb` colour, shape `(3,)`."""
    result: Array = ink(code) ** np.float32(2.2)
    return result


def mix(first: Array, second: Array, share: Array) -> Array:
    """Blend two colours or pictures `(3, ...)`; `share` of the second, shape `(...)`."""
    if first.ndim == 1:
        first = first.reshape((3,) + (1,) * share.ndim)
    if second.ndim == 1:
        second = second.reshape((3,) + (1,) * share.ndim)
    result: Array = first + (second - first) * share
    return result


def develop(
    light: Array, width: int, rng: np.random.Generator, grain: float = 0.012
) -> Image.Image:
    """Turn linear light `(3, height, width)` into an RGB image `width` pixels wide.

    Like film: a soft shoulder for the highlights, a little grain.
    """
    exposed = np.maximum(light, 0.0)
    curved = exposed * (2.51 * exposed + 0.03) / (exposed * (2.43 * exposed + 0.59) + 0.14)
    levels = np.clip(curved, 0.0, 1.0) ** (1.0 / 2.2)
    levels += grain * rng.standard_normal(levels.shape[1:]).astype(np.float32)
    return reduce(levels, width)


def reduce(levels: Array, width: int) -> Image.Image:
    """Scale sRGB levels `(3, height, width)` in 0..1 down to an RGB image `width` pixels wide."""
    pixels = np.rint(np.clip(levels, 0.0, 1.0) * 255.0).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    height = round(image.height * width / image.width)
    return image.resize((width, height), Image.Resampling.LANCZOS)


class Overlay:
    """A picture of linear light `(3, height, width)` to draw on with `draw`."""

    def __init__(self, light: Array) -> None:
        """Lay the canvas over the picture."""
        self.light = light
        levels = np.clip(light, 0, 1) ** (1 / 2.2) * 255
        self.before = levels.astype(np.uint8).transpose(1, 2, 0)
        self.image = Image.fromarray(np.ascontiguousarray(self.before))
        self.draw = ImageDraw.Draw(self.image)

    def result(self) -> tuple[Array, Array]:
        """Return the picture with what was drawn, and a mask `(height, width)` of where it is."""
        drawn = np.asarray(self.image)
        changed = (drawn != self.before).any(2)
        light = (drawn.transpose(2, 0, 1).astype(np.float32) / 255) ** 2.2
        return np.where(changed, light, self.light), changed
