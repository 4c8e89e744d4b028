"""A sample content: snow mountains over a lake, pines, a cabin and the evening light."""

import numpy as np
from PIL import Image

from tools.draw_samples.drawing import (
    OVERSAMPLING,
    Array,
    Overlay,
    colour,
    develop,
    fractal,
    mix,
    sample,
    smoothstep,
)
from tools.draw_samples.lake_land import Eye, Land, haze, march, survey
from tools.draw_samples.lake_shore import Pines, furnish

EYE = 0.16
ZOOM = 1.75
HORIZON = 0.63
"""The horizon's row over the height of the picture."""


def heaven(eye: Eye, rng: np.random.Generator) -> Array:
    """Return the evening sky."""
    clouds = fractal(512, 1024, 4, 8, rng, 0.55)
    across, up = eye.directions()
    x, y = np.broadcast_arrays(across[None, :], up[:, None])
    sky = mix(colour("#f6dcb4"), colour("#8fb5d8"), smoothstep(0.02, 0.34, y - 0.05 * x))
    sky = mix(sky, colour("#2f63a6"), smoothstep(0.22, 0.7, y + 0.1 * x))

    def density(right: float, above: float) -> Array:
        far = 0.35 / (np.abs(y + above) + 0.22)
        return sample(clouds, (x + right) * far * 0.55 + 2.4, far * 0.75 + 0.3)

    here = density(0, 0)
    bright = np.clip(0.62 + 1.0 * (here - density(-0.05, 0.03)), 0, 1)
    cloud = mix(colour("#8d97b3"), colour("#ffe9cb"), bright)
    return mix(sky, cloud, smoothstep(0.12, 0.8, here) * 0.95).astype(np.float32)


def view(
    land: Land, trees: Pines, sky: Array, eye: Eye, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the picture without the water, and a mask of where something stands."""
    depth = march(land, eye)
    here = depth > 0
    place = np.where(here, depth, 1.0)
    x = eye.directions()[0][None, :] * depth
    paint = np.stack([land.at(channel, x, place) for channel in land.paint])
    key, fill = (land.at(channel, x, place) for channel in land.light)
    warm = np.array([3.7, 2.85, 1.9], np.float32).reshape(3, 1, 1)
    cold = np.array([0.26, 0.36, 0.56], np.float32).reshape(3, 1, 1)
    light = haze(paint * (warm * key + cold * fill) * 0.62, place, land.at(land.height, x, place))
    overlay = Overlay(np.where(here, light, sky * 0.8).astype(np.float32))
    furnish(overlay.draw, land, trees, depth, eye, rng)
    picture, things = overlay.result()
    return picture, things | here


def mountain_lake(width: int) -> Image.Image:
    """Draw mountains over a lake; RGB, 4:3."""
    rng = np.random.default_rng(4478)
    columns = width * OVERSAMPLING
    rows = columns * 3 // 4
    eye = Eye(EYE, ZOOM, HORIZON * rows, rows, columns)
    # What the lake mirrors is what an eye as deep below the water would see.
    below = Eye(-EYE, ZOOM, HORIZON * rows, rows, columns)
    land = survey(rng)
    trees = Pines.grow(land, ZOOM, rng)
    sky = heaven(eye, rng)
    above, dry = view(land, trees, sky, eye, rng)
    mirrored, _ = view(land, trees, sky, below, rng)
    under = np.arange(rows)[:, None] > eye.horizon
    result = np.where(under & ~dry, lake(mirrored, eye, rng), above)
    return develop(result, width, rng)


def lake(mirrored: Array, eye: Eye, rng: np.random.Generator) -> Array:
    """Return the water for every pixel below the horizon: the mirrored picture in small waves."""
    waves = fractal(512, 512, 24, 5, rng, 0.65)
    row = np.arange(eye.rows, dtype=np.float32)[:, None]
    column = np.arange(eye.columns, dtype=np.float32)[None, :]
    fall = np.maximum(row - eye.horizon, 1.0) / eye.scale
    reach = EYE / fall
    x = (column - eye.columns / 2) / eye.scale * reach
    wave = sample(waves, x * 0.16 + 4, reach * 0.55 + 4)
    wave += 0.7 * sample(waves, x * 0.5 + 4, reach * 1.7 + 2)
    wind = smoothstep(-0.2, 0.7, sample(waves, x * 0.02 + 1, reach * 0.06 + 1.2))
    size = eye.rows * (0.003 + 0.009 * wind)
    source = np.clip(2 * eye.horizon - row + wave * size, 0, eye.rows - 1).astype(np.int32)
    across = np.clip(column + wave * size * 0.2, 0, eye.columns - 1).astype(np.int32)
    seen = mirrored[:, source, across] * np.array([0.86, 0.93, 0.95], np.float32).reshape(3, 1, 1)
    steep = smoothstep(0.08 / ZOOM, 0.62 / ZOOM, np.broadcast_to(fall, wave.shape))
    body = mix(colour("#2f6a70"), colour("#0f3038"), steep)
    gleam = 0.05 * wind * smoothstep(0.3, 1.0, wave)
    return mix(body, seen, 0.92 - 0.45 * steep) + gleam * colour("#f0e4d0").reshape(3, 1, 1)
