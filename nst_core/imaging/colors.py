"""Colours of whole images: their statistics, one image in another's colours, luminance alone."""

from __future__ import annotations

import numpy as np

# Luma of ITU-R BT.601, as in JPEG.
LUMA = np.array([0.299, 0.587, 0.114])
# Statistics are taken from about this many pixels at the most.
SAMPLES = 512 * 512
# Variance that every colour axis is taken to have at least: grey images have axes without any.
LEAST_VARIANCE = 1.0

Palette = tuple[np.ndarray, np.ndarray]


def color_statistics(rgb: np.ndarray, alpha: np.ndarray | None = None) -> Palette:
    """Mean `[3]` and covariance `[3, 3]` of an image `[H, W, 3]` in 0…255, to five digits.

    With `alpha`, uint8 `[H, W]`, each pixel counts as much as it is opaque. Of more than `SAMPLES`
    pixels every n-th row and column is looked at.
    """
    # Channel by channel and in float32: milliseconds count, once for every content.
    channels = np.ascontiguousarray(_sampled(rgb).reshape(-1, 3).T, np.float32)
    if alpha is None:
        mean = channels.mean(axis=1)
        channels -= mean[:, None]
        return mean, _products(channels, channels) / channels.shape[1]
    shares = _sampled(alpha).reshape(-1).astype(np.float32)
    shares /= max(shares.sum(), 1.0)
    mean = channels @ shares
    channels -= mean[:, None]
    return mean, _products(shares * channels, channels)


def _products(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Inner products of rows: for a few long ones five times as fast as that of the matrices."""
    return np.array([[one @ other for other in others] for one in some])


def color_change(own: Palette, wanted: Palette) -> tuple[np.ndarray, np.ndarray]:
    """The linear map that gives an image another mean and covariance of its colours.

    Colours `[…, 3]` become `colours @ linear + offset`, `[3, 3]` and `[3]`, float32. Of all such
    maps it moves them least (Pitié, Kokaram 2007: The linear Monge-Kantorovitch linear colour
    mapping for example-based colour transfer).
    """
    (own_mean, own_covariance), (mean, covariance) = own, wanted
    if not np.isfinite([own_covariance, covariance]).all():
        # Pixels that are no numbers: the loss will tell.
        return np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    root = _square_root(own_covariance + LEAST_VARIANCE * np.eye(3))
    inverse = np.linalg.inv(root)
    linear = inverse @ _square_root(root @ covariance @ root) @ inverse
    return linear.astype(np.float32), (mean - own_mean @ linear).astype(np.float32)


def with_colors(rgb: np.ndarray, wanted: Palette, alpha: np.ndarray | None = None) -> np.ndarray:
    """The image with another mean and covariance of its colours: float32 `[H, W, 3]` in 0…255.

    By `color_change`; with `alpha` its own colours are those of `color_statistics`.
    """
    linear, offset = color_change(color_statistics(rgb, alpha), wanted)
    moved = rgb.astype(np.float32) @ linear
    moved += offset
    clipped: np.ndarray = np.clip(moved, 0, 255)
    return clipped


def with_histograms(
    rgb: np.ndarray, reference: np.ndarray, alpha: np.ndarray | None = None
) -> np.ndarray:
    """The image with each channel's histogram that of `reference`: float32 `[H, W, 3]`.

    With `alpha`, uint8 `[H, W]`, its own histogram is that of its pixels that are not transparent.
    """
    seen = None if alpha is None else _sampled(alpha) > 0
    matched = np.empty(rgb.shape, np.float32)
    for channel in range(3):
        own, own_ranks = _ranks(rgb[:, :, channel], seen)
        wanted, wanted_ranks = _ranks(reference[:, :, channel])
        moved = np.interp(own_ranks, wanted_ranks, wanted)
        matched[:, :, channel] = np.interp(rgb[:, :, channel], own, moved)
    return matched


def colored_noise(
    height: int, width: int, seed: int, mean: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Independent pixels of this mean and covariance, clipped: float32 `[H, W, 3]` in 0…255."""
    plain = np.random.default_rng(seed).normal(size=(height, width, 3))
    noise: np.ndarray = np.clip(plain @ _square_root(covariance) + mean, 0, 255)
    return noise.astype(np.float32)


def luminance_of(rgb: np.ndarray) -> np.ndarray:
    """Luma `[H, W]`, float32, of an image `[H, W, 3]` in 0…255."""
    luma: np.ndarray = (rgb.astype(np.float32) @ LUMA.astype(np.float32)).astype(np.float32)
    return luma


def in_grey(rgb: np.ndarray) -> np.ndarray:
    """The luma of an image `[H, W, 3]` in all three channels, float32."""
    return np.repeat(luminance_of(rgb)[:, :, None], 3, axis=2)


def keep_colors(stylized: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The stylized image's luminance with the content's chroma, float32 `[H, W, 3]` in 0…255.

    Gatys et al. 2016: Preserving color in neural artistic style transfer (arXiv 1606.05897).
    """
    change = luminance_of(stylized) - luminance_of(content)
    # In YCbCr equal chroma means equal differences of R, G and B from the luma.
    kept: np.ndarray = np.clip(content.astype(np.float32) + change[:, :, None], 0, 255)
    return kept


def _ranks(channel: np.ndarray, seen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The values of one channel, rising, and the share of pixels below each and half of it.

    `seen`: which of the sampled pixels count; all, where none does.
    """
    sampled = _sampled(channel)
    if seen is not None and seen.any():
        sampled = sampled[seen]
    values, counts = np.unique(sampled, return_counts=True)
    return values, (np.cumsum(counts) - counts / 2) / counts.sum()


def _sampled(picture: np.ndarray) -> np.ndarray:
    """Every n-th row and column, so that about `SAMPLES` pixels are left."""
    stride = max(1, int(np.sqrt(picture.shape[0] * picture.shape[1] / SAMPLES)))
    return picture[::stride, ::stride]


def _square_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root
