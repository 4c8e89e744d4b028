"""The land around the mountain lake: a map of it, and what a ray meets on it."""

from dataclasses import dataclass

import numpy as np

from tools.draw_samples.drawing import (
    Array,
    blur,
    colour,
    fractal,
    mix,
    noise,
    sample,
    smoothstep,
)
from tools.draw_samples.tracing import dot, unit

SUN = unit(np.array([-0.78, 0.42, -0.30], np.float32))
NEAR, DEEP, HALF = 0.38, 16.0, 10.0
"""The map reaches from `NEAR` to `DEEP` ahead and `HALF` to both sides."""
BANK = 2.4
"""Up to here lies the near bank: the water behind it mirrors only what is farther away."""
GRID = 1100
"""Points along the sides of the map."""
PEAKS = (
    (-1.1, 10.8, 3.75, 3.0),
    (1.6, 12.6, 3.35, 3.0),
    (-4.6, 12.0, 3.0, 2.8),
    (4.6, 11.2, 3.0, 2.7),
    (-6.4, 8.2, 2.5, 2.5),
    (7.6, 9.6, 3.0, 2.8),
    (-3.0, 8.6, 1.35, 1.7),
    (3.2, 8.8, 1.45, 1.8),
    (0.6, 9.0, 0.9, 1.5),
)
"""Place, height and half width of each mountain."""


@dataclass(frozen=True)
class Eye:
    """A camera that looks level along z: height over the lake, zoom, horizon's row, frame."""

    height: float
    zoom: float
    horizon: float
    rows: int
    columns: int

    @property
    def scale(self) -> float:
        """Pixels per unit at distance one."""
        return self.zoom * self.columns / 2

    def project(self, x: Array | float, y: Array | float, z: Array | float) -> tuple[Array, Array]:
        """Return column and row of places in the world."""
        scale: Array = self.scale / np.asarray(z)
        return self.columns / 2 + x * scale, self.horizon - (y - self.height) * scale

    def directions(self) -> tuple[Array, Array]:
        """Return the slope of each column's rays to the right and of each row's upwards."""
        across = np.arange(self.columns) + 0.5 - self.columns / 2
        up = self.horizon - (np.arange(self.rows) + 0.5)
        return (across / self.scale).astype(np.float32), (up / self.scale).astype(np.float32)


@dataclass(frozen=True)
class Land:
    """The land as maps `(z, x)`; where the height is below 0, there is water."""

    height: Array
    light: Array
    """Sunlight and the openness to the sky, `(2, z, x)`."""
    paint: Array
    forest: Array

    def at(self, texture: Array, x: Array, z: Array) -> Array:
        """Look one of the maps up at places of the world."""
        return sample(texture, (x + HALF) / (2 * HALF), (z - NEAR) / (DEEP - NEAR))


def peaks(x: Array, z: Array, rng: np.random.Generator) -> Array:
    """Return the mountains' height: cones roughened by eroded noise."""
    bend_x, bend_z = (fractal(GRID, GRID, 7, 4, rng) for _ in range(2))
    total = np.zeros_like(x)
    for peak_x, peak_z, high, wide in PEAKS:
        east, ahead = x - peak_x + 0.5 * bend_x, z - peak_z + 0.5 * bend_z
        away = np.hypot(east, ahead * 1.05) / wide
        total = np.maximum(total, high * np.clip(1 - away, 0, None) ** 1.12)
    # Each octave is damped where the ones before it are steep: valleys fill, ridges stay sharp.
    rough, slope_x, slope_z = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for octave in range(7):
        layer = noise(GRID, GRID, 9 * 2**octave, rng)
        ridge = 1 - np.abs(layer) * 1.6
        down, right = np.gradient(layer * 0.5**octave, np.float32(2 * HALF / GRID))
        slope_x += 0.35 * right
        slope_z += 0.35 * down
        rough += 0.5**octave * ridge / (1 + 0.6 * (slope_x**2 + slope_z**2))
    result: Array = total * (0.80 + 0.34 * rough) + 0.05 * rough * smoothstep(0.0, 0.5, total)
    return result


def survey(rng: np.random.Generator) -> Land:
    """Return the land: a lake with points of land from both sides, mountains behind it."""
    x, z = np.meshgrid(
        np.linspace(-HALF, HALF, GRID, dtype=np.float32),
        np.linspace(NEAR, DEEP, GRID, dtype=np.float32),
    )
    mountains = peaks(x, z, rng)
    bank = fractal(GRID, GRID, 9, 6, rng)
    basin = 0.16 * np.maximum(z - (6.4 - 0.05 * x**2 + 0.5 * bank), 0)
    left = np.clip(-0.75 - 0.95 * np.abs(z - 4.6) - x + 0.4 * bank, 0, None)
    right = np.clip(x - 0.62 - 0.75 * np.abs(z - 3.3) + 0.35 * bank, 0, None)
    near = np.clip(-0.02 - 0.35 * (z - 0.45) - 0.2 * (z - 0.45) ** 2 - x + 0.07 * bank, 0, None)
    near *= smoothstep(2.3, 1.9, z)
    land = np.maximum.reduce([basin, left * 0.20, right * 0.16, near * 0.12])
    hills = land * (1 + 0.5 * bank) + 0.45 * np.clip(bank, 0, 1) * smoothstep(0.1, 0.9, land)
    rise = 0.014 + 0.02 * np.abs(bank) + np.maximum(hills, 0)
    rise += mountains * smoothstep(0.0, 0.25, basin)
    height = np.where(land > 0.004, rise, -0.05).astype(np.float32)
    step_x, step_z = 2 * HALF / (GRID - 1), (DEEP - NEAR) / (GRID - 1)
    down, across = np.gradient(height, np.float32(step_z), np.float32(step_x))
    normal = unit(np.stack([-across, np.ones_like(x), -down]))
    key = np.clip(dot(SUN, normal), 0, 1) * sunlit(height, step_x, step_z)
    open_to = np.clip(1 + 1.1 * (height - blur(height, 14)) / 0.25, 0.45, 1.2)
    light = np.stack([key, open_to * (0.6 + 0.4 * normal[1])])
    return Land(height, light, *cover(height, normal[1], x, rng))


def sunlit(height: Array, step_x: float, step_z: float) -> Array:
    """Return how much of the sun each point sees past the land between."""
    shadow = np.ones_like(height)
    rows, columns = np.indices(height.shape)
    for step in range(1, 70):
        run = 0.012 * step * (1 + 0.03 * step)
        row = np.clip(rows + round(run * float(SUN[2]) / step_z), 0, GRID - 1)
        column = np.clip(columns + round(run * float(SUN[0]) / step_x), 0, GRID - 1)
        clear = height + run * float(SUN[1]) - height[row, column]
        shadow = np.minimum(shadow, np.clip(0.5 + clear * 12 / (1 + 3 * run), 0, 1))
    return shadow


def cover(height: Array, level: Array, x: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the land's colours and its forest; `level` is 1 where the ground is level."""
    patch, fine = fractal(GRID, GRID, 12, 6, rng, 0.6), fractal(GRID, GRID, 120, 3, rng, 0.7)
    strata = 0.4 * np.sin(height * 26 + 2.5 * patch + x)
    crag = smoothstep(-1.1, 1.1, strata + patch + 0.8 * fine)
    rock = mix(colour("#3b3836"), colour("#857a6e"), crag)
    line = height + 0.30 * patch + 0.08 * fine
    grass = mix(colour("#3d4a22"), colour("#7a7636"), smoothstep(-0.6, 0.8, patch + 0.4 * fine))
    paint = mix(grass, rock, smoothstep(0.72, 1.02, line + 0.35 * (1 - level)))
    snow = smoothstep(1.25, 1.75, line) * smoothstep(0.42, 0.54, level + 0.16 * fine)
    steep = smoothstep(2.3, 3.0, line) * smoothstep(0.27, 0.37, level + 0.14 * fine)
    paint = mix(paint, colour("#f3f4f6") * 1.05, np.maximum(snow, 0.85 * steep))
    paint = mix(paint, colour("#6f6552"), 0.8 * smoothstep(0.05, 0.015, height))
    forest = smoothstep(-0.75, -0.1, patch) * smoothstep(0.02, 0.05, height)
    forest = forest * smoothstep(1.25, 0.8, line) * smoothstep(0.45, 0.65, level)
    return mix(paint, colour("#1f2b1c"), 0.75 * forest), forest


def march(land: Land, eye: Eye) -> Array:
    """Return each pixel's distance to the land along z; 0: sky or water."""
    count = 1400
    depth = (NEAR * (DEEP / NEAR) ** np.linspace(0.001, 0.999, count)).astype(np.float32)
    across, up = eye.directions()
    x = across[None, :] * depth[:, None]
    height = land.at(land.height, x, np.broadcast_to(depth[:, None], x.shape))
    hidden = (height < 0) | ((depth[:, None] < BANK) & (eye.height < 0))
    rise = (np.where(hidden, -9.0, height) - eye.height) / depth[:, None]
    rise = np.maximum.accumulate(rise, axis=0)
    found = np.zeros((eye.rows, eye.columns), np.float32)
    for column in range(eye.columns):
        first = np.searchsorted(rise[:, column], up)
        inside = np.clip(first, 1, count - 1)
        low, high = rise[inside - 1, column], rise[inside, column]
        share = np.clip((up - low) / np.maximum(high - low, 1e-6), 0, 1)
        reach = depth[inside - 1] + (depth[inside] - depth[inside - 1]) * share
        found[:, column] = np.where(first < count, reach, 0)
    # A ray that would meet the land below the lake's level has met the lake before.
    surface = eye.height + up[:, None] * found
    return np.where((surface < 0.0) & (eye.height > 0), 0, found).astype(np.float32)


def haze(light: Array, depth: Array, height: Array) -> Array:
    """Return light seen through the air: farther is paler and bluer, and mist lies low."""
    veil = 1 - np.exp(-((depth / 36.0) ** 1.25))
    mist = 0.36 * np.exp(-height / 0.25) * smoothstep(3.5, 9.0, depth)
    air = mix(colour("#9fb7d4"), colour("#f0d9bd"), np.clip(mist * 1.2, 0, 1))
    result: Array = light + (air * 0.8 - light) * (1 - (1 - veil) * (1 - mist))
    return result
