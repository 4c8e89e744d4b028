"""A sample content: fruit, a jug and a bottle on a table, by the light of a window."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from tools.draw_samples.drawing import (
    OVERSAMPLING,
    Array,
    blur,
    colour,
    develop,
    fractal,
    mix,
    noise,
    sample,
    smoothstep,
)
from tools.draw_samples.still_life_things import (
    Measure,
    Paint,
    Textures,
    apple,
    ball,
    lathe,
    pear,
    stem,
)
from tools.draw_samples.tracing import Field, View, dot, lit, trace, unit

SUN = unit(np.array([-0.86, 0.62, -0.14], np.float32))
WALL = 2.9
CLOTH = 1024
"""Points along the sides of the cloth's height map."""
Place = tuple[float, float, float]


@dataclass(frozen=True)
class Finish:
    """How a surface takes the light: how it shines, how rough it is, how much light it lets in."""

    shine: float
    rough: float
    glow: float = 0.0


GLAZE, GLASS, FAIENCE = Finish(0.55, 0.12), Finish(1.0, 0.06), Finish(0.6, 0.08)
SKIN, RIND, GRAPE = Finish(0.5, 0.22, 0.25), Finish(0.35, 0.38, 0.3), Finish(0.55, 0.2, 0.3)
WOOD = Finish(0.1, 0.6)


@dataclass(frozen=True)
class Thing:
    """A body, its paint and its finish."""

    body: Field
    paint: Paint
    finish: Finish


def turned(yaw: float, lean: float) -> Array:
    """Return the axes of a body that leans by `lean` towards the compass direction `yaw`."""
    sin, cos = np.sin(lean), np.cos(lean)
    tilt = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    sin, cos = np.sin(yaw), np.cos(yaw)
    spin = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    axes: Array = (tilt @ spin).astype(np.float32)
    return axes


class Still:
    """The arrangement: its things, its cloth and the textures that its paints share."""

    def __init__(self) -> None:
        """Set the table."""
        self.rng = np.random.default_rng(1887)
        self.textures = Textures.draw(self.rng)
        self.things: list[Thing] = []
        self.jug()
        self.bottle()
        self.bowl()
        self.fruit()
        self.grapes()
        self.heights = self.cloth()

    def add(
        self,
        place: Place,
        reach: float,
        measure: Measure,
        paint: Paint,
        finish: Finish,
        turn: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Put a thing on the table; it lies within `reach` of its place."""
        body = Field(np.array(place, np.float32), reach, measure, turned(*turn))
        self.things.append(Thing(body, paint, finish))

    def jug(self) -> None:
        """Add the jug with its handle."""
        heights = [-1.3, -1.22, -0.9, -0.35, 0.2, 0.65, 0.95, 1.2, 1.32]
        radii = [0.52, 0.58, 0.80, 0.98, 0.88, 0.56, 0.43, 0.47, 0.58]
        place, paint = (-1.75, 1.3, 0.95), self.textures.pottery
        self.add(place, 1.75, lathe(heights, radii, wall=0.07), paint, GLAZE)
        bend = np.linspace(0.0, 1.0, 15)
        rise = 0.98 + 0.42 * np.sin(np.pi * bend**0.8) * (1 - bend) - 1.15 * bend**1.5
        handle = [
            (float(-0.40 - 0.72 * np.sin(np.pi * 0.78 * step**0.9)), float(height), 0.0)
            for step, height in zip(bend, rise, strict=True)
        ]
        self.add(place, 1.9, stem(handle, 0.1), paint, GLAZE, (0.35, 0.0))

    def bottle(self) -> None:
        """Add the bottle."""
        heights = [-1.7, -1.66, -1.5, 0.25, 0.55, 0.85, 1.05, 1.62, 1.64, 1.74, 1.76, 1.8]
        radii = [0.40, 0.52, 0.56, 0.56, 0.50, 0.28, 0.185, 0.165, 0.215, 0.215, 0.175, 0.17]
        self.add((2.05, 1.7, 1.3), 1.95, lathe(heights, radii), self.textures.bottle, GLASS)

    def bowl(self) -> None:
        """Add the bowl."""
        heights = [-0.5, -0.44, -0.36, -0.2, 0.1, 0.4, 0.56]
        radii = [0.56, 0.60, 0.56, 0.92, 1.30, 1.50, 1.58]
        bowl = lathe(heights, radii, wall=0.07)
        self.add((0.3, 0.5, 0.25), 1.75, bowl, self.textures.faience, FAIENCE)

    def fruit(self) -> None:
        """Add apples, pears and oranges, in the bowl and before it."""
        red = self.textures.skin("#d9a441", "#a3121a", 0.6)
        green = self.textures.skin("#b3bb3f", "#5f8f22", 2.6)
        yellow = self.textures.skin("#d3b24a", "#b4702c", -0.5)
        for paint, place, turn, size in (
            (red, (-0.42, 1.12, -0.22), (0.4, 0.25), 0.56),
            (green, (0.55, 1.18, -0.42), (2.0, -0.3), 0.54),
            (red, (-0.62, 1.25, 0.62), (1.0, -0.2), 0.50),
            (red, (2.1, 0.52, -1.15), (2.2, 0.3), 0.52),
        ):
            self.add(place, size * 1.4, apple(size), paint, SKIN, turn)
            self.stalk(place, size, 0.62, turn)
        for place, turn, size in (
            ((1.05, 1.42, 0.35), (0.2, -0.5), 0.58),
            ((-1.75, 0.52, -0.95), (-0.6, 1.25), 0.62),
        ):
            self.add(place, size * 1.4, pear(size), yellow, SKIN, turn)
            self.stalk(place, size, 1.16, turn)
        for place, size in (((0.05, 1.22, 0.72), 0.56), ((-0.75, 0.46, -1.75), 0.46)):
            self.add(place, size * 1.1, ball(size, 0.95), self.textures.rind, RIND)

    def stalk(self, place: Place, size: float, top: float, turn: tuple[float, float]) -> None:
        """Add the stem of a fruit that begins at `top`, in sizes of the fruit."""
        rod = [(0.0, top, 0.0), (0.03, top + 0.3, 0.02), (0.14, top + 0.58, 0.05)]
        path = [(size * x, size * y, size * z) for x, y, z in rod]
        self.add(place, size * 1.9, stem(path, 0.03), self.textures.bark, WOOD, turn)

    def grapes(self) -> None:
        """Add a bunch of grapes that hangs over the rim of the bowl down to the cloth."""
        placed: list[Array] = []
        for _ in range(3000):
            along, ring = self.rng.uniform(0, 1), self.rng.uniform(0, 2 * np.pi)
            spread = 0.52 * (1 - 0.55 * along) * np.sqrt(self.rng.uniform(0, 1))
            middle = np.array([0.95 + 0.05 * along, 1.2 - 0.95 * along, -0.78 - 1.15 * along**1.5])
            offset = np.array([np.cos(ring), 0.7 * np.sin(ring), 0.5 * np.sin(ring)]) * spread
            point = (middle + offset).astype(np.float32)
            point[1] = max(point[1], 0.22)
            if all(((point - other) ** 2).sum() > 0.25**2 for other in placed):
                placed.append(point)
        for x, y, z in placed:
            size = self.rng.uniform(0.15, 0.18)
            turn = (self.rng.uniform(0, 6), self.rng.uniform(-0.5, 0.5))
            self.add((x, y, z), size * 1.2, ball(size, 1.12), self.textures.bloom, GRAPE, turn)

    def cloth(self) -> Array:
        """Return the height of the cloth over the table, `(z, x)`, each from -6 to 6."""
        x, z = np.meshgrid(*[np.linspace(-6, 6, CLOTH, dtype=np.float32)] * 2)
        bend = fractal(CLOTH, CLOTH, 5, 3, self.rng)
        fine = fractal(CLOTH, CLOTH, 16, 4, self.rng)
        # Folds fan out from behind the jug towards the lower left corner.
        angle = np.arctan2(x + 4.2, 3.6 - z) + 0.07 * bend
        reach = np.hypot(x + 4.2, z - 3.6)
        folds = (0.5 + 0.5 * np.cos(angle * 17 + 1.3 * bend)) ** 2.2
        small = (0.5 + 0.5 * np.cos(angle * 41 + 2.5 * bend + 0.5 * reach)) ** 2
        fade = smoothstep(-0.5, 0.5, noise(CLOTH, CLOTH, 7, self.rng))
        strength = 0.12 + 0.88 * smoothstep(1.2, 3.4, np.hypot(x - 0.4, (z - 0.3) * 1.15))
        height = strength * (0.36 * folds * (0.45 + 0.55 * fade) + 0.05 * small) + 0.012 * fine
        edge = 1.15 + 0.35 * np.sin(z * 1.3 + 0.6) + 0.22 * bend - 0.55 * (z + 2)
        inside = smoothstep(0.0, 0.10, edge + 1.7 - x) * smoothstep(-0.05, 0.05, 2.2 - z)
        result: Array = ((0.05 + height) * inside).astype(np.float32)
        return result


def ground(still: Still, origin: Array, direction: Array) -> tuple[Array, Array, Array]:
    """Return points, normals and colours, each `(3, n)`, where rays meet the table or the wall."""
    far_wall = (WALL - origin[2]) / direction[2]
    down = np.minimum(direction[1], -1e-3)
    begin, end = (0.45 - origin[1]) / down, -origin[1] / down
    wall = (end > far_wall) | (direction[1] >= -1e-3)
    reach = np.where(wall, far_wall, 0)
    reach[~wall] = drape(still, origin, direction[:, ~wall], begin[~wall], end[~wall])
    point = origin + direction * reach
    across, deep = (point[0] + 6) / 12, (point[2] + 6) / 12
    slope_z, slope_x = np.gradient(still.heights, np.float32(12 / (CLOTH - 1)))
    slopes = -sample(slope_x, across, deep), np.ones_like(across), -sample(slope_z, across, deep)
    # The wall turns a little towards the window, or it would hardly catch its light.
    facing = unit(np.array([-0.42, 0.0, -1.0], np.float32))
    normal = np.where(wall, facing[:, None], unit(np.stack(slopes)))
    paint = np.empty_like(point)
    paint[:, wall] = plaster(still, point[:, wall])
    paint[:, ~wall] = table(still, point[:, ~wall])
    return point, normal, paint


def drape(still: Still, origin: Array, direction: Array, begin: Array, end: Array) -> Array:
    """Return where rays meet the cloth between two distances: march, then halve the step."""

    def under(distance: Array) -> Array:
        point = origin + direction * distance
        cover = sample(still.heights, (point[0] + 6) / 12, (point[2] + 6) / 12)
        result: Array = point[1] <= cover + 1e-4
        return result

    reach, last = end.copy(), begin.copy()
    found = np.zeros(reach.shape, bool)
    for step in range(1, 15):
        here = begin + (end - begin) * np.float32(step / 14)
        below = under(here)
        reach = np.where(below & ~found, here, reach)
        found |= below
        last = np.where(found, last, here)
    for _ in range(5):
        middle = (last + reach) / 2
        below = under(middle)
        reach, last = np.where(below, middle, reach), np.where(below, last, middle)
    return reach


def table(still: Still, point: Array) -> Array:
    """Return the colours of the table and of the cloth on it."""
    x, z = point[0], point[2]
    grain = sample(still.textures.speckle, x * 0.05 + 3, z * 0.55 + 3)
    rings = 0.5 * np.sin(17 * z + 6 * sample(still.textures.soft, x * 0.05 + 1, z * 0.25 + 1))
    wood = mix(colour("#5b3118"), colour("#9a6234"), smoothstep(-1.2, 1.4, rings + 0.8 * grain))
    board = np.abs(np.mod(z + 0.35, 1.25) - 0.625) > 0.612
    wood = mix(wood, colour("#1d0e06"), 0.8 * board.astype(np.float32))
    weave = np.sin(x * 95 + 3 * grain) * np.sin(z * 95)
    dirt = sample(still.textures.soft, x * 0.12 + 1, z * 0.12 + 3)
    linen = mix(colour("#e9dfc8"), colour("#cdbf9f"), smoothstep(-1.2, 1.2, dirt + 0.5 * weave))
    cover = sample(still.heights, (x + 6) / 12, (z + 6) / 12)
    inner = sample(blur(still.heights, 9), (x + 6) / 12, (z + 6) / 12)
    stripe = np.abs(np.mod(x * 0.8 + z * 0.45, 2.4) - 1.2)
    band = smoothstep(0.10, 0.08, np.abs(stripe - 0.3))
    band += smoothstep(0.03, 0.02, np.abs(stripe - 0.48))
    linen = mix(linen, colour("#7d2420"), 0.85 * np.clip(band, 0, 1))
    hollow = np.clip(1 - 6.0 * np.maximum(inner - cover, 0), 0.35, 1)
    return np.where(cover > 0.02, linen * hollow, wood * np.clip(1 - 2.5 * inner, 0.4, 1))


def plaster(still: Still, point: Array) -> Array:
    """Return the colours of the wall."""
    x, y = point[0], point[1]
    cloud = sample(still.textures.soft, x * 0.11 + 3, y * 0.14 + 1)
    fleck = sample(still.textures.speckle, x * 0.13 + 2, y * 0.16 + 2)
    base = mix(colour("#a39a7a"), colour("#7d8371"), smoothstep(-1.0, 1.0, cloud + 0.3 * fleck))
    return mix(base, colour("#b8a67e"), 0.25 * smoothstep(0.0, 1.2, fleck - 0.6 * cloud))


def surroundings(direction: Array) -> Array:
    """Return the room that shiny things mirror: a window, a warm floor, a dim ceiling."""
    x, y, z = direction
    room = mix(colour("#4b3520"), colour("#62665a"), smoothstep(-0.5, 0.5, y))
    depth = np.maximum(-x, 0.05)
    across, rise = z / depth + 0.62, y / depth - 0.85
    pane = smoothstep(0.42, 0.38, np.abs(across)) * smoothstep(0.48, 0.44, np.abs(rise))
    pane *= smoothstep(0.02, 0.05, np.abs(across)) * smoothstep(0.02, 0.05, np.abs(rise))
    pane *= x < -0.1
    door = smoothstep(0.35, 0.1, np.abs(z / np.maximum(x, 0.05) + 0.9)) * (x > 0.1)
    room += colour("#c9873f").reshape(3, 1, 1) * 1.6 * door * smoothstep(-0.6, 0.2, y)
    result: Array = room * 0.5 + np.array([7.0, 7.2, 7.4], np.float32).reshape(3, 1, 1) * pane
    return result


def nearness(still: Still, point: Array, normal: Array) -> Array:
    """Return how open to the room's light each point is: things near it take some away."""
    openness = np.ones(point.shape[1:], np.float32)
    for thing in still.things:
        size = thing.body.reach * 0.72
        if size < 0.12:
            continue
        relative = thing.body.centre.reshape(3, 1, 1) - point
        square = np.maximum((relative * relative).sum(0), 1e-3)
        facing = (normal * relative).sum(0) / np.sqrt(square)
        taken = np.clip(facing, 0, 1) * np.minimum(size * size / square, 1)
        openness *= 1 - 0.75 * taken
    return openness


@dataclass(frozen=True)
class Surface:
    """What each pixel shows: arrays of its place, normal, paint and finish."""

    point: Array
    normal: Array
    paint: Array
    shine: Array
    rough: Array
    glow: Array


def survey(still: Still, view: View) -> Surface:
    """Return what a view shows."""
    hits = trace(view, [thing.body for thing in still.things])
    origin, direction = view.rays()
    bare = hits.number < 0
    point, normal, paint = hits.point.copy(), hits.normal, np.zeros_like(hits.point)
    found = ground(still, origin[:, 0], direction[:, bare])
    point[:, bare], normal[:, bare], paint[:, bare] = found
    shine, glow = np.zeros(bare.shape, np.float32), np.zeros(bare.shape, np.float32)
    rough = np.ones(bare.shape, np.float32)
    for index, thing in enumerate(still.things):
        here = hits.number == index
        if here.any():
            paint[:, here] = thing.paint(thing.body.local(point[:, here]))
            finish = thing.finish
            shine[here], rough[here], glow[here] = finish.shine, finish.rough, finish.glow
    return Surface(point, normal, paint, shine, rough, glow)


def camera(columns: int) -> View:
    """Return where the picture is seen from; `columns` pixels wide, 4:3."""
    rows = columns * 3 // 4
    return View.towards((0.15, 3.9, -8.6), (0.12, 1.02, 0.2), 2.62, rows, columns, lift=-0.04)


def still_life(width: int) -> Image.Image:
    """Draw a bowl of fruit, a jug, a bottle and a cloth on a table; RGB, 4:3."""
    still = Still()
    columns = width * OVERSAMPLING
    view = camera(columns)
    surface = survey(still, view)
    middle = np.array([0.3, 0.6, 0.4], np.float32)
    light = View.towards(tuple(middle + 9 * SUN), tuple(middle), 0.27, columns, columns, True)
    depth = trace(light, [thing.body for thing in still.things]).distance
    shadow = lit(surface.point + surface.normal * 0.02, light, depth, 0.11, still.rng)
    return develop(shade(still, view, surface, shadow), width, still.rng)


def window_light(still: Still, view: View, surface: Surface, shadow: Array) -> tuple[Array, Array]:
    """Return the light of the window on each pixel, and its share of the room's light."""
    point = surface.point
    facing = (dot(SUN, surface.normal) + 0.25 * surface.glow) / (1 + 0.25 * surface.glow)
    # The window lights the left of the room more than the right.
    pool = np.exp(-(((point[0] + 1.3) / 3.9) ** 2) - ((point[1] - 0.9) / 3.2) ** 2)
    key = np.clip(facing, 0, 1) * shadow * (0.25 + 0.75 * pool)
    # On the wall the light of the window ends in a slanting edge, with a bar's shadow in it.
    slant = point[1] + 0.66 * point[0] + 0.05 * noise(view.height, view.width, 9, still.rng)
    beam = smoothstep(3.3, 2.5, slant) * (1 - 0.5 * smoothstep(0.3, 0.1, np.abs(slant - 1.25)))
    return key * np.where(point[2] > WALL - 0.05, 0.18 + 0.95 * beam, 1.0), pool


def shade(still: Still, view: View, surface: Surface, shadow: Array) -> Array:
    """Return the light that reaches the camera, `(3, height, width)`."""
    normal = surface.normal
    sight = unit(surface.point - view.place.reshape(3, 1, 1))
    key, pool = window_light(still, view, surface, shadow)
    open_to = nearness(still, surface.point, normal)
    sky, bounce, warm = (
        np.array(light, np.float32).reshape(3, 1, 1)
        for light in ([0.27, 0.31, 0.37], [0.26, 0.18, 0.10], [2.7, 2.35, 1.85])
    )
    fill = sky * (0.65 + 0.35 * normal[1] - 0.3 * normal[0])
    fill = fill + bounce * np.clip(-normal[1] + 0.4, 0, 1)
    result = surface.paint * (warm * key + fill * open_to * (0.4 + 0.6 * pool))
    along = (sight * normal).sum(0)
    mirrored = sight - 2 * along * normal
    fresnel = 0.04 + 0.96 * (1 - np.clip(-along, 0, 1)) ** 5
    rough = surface.rough
    sharp = surroundings(mirrored) * np.exp(-4 * rough)
    lobe = np.clip(dot(SUN, mirrored), 0, 1) ** (2 / (rough**2 + 0.01))
    gleam = warm * (0.5 * lobe * shadow) * np.clip(1.3 - rough, 0, 1)
    result += surface.shine * (fresnel * sharp * open_to + gleam * (0.25 + fresnel))
    fog = noise(view.height, view.width, 3, still.rng)
    final: Array = (result * (1.0 + 0.03 * fog) * 0.66).astype(np.float32)
    return final
