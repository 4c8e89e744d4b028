"""Fixtures for the core's tests: networks and pictures, each made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nst_core.network.loading import load_weights
from nst_core.network.weights import VggWeights, layer_shapes

Draw = Callable[..., np.ndarray]
Features = Callable[[Any, Sequence[str]], dict[str, Any]]


@pytest.fixture(scope="session")
def procedural() -> VggWeights:
    """The procedural weights."""
    return load_weights("procedural")


@pytest.fixture(scope="session")
def keras_vgg19() -> Any:
    """Keras's own VGG19 without top, with random kernels that keep the signal's size."""
    import keras

    model = keras.applications.VGG19(weights=None, include_top=False)
    generator = np.random.default_rng(19)
    for name, shape in layer_shapes().items():
        kernel = generator.standard_normal(shape, np.float32) * np.sqrt(2 / (9 * shape[2]))
        bias = 0.1 * generator.standard_normal(shape[-1], np.float32)
        model.get_layer(name).set_weights([kernel, bias])
    return model


@pytest.fixture(scope="session")
def plain_vgg19() -> Callable[[VggWeights, str, str], Features]:
    """`plain_vgg19(weights, pooling, padding)`: the features in float64, by TensorFlow's book."""
    import tensorflow as tf

    def network(weights: VggWeights, pooling: str, padding: str) -> Features:
        pool = tf.nn.max_pool2d if pooling == "max" else tf.nn.avg_pool2d
        mode = "REFLECT" if padding == "reflect" else "CONSTANT"

        def features(rgb: Any, layers: Sequence[str]) -> dict[str, Any]:
            x = tf.cast(rgb, tf.float64)[..., ::-1] - [103.939, 116.779, 123.68]
            found: dict[str, Any] = {}
            block = "block1"
            for name, (kernel, bias) in weights.layers.items():
                if name[:6] != block:
                    x, block = pool(x, 2, 2, "VALID"), name[:6]
                x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode)
                kernel, bias = kernel.astype(np.float64), bias.astype(np.float64)
                found[name] = x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias)
                if set(layers) <= set(found):
                    break
            return found

        return features

    return network


@pytest.fixture(scope="session")
def draw() -> Draw:
    """`draw(width, height, seed)`: a picture of coloured waves, uint8 `[H, W, 3]`."""

    def picture(width: int, height: int, seed: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width] / 64
        waves = np.zeros((height, width, 3))
        for _ in range(6):
            across, down, phase = generator.uniform(-20, 20, 3)
            waves += (
                generator.uniform(-40, 40, 3) * np.sin(across * x + down * y + phase)[..., None]
            )
        return np.clip(128 + waves, 0, 255).astype(np.uint8)

    return picture
