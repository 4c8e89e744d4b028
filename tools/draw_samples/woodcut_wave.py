"""A sample style: a great wave as a woodblock print, in a few inks on cream paper."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from tools.draw_samples.drawing import (
    OVERSAMPLING,
    Array,
    blur,
    fractal,
    ink,
    noise,
    reduce,
    smoothstep,
)

KEY, DEEP, MIDDLE, PALE = "#16233f", "#1f3f70", "#4f7ea6", "#a9c3c6"
FOAM, PAPER, SKY, OCHRE, SUN = "#f1e8d2", "#e8dabb", "#6f8796", "#cfa55c", "#c65a34"

BACK = (
    (-0.12, 0.70),
    (0.00, 0.57),
    (0.12, 0.40),
    (0.23, 0.235),
    (0.345, 0.125),
    (0.47, 0.085),
    (0.575, 0.115),
    (0.64, 0.19),
    (0.655, 0.275),
)
"""The outer line of the great wave, from its foot to the tip of its crest."""
FACE = (
    (0.86, 0.70),
    (0.70, 0.645),
    (0.55, 0.585),
    (0.435, 0.50),
    (0.375, 0.40),
    (0.375, 0.305),
    (0.43, 0.235),
    (0.52, 0.215),
    (0.60, 0.25),
)
"""The inner line, from the trough along the hollow to the crest."""


FAR_SWELL = ((0.55, 0.66), (0.68, 0.60), (0.80, 0.525), (0.90, 0.485), (1.0, 0.51), (1.1, 0.56))
NEAR_SWELL = (
    (-0.1, 0.60),
    (0.03, 0.575),
    (0.15, 0.60),
    (0.32, 0.665),
    (0.5, 0.69),
    (0.7, 0.665),
    (0.86, 0.64),
    (1.1, 0.69),
)
UNDER = np.array([[1.2, 0.9], [-0.2, 0.9]])
"""Closes a shape below the picture."""


def spline(points: Sequence[tuple[float, float]] | Array, count: int) -> Array:
    """Return `count` points of a smooth line through the given ones, `(count, 2)`."""
    knots = np.asarray(points, np.float64)
    padded = np.concatenate([[2 * knots[0] - knots[1]], knots, [2 * knots[-1] - knots[-2]]])
    place = np.linspace(0, len(knots) - 1 - 1e-9, count)
    index = place.astype(int)
    t = (place - index)[:, None]
    a, b, c, d = (padded[index + step] for step in range(4))
    result: Array = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return result


class Block:
    """The block that is cut: draws shapes given in widths of the picture."""

    def __init__(self, columns: int, rng: np.random.Generator) -> None:
        """Start from plain paper."""
        self.columns = columns
        self.rng = rng
        self.image = Image.new("RGB", (columns, columns * 3 // 4), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def fill(self, points: Array, tone: str) -> None:
        """Fill a shape."""
        self.draw.polygon((points * self.columns).ravel().tolist(), fill=tone)

    def ribbon(self, line: Array, thick: Array | float, tone: str) -> None:
        """Draw a line whose thickness changes along it."""
        along = np.gradient(line, axis=0)
        along /= np.hypot(along[:, 0], along[:, 1])[:, None] + 1e-9
        half = np.broadcast_to(np.asarray(thick, np.float64) / 2, len(line))
        normal = np.stack([-along[:, 1], along[:, 0]], 1) * half[:, None]
        # Where the line has no thickness, nothing is left of it, not even a hair.
        there = np.flatnonzero(half > 0.0004)
        for run in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
            if len(run) > 1:
                self.fill(np.concatenate([(line + normal)[run], (line - normal)[run][::-1]]), tone)

    def discs(self, middles: Array, radii: Array, tone: str) -> None:
        """Draw discs."""
        for (x, y), radius in zip(
            (middles * self.columns).tolist(), (radii * self.columns).tolist(), strict=True
        ):
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tone)


def crest_foam(block: Block, line: Array, inward: Array, size: Array) -> None:
    """Lay foam along a line: scalloped white with a dark outline, and blue hollows in it."""
    rng = block.rng
    count = len(line)
    shift = rng.uniform(-0.35, 0.55, count)
    middles = line + inward * (size * shift)[:, None]
    radii = size * rng.uniform(0.38, 0.72, count)
    block.discs(middles, radii + 0.0032, KEY)
    block.discs(middles, radii, FOAM)
    pick = rng.uniform(0, 1, count) < 0.55
    inner = middles[pick] + inward[pick] * (radii[pick] * 0.25)[:, None]
    block.discs(inner, radii[pick] * 0.50, PALE)
    block.discs(inner - inward[pick] * (radii[pick] * 0.22)[:, None], radii[pick] * 0.42, FOAM)


def claw(start: Array, angle: float, size: float, bend: float) -> tuple[Array, Array]:
    """Return the middle line and the thickness of a finger of foam that hooks over."""
    steps = 16
    place = np.linspace(0, 1, steps)
    turn = angle + bend * place**1.4
    stride = size / (steps - 1)
    path = np.cumsum(np.stack([np.cos(turn), np.sin(turn)], 1) * stride, axis=0)
    thick = size * (0.42 * (1 - place) ** 0.9 + 0.10 * np.sin(np.pi * place) + 0.02)
    return start + path, thick


def fingers(block: Block, roots: Array, angles: Array, sizes: Array) -> None:
    """Draw fingers of foam, each with smaller ones at its side: outline first, then the white."""
    rng = block.rng
    for root, angle, size in zip(roots, angles.tolist(), sizes.tolist(), strict=True):
        bend = 1.25 + rng.uniform(-0.25, 0.45)
        line, thick = claw(root, angle, size, bend)
        hand = [(line, thick)]
        for place, side in ((4, -0.75), (8, -0.55), (6, 0.75)):
            if rng.uniform() < 0.85:
                turn = angle + bend * (place / 15) ** 1.4 + side
                length = size * rng.uniform(0.38, 0.55)
                hand.append(claw(line[place], turn, length, 1.2 if side < 0 else 0.9))
        for path, wide in hand:
            block.ribbon(path, wide + 0.0056, KEY)
            block.discs(path[-1:], np.array([0.0026]), KEY)
        for path, wide in hand:
            block.ribbon(path, wide, FOAM)
        block.ribbon(line[2:12], thick[2:12] * 0.22, PALE)


def great_wave(block: Block) -> None:
    """Draw the wave that curls over: stripes from the trough to the crest, then its foam."""
    back, face = spline(BACK, 240), spline(FACE, 240)
    block.fill(np.concatenate([back, face[::-1]]), DEEP)
    share = np.linspace(0, 1, 240)
    # A stripe is cut tapering: it opens in the trough and closes near the crest.
    for index, (low, high) in enumerate(list(pairwise(np.linspace(0, 1, 20)))[1::2]):
        half = 0.36 * (high - low) * np.clip(1.25 - 0.35 * share, 0, 1)
        half *= np.clip((1.0 - 0.05 * ((2 * index + 1) % 3) - share) * 9, 0, 1)
        first, second = (low + high) / 2 - half, (low + high) / 2 + half
        left = back * (1 - first)[:, None] + face * first[:, None]
        right = back * (1 - second)[:, None] + face * second[:, None]
        block.fill(np.concatenate([left, right[::-1]]), (MIDDLE, PALE, FOAM)[index % 3])
    block.ribbon(back, 0.0042, KEY)
    block.ribbon(face, 0.0042, KEY)
    crest(block, back, face)


def crest(block: Block, back: Array, face: Array) -> None:
    """Draw the foam on the crest of the great wave, and its fingers."""
    lip = spline(np.concatenate([back[120:], face[:186:-1]]), 150)
    inward = np.array([0.47, 0.30]) - lip
    inward /= np.hypot(inward[:, 0], inward[:, 1])[:, None]
    place = np.linspace(0, 1, 150)
    size = 0.016 + 0.022 * np.sin(np.pi * np.clip(place * 1.05, 0, 1)) ** 0.8
    crest_foam(block, lip, inward, size)
    crest_foam(block, lip[::2] + inward[::2] * 0.022, inward[::2], size[::2] * 0.8)
    roots = lip[72:150:6] + inward[72:150:6] * 0.012
    count = len(roots)
    angles = np.linspace(0.15, 2.0, count) + block.rng.uniform(-0.2, 0.2, count)
    grow, shrink = np.linspace(0.7, 1.15, count // 2), np.linspace(1.15, 0.65, count - count // 2)
    sizes = 0.105 * np.concatenate([grow, shrink]) * block.rng.uniform(0.8, 1.2, count)
    fingers(block, roots, angles, sizes)


def swell(block: Block, line: Sequence[tuple[float, float]], depth: float, foam: float) -> None:
    """Draw a nearer wave: a dark body, stripes that follow its crest, foam on its shoulder."""
    top = spline(line, 220)
    block.fill(np.concatenate([top, UNDER]), DEEP)
    place = np.linspace(0, 1, 220)
    for index in range(7):
        fall = depth * (0.16 + 0.15 * index)
        across = 0.02 * index * np.cos(5 * place)
        down = fall * (1 + 0.25 * np.sin(9 * place + index))
        wave = np.sin(2.6 * np.pi * (place + 0.13 * index))
        thick = 0.0115 * np.clip(wave + 0.75, 0.0, 1.3) * (1 - 0.07 * index)
        block.ribbon(top + np.stack([across, down], 1), thick, (MIDDLE, PALE, FOAM)[index % 3])
    block.ribbon(top, 0.0042, KEY)
    size = foam * smoothstep(0.2, 0.9, 1 - (top[:, 1] - top[:, 1].min()) * 9)
    keep = size > foam * 0.15
    shoulder, size = top[keep], size[keep]
    inward = np.tile(np.array([[0.25, 0.97]]), (len(size), 1))
    crest_foam(block, shoulder[::2], inward[::2], size[::2])
    roots = shoulder[::7]
    fingers(block, roots, 0.1 + block.rng.uniform(-0.3, 0.3, len(roots)), size[::7] * 2.6)


def spray(block: Block) -> None:
    """Throw drops off the crest."""
    rng = block.rng
    count = 110
    angle = rng.uniform(-0.75, 1.3, count)
    away = 0.07 + 0.19 * rng.uniform(0, 1, count) ** 1.7
    middles = np.stack([0.60 + away * np.cos(angle), 0.20 + away * np.sin(angle)], 1)
    radii = rng.uniform(0.0012, 0.0044, count) * (1.25 - 2.2 * (away - 0.07))
    block.discs(middles, radii + 0.0018, KEY)
    block.discs(middles, radii, FOAM)


def woodcut_wave(width: int) -> Image.Image:
    """Print a curling wave before a low sun; RGB, 4:3."""
    rng = np.random.default_rng(1831)
    columns = width * OVERSAMPLING
    block = Block(columns, rng)
    block.discs(np.array([[0.815, 0.335]]), np.array([0.088]), SUN)
    for level, tone in ((0.515, PALE), (0.545, MIDDLE)):
        x = np.linspace(-0.1, 1.1, 120)
        line = np.stack([x, level + 0.012 * np.sin(14 * x + 40 * level)], 1)
        block.fill(np.concatenate([line, UNDER]), tone)
        block.ribbon(line, 0.003, KEY)
    swell(block, FAR_SWELL, 0.16, 0.020)
    spray(block)
    great_wave(block)
    swell(block, NEAR_SWELL, 0.13, 0.019)
    printed = np.asarray(block.image, np.float32).transpose(2, 0, 1) / 255
    return reduce(press(printed, rng), width)


def press(printed: Array, rng: np.random.Generator) -> Array:
    """Return the print: ink uneven with the wood's grain, graded sky, fibres of the paper."""
    rows, columns = printed.shape[1:]
    y = np.linspace(0, 0.75, rows, dtype=np.float32)[:, None]
    paper = ink(PAPER).reshape(3, 1, 1)
    bare = np.exp(-((np.abs(printed - paper).sum(0) / 0.04) ** 2))
    top = smoothstep(0.27, 0.0, y + 0.02 * noise(rows, columns, 6, rng))
    low = smoothstep(0.30, 0.53, y)
    above, below = (ink(code).reshape(3, 1, 1) - paper for code in (SKY, OCHRE))
    tinted = printed + bare * (0.75 * top * above + 0.55 * low * below)
    streaks = Image.fromarray(noise(rows, max(8, columns // 60), 18, rng))
    wood = np.asarray(streaks.resize((columns, rows)), np.float32)
    bend = fractal(rows, columns, 4, 3, rng)
    grain = np.sin(2 * np.pi * (y * 46 + 2.2 * bend)) * 0.5 + 0.5 * wood
    ink_share = np.clip((0.9 - printed.mean(0)) * 1.4, 0, 1)
    mottled = fractal(rows, columns, 90, 4, rng, 0.75)
    fibre = fractal(rows, columns, 200, 3, rng, 0.8)
    lift = ink_share * (0.075 * grain + 0.028 * mottled + 0.03 * smoothstep(0.5, 1.2, mottled))
    worn = blur(ink_share, 2)
    result: Array = tinted + lift + 0.022 * fibre - 0.03 * (ink_share - worn)
    return result
