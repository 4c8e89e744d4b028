"""What stands by the mountain lake: pines, a cabin with a landing stage, grass."""

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from tools.draw_samples.drawing import Array, colour, fractal, mix, smoothstep
from tools.draw_samples.lake_land import BANK, DEEP, HALF, NEAR, Eye, Land, haze

Levels = tuple[int, ...]
GIANTS = (
    (-0.80, 1.50, 1.00),
    (-0.50, 1.20, 0.50),
    (-1.00, 1.95, 1.00),
    (-0.40, 1.08, 0.17),
    (1.45, 2.75, 0.50),
    (1.62, 2.90, 0.62),
    (1.30, 3.10, 0.42),
    (1.05, 3.50, 0.36),
)
"""Place and height of the trees that frame the picture."""


@dataclass(frozen=True)
class Pines:
    """Trees, the far ones first: arrays `(n,)` of place, foot, height and light from 0 to 1."""

    x: Array
    z: Array
    ground: Array
    size: Array
    shade: Array

    @classmethod
    def grow(cls, land: Land, zoom: float, rng: np.random.Generator) -> "Pines":
        """Plant the forest where the land has one and a view of `zoom` may show it."""
        count = 42000
        x = rng.uniform(-HALF, HALF, count).astype(np.float32)
        z = (NEAR + (DEEP - NEAR) * rng.uniform(0.0, 0.62, count)).astype(np.float32)
        seen = np.abs(x) < z / zoom * 1.1
        x, z = x[seen], z[seen]
        keep = (rng.uniform(0, 1, x.size) < land.at(land.forest, x, z)) & (z > BANK + 0.1)
        size = (0.19 * rng.uniform(0.5, 1.2, keep.sum())).astype(np.float32)
        giants = np.array(GIANTS, np.float32).T
        x, z = np.append(x[keep], giants[0]), np.append(z[keep], giants[1])
        size, shade = np.append(size, giants[2]), rng.uniform(0, 1, x.size)
        order = np.argsort(-z, kind="stable")
        ground = land.at(land.height, x, z)
        return cls(x[order], z[order], ground[order], size[order], shade[order])

    def tones(self, code: str, spread: float) -> list[Levels]:
        """Return a colour as each tree shows it through the air, in 0..255."""
        plain = colour(code)[:, None] * (0.63 + 0.9 * spread * self.shade)
        seen = haze(plain, self.z, self.ground + 0.5 * self.size)
        levels = (np.clip(seen, 0, 1) ** (1 / 2.2) * 255).astype(int).T.tolist()
        return [tuple(level) for level in levels]


def furnish(
    draw: ImageDraw.ImageDraw,
    land: Land,
    trees: Pines,
    depth: Array,
    eye: Eye,
    rng: np.random.Generator,
) -> None:
    """Draw everything that stands by the lake, the far things first."""
    column, row = eye.project(trees.x, trees.ground, trees.z)
    high = trees.size / trees.z * eye.scale
    across, down = column.astype(int), (row - 0.4 * high).astype(int)
    shown = (across > -high) & (across < eye.columns + high) & (down >= 0) & (down < eye.rows)
    behind = depth[np.clip(down, 0, eye.rows - 1), np.clip(across, 0, eye.columns - 1)]
    shown &= (behind == 0) | (behind >= trees.z - 0.25)
    bright, deep = trees.tones("#58602c", 0.6), trees.tones("#101c15", 0.5)

    def trees_where(chosen: Array) -> None:
        for index in np.flatnonzero(shown & chosen).tolist():
            place = float(column[index]), float(row[index])
            pine(draw, place, float(high[index]), bright[index], deep[index], rng)

    trees_where(trees.z >= BANK)
    cabin(draw, eye)
    # The water mirrors nothing of the near bank.
    if eye.height > 0:
        grass(draw, land, eye, rng)
        trees_where(trees.z < BANK)


def pine(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    high: float,
    bright: Levels,
    deep: Levels,
    rng: np.random.Generator,
) -> None:
    """Draw a pine: dark tiers of boughs, bright on the side of the sun; far ones as two faces."""
    x, y = place
    wide = high * 0.19
    if high < 14:
        draw.polygon([(x - wide, y), (x, y - high), (x + wide, y)], fill=deep)
        draw.polygon([(x - wide, y), (x, y - high), (x - wide * 0.1, y)], fill=bright)
        return
    stem = high * 0.011
    draw.rectangle((x - stem, y - high * 0.3, x + stem, y + high * 0.01), fill=deep)
    tiers, boughs = int(min(44, 6 + high / 11)), int(min(13, 3 + high / 45))
    jitter = rng.uniform(-1, 1, (tiers, boughs, 3)).tolist()
    for tier in range(tiers):
        share = tier / tiers
        reach = wide * (1 - share) ** 0.8 + high * 0.008
        thick = high * (0.052 - 0.03 * share) * 5 / (4 + boughs**0.5)
        for bough in range(boughs):
            long, lower, tone = jitter[tier][bough]
            side = float(np.sin((2 * bough / max(boughs - 1, 1) - 1) * 1.45)) + 0.1 * tone
            tip = x + side * reach * (1 + 0.28 * long)
            base = y - high * (0.05 + 0.92 * share) + 0.3 * thick * lower
            droop = base + thick * (0.9 + 0.7 * (1 - abs(side)) + 0.4 * lower)
            light = min(max(0.42 - 0.62 * side + 0.34 * tone, 0.0), 1.0)
            fill = tuple(int(d + (b - d) * light) for b, d in zip(bright, deep, strict=True))
            middle, root, level = (x + tip) / 2, x - 0.10 * (tip - x), (base + droop) / 2
            upper = (middle, level - 0.75 * thick)
            under = (middle, level + 0.35 * thick)
            draw.polygon([(root, base - 1.2 * thick), upper, (tip, droop), under], fill=fill)
    top = y - high * 0.93
    draw.polygon([(x - high * 0.012, top), (x, y - high), (x + high * 0.012, top)], fill=deep)


def grass(draw: ImageDraw.ImageDraw, land: Land, eye: Eye, rng: np.random.Generator) -> None:
    """Draw the blades of grass on the near bank, with a few flowers."""
    count = 40000
    z = np.sort(NEAR + 1.7 * rng.uniform(0, 1, count).astype(np.float32) ** 1.8)[::-1]
    x = (-z / eye.zoom * rng.uniform(-0.3, 1.05, count)).astype(np.float32)
    ground = land.at(land.height, x, z)
    keep = ground > 0.012
    x, z, ground = x[keep], z[keep], ground[keep]
    column, row = eye.project(x, ground - 0.004, z)
    high = eye.scale / z * rng.uniform(0.006, 0.024, x.size)
    high *= 0.5 + smoothstep(0.012, 0.05, ground)
    tips = column + high * rng.normal(0.1, 0.35, x.size)
    patch = land.at(fractal(256, 256, 60, 3, rng), x * 2, z * 2)
    tone = np.clip(rng.normal(0.42, 0.22, x.size) + 0.3 * patch, 0, 1)
    green = mix(colour("#141d0d"), colour("#7d7a35"), tone**1.2)
    flower = rng.uniform(0, 1, x.size) < 0.012
    green = np.where(flower, colour("#d9b24a")[:, None], green)
    levels = (green ** (1 / 2.2) * 255).astype(int).T.tolist()
    half = np.maximum(0.08 * high, 0.7)
    shapes = np.stack([column - half, row, tips, row - high, column + half, row], 1).tolist()
    for shape, fill in zip(shapes, levels, strict=True):
        draw.polygon(shape, fill=tuple(fill))


class Frame:
    """Draws in the frame of the cabin: along its front, up, and back from it."""

    def __init__(self, draw: ImageDraw.ImageDraw, eye: Eye) -> None:
        """Stand the cabin on the right point of land."""
        self.draw = draw
        self.eye = eye
        self.fine = max(1, eye.columns // 900)

    def spot(self, point: tuple[float, float, float]) -> tuple[float, float]:
        """Return where a point is in the picture."""
        along, up, back = point
        cos, sin = np.cos(0.55), np.sin(0.55)
        x, z = 0.98 + along * cos + back * sin, 2.95 - along * sin + back * cos
        column, row = self.eye.project(x, up + 0.03, z)
        return float(column), float(row)

    def face(self, fill: str, *points: tuple[float, float, float]) -> None:
        """Fill a flat piece."""
        self.draw.polygon([self.spot(point) for point in points], fill=fill)

    def line(self, fill: str, thick: int, *points: tuple[float, float, float]) -> None:
        """Draw a line."""
        self.draw.line([self.spot(point) for point in points], fill=fill, width=thick)


def cabin(draw: ImageDraw.ImageDraw, eye: Eye) -> None:
    """Draw the log cabin with its lit windows."""
    frame = Frame(draw, eye)
    wide, deep, wall, ridge, foot = 0.20, 0.26, 0.105, 0.19, -0.03
    middle = wide / 2
    frame.face("#6f4a2c", (0, foot, 0), (0, wall, 0), (0, wall, deep), (0, foot, deep))
    front = (0, foot, 0), (wide, foot, 0), (wide, wall, 0), (middle, ridge, 0), (0, wall, 0)
    frame.face("#4a3020", *front)
    for log in range(7):
        level = log * 0.021 - 0.02
        frame.line("#2e1d13", frame.fine, (0, level, 0), (wide, level, 0))
        frame.line("#553720", frame.fine, (0, level, 0), (0, level, deep))
    frame.face("#2a1a10", (0.025, foot, 0), (0.075, foot, 0), (0.075, 0.07, 0), (0.025, 0.07, 0))
    low, high = 0.03, 0.078
    frame.face("#ffd98a", (0.11, low, 0), (0.165, low, 0), (0.165, high, 0), (0.11, high, 0))
    frame.face("#ffcf7a", (0, low, 0.09), (0, low, 0.16), (0, high, 0.16), (0, high, 0.09))
    frame.line("#3a2417", 2 * frame.fine, (0.1375, low, 0), (0.1375, high, 0))
    out = 0.025
    eave = wall - out * (ridge - wall) / middle
    ends = (middle, ridge + 0.012, -out), (middle, ridge + 0.012, deep + out)
    frame.face("#8d6a52", (-out, eave, -out), *ends, (-out, eave, deep + out))
    for side, fill in ((wide + out, "#4d4340"), (-out, "#a98468")):
        tip = (middle, ridge + 0.015, -out), (middle, ridge - 0.004, -out)
        frame.face(fill, *tip, (side, eave - 0.008, -out), (side, eave + 0.010, -out))
    stage(frame)


def stage(frame: Frame) -> None:
    """Draw the landing stage before the cabin: planks on posts."""
    for plank in range(14):
        near, far = -0.16 - 0.03 * plank, -0.187 - 0.03 * plank
        fill = "#8a7458" if plank % 2 else "#75614a"
        edges = (-0.10, -0.01, near), (0.0, -0.01, near), (0.0, -0.01, far), (-0.10, -0.01, far)
        frame.face(fill, *edges)
    for back in (-0.2, -0.38, -0.56):
        for along in (-0.10, 0.0):
            frame.line("#3c2c20", 3 * frame.fine, (along, -0.03, back), (along, 0.01, back))
