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
from tensorflow.compiler.tf2xla.python import xla

from nst_core.layers import layers_to
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
        self._relu = tf.nn.relu
        self._parameters = {
            name: tuple(tf.constant(array, dtype) for array in (kernel, turned(kernel), bias))
            for name, (kernel, bias) in weights.layers.items()
        }

    def for_xla(self) -> Vgg19:
        """The same network for the inside of what XLA compiles; elsewhere it does not run."""
        found = copy.copy(self)
        found._relu = relu_in_one_piece
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
        block = "block1"
        for name in layers_to(wanted):
            if not name.startswith(block):
                x = self._pool(x)
                block = name.partition("_")[0]
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
            padded = tf.pad(x, FRAME, mode="REFLECT") if self._reflect else x
            inside = "VALID" if self._reflect else "SAME"
            y = tf.nn.conv2d(padded, kernel, strides=1, padding=inside)
            y = self._relu(tf.nn.bias_add(y, bias))

            def gradient(upstream: Any) -> Any:
                masked = tf.raw_ops.ReluGrad(gradients=upstream, features=y)
                if not self._reflect:
                    return tf.nn.conv2d(masked, backward, strides=1, padding="SAME")
                wide = [[0, 0], [2, 2], [2, 2], [0, 0]]
                framed = tf.nn.conv2d(masked, backward, strides=1, padding=wide)
                return tf.raw_ops.MirrorPadGrad(input=framed, paddings=FRAME, mode="REFLECT")

            return y, gradient

        return convolution(x)


FRAME = [[0, 0], [1, 1], [1, 1], [0, 0]]


def turned(kernel: np.ndarray) -> np.ndarray:
    """The kernel `[3, 3, out, in]` whose convolution is the gradient of the given one's."""
    return np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))


def relu_in_one_piece(x: Any) -> Any:
    """ReLU that XLA leaves as it is.

    Otherwise it pads first and cuts off what is negative then, and asks in the gradient where x is
    above 0: with several uses, x is written beside what is left of it, and cuDNN cannot cut off
    what it has just convolved.
    """
    (y,) = xla.optimization_barrier(tf.nn.relu(x))
    return y


def average_pool(x: Any) -> Any:
    """Means over 2×2 blocks; an odd last row or column is left out."""
    return tf.nn.avg_pool2d(x, ksize=2, strides=2, padding="VALID")


@tf.custom_gradient  # type: ignore[untyped-decorator]
def max_pool(x: Any) -> tuple[Any, Any]:
    """Maxima over 2×2 blocks; an odd last row or column is left out.

    The gradient goes to every position that holds the maximum. That differs from TensorFlow's
    (the first position only) for ties alone, and takes a tenth of its time on CPUs.
    """
    pooled = tf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID")

    def gradient(upstream: Any) -> Any:
        spread = tf.where(even(x) == doubled(pooled), doubled(upstream), tf.zeros([], x.dtype))
        return with_odd_edge(spread, x)

    return pooled, gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def l2_pool(x: Any) -> tuple[Any, Any]:
    """Roots of the mean squares over 2×2 blocks; an odd last row or column is left out.

    The gradient of a block without any signal, where the root has none, is taken to be nothing.
    """
    pooled = tf.sqrt(average_pool(tf.square(x)))

    def gradient(upstream: Any) -> Any:
        spread = even(x) * doubled(tf.math.divide_no_nan(upstream, 4 * pooled))
        return with_odd_edge(spread, x)

    return pooled, gradient


POOLS = {"average": average_pool, "max": max_pool, "l2": l2_pool}


def even(x: Any) -> Any:
    """`[B, H, W, C]` without an odd last row or column."""
    shape = tf.shape(x)
    return x[:, : shape[1] // 2 * 2, : shape[2] // 2 * 2]


def with_odd_edge(gradient: Any, x: Any) -> Any:
    """The gradient for `even(x)` as that for `x`: nothing in an odd last row or column."""
    shape = tf.shape(x)
    return tf.pad(gradient, [[0, 0], [0, shape[1] % 2], [0, shape[2] % 2], [0, 0]])


def doubled(x: Any) -> Any:
    """Each position of `[B, h, w, C]` as a 2×2 block: `[B, 2h, 2w, C]`."""
    shape = tf.shape(x)
    batch, height, width, channels = shape[0], shape[1], shape[2], shape[3]
    blocks = tf.broadcast_to(x[:, :, None, :, None], [batch, height, 2, width, 2, channels])
    return tf.reshape(blocks, [batch, 2 * height, 2 * width, channels])
