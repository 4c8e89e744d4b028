"""The paints of the river town: stones, tiles, timber, windows.

A paint takes local points and local normals, each `(3, n)`, to linear light `(3, n)`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.draw_samples.drawing import Array, colour, fractal, mix, sample, smoothstep
from tools.draw_samples.town_shapes import Arches

Paint = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Look:
    """How a house is dressed: colours, windows in a row, beams or not, the seed of its chance."""

    wall: str
    roof: str
    shutter: str
    columns: int
    timber: bool
    seed: int


@dataclass(frozen=True)
class Cells:
    """Where points of a front lie: on the whole, and in the cell of the window they belong to."""

    u: Array
    v: Array
    x: Array
    y: Array
    row: Array
    column: Array
    side: Array
    attic: Array


def chance(*numbers: Array | float) -> Array:
    """Return a number from 0 to 1 that looks random but depends on the arguments only."""
    total: Array = np.zeros(())
    for number, factor in zip(numbers, (12.9898, 78.233, 37.719), strict=False):
        total = total + np.asarray(number, np.float64) * factor
    return np.asarray(np.mod(np.sin(total) * 43758.5453, 1.0), np.float32)


def flat(code: str) -> Array:
    """Return a colour to put beside arrays `(3, n)`."""
    return colour(code)[:, None]


class Palette:
    """The paints, and the noise that they share."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the noise."""
        self.stain = fractal(512, 512, 8, 6, rng, 0.6)
        self.fine = fractal(512, 512, 60, 3, rng, 0.7)

    def masonry(self, light: str, dark: str, course: float) -> Paint:
        """Return the paint of a wall of cut stones in courses; moss where it is wet."""

        def paint(point: Array, normal: Array) -> Array:
            u = np.where(np.abs(normal[0]) > 0.7, point[2], point[0])
            v = np.where(np.abs(normal[1]) > 0.7, point[2], point[1])
            row = np.floor(v / course)
            shifted = u / (course * 2.1) + 0.5 * np.mod(row, 2) + 0.3 * chance(row)
            stone = chance(np.floor(shifted), row)
            seam = np.minimum(np.mod(v / course, 1), np.mod(shifted, 1) * 2.1)
            rough = sample(self.stain, u * 0.09 + 20, v * 0.11 + 20)
            tone = 0.55 * stone + 0.35 * rough + 0.2 * sample(self.fine, u * 0.2 + 9, v * 0.2 + 9)
            base = mix(colour(dark), colour(light), smoothstep(-0.4, 1.0, tone))
            base = mix(base, base * 0.45, smoothstep(0.14, 0.04, seam))
            wet = smoothstep(0.75, 0.05, point[1] + 0.25 * rough)
            return mix(base, colour("#3c4426"), 0.75 * wet)

        return paint

    def tiles(self, look: Look) -> Paint:
        """Return the paint of a roof: overlapping tiles, each of its own shade."""

        def paint(point: Array, normal: Array) -> Array:
            along, down = point[2] / 0.22, point[1] / 0.17
            row = np.floor(down)
            column = np.floor(along + 0.5 * np.mod(row, 2))
            inside = np.mod(along + 0.5 * np.mod(row, 2), 1) - 0.5
            tone = chance(column, row, float(look.seed))
            age = sample(self.stain, point[2] * 0.08 + look.seed, point[0] * 0.1 + 9)
            worn = np.clip(0.6 * tone + 0.35 * age + 0.2, 0, 1)
            base = mix(colour(look.roof) * 0.55, colour(look.roof) * 1.35, worn)
            lip = np.mod(down, 1) + 0.5 * inside**2
            base = base * (0.55 + 0.45 * smoothstep(0.02, 0.3, lip))
            moss = smoothstep(0.3, 0.9, age + 0.2 * tone)
            base = mix(base, colour("#5d5a33"), 0.4 * moss)
            edge = np.abs(normal[2]) > 0.7
            return np.where(edge, flat("#5a4634"), base)

        return paint

    def facade(self, width: float, eave: float, gable: float, look: Look) -> Paint:
        """Return the paint of a front: plaster, windows with shutters, a door, often timber."""
        storeys = max(2, round((eave - 0.2) / 1.55))
        storey = eave / storeys
        cell = width / look.columns

        def paint(point: Array, normal: Array) -> Array:
            side = np.abs(normal[0]) > 0.7
            u, v = np.where(side, point[2], point[0]), point[1]
            attic = (v > eave) & ~side
            x = np.where(attic, u - width / 2, (np.mod(u / cell, 1) - 0.5) * cell)
            y = np.where(attic, v - eave - 0.42 * gable, (np.mod(v / storey, 1) - 0.52) * storey)
            cells = Cells(u, v, x, y, np.floor(v / storey), np.floor(u / cell), side, attic)
            base = self.plaster(cells, look)
            if look.timber:
                base = self.timber(base, cells, cell, storey, width, eave)
            base = windows(base, cells, look)
            return entrance(base, cells, storey, look)

        return paint

    def plaster(self, at: Cells, look: Look) -> Array:
        """Paint a wall: stained, streaked by the rain, grey at its foot."""
        rough = sample(self.stain, at.u * 0.1 + look.seed, at.v * 0.1 + 9)
        grain = sample(self.fine, at.u * 0.15 + 9, at.v * 0.15 + look.seed)
        tone = np.clip(0.5 + 0.5 * rough + 0.18 * grain, 0, 1)
        base = mix(colour(look.wall) * 0.72, colour(look.wall) * 1.1, tone)
        streak = sample(self.stain, at.u * 0.45 + 3, at.v * 0.03 + look.seed)
        base = base * (1 - 0.22 * smoothstep(0.1, 0.9, streak))
        return mix(base, colour("#8b7c68"), smoothstep(0.55, 0.3, at.v + 0.2 * rough))

    def timber(
        self, base: Array, at: Cells, cell: float, storey: float, width: float, eave: float
    ) -> Array:
        """Paint dark beams over plaster: sills, posts, braces; none on the ground floor."""
        beam = np.abs(np.mod(at.v + storey / 2, storey) - storey / 2)
        beam = np.minimum(beam, np.abs(np.abs(at.x) - cell / 2))
        beam = np.minimum(beam, np.minimum(at.u, width - at.u))
        brace = np.abs(np.abs(at.x) - cell * 0.5 + (at.y + storey * 0.5) * 0.32) * 0.95
        rafter = np.abs(np.abs(at.u - width / 2) - (at.v - eave) * 0.45) * 0.9
        beam = np.minimum(beam, np.where(at.v < eave, brace, rafter))
        beam = np.where(at.v > storey * 0.96, beam, 9.0)
        shade = 0.8 + 0.3 * sample(self.fine, at.u * 0.6, at.v * 0.6)
        edged = base * (1 - 0.25 * smoothstep(0.12, 0.06, beam))
        return np.where(beam < 0.065, flat("#3f2a1b") * shade, edged)

    def tower(self, stone: Paint, x: float, z: float, size: float) -> Paint:
        """Return the paint of the church tower at `(x, z)`: windows, ledges, a clock."""

        def paint(point: Array, normal: Array) -> Array:
            base = stone(point, normal)
            u = np.where(np.abs(normal[0]) > 0.7, point[2] - z, point[0] - x) - size / 2
            v = point[1]
            pair = np.abs(np.abs(u) - 0.62)
            for sill in (9.7, 14.1):
                tip = v - sill - 0.55 + 1.6 * np.maximum(pair - 0.06, 0)
                hole = (pair < 0.33) & (tip < 0.3) & (v > sill - 0.9)
                base = np.where(hole, flat("#2a2620"), base)
            base = np.where(np.abs(np.mod(v - 0.2, 4.1) - 0.2) < 0.14, base * 1.25, base)
            dial = np.hypot(u, v - 12.1)
            base = np.where(dial < 0.78, flat("#22324d"), base)
            gold = np.abs(dial - 0.72) < 0.09
            gold |= (np.abs(u) < 0.06) & (np.abs(v - 12.35) < 0.3)
            gold |= (np.abs(v - 12.1 - 0.4 * u) < 0.06) & (u > 0) & (u < 0.5)
            return np.where(gold, flat("#d8ab45"), base)

        return paint

    def bridge(self, stone: Paint, arches: Arches) -> Paint:
        """Return the paint of the bridge: the stones of its arches, a ledge, a coping."""

        def paint(point: Array, normal: Array) -> Array:
            base = stone(point, normal)
            x, y = point[0], point[1]
            for middle, half, height in arches.openings:
                ring = np.hypot((x - middle) / (half + 0.36), y / (height + 0.36))
                wedge = np.arctan2(y / height, (x - middle) / half) / np.pi * 17
                seam = np.abs(np.mod(wedge, 1) - 0.5) > 0.45
                tone = (0.75 + 0.4 * chance(np.floor(wedge), middle)) * np.where(seam, 0.55, 1.0)
                stones = mix(flat("#cdbb9c") * tone, colour("#4a4a30"), smoothstep(0.5, 0.0, y))
                base = np.where((ring < 1) & (np.abs(normal[2]) > 0.7), stones, base)
            below = arches.top(x) - y
            base = np.where(below < 0.16, flat("#d6c8ab"), base)
            base = np.where((below > 0.62) & (below < 0.76), flat("#d0c0a2"), base)
            return np.where((below >= 0.76) & (below < 0.92), base * 0.6, base)

        return paint

    def boat(self, point: Array, normal: Array) -> Array:
        """Paint the boat: red planks with a pale rim outside, wood inside."""
        del normal
        x, y, z = point
        grain = sample(self.fine, x * 0.1 + 3, y * 2 + z + 3)
        wood = mix(colour("#7a4a26"), colour("#b98450"), smoothstep(-0.8, 0.8, grain))
        plank = 0.55 + 0.45 * smoothstep(0.0, 0.5, np.mod(y / 0.09, 1))
        outside = flat("#7c231b") * plank * (0.85 + 0.3 * grain)
        outside = np.where(y > 0.17 + 0.10 * x**2, flat("#d9ccb0"), outside)
        return np.where(np.hypot(x, np.abs(z) + 1.97) > 2.38, outside, wood)


def slates(point: Array, normal: Array) -> Array:
    """Paint the green copper plates of a spire."""
    del normal
    row = np.floor(point[1] / 0.3)
    tone = chance(np.floor((point[0] + point[2]) / 0.3 + 0.5 * np.mod(row, 2)), row)
    base = mix(colour("#3d5f5c"), colour("#6f958a"), tone)
    return base * (0.7 + 0.3 * smoothstep(0.0, 0.4, np.mod(point[1] / 0.3, 1)))


def windows(base: Array, at: Cells, look: Look) -> Array:
    """Paint windows with their shutters, sills and flowers over a wall."""
    lot = chance(at.row, at.column, float(look.seed))
    half, tall = np.where(at.attic, 0.24, 0.29), np.where(at.attic, 0.36, 0.46)
    wide, front = np.abs(at.x), ~at.attic & ~at.side
    shown = ~at.side | (lot > 0.4)
    under = (wide < half + 0.3) & (np.abs(at.y + tall + 0.16) < 0.07) & ~at.attic
    base = np.where(shown & under, base * 0.72, base)
    shutter = front & (wide > half) & (wide < half + 0.23) & (np.abs(at.y) < tall)
    louvre = 0.75 + 0.25 * (np.mod(at.y * 14, 1) > 0.3)
    base = np.where(shutter, flat(look.shutter) * louvre, base)
    sill = (wide < half + 0.07) & (np.abs(at.y + tall + 0.05) < 0.05)
    base = np.where(shown & sill, flat("#d8cdb6"), base)
    inside = (wide < half) & (np.abs(at.y) < tall)
    base = np.where(shown & inside, panes(at, lot, half, tall), base)
    petal = chance(np.floor(at.x * 22), np.floor(at.y * 22), lot) > 0.5
    flowers = front & (wide < half) & (np.abs(at.y + tall - 0.02) < 0.10) & (lot > 0.5)
    return np.where(flowers, np.where(petal, flat("#c8344a"), flat("#33502a")), base)


def panes(at: Cells, lot: Array, half: Array, tall: Array) -> Array:
    """Return the colours of glass, some with curtains, behind bars."""
    x, y = at.x, at.y
    sky = mix(colour("#1b2226"), colour("#6f879a"), smoothstep(-0.5, 0.6, y + lot - 0.5))
    glass = mix(sky, colour("#c9b182"), 0.5 * (lot > 0.72) * (np.abs(x) > half * 0.5))
    # The wall above and on the side of the sun shades the panes: they lie deep.
    glass = glass * np.where((y > tall - 0.12) | (x > half - 0.07), 0.35, 1.0)
    bars = (np.abs(x) < 0.028) | (np.abs(y - 0.1) < 0.024)
    bars |= (np.abs(x) > half - 0.055) | (np.abs(y) > tall - 0.055)
    return np.where(bars, flat("#e6dcc6"), glass)


def entrance(base: Array, at: Cells, storey: float, look: Look) -> Array:
    """Paint the door in its frame of stone."""
    here = (at.row == 0) & (at.column == look.seed % look.columns) & ~at.side
    wide = np.abs(at.x)
    base = np.where(here & (wide < 0.55) & (at.v < storey * 0.86), flat("#b9ab93"), base)
    planks = 0.56 + 0.14 * (np.mod(at.x * 8, 1) > 0.12)
    door = here & (wide < 0.4) & (at.v < storey * 0.76)
    return np.where(door, flat(look.shutter) * planks, base)
