"""The VGG19 feature extractor, cut off behind the deepest layer in use.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition
(arXiv 1409.1556); preprocessing as `keras.applications.vgg19.preprocess_input` does it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.layers import block_of, layers_to
from nst_core.network import xla_kernels
from nst_core.network.pooling import POOLS, average_pool
from nst_core.network.weights import VggWeights

# Means of the ImageNet training set in Keras's order: blue, green, red.
MEAN_BGR = np.array([103.939, 116.779, 123.68], dtype=np.float32)


def preprocess(rgb: Any) -> Any:
    """RGB float32 `[B, H, W, 3]` in 0…255 → BGR with the ImageNet mean subtracted."""
    return tf.reverse(rgb, axis=[3]) - MEAN_BGR


class Vgg19:
    """VGG19's convolutions as one differentiable function of the image.

    Args:
        weights: kernels `[3, 3, in, out]` and biases `[out]` by layer name.
        pooling: `average`, `max` or `l2`, 2×2 with stride 2.
        padding: of each convolution by one pixel: `reflect` or `zero`.
        dtype: of the arithmetic and of the features, `tf.float32` or `tf.bfloat16`.
    """

    def __init__(self, weights: VggWeights, pooling: str, padding: str, dtype: Any) -> None:
        self.dtype = dtype
        self._reflect = padding == "reflect"
        self._pool = POOLS[pooling]
        self._relu, self._framed, self._folded = tf.nn.relu, framed, folded
        self._parameters = {
            name: tuple(tf.constant(array, dtype) for array in (kernel, turned(kernel), bias))
            for name, (kernel, bias) in weights.layers.items()
        }

    def for_xla(self) -> Vgg19:
        """The same network for the inside of what XLA compiles; elsewhere it does not run."""
        found = copy.copy(self)
        found._relu = xla_kernels.relu
        found._framed, found._folded = xla_kernels.framed, xla_kernels.folded
        if self._pool is average_pool:
            found._pool = xla_kernels.average_pool
        kernel, backward, bias = self._parameters["block1_conv1"]
        wide = (*xla_kernels.widened(kernel, backward), bias)
        found._parameters = {**self._parameters, "block1_conv1": wide}
        return found

    def features(self, rgb: Any, layers: Iterable[str]) -> dict[str, Any]:
        """Activations behind the ReLU of each named layer, `[B, h, w, C]` in the network's dtype.

        Args:
            rgb: float32 `[B, H, W, 3]`, values 0…255.
            layers: names such as `block4_conv2`; nothing behind the deepest is computed.
        """
        wanted = set(layers)
        found: dict[str, Any] = {}
        x = tf.cast(preprocess(rgb), self.dtype)
        if empty := self._parameters["block1_conv1"][0].shape[2] - x.shape[3]:
            x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, empty]])
        block = 1
        for name in layers_to(wanted):
            if block_of(name) > block:
                x = self._pool(x)
                block += 1
            x = self._convolve(x, *self._parameters[name])
            if name in wanted:
                found[name] = x
        return found

    def _convolve(self, x: Any, kernel: Any, backward: Any, bias: Any) -> Any:
        """One 3×3 convolution that keeps height and width, its bias, its ReLU.

        Its gradient is a convolution too: on CPUs that beats TensorFlow's gradient kernel for
        the small deep layers.
        """

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolution(x: Any) -> tuple[Any, Any]:
            padded = self._framed(x) if self._reflect else x
            inside = "VALID" if self._reflect else "SAME"
            y = tf.nn.conv2d(padded, kernel, strides=1, padding=inside)
            y = self._relu(tf.nn.bias_add(y, bias))

            def gradient(upstream: Any) -> Any:
                masked = tf.raw_ops.ReluGrad(gradients=upstream, features=y)
                if not self._reflect:
                    return tf.nn.conv2d(masked, backward, strides=1, padding="SAME")
                wide = [[0, 0], [2, 2], [2, 2], [0, 0]]
                return self._folded(tf.nn.conv2d(masked, backward, strides=1, padding=wide))

            return y, gradient

        return convolution(x)


FRAME = [[0, 0], [1, 1], [1, 1], [0, 0]]


def framed(x: Any) -> Any:
    """Feature maps `[B, H, W, C]` with one reflected pixel more on each side."""
    return tf.pad(x, FRAME, mode="REFLECT")


def folded(x: Any) -> Any:
    """The gradient of `framed`: what the frame has goes to the pixels that it reflects."""
    return tf.raw_ops.MirrorPadGrad(input=x, paddings=FRAME, mode="REFLECT")


def turned(kernel: np.ndarray) -> np.ndarray:
    """The kernel `[3, 3, out, in]` whose convolution is the gradient of the given one's."""
    return np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
