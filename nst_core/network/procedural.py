"""VGG19 weights that are made, not trained: an architecture's texture sense without a download.

That VGG features with random weights carry style is known: He et al. 2016 (arXiv 1606.04801),
Ustyuzhaninov et al. 2016 (arXiv 1606.00021). Here every kernel is a random mix of Laws' texture
masks, low frequencies first, and every channel is standardised on noise with the spectrum and
the colours of natural images.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.host import cache_directory
from nst_core.layers import block_of
from nst_core.network.pooling import average_pool
from nst_core.network.vgg import framed, preprocess
from nst_core.network.weights import VggWeights, layer_shapes

VERSION = 1
SEED = 1409
# Laws' level, edge and spot masks; the amplitudes let low frequencies dominate.
MASKS = np.array([[1.0, 2.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 2.0, -1.0]])
AMPLITUDES = np.array([1.0, 0.6, 0.35])
CALIBRATION_IMAGES = 6
CALIBRATION_SIZE = 224
CALIBRATION_DEVIATION = 60.0
# Brightness, blue-yellow and green-red axes of natural images with their relative deviations.
COLOR_AXES = np.array([[0.577, 0.577, 0.577], [0.707, 0.0, -0.707], [0.408, -0.816, 0.408]])
COLOR_DEVIATIONS = np.array([1.0, 0.25, 0.12])


def procedural_weights() -> VggWeights:
    """The made weights: from the cache on disk, else made (a few seconds) and kept there."""
    path = cache_directory() / f"vgg19-procedural-{VERSION}.npz"
    layers = _read_cache(path)
    if layers is None:
        layers = make_layers()
        _write_cache(path, layers)
    digest = hashlib.sha256()
    for kernel, bias in layers.values():
        digest.update(kernel.tobytes())
        digest.update(bias.tobytes())
    return VggWeights("procedural", digest.hexdigest(), layers)


def make_layers(seed: int = SEED) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases such that each channel's pre-activation has mean 0 and variance 1.

    The statistics are taken layer by layer on `calibration_images`, with average pooling and
    reflect padding.
    """
    generator = np.random.default_rng(seed)
    x = preprocess(tf.constant(calibration_images(generator)))
    layers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    block = 1
    for name, shape in layer_shapes().items():
        if block_of(name) > block:
            x = average_pool(x)
            block += 1
        kernel = laws_kernel(generator, shape)
        response = tf.nn.conv2d(framed(x), kernel, strides=1, padding="VALID")
        mean, variance = tf.nn.moments(response, axes=[0, 1, 2])
        deviation = np.sqrt(variance.numpy()) + 1e-6
        bias = -mean.numpy() / deviation
        x = tf.nn.relu(response / deviation + bias)
        layers[name] = (kernel / deviation, bias)
    return layers


def laws_kernel(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A float32 kernel `[3, 3, in, out]`: random mixes of the nine products of Laws' masks."""
    masks = MASKS / np.linalg.norm(MASKS, axis=1, keepdims=True)
    basis = np.einsum("a,b,ai,bj->abij", AMPLITUDES, AMPLITUDES, masks, masks).reshape(9, 3, 3)
    mix = generator.normal(size=(9, *shape[2:])) / np.sqrt(9 * shape[2])
    kernel: np.ndarray = np.einsum("kij,kco->ijco", basis, mix).astype(np.float32)
    return kernel


def calibration_images(generator: np.random.Generator) -> np.ndarray:
    """RGB float32 `[N, H, W, 3]`: 1/f noise along the colour axes of natural images."""
    size = CALIBRATION_SIZE
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    white = generator.normal(size=(CALIBRATION_IMAGES, 3, size, size))
    pink = np.fft.ifft2(np.fft.fft2(white) / frequency).real
    pink /= pink.std(axis=(2, 3), keepdims=True)
    colored = np.einsum("nahw,a,ac->nhwc", pink, COLOR_DEVIATIONS, COLOR_AXES)
    colored *= CALIBRATION_DEVIATION / colored.std()
    # Centred on the mean that the preprocessing subtracts.
    mean_rgb = -preprocess(tf.zeros([1, 1, 1, 3])).numpy()[0, 0, 0, ::-1]
    images: np.ndarray = (colored + mean_rgb).astype(np.float32)
    return images


def _read_cache(path: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
    try:
        # NumPy leaves a path that it cannot read open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {
                name: (arrays[f"{name}/kernel"], arrays[f"{name}/bias"]) for name in layer_shapes()
            }
    except Exception:  # Absent or damaged, in whatever way: it is made anew.
        return None


def _write_cache(path: pathlib.Path, layers: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    arrays: dict[str, Any] = {}
    for name, (kernel, bias) in layers.items():
        arrays[f"{name}/kernel"] = kernel
        arrays[f"{name}/bias"] = bias
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            complete = pathlib.Path(folder, path.name)
            np.savez(complete, **arrays)
            os.replace(complete, path)
    except OSError:
        return  # A cache that cannot be written costs the next start a few seconds, no more.
