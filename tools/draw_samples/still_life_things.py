"""The shapes and the paints of the still life: vessels, fruit and their stems.

A shape is a measure: local points `(3, n)` to their distance from its surface. A paint takes the
same points to linear light.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tools.draw_samples.drawing import Array, colour, fractal, mix, noise, sample, smoothstep
from tools.draw_samples.tracing import FAR, dot

Measure = Callable[[Array], Array]
Paint = Callable[[Array], Array]


def lathe(heights: list[float], radii: list[float], wall: float = 0.0) -> Measure:
    """Return the measure of a turned vessel; with a `wall` it is hollow and open at the top."""
    knots = np.array(heights)
    fine = np.linspace(knots[0], knots[-1], 256)
    # Smoothed, so that the light slides over the profile instead of breaking at the knots.
    rough = np.interp(fine, knots, np.array(radii))
    kernel = np.hanning(33) / np.hanning(33).sum()
    smooth = np.convolve(np.pad(rough, 16, mode="edge"), kernel, mode="valid")
    steep = 1.0 / np.sqrt(1.0 + np.gradient(smooth, fine) ** 2)

    def measure(point: Array) -> Array:
        radial = np.sqrt(point[0] ** 2 + point[2] ** 2)
        place = (point[1] - fine[0]) * (255 / (fine[-1] - fine[0]))
        nearest = np.clip(place, 0, 254.999).astype(np.float32)
        below = nearest.astype(np.int32)
        share = nearest - below
        radius = smooth[below] * (1 - share) + smooth[below + 1] * share
        side = (radial - radius) * steep[below] * 0.9
        ends = np.maximum(point[1] - fine[-1], fine[0] - point[1])
        outside = np.maximum(side, ends)
        if wall:
            cavity = np.maximum(side + wall, fine[0] + 1.5 * wall - point[1])
            outside = np.maximum(outside, -cavity)
        result: Array = outside.astype(np.float32)
        return result

    return measure


def ball(radius: float, squash: float = 1.0) -> Measure:
    """Return the measure of a sphere, or of an egg `squash` times as high."""

    def measure(point: Array) -> Array:
        length = np.sqrt(point[0] ** 2 + (point[1] / squash) ** 2 + point[2] ** 2)
        result: Array = (length - radius) * min(1.0, squash)
        return result

    return measure


def apple(size: float) -> Measure:
    """Return the measure of an apple: broad shoulders, a dimple at each end, five faint ribs."""

    def measure(point: Array) -> Array:
        radial = np.sqrt(point[0] ** 2 + point[2] ** 2)
        length = np.sqrt(radial**2 + point[1] ** 2) + 1e-6
        polar = np.arctan2(radial, point[1])
        ribs = np.cos(5 * np.arctan2(point[2], point[0]))
        outline = 1.0 + 0.05 * np.cos(polar) + 0.05 * np.sin(polar) ** 2
        outline -= 0.36 * np.exp(-((polar / 0.33) ** 2))
        outline -= (0.22 + 0.04 * ribs) * np.exp(-(((np.pi - polar) / 0.33) ** 2))
        outline += 0.012 * ribs * smoothstep(0.9, 2.8, polar)
        result: Array = (length - size * outline) * 0.62
        return result

    return measure


def pear(size: float) -> Measure:
    """Return the measure of a pear: a large ball melting into a small one above it."""

    def measure(point: Array) -> Array:
        x, y, z = point / size
        belly = np.sqrt(x**2 + (y + 0.25) ** 2 + z**2) - 0.8
        neck = np.sqrt((x - 0.06) ** 2 + (y - 0.85) ** 2 + z**2) - 0.36
        blend = np.clip(0.5 + 0.5 * (neck - belly) / 0.55, 0, 1)
        body = neck * (1 - blend) + belly * blend - 0.55 * blend * (1 - blend)
        result: Array = body * size * 0.9
        return result

    return measure


def stem(path: list[tuple[float, float, float]], thick: float) -> Measure:
    """Return the measure of a rod bent along a path."""
    knots = np.array(path, np.float32)

    def measure(point: Array) -> Array:
        nearest = np.full(point.shape[1:], FAR, np.float32)
        for first, second in pairwise(knots):
            relative, along = point - first[:, None], second - first
            share = np.clip(dot(along, relative) / (along @ along), 0, 1)
            away = relative - along[:, None] * share
            nearest = np.minimum(nearest, np.sqrt((away * away).sum(0)))
        return nearest - np.float32(thick)

    return measure


@dataclass(frozen=True)
class Textures:
    """Noise that the paints share."""

    speckle: Array
    soft: Array
    dust: Array

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Textures":
        """Draw them."""
        speckle = fractal(512, 512, 14, 5, rng, 0.65)
        return cls(speckle, fractal(256, 256, 4, 4, rng), noise(512, 512, 110, rng))

    def pottery(self, point: Array) -> Array:
        """Paint clay under a blue glaze that ran down."""
        around = np.arctan2(point[2], point[0]) / np.pi
        speckle = sample(self.speckle, around + 3, point[1] * 0.4 + 2)
        drip = 0.16 * sample(self.soft, around * 2 + 3, np.full_like(around, 0.3))
        clay = mix(colour("#b0714a"), colour("#8a4f33"), smoothstep(-0.6, 0.6, speckle))
        glaze = mix(colour("#4f7f8c"), colour("#2c5668"), smoothstep(-0.7, 0.8, speckle))
        return mix(clay, glaze, smoothstep(-0.03, 0.03, point[1] + 0.45 + drip))

    def bottle(self, point: Array) -> Array:
        """Paint green glass with a stained label."""
        glass = mix(colour("#0c1a10"), colour("#22401a"), smoothstep(-1.9, 1.6, point[1]))
        label = (np.abs(point[1] + 0.55) < 0.48).astype(np.float32)
        around = np.arctan2(point[2], point[0]) / np.pi
        stain = sample(self.speckle, around + 2, point[1] + 3)
        paper = mix(colour("#d9c79a"), colour("#b79a63"), smoothstep(-0.3, 1.2, stain))
        line = np.abs(np.abs(point[1] + 0.55) - 0.38) < 0.018
        paper = mix(paper, colour("#6d2a1c"), line.astype(np.float32))
        return mix(glass, paper, label)

    def faience(self, point: Array) -> Array:
        """Paint a white glaze with a blue wave between two lines."""
        around = np.arctan2(point[2], point[0])
        cloud = sample(self.soft, around / np.pi + 3, point[1] + 2)
        white = mix(colour("#f1ead9"), colour("#d8cfb9"), smoothstep(-0.5, 0.9, cloud))
        wave = 0.055 * np.sin(around * 14)
        band = smoothstep(0.10, 0.07, np.abs(point[1] - 0.12 - wave))
        band = np.maximum(band, smoothstep(0.05, 0.03, np.abs(point[1] - 0.46)))
        band = np.maximum(band, smoothstep(0.035, 0.02, np.abs(point[1] + 0.26)))
        return mix(white, colour("#2a4a86"), band * (0.85 + 0.15 * cloud))

    def skin(self, ground: str, blush: str, side: float) -> Paint:
        """Return the paint of an apple or a pear: streaks of `blush`, most of it on one side."""

        def paint(point: Array) -> Array:
            around = np.arctan2(point[2], point[0])
            polar = np.arctan2(np.hypot(point[0], point[2]), point[1])
            streak = sample(self.speckle, around * 1.9 + 5, polar * 0.12 + 1)
            cloud = sample(self.soft, around / np.pi + 3, polar * 0.5)
            share = np.cos(around - side) * 0.8 + 0.9 * cloud + 0.34 * streak + 0.35
            flesh = mix(colour(ground), colour(blush), smoothstep(-0.7, 0.8, share))
            dots = smoothstep(0.85, 1.0, sample(self.dust, around * 0.6 + 1, polar * 0.5))
            flesh = mix(flesh, colour("#e8c77a"), 0.35 * dots)
            return mix(flesh, colour("#7d7a2a"), 0.8 * smoothstep(0.42, 0.1, polar))

        return paint

    def rind(self, point: Array) -> Array:
        """Paint the pores of an orange."""
        around, up = np.arctan2(point[2], point[0]), point[1]
        pores = sample(self.dust, around * 0.34 + 4, up * 0.9 + 3)
        cloud = sample(self.soft, around / np.pi + 2, up + 2)
        share = smoothstep(-1.4, 1.5, 0.5 * pores + cloud)
        return mix(colour("#e58a1f"), colour("#c55a0c"), share)

    def bloom(self, point: Array) -> Array:
        """Paint a grape with its misty bloom."""
        mist = sample(self.soft, point[0] * 1.9 + 2, point[1] * 1.9 + point[2] + 2)
        purple = mix(colour("#260c2c"), colour("#5c1a3c"), smoothstep(-0.12, 0.12, point[1]))
        return mix(purple, colour("#6f6a92"), 0.5 * smoothstep(-0.2, 0.9, mist))

    def bark(self, point: Array) -> Array:
        """Paint a stem."""
        return np.repeat(colour("#4a3018")[:, None], point.shape[1], 1)
