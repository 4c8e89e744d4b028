"""The sample styles: a swirling oil painting, a mosaic and a woodblock print."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tools.draw_samples.drawing import (
    OVERSAMPLING,
    Array,
    blur,
    fractal,
    ink,
    mix,
    noise,
    reduce,
    sample,
    smoothstep,
)


def ramp(colours: Sequence[str], place: Array) -> Array:
    """Return colours `(3, ...)` along a scale of them; `place` runs from 0 to 1."""
    stops = np.stack([ink(code) for code in colours], 1)
    knots = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(place, knots, channel) for channel in stops]).astype(np.float32)


VORTICES = (
    (0.430, 0.275, 0.205, 1.0),
    (0.735, 0.400, 0.105, -1.0),
    (0.940, 0.330, 0.070, 1.0),
    (0.120, 0.440, 0.090, -1.0),
)
"""Middle, radius and sense of the whirls, in widths of the picture."""
LAMPS = (
    (0.855, 0.125, 0.060),
    (0.125, 0.125, 0.044),
    (0.300, 0.055, 0.022),
    (0.655, 0.115, 0.024),
    (0.155, 0.290, 0.026),
)
"""Middle and radius of the glowing discs."""


NIGHT = ("#0b1640", "#14296b", "#1f4a99", "#3276bd", "#63a8d3", "#a9d6dc", "#e9eed0")
HALO = ("#fff3b0", "#ffd34d", "#f79f2a", "#f4d27a", "#9fc7a8")
FIELDS = ("#0d2436", "#17504f", "#4c7a3f", "#c98a25", "#f2bb3d")
LAYERS = (
    (1500, 9, 0.105, 0.0200),
    (3600, 9, 0.080, 0.0125),
    (6500, 8, 0.056, 0.0080),
    (3500, 7, 0.040, 0.0052),
)
"""Count of the strokes, points along each, length and thickness: the broad ones first."""


def hills(x: Array) -> Array:
    """Return how far down the land begins."""
    result: Array = 0.565 + 0.035 * np.sin(6.0 * x + 0.4) + 0.018 * np.sin(15 * x + 1.0)
    return result


def flow(x: Array, y: Array, drift: Array) -> tuple[Array, Array]:
    """Return the direction of the strokes at places in widths of the picture."""
    across = np.ones_like(x)
    down = 0.55 * np.cos(7.0 * x + 3 * y) + 0.5 * sample(drift, x, y / 0.75)
    for middle_x, middle_y, radius, sense in VORTICES:
        right, below = x - middle_x, y - middle_y
        pull = 9.0 * np.exp(-((right**2 + below**2) / (radius * 1.05) ** 2))
        spin_x = -below * sense - 0.22 * right
        spin_y = right * sense - 0.22 * below
        across += pull * spin_x / radius
        down += pull * spin_y / radius
    for middle_x, middle_y, radius in LAMPS:
        right, below = x - middle_x, y - middle_y
        pull = 8.0 * np.exp(-((right**2 + below**2) / (radius * 1.9) ** 2))
        across += -pull * below / radius
        down += pull * right / radius
    land = smoothstep(-0.01, 0.02, y - hills(x))
    slope = 0.21 * np.cos(6.0 * x + 0.4) + 0.27 * np.cos(15 * x + 1.0)
    bend = 0.5 * np.sin(9 * x - 14 * y)
    across = across * (1 - land) + land
    down = down * (1 - land) + (slope + bend) * land
    length = np.sqrt(across**2 + down**2) + 1e-6
    return across / length, down / length


def scene(x: Array, y: Array, drift: Array) -> Array:
    """Return the colour of the painting at places in widths of the picture, `(3, ...)`."""
    tone = 0.42 + 0.22 * sample(drift, x * 0.9, y * 1.1) + 0.25 * np.sin(34 * y + 5 * np.sin(5 * x))
    for middle_x, middle_y, radius, sense in VORTICES:
        away = np.hypot(x - middle_x, y - middle_y) / radius
        turn = np.arctan2(y - middle_y, x - middle_x) * sense
        arms = 0.5 + 0.5 * np.sin(2 * turn - 6.5 * np.log(away + 0.12))
        share = np.exp(-((away / 1.25) ** 4))
        tone = tone * (1 - share) + share * (0.10 + 0.85 * arms)
    result = ramp(NIGHT, np.clip(tone * 0.92, 0, 1))
    for middle_x, middle_y, radius in LAMPS:
        away = np.hypot(x - middle_x, y - middle_y) / radius
        rings = 0.5 + 0.5 * np.sin(away * 5.2)
        halo = ramp(HALO, np.clip(away / 2.6 - 0.08 * rings, 0, 1))
        result = mix(result, halo, smoothstep(2.7, 1.2, away + 0.7 * rings))
    depth = y - hills(x)
    fields = 0.5 + 0.5 * np.sin(70 * depth + 6 * np.sin(6 * x) + 2.5 * sample(drift, x * 2, y * 2))
    land = ramp(FIELDS, np.clip(fields * (0.25 + 4.2 * depth) + 0.12, 0, 1))
    result = np.where(depth > 0, land, result)
    return np.where(np.abs(depth) < 0.006, ink("#0a1730").reshape((3,) + (1,) * x.ndim), result)


def strokes(count: int, steps: int, length: float, drift: Array, rng: np.random.Generator) -> Array:
    """Return paths that follow the flow from random starts, `(2, steps, count)`, in widths."""
    x = rng.uniform(-0.03, 1.03, count).astype(np.float32)
    y = rng.uniform(-0.03, 0.78, count).astype(np.float32)
    path = np.empty((2, steps, count), np.float32)
    stride = length / (steps - 1) * rng.uniform(0.6, 1.2, count).astype(np.float32)
    for step in range(steps):
        path[:, step] = x, y
        across, down = flow(x, y, drift)
        x, y = x + across * stride, y + down * stride
    return path


def lay(
    draw: ImageDraw.ImageDraw,
    path: Array,
    thick: float,
    colours: Array,
    width: int,
    rng: np.random.Generator,
) -> None:
    """Paint strokes: each a bundle of bristles; the fourth channel is how thick the paint lies."""
    _, steps, count = path.shape
    bristles = max(3, round(thick * width / 2.4))
    along = np.gradient(path, axis=1)
    along /= np.hypot(along[0], along[1]) + 1e-9
    normal = np.stack([-along[1], along[0]])
    order = rng.permutation(bristles).tolist()
    belly = np.sin(np.pi * np.linspace(0.12, 0.93, steps)).astype(np.float32) ** 0.6
    shades = colours[:, :, None] + 0.035 * rng.standard_normal((1, count, bristles))
    shades = np.clip(shades + 0.018 * rng.standard_normal((3, count, bristles)), 0, 1)
    relief = np.clip(rng.normal(0.55, 0.22, (1, count, bristles)), 0.05, 1)
    inks = (np.concatenate([shades, relief]) * 255).astype(np.uint8)
    starts, ends = rng.integers(0, 2, (2, count, bristles))
    line = max(2, round(thick * width / bristles * 1.45))
    for stroke in range(count):
        for bristle in order:
            offset = (bristle / (bristles - 1) - 0.5) * thick
            edge = int(abs(offset) > thick * 0.33)
            run = slice(starts[stroke, bristle] + edge, steps - ends[stroke, bristle] - edge)
            points = path[:, run, stroke] + normal[:, run, stroke] * (offset * belly[run])
            fill = tuple(inks[:, stroke, bristle].tolist())
            draw.line((points.T * width).ravel().tolist(), fill=fill, width=line)


def swirling_strokes(width: int) -> Image.Image:
    """Paint whirls of a night sky over fields, in thick strokes; RGB, 4:3."""
    rng = np.random.default_rng(1853)
    columns = width * OVERSAMPLING
    rows = columns * 3 // 4
    drift = fractal(256, 256, 5, 4, rng)
    x, y = np.meshgrid(np.linspace(0, 1, columns // 4), np.linspace(0, 0.75, rows // 4))
    ground = scene(x.astype(np.float32), y.astype(np.float32), drift)
    canvas = reduce(ground, columns).resize((columns, rows)).convert("RGBA")
    canvas.putalpha(60)
    draw = ImageDraw.Draw(canvas)
    for count, steps, length, thick in LAYERS:
        path = strokes(count, steps, length, drift, rng)
        middle = path[:, steps // 2]
        colours = scene(middle[0], middle[1], drift)
        colours = colours + 0.055 * rng.standard_normal((1, count))
        colours += 0.03 * rng.standard_normal((3, count))
        lay(draw, path, thick, colours, columns, rng)
    painted = np.asarray(canvas, np.float32).transpose(2, 0, 1) / 255
    return reduce(impasto(painted[:3], painted[3], rng), width)


def impasto(colours: Array, thickness: Array, rng: np.random.Generator) -> Array:
    """Return paint lit from the upper left, so that its ridges show."""
    rows, columns = thickness.shape
    weave = noise(rows, columns, columns / 3, rng)
    height = blur(thickness, 1) + 0.35 * blur(thickness, 4) + 0.02 * weave
    down, right = np.gradient(height)
    slope = np.clip((right + down) * 2.6, -0.5, 0.5)
    gleam = np.clip(slope - 0.16, 0, 1) * 0.9
    result: Array = colours * (1 + 0.62 * slope) + gleam * 0.5
    return result
