"""A sample style: a mosaic of stone, glass and gold in dark grout."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from tools.draw_samples.drawing import (
    OVERSAMPLING,
    Array,
    blur,
    fractal,
    ink,
    mix,
    noise,
    reduce,
    smoothstep,
)

TILES_ACROSS = 70
IVORY, TERRACOTTA, GOLD, TEAL, DEEP_BLUE, PALE_GREEN, OXBLOOD, APRICOT = range(8)
SUN = (0.5, 0.285)
WAVES = (0.470, 0.535, 0.605, 0.680)
"""How far down the rows of waves begin, the farther before the nearer."""
PALETTE = (
    ("#e9ddc0", "#d9c8a2", "#f3ead6"),
    ("#b5532e", "#9c3f22", "#c96b3f"),
    ("#e0a92e", "#c98a1d", "#f2cb5e"),
    ("#156a6e", "#0f5560", "#23878a"),
    ("#0e3550", "#123f66", "#0b2a42"),
    ("#7fb6a6", "#97c6b4", "#68a397"),
    ("#7c2b1f", "#6a2119", "#8d392a"),
    ("#d98e4f", "#e3a262", "#c97a3d"),
)
"""Three shades of each kind of stone."""


@dataclass(frozen=True)
class Design:
    """The cartoon under the tiles, on a grid: which colour, and which way the rows run."""

    kind: Array
    angle: Array


def design(rows: int, columns: int) -> Design:
    """Return the cartoon: a sun over waves, in a border."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    x, y = (x + 0.5) / columns, (y + 0.5) / columns
    kind, angle = sky(x, y)
    for index in range(len(WAVES)):
        kind, angle = wave(kind, angle, x, y, index)
    return Design(*border(kind, angle, x, y))


def sky(x: Array, y: Array) -> tuple[Array, Array]:
    """Return rings around a sun with petals and rays."""
    right, below = x - SUN[0], y - SUN[1]
    away, around = np.hypot(right, below), np.arctan2(below, right)
    rings = np.mod(np.floor((away - 0.20) / 0.042), 4).astype(np.int32)
    kind = np.choose(rings, [IVORY, PALE_GREEN, IVORY, APRICOT])
    rays = np.where(np.cos(16 * around + 2.2 * np.sin(26 * away)) > 0, TERRACOTTA, GOLD)
    kind = np.where(away < 0.215 + 0.05 * np.cos(8 * around), rays, kind)
    petals = 0.066 + 0.018 * np.cos(8 * around)
    for radius, filling in (
        (0.125, OXBLOOD),
        (0.108, GOLD),
        (petals, TERRACOTTA),
        (0.040, IVORY),
        (0.020, DEEP_BLUE),
    ):
        kind = np.where(away < radius, filling, kind)
    return kind, around


def wave(kind: Array, angle: Array, x: Array, y: Array, index: int) -> tuple[Array, Array]:
    """Lay a row of waves, each with a curl of foam, over the design so far."""
    count = 5.0 - 0.5 * index
    phase = np.mod(x * count + 0.5 * index + 0.13, 1.0) - 0.5
    swell = 0.055 * np.exp(-((phase / 0.26) ** 2)) - 0.012 * np.cos(2 * np.pi * phase)
    deep = y - WAVES[index] + swell
    inside = deep > 0
    bands = [IVORY, PALE_GREEN, TEAL, DEEP_BLUE] if index % 2 else [IVORY, TEAL, DEEP_BLUE, TEAL]
    water = np.choose(np.mod(np.floor(deep / 0.016), 4).astype(np.int32), bands)
    right, below = (phase - 0.02) / count, deep - 0.022
    curl = np.hypot(right, below)
    foam = np.where(curl < 0.015, PALE_GREEN, np.where(curl < 0.029, IVORY, DEEP_BLUE))
    slope_y, slope_x = np.gradient(deep)
    curled = curl < 0.040
    rows = np.where(curled, np.arctan2(below, right), np.arctan2(slope_y, slope_x))
    water = np.where(curled, foam, water)
    return np.where(inside, water, kind), np.where(inside, rows, angle)


def border(kind: Array, angle: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the design within its border: a line, a plait of two strands, a line."""
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 0.75 - y))
    level = edge == np.minimum(y, 0.75 - y)
    along = np.where(level, x, y)
    frame = edge < 0.075
    bend = 0.0135 * np.sin(2 * np.pi * along / 0.125)
    first, second = np.abs(edge - 0.0385 - bend), np.abs(edge - 0.0385 + bend)
    # The strands take turns to lie on top.
    over = np.mod(along / 0.125 + 0.25, 1.0) < 0.5
    plait = np.where(first < 0.0085, GOLD, np.where(second < 0.0085, TERRACOTTA, DEEP_BLUE))
    other = np.where(second < 0.0085, TERRACOTTA, np.where(first < 0.0085, GOLD, DEEP_BLUE))
    shown = np.where(over, plait, other)
    shown = np.where((edge > 0.062) | (edge < 0.015), IVORY, shown)
    shown = np.where(edge > 0.0685, OXBLOOD, shown)
    kind = np.where(frame, shown, kind)
    angle = np.where(frame, np.where(level, np.pi / 2, 0.0), angle)
    return kind.astype(np.float32), angle.astype(np.float32)


@dataclass(frozen=True)
class Tiles:
    """Which tile each pixel belongs to, and where in it: arrays `(rows, columns)`.

    `number` is -1 where there is none; `first` and `second` are the distances to the nearest tile
    and to the next; `u` and `v` lead from the tile's middle along its sides. In sizes of a tile.
    """

    number: Array
    first: Array
    second: Array
    u: Array
    v: Array


def nearest(plan: Design, seeds: Array, reach: float) -> Tiles:
    """Return the tiles around their middles `(2, n)`, looking `reach` sizes of a tile far.

    A tile is square in the direction of its row, and never crosses a line of the cartoon: the
    metric of Hausner, "Simulating decorative mosaics" (2001).
    """
    rows, columns = plan.kind.shape
    number, first, second, u_best, v_best = (
        np.full((rows, columns), start, np.float32) for start in (-1, 9, 9, 0, 0)
    )
    pixel = columns / TILES_ACROSS
    span = int(np.ceil(pixel * reach))
    for index, (x, y) in enumerate((seeds * columns).T.tolist()):
        row, column = min(max(int(y), 0), rows - 1), min(max(int(x), 0), columns - 1)
        top, left = max(0, row - span), max(0, column - span)
        bottom, right = min(rows, row + span + 1), min(columns, column + span + 1)
        down = ((np.arange(top, bottom, dtype=np.float32) + 0.5 - y) / pixel)[:, None]
        across = ((np.arange(left, right, dtype=np.float32) + 0.5 - x) / pixel)[None, :]
        angle = float(plan.angle[row, column])
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        u, v = across * cos + down * sin, down * cos - across * sin
        window = (slice(top, bottom), slice(left, right))
        away = np.maximum(np.abs(u), np.abs(v))
        away = away + np.float32(4) * (plan.kind[window] != plan.kind[row, column])
        best, next_best = first[window], second[window]
        closer = away < best
        np.copyto(next_best, np.where(closer, best, np.minimum(next_best, away)))
        np.copyto(best, away, where=closer)
        for target, value in ((number, np.float32(index)), (u_best, u), (v_best, v)):
            np.copyto(target[window], value, where=closer)
    return Tiles(number.astype(np.int32), first, second, u_best, v_best)


def settle(plan: Design, rng: np.random.Generator) -> Array:
    """Return the middles of the tiles `(2, n)`: moved until each sits amid what it covers."""
    size = 1.0 / TILES_ACROSS
    x, y = (np.arange(count) + 0.5 for count in (TILES_ACROSS, round(TILES_ACROSS * 0.75)))
    seeds = np.stack([side.ravel() for side in np.meshgrid(x, y)]) * size
    seeds = seeds + rng.uniform(-0.3, 0.3, seeds.shape) * size
    seeds = np.clip(seeds, 0.001, [[0.999], [0.749]]).astype(np.float32)
    rows, columns = plan.kind.shape
    down, across = (np.indices((rows, columns)) + 0.5) / columns
    for _ in range(9):
        number = nearest(plan, seeds, 1.6).number.ravel()
        held = number >= 0
        count = np.bincount(number[held], minlength=seeds.shape[1])
        for axis, place in enumerate((across, down)):
            total = np.bincount(number[held], place.ravel()[held], seeds.shape[1])
            seeds[axis] = np.where(count > 0, total / np.maximum(count, 1), seeds[axis])
    return seeds


def mosaic(width: int) -> Image.Image:
    """Lay a mosaic of a sun over waves; RGB, 4:3."""
    rng = np.random.default_rng(547)
    columns = width * OVERSAMPLING
    rows = columns * 3 // 4
    seeds = settle(design(300, 400), rng)
    plan = design(rows, columns)
    tiles = nearest(plan, seeds, 1.5)
    return reduce(render(plan, seeds, tiles, edges(plan, tiles, width, rng), rng), width)


def edges(plan: Design, tiles: Tiles, width: int, rng: np.random.Generator) -> Array:
    """Return how far inside its tile each pixel lies, 0 at the rim, with chipped corners."""
    rows, columns = plan.kind.shape
    chip = 0.04 * fractal(rows, columns, 160, 2, rng)
    seam = np.zeros((rows, columns), np.float32)
    seam[:, 1:] += plan.kind[:, 1:] != plan.kind[:, :-1]
    seam[1:] += plan.kind[1:] != plan.kind[:-1]
    # In a small picture the seam is wide beside a tile: it must not swallow it.
    depth = 1.5 * min(1.0, width / 420)
    inner = 0.62 - depth * blur(np.minimum(seam, 1), width / 500)
    result: Array = np.minimum(tiles.second - tiles.first, inner) + chip
    return result


def render(
    plan: Design, seeds: Array, tiles: Tiles, inside: Array, rng: np.random.Generator
) -> Array:
    """Return the tiles' colours: each stone of its own shade, tilted its own way, in grout."""
    rows, columns = plan.kind.shape
    count, tile, u, v = seeds.shape[1], np.maximum(tiles.number, 0), tiles.u, tiles.v
    x, y = (seeds * columns).astype(int)
    place = np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)
    kinds = plan.kind[place].astype(int)
    shades = np.array([[ink(code) for code in colours] for colours in PALETTE])
    base = shades[kinds, rng.integers(0, 3, count)].T
    base = base * (1 + 0.13 * rng.standard_normal(count)) + 0.02 * rng.standard_normal((3, count))
    lean_u, lean_v = 0.16 * rng.standard_normal((2, count)).astype(np.float32)
    shiny = (kinds == GOLD) | (kinds == TEAL)
    glint = np.where(shiny, np.clip(rng.normal(-0.5, 1.0, count), 0, 1.4), 0).astype(np.float32)
    grain = fractal(rows, columns, 120, 3, rng, 0.7)
    face = 1 + lean_u[tile] * u + lean_v[tile] * v + 0.07 * grain
    face += 0.05 * noise(rows, columns, 5, rng)
    # The rim of a tile is bright towards the light, upper left, and dark away from it.
    light = plan.angle[place].astype(np.float32)[tile] + np.float32(0.75 + np.pi / 2)
    towards = 1.4 * (u * np.cos(light) - v * np.sin(light))
    face += 0.55 * smoothstep(0.42, 0.16, inside) * np.clip(towards, -0.55, 0.6)
    colours = base.astype(np.float32)[:, tile] * face
    spot = np.exp(-((u + 0.12) ** 2 + (v + 0.1) ** 2) * 14) * glint[tile]
    colours += 0.32 * spot * np.array([1.0, 0.93, 0.72], np.float32).reshape(3, 1, 1)
    grout = ink("#2b241f").reshape(3, 1, 1) * (1 + 0.35 * grain)
    shown = smoothstep(0.08, 0.18, inside) * ((tiles.number >= 0) & (tiles.first < 1.3))
    return mix(grout, colours, shown)
