"""Transparency: what the network sees where nothing shows, and an image on white."""

from __future__ import annotations

import numpy as np
from PIL import Image

_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))


def onto_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 `[H, W, 3]`: straight colours as they look on white paper."""
    return _mixed(rgb, np.full(3, 255, np.uint8), alpha)


def filled(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Straight colours, uint8 `[H, W, 3]`, those of fully transparent pixels from around them.

    What a file hides there is arbitrary. White or black instead would be an edge that nobody sees
    and that the network would draw as one; the surroundings go on without any.
    """
    hidden = alpha == 0
    return np.where(hidden[..., None], _surroundings(rgb, alpha), rgb) if hidden.any() else rgb


def onto_surroundings(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Straight colours, uint8 `[H, W, 3]`, each over those around it, which count by their alpha.

    For resizing: what hardly shows has hardly any part in its neighbours' colours, as if these
    were multiplied by alpha before and divided by it afterwards, but without dividing by nothing.
    """
    return _mixed(rgb, _surroundings(rgb, alpha), alpha)


def _mixed(rgb: np.ndarray, ground: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity: np.ndarray = alpha[..., None].astype(np.uint16)
    composite: np.ndarray = (rgb * opacity + ground * (255 - opacity) + 127) // 255
    return composite.astype(np.uint8)


def _surroundings(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The colours that show nearest to each pixel, smoothly; white where nothing does.

    uint8 `[H, W, 3]`. Push and pull over halves (Gortler et al. 1996: The Lumigraph, 3.4).
    """
    levels = []
    # Squared: a wide rim of almost nothing would otherwise outweigh the edge beside it.
    colors, weights = _halved(rgb, (alpha.astype(np.float32) / 255) ** 2)
    while weights.size > 1:
        levels.append((colors, weights))
        colors, weights = _halved(colors, weights)
    if not weights.any():
        return np.full_like(rgb, 255)
    shown = colors
    for colors, weights in reversed(levels):
        coarse = _doubled(shown, weights.shape)
        shown = coarse + weights[..., None] * (colors - coarse)
    return _doubled(shown, alpha.shape)


def _halved(colors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of two by two pixels by their weights, and how far these cover a pixel: 0…1."""
    height, width = (weights.shape[0] + 1) // 2, (weights.shape[1] + 1) // 2
    total = np.zeros((height, width, 3), np.float32)
    weight = np.zeros((height, width), np.float32)
    for y, x in _PLACES:
        part = weights[y::2, x::2]
        where = slice(part.shape[0]), slice(part.shape[1])
        total[where] += colors[y::2, x::2] * part[..., None]
        weight[where] += part
    total /= np.maximum(weight, np.finfo(np.float32).tiny)[..., None]
    return total, np.minimum(weight, 1)


def _doubled(colors: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 `[H, W, 3]` of this shape, from colours of half as many pixels a side."""
    height, width = shape[0], shape[1]
    small = Image.fromarray(np.rint(colors).astype(np.uint8))
    large = small.resize(
        (width, height), Image.Resampling.BILINEAR, box=(0, 0, width / 2, height / 2)
    )
    return np.asarray(large, np.uint8)
