"""Colours of a PNG file that tells its gamma and primaries instead of a profile.

PNG (ISO/IEC 15948), 11.3.3: gAMA and cHRM. Linear renders and old scans are such files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

SRGB_GAMMA = 1 / 2.2
# White and the primaries red, green, blue: x and y of each (ITU-R BT.709, D65).
SRGB_PLACES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
# What differs less is sRGB as programs write it, and stays as it is to the bit.
GAMMA_TOLERANCE = 0.05
PLACE_TOLERANCE = 0.005
GAMMAS = (0.05, 5.0)
# Responses of the eye's cones, in which white is adapted (Bradford; Lam 1985).
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_BAND = 256  # rows computed at once


def to_srgb(rgb: np.ndarray, info: Mapping[Any, Any]) -> np.ndarray:
    """uint8 `[H, W, 3]` in sRGB, from a PNG's pixels and what Pillow tells of its chunks.

    Unchanged where the file names no gamma, says that it is sRGB, or what it names is no gamma.
    """
    gamma = info.get("gamma", 0.0)
    if not GAMMAS[0] <= gamma <= GAMMAS[1] or "srgb" in info:
        return rgb
    linear = ((np.arange(256) / 255) ** (1 / gamma)).astype(np.float32)
    matrix = matrix_to_srgb(info.get("chromaticity"))
    if matrix is None:
        is_srgb = abs(gamma / SRGB_GAMMA - 1) < GAMMA_TOLERANCE
        return rgb if is_srgb else encoded(linear)[rgb]
    converted = np.empty_like(rgb)
    for top in range(0, len(rgb), _BAND):
        converted[top : top + _BAND] = encoded(linear[rgb[top : top + _BAND]] @ matrix)
    return converted


def encoded(linear: np.ndarray) -> np.ndarray:
    """uint8 from linear light, by the curve of IEC 61966-2-1."""
    clipped = np.clip(linear, 0, 1)
    curve = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    encoded: np.ndarray = np.rint(255 * curve).astype(np.uint8)
    return encoded


def matrix_to_srgb(places: Any) -> np.ndarray | None:
    """From linear light of these primaries to sRGB's, `[3, 3]`, for pixels from the left.

    None where they are sRGB's, or none at all.
    """
    if not isinstance(places, tuple) or len(places) != len(SRGB_PLACES):
        return None
    if np.abs(np.subtract(places, SRGB_PLACES)).max() < PLACE_TOLERANCE:
        return None
    try:
        own, own_white = _to_xyz(places)
        srgb, white = _to_xyz(SRGB_PLACES)
        scale = np.diag((_CONES @ white) / (_CONES @ own_white))
        adapted = np.linalg.inv(_CONES) @ scale @ _CONES
        matrix = np.linalg.inv(srgb) @ adapted @ own
    except (ZeroDivisionError, np.linalg.LinAlgError):
        return None
    return matrix.T.astype(np.float32) if np.isfinite(matrix).all() else None


def _to_xyz(places: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The matrix from linear light to CIE XYZ, and white in XYZ."""
    white, *primaries = (
        np.array([x / y, 1.0, (1 - x - y) / y])
        for x, y in zip(places[::2], places[1::2], strict=True)
    )
    columns = np.stack(primaries, axis=1)
    return columns * np.linalg.solve(columns, white), white
