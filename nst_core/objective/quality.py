"""Numbers for a finished image: how near it is to its style, how much of the content is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nst_core.imaging.colors import luminance_of

# Constants of Wang et al. 2004, for values in 0…255.
WINDOW = 11
DEVIATION = 1.5
STABILITY = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)
# Gram matrices of flat images have next to no energy; this floor keeps their errors finite.
LEAST_NORM = 1e-12

Grams = dict[str, np.ndarray]


def mean_grams(styles: Sequence[Grams], weights: Sequence[float]) -> Grams:
    """The weighted mean of several styles' Gram matrices `[C, C]`."""
    return {
        name: np.average([one[name] for one in styles], axis=0, weights=weights)
        for name in styles[0]
    }


def gram_errors(found: Mapping[str, np.ndarray], style: Grams) -> dict[str, float]:
    """|G(x) − G(style)| / |G(style)| by layer of Gram matrices `[C, C]`, Frobenius norms."""
    return {
        name: float(
            np.linalg.norm(found[name] - target) / max(float(np.linalg.norm(target)), LEAST_NORM)
        )
        for name, target in style.items()
    }


def structural_similarity(one: np.ndarray, other: np.ndarray) -> float:
    """SSIM of the luminances of two RGB images `[H, W, 3]` in 0…255, sides of at least 11 px.

    Wang, Bovik, Sheikh, Simoncelli 2004: Image quality assessment: from error visibility to
    structural similarity; the mean over all whole 11×11 Gaussian windows.
    """
    x, y = (luminance_of(image).astype(np.float64) for image in (one, other))
    mean_x, mean_y = _windowed(x), _windowed(y)
    variances = _windowed(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    means, spreads = STABILITY
    luminance = (2 * mean_x * mean_y + means) / (mean_x**2 + mean_y**2 + means)
    structure = (2 * covariance + spreads) / (variances + spreads)
    return float(np.mean(luminance * structure))


def _windowed(x: np.ndarray) -> np.ndarray:
    """Gaussian means over every whole window of `[H, W]`: one axis, then the other."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * DEVIATION**2))
    weights /= weights.sum()
    for _ in range(2):
        rows = x.shape[0] - WINDOW + 1
        means = np.zeros((rows, x.shape[1]))
        for index, weight in enumerate(weights):
            means += weight * x[index : index + rows]
        x = means.T
    return x
