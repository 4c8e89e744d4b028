"""A sample content: gabled houses, a church and a stone bridge, mirrored in a river."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    noise,
    sample,
    smoothstep,
)
from tools.draw_samples.town_paint import Look, Paint, Palette, slates
from tools.draw_samples.town_shapes import Arches, hull, prism, pyramid
from tools.draw_samples.tracing import Field, Solid, View, dot, lit, trace, unit

SUN = unit(np.array([0.76, 0.46, -0.36], np.float32))
HAZE = colour("#d9d6cf")
EYE = (0.0, 2.3, -3.0)
UPRIGHT = np.eye(3, dtype=np.float32)
WALLS = ["#e3cfa0", "#d9a066", "#efe3cb", "#c98263", "#e8d9b8", "#d7b36a", "#e6c3a0", "#b9c2b4"]
ROOFS = ["#a4523a", "#8c4430", "#b5643f", "#7a4a3d", "#66605f"]
SHUTTERS = ["#2f5b58", "#6d2a24", "#38516e", "#4d6038", "#6b4a2c"]
TREES = (
    (8.3, 1.0, 10.4, 2.1),
    (8.6, 1.0, 6.4, 2.4),
    (-7.2, 1.0, 21.5, 1.9),
    (9.4, 1.0, 22.6, 2.0),
    (-2.0, 1.1, 23.3, 1.5),
    (3.8, 1.1, 23.4, 1.4),
    (-9.8, 1.1, 23.0, 1.7),
)
"""Foot and size of each tree; of the small ones the trunk is hidden."""


@dataclass(frozen=True)
class Part:
    """A solid of the town, the frame that its paint thinks in, and that paint."""

    solid: Solid
    corner: Array
    axes: Array
    paint: Paint


class Town:
    """Everything that stands by the river."""

    def __init__(self) -> None:
        """Build the town."""
        self.rng = np.random.default_rng(1430)
        self.palette = Palette(self.rng)
        self.parts: list[Part] = []
        self.houses = 0
        self.quays()
        self.rows()
        self.church()
        self.bridge()
        turn = np.array([[0.80, 0, 0.60], [0, 1, 0], [-0.60, 0, 0.80]], np.float32)
        place = np.array([2.3, 0.15, 6.2], np.float32)
        self.parts.append(Part(Field(place, 1.7, hull, turn), place, turn, self.palette.boat))
        self.clouds = fractal(512, 1024, 5, 7, self.rng, 0.52)
        self.ridge = fractal(4, 1024, 9, 5, self.rng, 0.5)[2]

    def add(
        self,
        solid: Solid,
        paint: Paint,
        corner: Sequence[float] | Array = (0, 0, 0),
        axes: Array = UPRIGHT,
    ) -> None:
        """Add a part."""
        self.parts.append(Part(solid, np.array(corner, np.float32), axes, paint))

    def box(self, low: Sequence[float], high: Sequence[float], paint: Paint) -> None:
        """Add an upright box between two corners."""
        width, height, depth = (float(end - start) for start, end in zip(low, high, strict=True))
        outline = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
        self.add(prism(np.array(low, np.float32), UPRIGHT, outline, depth), paint)

    def quays(self) -> None:
        """Add the walls along the water, the ground behind them and stairs down to the water."""
        stone = self.palette.masonry("#a99a84", "#6f6455", 0.3)
        self.box((-40, 0, -6), (-6.4, 1.0, 60), stone)
        self.box((6.6, 0, 2), (40, 1.0, 60), stone)
        self.box((-40, 0, 22), (40, 1.1, 60), stone)
        for step in range(5):
            low = (-6.4, 0, 4.2 + 0.5 * step)
            self.box(low, (-5.7, 0.2 * step + 0.2, 4.7 + 0.5 * step), stone)

    def house(
        self,
        place: tuple[float, float, float],
        facing: float,
        width: float,
        eave: float,
        gable: float,
        timber: bool,
    ) -> None:
        """Add a house: `place` is the left foot of its front, `facing` the compass angle."""
        number = self.houses = self.houses + 1
        look = Look(
            WALLS[number * 5 % 8],
            ROOFS[number * 3 % 5],
            SHUTTERS[number * 2 % 5],
            3,
            timber,
            number + 1,
        )
        sin, cos = np.sin(facing), np.cos(facing)
        axes = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], np.float32)
        corner, depth = np.array(place, np.float32), 6.0
        top = eave + gable
        outline = [(0.0, 0.0), (width, 0.0), (width, eave), (width / 2, top), (0.0, eave)]
        front = self.palette.facade(width, eave, gable, look)
        self.add(prism(corner, axes, outline, depth), front, place, axes)
        tiles, thick, out = self.palette.tiles(look), 0.13, 0.24
        low = eave - out * gable / (width / 2)
        slab = [(-out, low), (width / 2, top), (width / 2, top + thick), (-out, low + thick)]
        other = [(width - x, y) for x, y in reversed(slab)]
        for side in (slab, other):
            roof = prism(corner - axes[2] * 0.22, axes, side, depth + 0.44)
            self.add(roof, tiles, place, axes)
        stack = corner + axes[0] * width * (0.2 + 0.6 * (look.seed % 2)) + axes[2] * depth * 0.45
        height = eave + gable * 0.98 + 0.35
        bricks = [(0.0, eave), (0.42, eave), (0.42, height), (0.0, height)]
        red = self.palette.masonry("#a4654a", "#6b3d2e", 0.09)
        self.add(prism(stack, axes, bricks, 0.42), red, stack, axes)

    def rows(self) -> None:
        """Add the houses: behind the bridge, on the left bank, on the right bank."""

        def lot(low: float, high: float) -> float:
            return float(self.rng.uniform(low, high))

        x = -15.5
        while x < 17:
            width, timber = lot(2.5, 3.4), self.houses % 3 == 0
            place = (x, 1.1, 24.0)
            self.house(place, 0.0, width, lot(4.2, 5.9), width * lot(0.55, 0.85), timber)
            x += width + 0.02
        x = -18.0
        while x < 20:
            width = lot(3.2, 4.6)
            self.house((x, 1.1, 34.0), 0.0, width, lot(6.0, 7.6), width * 0.6, False)
            x += width + 0.3
        z = 3.4
        while z < 20:
            width, timber = lot(2.7, 3.5), self.houses % 2 == 1
            place = (-7.6, 1.0, z)
            self.house(place, -np.pi / 2, width, lot(4.0, 5.4), width * lot(0.6, 0.8), timber)
            z += width + 0.03
        for z in (20.6, 17.2, 13.6):
            timber = self.houses % 2 == 1
            self.house((9.6, 1.0, z), np.pi / 2, 3.3, lot(3.6, 4.8), 2.3, timber)

    def church(self) -> None:
        """Add the church: its tower with a clock, its spires and its nave."""
        stone = self.palette.masonry("#cbb893", "#97855f", 0.34)
        x, z, size, height = 2.9, 39.0, 3.6, 15.6
        tower = self.palette.tower(stone, x, z, size)
        self.box((x, 1, z), (x + size, height, z + size), tower)
        far = (x + size + 0.18, height, z + size + 0.18)
        self.box((x - 0.18, height - 0.35, z - 0.18), far, stone)
        self.add(pyramid(np.array([x - 0.1, 0, z - 0.1]), size + 0.2, height, 7.6), slates)
        for right in (0.0, size - 0.6):
            for deep in (0.0, size - 0.6):
                foot = np.array([x + right, 0, z + deep])
                self.add(pyramid(foot, 0.6, height, 1.9), slates)
        axes = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]], np.float32)
        corner = np.array([x + size, 1, z + size + 0.6], np.float32)
        nave = [(0.0, 0.0), (4.8, 0.0), (4.8, 7.5), (2.4, 10.6), (0.0, 7.5)]
        roof = self.palette.tiles(Look(WALLS[0], ROOFS[1], SHUTTERS[0], 3, False, 3))

        def covered(point: Array, normal: Array) -> Array:
            return np.where(normal[1] > 0.2, roof(point, normal), stone(point, normal))

        self.add(prism(corner, axes, nave, 11.0), covered, corner, axes)

    def bridge(self) -> None:
        """Add the bridge with three arches and the cutwaters of its piers."""
        openings = ((-5.15, 1.75, 1.75), (0.0, 2.35, 2.3), (5.15, 1.75, 1.75))
        corners = np.array([[x, y, z] for x in (-16, 16) for y in (0, 3.3) for z in (13, 16)])
        arches = Arches(13.0, 15.6, openings, corners.T.astype(np.float32))
        stone = self.palette.masonry("#c6b191", "#8d7b62", 0.26)
        self.add(arches, self.palette.bridge(stone, arches))
        # The roadway is out of sight, but it casts the shadow.
        self.box((-16, 2.0, 13.1), (16, 2.4, 15.5), stone)
        axes = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
        for x in (-2.88, 2.88):
            foot = np.array([x, 0, 13.0], np.float32)
            self.add(prism(foot, axes, [(-0.5, 0.0), (0.5, 0.0), (0.0, 0.75)], 1.5), stone)


def heaven(town: Town, direction: Array) -> Array:
    """Return the sky with its clouds and the far hills, `(3, height, width)`."""
    x, y, z = direction
    up = np.clip(y, 0.0, 1.0)
    blue = mix(colour("#e9dcc4"), colour("#8fb4d2"), smoothstep(0.0, 0.22, up))
    blue = mix(blue, colour("#3f74ae"), smoothstep(0.15, 0.75, up))
    across, high = x / (z + 0.35), up * 1.1
    bend = sample(town.clouds, across * 0.9 + 2.2, high * 2 + 2.5) * 0.06

    def density(dx: float, dy: float) -> Array:
        place = sample(
            town.clouds, (across + dx) * 0.42 + 2.6 + bend, (high + dy) * 1.1 + 1.15 + bend
        )
        return place + 0.25 * smoothstep(0.1, 0.35, high) - 0.1

    here = density(0.0, 0.0)
    cover = smoothstep(0.16, 0.52, here)
    towards = density(0.10, 0.07)
    bright = np.clip(0.66 + 1.1 * (here - towards) - 0.25 * smoothstep(0.4, 1.2, here), 0, 1)
    cloud = mix(colour("#7d8ba6"), colour("#fff8ec"), bright) * 1.2
    sky = mix(blue, cloud, cover * smoothstep(0.0, 0.10, up))
    for level, height, tone in ((0.085, 0.05, "#93a5b3"), (0.055, 0.05, "#7d9080")):
        line = level + height * np.interp(
            (across * 0.35 + level * 9) % 1.0, np.linspace(0, 1, 1024), town.ridge
        )
        sky = mix(
            sky, mix(colour(tone), HAZE, np.full_like(y, 0.25)), smoothstep(-0.003, 0.003, line - y)
        )
    return sky * np.float32(0.72)


@dataclass(frozen=True)
class Leaves:
    """Leaves and pieces of trunk on a picture: arrays `(n,)`, and levels `(n, 3)`."""

    column: Array
    row: Array
    depth: Array
    size: Array
    levels: Array


def crown(
    view: View, place: tuple[float, float, float], size: float, rng: np.random.Generator
) -> Leaves:
    """Return the leaves of a tree, lighter towards the sun, on a few round boughs."""
    count = 5200
    boughs = rng.normal(0, 0.5, (9, 3)) * np.array([0.95, 0.75, 0.95]) * size
    which = rng.integers(0, 9, count)
    ball = unit(rng.normal(0, 1, (3, count)).astype(np.float32))
    point = boughs[which].T + ball * (size * 0.55 * rng.uniform(0.6, 1.0, count) ** 0.5)
    whole = unit(point.astype(np.float32))
    bright = 0.5 + 0.275 * dot(SUN, ball) + 0.225 * dot(SUN, whole)
    point += np.array([[place[0]], [place[1] + size * 1.75], [place[2]]])
    column, row, depth = view.project(point.astype(np.float32))
    tint = 0.35 * rng.uniform(0, 1, count)
    shade = np.clip(bright * 1.25 - 0.22 + rng.normal(0, 0.06, count), 0, 1)
    tone = mix(colour("#14200f"), colour("#a89a3c"), shade**1.6) * 0.85
    tone = mix(mix(tone, colour("#4f7a32"), tint), HAZE, 1 - np.exp(-depth / 260))
    levels = (np.clip(tone, 0, 1) ** (1 / 2.2) * 255).astype(int)
    pixels = view.zoom * view.width / 2 / depth
    leaf = pixels * size * 0.034 * rng.uniform(0.5, 1.4, count)
    return Leaves(column, row, depth, leaf, levels.T)


def trunk(view: View, place: tuple[float, float, float], size: float) -> Leaves:
    """Return the trunk of a tree as a string of dark marks."""
    step = np.linspace(0.0, 1.0, 26)
    point = np.stack(
        [place[0] + 0.12 * size * step**2, place[1] + size * 1.7 * step, np.full(26, place[2])]
    )
    column, row, depth = view.project(point)
    wide = view.zoom * view.width / 2 / depth * size * (0.10 - 0.05 * step)
    return Leaves(column, row, depth, wide, np.tile([58, 46, 34], (26, 1)))


def plant(view: View, light: Array, distance: Array) -> Array:
    """Draw the trees over a picture, where nothing nearer hides them."""
    rng = np.random.default_rng(77)
    groups = []
    for x, y, z, height in TREES:
        groups.append(crown(view, (x, y, z), height, rng))
        if height > 2.05:
            groups.append(trunk(view, (x, y, z), height))
    column, row, depth, size, levels = (
        np.concatenate([getattr(group, name) for group in groups])
        for name in ("column", "row", "depth", "size", "levels")
    )
    inside = (column >= 0) & (column < view.width) & (row >= 0) & (row < view.height)
    across, down = column[inside].astype(int), row[inside].astype(int)
    shown = np.flatnonzero(inside)[distance[down, across] > depth[inside]]
    shown = shown[np.argsort(-depth[shown], kind="stable")]
    place = np.stack([column[shown], row[shown]])
    turn = 2.4 * place[0]
    along = np.stack([np.cos(turn), np.sin(turn)]) * size[shown] * 1.5
    wide = np.stack([-np.sin(turn), np.cos(turn)]) * size[shown] * 0.75
    shapes = np.stack([place + along, place + wide, place - along, place - wide])
    overlay = Overlay(light)
    for shape, fill in zip(shapes.transpose(2, 0, 1), levels[shown].tolist(), strict=True):
        overlay.draw.polygon(shape.ravel().tolist(), fill=tuple(fill))
    return overlay.result()[0]


def picture(town: Town, view: View, light_view: View, depth: Array) -> tuple[Array, Array]:
    """Return the light from everything but the water, and how far away it is."""
    hits = trace(view, [part.solid for part in town.parts])
    _, direction = view.rays()
    paint = np.zeros((3, view.height, view.width), np.float32)
    for index, part in enumerate(town.parts):
        here = hits.number == index
        if here.any():
            local = hits.point[:, here] - part.corner[:, None]
            facing = hits.normal[:, here]
            paint[:, here] = part.paint(
                np.stack([dot(axis, local) for axis in part.axes]),
                np.stack([dot(axis, facing) for axis in part.axes]),
            )
    normal = hits.normal
    shadow = lit(hits.point + normal * 0.05, light_view, depth, 0.012, town.rng, taps=8)
    key = np.clip(dot(SUN, normal), 0, 1) * shadow
    warm, sky, bounce = (
        np.array(light, np.float32).reshape(3, 1, 1)
        for light in ([3.3, 2.55, 1.6], [0.30, 0.38, 0.52], [0.20, 0.16, 0.10])
    )
    foot = 0.55 + 0.45 * smoothstep(0.9, 2.6, hits.point[1])
    fill = (sky * (0.62 + 0.38 * normal[1]) + bounce * (0.6 - 0.4 * normal[1])) * foot
    result = paint * (warm * key + fill * 0.66) * 0.60
    result = mix(result, HAZE * 0.55, 1 - np.exp(-hits.distance / 260))
    result = np.where(hits.number < 0, heaven(town, direction), result)
    return plant(view, result.astype(np.float32), hits.distance), hits.distance


def river_town(width: int) -> Image.Image:
    """Draw a town by a river: houses, a church, a bridge and what the water makes of them."""
    town = Town()
    columns = width * OVERSAMPLING
    rows = columns * 3 // 4
    x, y, z = EYE
    view = View.towards(EYE, (x, y, z + 10), 1.62, rows, columns, lift=-0.12)
    # What the river mirrors is what an eye as deep below the water would see.
    below = View.towards((x, -y, z), (x, -y, z + 10), 1.62, rows, columns, lift=-0.12)
    middle = np.array([0.0, 4.0, 20.0], np.float32)
    light_view = View.towards(
        tuple(middle + 60 * SUN), tuple(middle), 1 / 24, columns, columns, True
    )
    depth = trace(light_view, [part.solid for part in town.parts]).distance
    light, distance = picture(town, view, light_view, depth)
    mirrored, _ = picture(town, below, light_view, depth)
    origin, direction = view.rays()
    reach = -origin[1] / np.minimum(direction[1], -1e-4)
    water = (direction[1] < -1e-4) & (reach < distance)
    result = np.where(water, ripples(town, view, mirrored, direction, reach), light)
    return develop(result, width, town.rng)


def ripples(town: Town, view: View, mirrored: Array, direction: Array, reach: Array) -> Array:
    """Return the water: the mirrored town, broken by small waves."""
    reach = np.clip(reach, 0, 200)
    x, z = EYE[0] + direction[0] * reach, EYE[2] + direction[2] * reach
    wave = 0.6 * sample(town.palette.stain, x * 0.03 + 3, z * 0.12 + 3)
    wave += 0.5 * sample(town.palette.fine, x * 0.012 + 3, z * 0.05 + 5)
    wave += 0.35 * sample(town.palette.fine, x * 0.03 + 9, z * 0.16 + 9)
    calm = smoothstep(-0.7, 0.5, sample(town.palette.stain, x * 0.012 + 1, z * 0.03 + 1))
    horizon = view.height / 2 - view.lift * view.width / 2
    size = view.width * 0.020 * (0.35 + 0.65 * calm)
    row = np.arange(view.height, dtype=np.float32)[:, None]
    column = np.arange(view.width, dtype=np.float32)[None, :]
    source = np.clip(2 * horizon - row + wave * size, 0, view.height - 1)
    across = np.clip(column + wave * size * 0.25, 0, view.width - 1)
    seen = mirrored[:, source.astype(np.int32), across.astype(np.int32)]
    steep = np.clip(-direction[1], 0, 1)
    share = 0.93 - 0.55 * smoothstep(0.08, 0.42, steep)
    depths = mix(colour("#2d4a40"), colour("#1c3338"), smoothstep(0.1, 0.5, steep))
    result = mix(depths, seen * np.array([0.90, 0.95, 0.93], np.float32).reshape(3, 1, 1), share)
    shine = smoothstep(0.75, 1.3, wave + 0.2 * noise(view.height, view.width, 160, town.rng))
    return result + 0.10 * shine * HAZE.reshape(3, 1, 1)
