"""The network's parts beside the convolutions, as XLA makes fast kernels of them on GPUs.

What XLA makes of TensorFlow's own was looked at in its code for an H100: the reflected edges were
read and written value by value, in two kernels where one will do; their gradient, and that of
average pooling with it, asked at every value whether it lies at an edge, up to 180 times for four
values. Here values are gathered, four at once and without a question; most of what is read for
the edges is in a cache already.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from nst_core.network import pooling

# Tensor cores take channels by eights in 16 bits; XLA fills up to that in float16 alone.
CHANNELS = 8


def widened(kernel: Any, backward: Any) -> tuple[Any, Any]:
    """A kernel `[3, 3, C, out]` and its gradient's, with `CHANNELS` for C; the new are empty."""
    more = [0, CHANNELS - kernel.shape[2]]
    same = [0, 0]
    return tf.pad(kernel, [same, same, more, same]), tf.pad(backward, [same, same, same, more])


def relu(x: Any) -> Any:
    """ReLU that XLA leaves in one piece; runs inside of what XLA compiles, and nowhere else.

    Otherwise it takes the edges first and cuts off what is negative then, and asks in the gradient
    where x is above 0: with several uses, x is written beside what is left of it, and cuDNN cannot
    cut off what it has just convolved.
    """
    (y,) = xla.optimization_barrier(tf.nn.relu(x))
    return y


def framed(x: Any) -> Any:
    """`vgg.framed`: feature maps `[B, H, W, C]` with one reflected pixel more on each side."""
    for axis in (1, 2):
        last = tf.shape(x)[axis] - 1
        places = last - tf.abs(last - tf.abs(tf.range(-1, last + 2)))
        x = tf.gather(x, places, axis=axis)
    return x


def folded(x: Any) -> Any:
    """`vgg.folded`: the gradient of `framed`."""
    for axis in (1, 2):
        count = tf.shape(x)[axis] - 2
        places = tf.range(count)
        first, last = places == 1, places == count - 2
        # Where nothing is reflected, what has just been read, times nothing.
        frame = tf.where(first, 0, tf.where(last, count + 1, places + 1))
        found = tf.gather(x, places + 1, axis=axis)
        found += _along(axis, first | last, x.dtype) * tf.gather(x, frame, axis=axis)
        # In the middle of three both sides are reflected; XLA knows the count, and leaves this out.
        end = tf.gather(x, [count + 1], axis=axis)
        x = tf.where(count == 3, found + _along(axis, first & last, x.dtype) * end, found)
    return x


def _along(axis: int, values: Any, dtype: Any) -> Any:
    """Values along an axis of feature maps, to be broadcast against these."""
    return tf.reshape(tf.cast(values, dtype), [-1, 1] if axis == 2 else [-1, 1, 1])


@tf.custom_gradient  # type: ignore[untyped-decorator]
def average_pool(x: Any) -> tuple[Any, Any]:
    """`pooling.average_pool`, with a gradient that only repeats values."""

    def gradient(upstream: Any) -> Any:
        spread = pooling.doubled(upstream * tf.cast(0.25, upstream.dtype))
        return pooling.with_odd_edge(spread, x)

    return pooling.average_pool(x), gradient
