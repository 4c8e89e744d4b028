"""Colours of AVIF and HEIC files without a profile, by their code points of ITU-T H.273 (`nclx`).

Wide gamuts as phones take them, and high dynamic range (PQ and HLG, ITU-R BT.2100), whose light is
brought down to what sRGB shows.
"""

from __future__ import annotations

import functools

import numpy as np

from nst_core.image_files.png_gamma import encoded, matrix_to_srgb

# Of primaries: x and y of white, red, green and blue.
_D65 = (0.3127, 0.329)
_PLACES = {
    4: (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 System M
    5: (*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),  # BT.601, 625 lines
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # BT.601, 525 lines
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # SMPTE 240M
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # DCI-P3
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
    22: (*_D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}
# Transfers that are no sRGB's. Those of television (BT.709 and its like) are shown as sRGB, as
# browsers do.
_GAMMA_22, _GAMMA_28, _LINEAR, _PQ, _HLG = 4, 5, 8, 16, 18
_TRANSFERS = (_GAMMA_22, _GAMMA_28, _LINEAR, _PQ, _HLG)
# Light of what is white on paper, and the brightest that is shown, in cd/m² (ITU-R BT.2408).
_WHITE, _PEAK = 203.0, 1000.0
# The luminance of linear BT.2020.
_LUMINANCE = np.array([0.2627, 0.678, 0.0593], np.float32)
_BAND = 256  # rows computed at once


def is_srgb(colors: tuple[int, int] | None) -> bool:
    """Whether pixels of these primaries and this transfer stay as they are."""
    return colors is None or (colors[0] not in _PLACES and colors[1] not in _TRANSFERS)


def to_srgb(rgb: np.ndarray, colors: tuple[int, int] | None, levels: int = 256) -> np.ndarray:
    """uint8 `[H, W, 3]` in sRGB from so many levels `[H, W, 3]`; unchanged where it is sRGB.

    `colors`: primaries and transfer; None is sRGB.
    """
    if colors is None or is_srgb(colors):
        if levels == 256:
            return rgb
        rounded: np.ndarray = np.rint(np.arange(levels) * (255 / (levels - 1))).astype(np.uint8)
        return np.asarray(rounded[rgb])
    primaries, transfer = colors
    linear = _linear(transfer, levels)
    matrix = matrix_to_srgb(_PLACES.get(primaries))
    converted = np.empty(rgb.shape, np.uint8)
    for top in range(0, len(rgb), _BAND):
        light = linear[rgb[top : top + _BAND]]
        if transfer == _HLG:
            # The scene's light to the screen's, by its brightness.
            light *= np.maximum(light @ _LUMINANCE, 1e-6)[..., None] ** 0.2 * (_PEAK / _WHITE)
        if matrix is not None:
            light = light @ matrix
        if transfer in (_PQ, _HLG):
            light = _brought_down(light)
        converted[top : top + _BAND] = encoded(light)
    return converted


@functools.lru_cache(maxsize=8)
def _linear(transfer: int, levels: int) -> np.ndarray:
    """Light of each level, float32: 1 is white; in HLG, the scene's, of which 1 is the most."""
    level = np.arange(levels) / (levels - 1)
    if transfer == _LINEAR:
        light = level
    elif transfer in (_GAMMA_22, _GAMMA_28):
        light = level ** (2.2 if transfer == _GAMMA_22 else 2.8)
    elif transfer == _PQ:
        root = level ** (1 / 78.84375)
        ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        light = ratio ** (1 / 0.1593017578125) * 10000 / _WHITE
    elif transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12)
    else:
        light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _brought_down(light: np.ndarray) -> np.ndarray:
    """Light up to the peak as light up to 1, the hue kept.

    Reinhard et al. 2002: Photographic tone reproduction for digital images, equation 4, of the
    largest channel.
    """
    largest = np.maximum(light.max(axis=-1, keepdims=True), 0)
    factor = (1 + largest * (_WHITE / _PEAK) ** 2) / (1 + largest)
    return np.asarray(light * factor, np.float32)
