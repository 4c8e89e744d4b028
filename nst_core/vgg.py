"""The VGG19 feature extractor, cut off behind the deepest layer in use.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition
(arXiv 1409.1556); preprocessing as `keras.applications.vgg19.preprocess_input` does it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.config import CONV_LAYERS
from nst_core.weights import VggWeights

# Means of the ImageNet training set in Keras's order: blue, green, red.
MEAN_BGR = np.array([103.939, 116.779, 123.68], dtype=np.float32)


def layers_to(deepest: Iterable[str]) -> tuple[str, ...]:
    """The convolutions from the first to the deepest of the given ones, in order."""
    return CONV_LAYERS[: 1 + max(CONV_LAYERS.index(name) for name in deepest)]


def preprocess(rgb: Any) -> Any:
    """RGB float32 `[B, H, W, 3]` in 0…255 → BGR with the ImageNet mean subtracted."""
    return tf.reverse(rgb, axis=[3]) - MEAN_BGR


class Vgg19:
    """VGG19's convolutions as one differentiable function of the image.

    Args:
        weights: kernels `[3, 3, in, out]` and biases `[out]` by layer name.
        pooling: `average` or `max`, 2×2 with stride 2.
        padding: of each convolution by one pixel: `reflect` or `zero`.
        dtype: of the arithmetic and of the features, `tf.float32` or `tf.bfloat16`.
    """

    def __init__(self, weights: VggWeights, pooling: str, padding: str, dtype: Any) -> None:
        self.dtype = dtype
        self._reflect = padding == "reflect"
        self._pool = tf.nn.avg_pool2d if pooling == "average" else tf.nn.max_pool2d
        self._parameters = {
            name: (tf.constant(kernel, dtype), tf.constant(bias, dtype))
            for name, (kernel, bias) in weights.layers.items()
        }

    def features(self, rgb: Any, layers: Iterable[str]) -> dict[str, Any]:
        """Activations behind the ReLU of each named layer, `[B, h, w, C]` in the network's dtype.

        Args:
            rgb: float32 `[B, H, W, 3]`, values 0…255.
            layers: names such as `block4_conv2`; nothing behind the deepest is computed.
        """
        wanted = set(layers)
        found: dict[str, Any] = {}
        x = tf.cast(preprocess(rgb), self.dtype)
        block = "block1"
        for name in layers_to(wanted):
            if not name.startswith(block):
                x = self._pool(x, ksize=2, strides=2, padding="VALID")
                block = name.partition("_")[0]
            x = self.convolve(x, *self._parameters[name])
            if name in wanted:
                found[name] = x
        return found

    def convolve(self, x: Any, kernel: Any, bias: Any) -> Any:
        """One 3×3 convolution that keeps height and width, its bias, its ReLU."""
        if self._reflect:
            x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
        x = tf.nn.conv2d(x, kernel, strides=1, padding="VALID" if self._reflect else "SAME")
        return tf.nn.relu(tf.nn.bias_add(x, bias))
