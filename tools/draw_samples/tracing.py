"""A small ray tracer for the sample pictures: solids, a camera, and the shadows of one light."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tools.draw_samples.drawing import Array

FAR = np.float32(1e6)


def unit(vector: Array) -> Array:
    """Return vectors `(3, ...)` at length one."""
    result: Array = vector / np.sqrt(np.maximum((vector * vector).sum(0), 1e-12))
    return result


def dot(first: Array, second: Array) -> Array:
    """Return the inner product over the first axis; `first` may be one vector `(3,)`."""
    if first.ndim == 1:
        result: Array = first[0] * second[0] + first[1] * second[1] + first[2] * second[2]
        return result
    product: Array = (first * second).sum(0)
    return product


@dataclass(frozen=True)
class View:
    """A camera: where it stands, its axes (rows: right, up, forward) and its frame in pixels.

    `zoom` is the focal length over half the frame's width; with `parallel` rays, one over half
    the width that it sees. `lift` moves the centre of the picture down by so many half widths.
    """

    place: Array
    axes: Array
    zoom: float
    height: int
    width: int
    parallel: bool = False
    lift: float = 0.0

    @classmethod
    def towards(
        cls,
        place: Sequence[float],
        target: Sequence[float],
        zoom: float,
        height: int,
        width: int,
        parallel: bool = False,
        lift: float = 0.0,
    ) -> "View":
        """Return the view from `place` to `target`, upright."""
        start = np.array(place, np.float32)
        forward = unit(np.array(target, np.float32) - start)
        right = unit(np.cross(np.array([0, 1, 0], np.float32), forward))
        axes = np.stack([right, np.cross(forward, right), forward]).astype(np.float32)
        return cls(start, axes, zoom, height, width, parallel, lift)

    def rays(self) -> tuple[Array, Array]:
        """Return origins and directions, `(3, height, width)` or broadcastable to it."""
        half = self.width / 2
        across = ((np.arange(self.width) + 0.5 - half) / half / self.zoom).astype(np.float32)
        down = (np.arange(self.height) + 0.5 - self.height / 2) / half + self.lift
        rise = (-down / self.zoom).astype(np.float32)
        right, up, forward = (axis.reshape(3, 1, 1) for axis in self.axes)
        plane = right * across + up * rise[:, None]
        start = self.place.reshape(3, 1, 1)
        if self.parallel:
            return start + plane, forward
        return start, unit(plane + forward)

    def project(self, points: Array) -> tuple[Array, Array, Array]:
        """Return column, row and depth of points `(3, ...)`."""
        relative = points - self.place.reshape((3,) + (1,) * (points.ndim - 1))
        right, up, depth = (dot(axis, relative) for axis in self.axes)
        away = np.ones_like(depth) if self.parallel else np.maximum(depth, 0.05)
        scale = self.zoom * self.width / 2 / away
        row = self.height / 2 - self.lift * self.width / 2 - up * scale
        return self.width / 2 + right * scale, row, depth


class Solid(Protocol):
    """A thing that rays can meet."""

    @property
    def corners(self) -> Array:
        """Points `(3, n)` around which the solid lies: so much of the frame it may fill."""

    def meet(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """Return distance (`FAR`: no hit) and normal for rays `(3, rows, columns)`."""


@dataclass(frozen=True)
class Hits:
    """What each ray met first: distance, normal, number of the solid (-1: none), point."""

    distance: Array
    normal: Array
    number: np.ndarray[tuple[int, ...], np.dtype[np.int32]]
    point: Array


def trace(view: View, solids: Sequence[Solid]) -> Hits:
    """Find the first solid on each ray of a view."""
    origin, direction = view.rays()
    frame = (view.height, view.width)
    distance = np.full(frame, FAR, np.float32)
    normal = np.zeros((3, *frame), np.float32)
    number = np.full(frame, -1, np.int32)
    for index, solid in enumerate(solids):
        column, row, _ = view.project(solid.corners)
        top, bottom = max(0, int(row.min()) - 1), min(view.height, int(row.max()) + 2)
        left, right = max(0, int(column.min()) - 1), min(view.width, int(column.max()) + 2)
        if top >= bottom or left >= right:
            continue
        window = (slice(None), slice(top, bottom), slice(left, right))
        starts = origin if origin.shape[1] == 1 else origin[window]
        heads = direction if direction.shape[1] == 1 else direction[window]
        found, facing = solid.meet(starts, heads)
        closer = found < distance[window[1:]]
        distance[window[1:]][closer] = found[closer]
        number[window[1:]][closer] = index
        for axis in range(3):
            normal[axis][window[1:]][closer] = facing[axis][closer]
    return Hits(distance, normal, number, origin + direction * np.minimum(distance, 1e3))


@dataclass(frozen=True)
class Convex:
    """A convex body: the points with `faces[k, :3] · point <= faces[k, 3]` for every face."""

    faces: Array
    corners: Array

    def meet(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """Clip each ray with every face."""
        shape = np.broadcast_shapes(origin.shape[1:], direction.shape[1:])
        enter, leave = np.zeros(shape, np.float32), np.full(shape, FAR, np.float32)
        face = np.zeros(shape, np.int32)
        for index, plane in enumerate(self.faces):
            slope = dot(plane[:3], direction)
            slope = np.where(np.abs(slope) < 1e-7, np.float32(1e-7), slope)
            crossing = (plane[3] - dot(plane[:3], origin)) / slope
            inward = slope < 0
            nearer = inward & (crossing > enter)
            enter = np.where(nearer, crossing, enter)
            face = np.where(nearer, np.int32(index), face)
            leave = np.where(inward, leave, np.minimum(leave, crossing))
        hit = (enter < leave) & (enter > 0)
        return np.where(hit, enter, FAR), self.faces[face, :3].transpose(2, 0, 1)


@dataclass(frozen=True)
class Field:
    """A body given by a signed distance, or an underestimate of one, in its own frame."""

    centre: Array
    reach: float
    measure: Callable[[Array], Array]
    turn: Array
    """Its axes as rows: world to local is `turn @ (point - centre)`."""
    steps: int = 48

    @property
    def corners(self) -> Array:
        """The corners of a cube around the body."""
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), np.float32).reshape(3, 8)
        result: Array = self.centre[:, None] + self.reach * signs
        return result

    def local(self, points: Array) -> Array:
        """Return world points `(3, ...)` in the body's frame."""
        relative = points - self.centre.reshape((3,) + (1,) * (points.ndim - 1))
        return np.stack([dot(axis, relative) for axis in self.turn])

    def meet(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """Walk along each ray by the distance to the body until it is reached."""
        shape = np.broadcast_shapes(origin.shape, direction.shape)
        start = self.local(np.broadcast_to(origin, shape).reshape(3, -1))
        head = np.broadcast_to(direction, shape).reshape(3, -1)
        head = np.stack([dot(axis, head) for axis in self.turn])
        along = dot(start, head)
        inside = along * along - dot(start, start) + self.reach**2
        distance = np.full(start.shape[1], FAR, np.float32)
        normal = np.zeros(start.shape, np.float32)
        alive = np.flatnonzero(inside > 0)
        travelled = np.maximum(-along[alive] - np.sqrt(inside[alive]), 0.0)
        ending = -along[alive] + np.sqrt(inside[alive])
        start, head = start[:, alive], head[:, alive]
        for step in range(self.steps):
            gap = self.measure(start + head * travelled)
            travelled = travelled + gap
            if step % 6 == 5:
                # Rays that left or arrived need no further steps.
                gone, there = travelled > ending, np.abs(gap) < 0.0015
                distance[alive[there & ~gone]] = travelled[there & ~gone]
                keep = ~(gone | there)
                alive, start, head = alive[keep], start[:, keep], head[:, keep]
                travelled, ending = travelled[keep], ending[keep]
            if not alive.size:
                break
        # A ray still creeping along an edge counts as arrived when it is close.
        close = np.abs(self.measure(start + head * travelled)) < 0.02
        distance[alive[close]] = travelled[close]
        hit = np.flatnonzero(distance < FAR)
        world = np.broadcast_to(direction, shape).reshape(3, -1)[:, hit]
        base = np.broadcast_to(origin, shape).reshape(3, -1)[:, hit]
        normal[:, hit] = self.normal(base + world * distance[hit])
        return distance.reshape(shape[1:]), normal.reshape(shape)

    def normal(self, points: Array) -> Array:
        """Return the outward normals at world points `(3, n)`."""
        local = self.local(points)
        gradient = np.zeros_like(local)
        for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
            signs = np.array(corner, np.float32)[:, None]
            gradient += signs * self.measure(local + 0.004 * signs)
        return unit((self.turn.T @ gradient).astype(np.float32))


def lit(
    points: Array, view: View, depth: Array, spread: float, rng: np.random.Generator, taps: int = 12
) -> Array:
    """Return how much of the light reaches points `(3, height, width)`, 0 to 1.

    `view` is a parallel view from the light and `depth` what it sees. The penumbra widens with the
    distance to what casts the shadow, by `spread` per unit of length.
    """
    column, row, away = view.project(points)
    scale = view.zoom * view.width / 2
    angle = rng.uniform(0, 2 * np.pi, column.shape).astype(np.float32)
    flat = depth.ravel()

    def look(turn: float, radius: Array) -> Array:
        across = np.clip(column + radius * np.cos(angle + turn), 0, view.width - 1)
        below = np.clip(row + radius * np.sin(angle + turn), 0, view.height - 1)
        found: Array = flat[below.astype(np.int32) * view.width + across.astype(np.int32)]
        return found

    bias = 3.0 / scale
    gap, count = np.zeros_like(away), np.full_like(away, 1e-3)
    for tap in range(4):
        found = look(tap * 1.7, np.full_like(away, 0.35 * spread * scale * (tap + 0.5)))
        blocked = found < away - bias
        gap += np.where(blocked, away - found, 0.0)
        count += blocked
    radius = np.clip(gap / count * spread, 1.5 / scale, None) * scale
    seen = np.zeros_like(away)
    for tap in range(taps):
        reach = radius * np.float32(np.sqrt((tap + 0.5) / taps))
        seen += look(tap * 2.39996, reach) >= away - bias * (1 + reach * 0.3)
    result: Array = seen / taps
    return result
