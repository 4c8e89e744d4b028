"""What XLA gets of the network's parts computes what TensorFlow's own do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.network import pooling, vgg, xla_kernels

SIZES = [(2, 2), (3, 3), (3, 4), (4, 3), (5, 2), (7, 6), (16, 9)]


def maps(height: int, width: int) -> Any:
    """Whole numbers, of which sums are exact in either order."""
    generator = np.random.default_rng(height + width)
    return tf.constant(generator.integers(-8, 9, (2, height, width, 3)), tf.float32)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_reflected_edges_and_their_gradient_are_tensorflows(
    height: int, width: int, dtype: str
) -> None:
    x, wide = (tf.cast(maps(height + more, width + more), dtype) for more in (0, 2))
    for own, theirs, argument in (
        (xla_kernels.framed, vgg.framed, x),
        (xla_kernels.folded, vgg.folded, wide),
    ):
        found, expected = own(argument), theirs(argument)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_gradient_of_average_pooling_is_tensorflows(height: int, width: int) -> None:
    x = maps(height, width)
    upstream = maps(height // 2, width // 2)
    gradients = []
    for pool in (xla_kernels.average_pool, pooling.average_pool):
        with tf.GradientTape() as tape:
            tape.watch(x)
            pooled = pool(x)
        gradients.append(tape.gradient(pooled, x, upstream))
    np.testing.assert_array_equal(*gradients)


def test_relu_is_relu_inside_of_what_xla_compiles() -> None:
    x = maps(4, 4)
    compiled = tf.function(xla_kernels.relu, jit_compile=True)
    np.testing.assert_array_equal(compiled(x), tf.nn.relu(x))
