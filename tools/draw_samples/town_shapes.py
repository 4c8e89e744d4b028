"""The solids of the river town: houses are prisms, spires pyramids; a bridge and a boat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.draw_samples.drawing import Array
from tools.draw_samples.tracing import FAR, Convex, unit


def prism(
    corner: Array, axes: Array, outline: Sequence[tuple[float, float]], depth: float
) -> Convex:
    """Return the body over a convex outline `(across, up)`, counter-clockwise, `depth` deep."""
    points = np.array(outline, np.float32)
    across, up, inward = axes
    faces = [np.append(-inward, -corner @ inward), np.append(inward, corner @ inward + depth)]
    for start, end in zip(points, np.roll(points, -1, 0), strict=True):
        along = (end - start) / np.hypot(*(end - start))
        outward = across * along[1] - up * along[0]
        anchor = corner + across * start[0] + up * start[1]
        faces.append(np.append(outward, anchor @ outward))
    ring = corner[:, None] + across[:, None] * points[:, 0] + up[:, None] * points[:, 1]
    corners = np.concatenate([ring, ring + depth * inward[:, None]], 1)
    return Convex(np.array(faces, np.float32), corners.astype(np.float32))


def pyramid(corner: Array, width: float, height: float, rise: float) -> Convex:
    """Return a steep four-sided spire over a square of `width` at `height`."""
    middle = np.array([corner[0] + width / 2, height, corner[2] + width / 2], np.float32)
    top = middle + np.array([0, rise, 0], np.float32)
    faces = [np.array([0, -1, 0, -height])]
    for x, z in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        slope = unit(np.array([x * rise, width / 2, z * rise], np.float32))
        faces.append(np.append(slope, slope @ top))
    base = [
        [middle[0] + x * width / 2, height, middle[2] + z * width / 2]
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    return Convex(np.array(faces, np.float32), np.array([*base, top], np.float32).T)


@dataclass(frozen=True)
class Arches:
    """The bridge: a wall across the river with elliptical openings and their vaults."""

    front: float
    back: float
    openings: tuple[tuple[float, float, float], ...]
    """Middle, half width and height of each."""
    corners: Array

    def top(self, x: Array) -> Array:
        """Return the height of the parapet: it rises to the middle of the river."""
        result: Array = 3.15 - 0.011 * x * x
        return result

    def meet(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """Meet the front; behind an opening, its vault."""
        forward = np.where(np.abs(direction[2]) < 1e-6, np.float32(1e-6), direction[2])
        reach = (self.front - origin[2]) / forward
        x, y = origin[0] + direction[0] * reach, origin[1] + direction[1] * reach
        solid = (reach > 0) & (y < self.top(x)) & (y >= 0) & (np.abs(x) < 16)
        normal = np.zeros((3, *reach.shape), np.float32)
        normal[2] = -1
        distance = np.where(solid, reach, FAR)
        for middle, half, height in self.openings:
            across, up = (x - middle) / half, y / height
            hole = solid & (across**2 + up**2 < 1)
            run = np.broadcast_to(direction[0] / half, reach.shape)
            rise = np.broadcast_to(direction[1] / height, reach.shape)
            square = np.maximum(run**2 + rise**2, 1e-9)
            inner = across * run + up * rise
            root = np.sqrt(np.maximum(inner**2 - square * (across**2 + up**2 - 1), 0))
            step = (root - inner) / square
            vault = hole & (step * forward < self.back - self.front) & (up + step * rise >= 0)
            distance = np.where(hole, np.where(vault, reach + step, FAR), distance)
            inward = np.stack(
                [-(across + step * run) / half, -(up + step * rise) / height, np.zeros_like(across)]
            )
            normal = np.where(vault, unit(inward), normal)
        return distance, normal


def hull(point: Array) -> Array:
    """Return the distance of local points from a rowing boat, pointed at both ends."""
    x, y, z = point

    def plan(size: float, deep: float) -> Array:
        bend = 2.4 + 0.25 * np.clip(y, -1, 1)
        side = np.hypot(x, np.abs(z) + bend - size) - bend
        result: Array = np.maximum(side, -y - deep)
        return result

    body = np.maximum(plan(0.46, 0.2), y - 0.24 - 0.10 * x**2)
    hollow = np.maximum(plan(0.40, 0.1), -(y + 0.02))
    bench = np.maximum(np.abs(np.abs(x) - 0.42) - 0.1, np.abs(y - 0.13) - 0.025)
    bench = np.maximum(bench, plan(0.44, 0.2))
    result: Array = np.minimum(np.maximum(body, -hollow), bench) * np.float32(0.8)
    return result
