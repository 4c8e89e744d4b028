"""The four loss functions keep the mathematics of Gatys et al., image by image."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import tensorflow as tf

from nst_core.objective import losses


def features(seed: int, height: int = 7, width: int = 5, batch: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, (batch, height, width, 4)).astype(np.float32)


def gram_in_double(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return np.array([[[np.sum(p * q) for q in c] for p in c] for c in np.moveaxis(x, 3, 1)])


def mean_and_covariance(x: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    positions = tf.constant([float(x.shape[1] * x.shape[2])])
    return losses.mean_and_covariance(losses.moments(x), positions)


def test_the_gram_matrix_is_the_plain_inner_product_over_positions() -> None:
    x = features(1)
    found = losses.gram_matrix(x)
    assert found.dtype == tf.float32
    assert found.shape == (3, 4, 4)
    np.testing.assert_allclose(found, gram_in_double(x), rtol=1e-5, atol=1e-4)


def test_the_gram_matrix_of_one_hot_features_counts_positions() -> None:
    channel = np.array([[0, 0, 1], [2, 0, 2]])
    found = losses.gram_matrix(np.eye(3, dtype=np.float32)[channel][None])
    np.testing.assert_array_equal(found[0], np.diag([3, 1, 2]))


def test_the_gram_matrix_has_the_gradient_of_its_inner_product() -> None:
    x, upstream = features(1), np.random.default_rng(4).normal(size=(3, 4, 4))
    gradients = []
    for dtype, gram in (
        (tf.float32, losses.gram_matrix),
        (tf.float64, lambda x: tf.einsum("bhwi,bhwj->bij", x, x)),
    ):
        variable = tf.constant(x, dtype)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = tf.reduce_sum(gram(variable) * tf.constant(upstream, dtype))
        gradients.append(tape.gradient(value, variable).numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-4)


def with_gradient(gram: losses.GramMatrix, x: tf.Tensor) -> list[np.ndarray]:
    """Gram matrices, and the gradient of a sum of their squares."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = gram(x)
        total = tf.reduce_sum(found * tf.stop_gradient(found))
    assert found.dtype == tf.float32
    gradient = tape.gradient(total, x)
    assert gradient.dtype == x.dtype
    return [found, tf.cast(gradient, tf.float32)]


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-5), ("bfloat16", 2**-7)])
@pytest.mark.parametrize(
    ("batch", "size"),
    [(1, (9, 11)), (3, (9, 11)), (1, (64, 48)), (2, (96, 64)), (1, (96, 160)), (1, (127, 129))],
)
def test_gram_matrices_of_a_batch_at_once_are_those_of_each_image(
    batch: int, size: tuple[int, int], dtype: str, rounding: float
) -> None:
    x = tf.cast(np.random.default_rng(6).normal(size=(batch, *size, 8)), dtype)
    at_once = tf.function(
        lambda x: with_gradient(losses.gram_matrices, x), jit_compile=True, autograph=False
    )
    (gram, gradient), (one_gram, one_gradient) = at_once(x), with_gradient(losses.gram_matrix, x)
    # The product itself is added up in float32, whatever goes in.
    np.testing.assert_allclose(gram, one_gram, rtol=1e-5, atol=1e-4)
    largest = np.abs(one_gradient).max()
    np.testing.assert_allclose(gradient, one_gradient, rtol=rounding, atol=rounding * largest)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gram_matrices_of_a_batch_are_one_product_each_way_for_xla(dtype: str) -> None:
    x = tf.cast(np.random.default_rng(6).normal(size=(3, 9, 11, 8)), dtype)
    for gram, products, loops in ((losses.gram_matrices, 2, 0), (losses.gram_matrix, 2, 1)):
        compiled = tf.function(
            functools.partial(with_gradient, gram), jit_compile=True, autograph=False
        )
        hlo = compiled.experimental_get_compiler_ir(x)(stage="hlo")
        assert len(re.findall(r" dot\(", hlo)) == products
        assert len(re.findall(r" while\(", hlo)) == loops


@pytest.mark.parametrize(
    ("size", "parts"),
    [((64, 63), 1), ((64, 64), 2), ((96, 160), 4), ((416, 512), 64), ((512, 512), 128)],
)
def test_positions_are_added_up_in_parts_of_some_thousand(
    size: tuple[int, int], parts: int
) -> None:
    graph = tf.function(losses.gram_matrices, jit_compile=True, autograph=False)
    hlo = graph.experimental_get_compiler_ir(tf.TensorSpec([2, *size, 8]))(stage="hlo")
    (shape,) = re.findall(r"f32\[([\d,]+)\]\S* dot\(", hlo)
    assert shape == f"2,{parts},8,8"


def test_the_content_loss_is_the_sum_of_squared_differences() -> None:
    base, combination = features(1), features(2)
    found = losses.content_loss(base, combination)
    difference = combination.astype(np.float64) - base
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, np.sum(difference**2, axis=(1, 2, 3)), rtol=1e-6)


def test_the_content_loss_of_features_one_apart_counts_them() -> None:
    base = features(1)
    np.testing.assert_allclose(losses.content_loss(base, base + 1), [7 * 5 * 4] * 3, rtol=1e-5)
    np.testing.assert_array_equal(losses.content_loss(base, base), [0, 0, 0])


def test_the_style_loss_divides_squared_gram_differences_by_36_size_squared() -> None:
    style, combination = features(1), features(2)
    found = losses.style_loss(style, combination, 35.0)
    difference = gram_in_double(style) - gram_in_double(combination)
    expected = np.sum(difference**2, axis=(1, 2)) / (4 * 3**2 * 35.0**2)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_style_loss_of_one_channel_by_hand() -> None:
    # Gram values 4 positions x 1 and 4 x 9; (36 - 4)² / (36 · 4²) = 16/9.
    ones = np.ones((1, 2, 2, 1), np.float32)
    np.testing.assert_allclose(losses.style_loss(ones, 3 * ones, 4), [16 / 9], rtol=1e-6)


def test_a_style_may_have_another_height_and_width_than_the_combination() -> None:
    style, combination = features(1, 4, 9), features(2, 7, 5)
    difference = gram_in_double(style) - gram_in_double(combination)
    expected = np.sum(difference**2, axis=(1, 2)) / (36 * 80.0**2)
    found = losses.style_loss(style, combination, 80)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_total_variation_takes_forward_differences_where_both_exist() -> None:
    x = features(1).astype(np.float64)
    expected = np.zeros(3)
    for row in range(6):
        for column in range(4):
            down = x[:, row + 1, column] - x[:, row, column]
            right = x[:, row, column + 1] - x[:, row, column]
            expected += np.sum((down**2 + right**2) ** 1.25, axis=1)
    found = losses.total_variation_loss(x.astype(np.float32))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_total_variation_of_a_checkerboard_is_known() -> None:
    board = (np.indices((6, 9)).sum(axis=0) % 2).astype(np.float32)[None, :, :, None]
    np.testing.assert_allclose(losses.total_variation_loss(board), [5 * 8 * 2**1.25], rtol=1e-6)


@pytest.mark.parametrize(("norm", "expected"), [("l1", 8 * 7), ("l2", 8 * 49)])
def test_the_total_variation_of_an_edge_by_its_norm(norm: str, expected: float) -> None:
    # On the 3×5 grid: 3 differences across the middle of one channel, 5 at the bottom of another.
    edges = np.zeros((1, 4, 6, 2), np.float32)
    edges[:, :, 3:, 0] = -7
    edges[:, 3:, :, 1] = 7
    found = losses.total_variation_loss(edges, norm)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


@pytest.mark.parametrize("height", [1.0, 16.0, 200.0])
def test_total_variation_raises_an_edge_to_the_power_of_two_and_a_half(height: float) -> None:
    edge = np.zeros((1, 4, 6, 1), np.float32)
    edge[:, :, 3:] = height
    np.testing.assert_allclose(losses.total_variation_loss(edge), [3 * height**2.5], rtol=1e-6)


def test_a_flat_image_has_no_total_variation_and_a_finite_gradient() -> None:
    flat = tf.fill([1, 5, 5, 3], 77.0)
    with tf.GradientTape() as tape:
        tape.watch(flat)
        value = losses.total_variation_loss(flat)
    np.testing.assert_array_equal(value, [0])
    np.testing.assert_array_equal(tape.gradient(value, flat), np.zeros((1, 5, 5, 3)))


def test_means_and_covariances_are_those_over_positions() -> None:
    x = features(1)
    mean, covariance = mean_and_covariance(x)
    for index, one in enumerate(x.reshape(3, -1, 4).astype(np.float64)):
        np.testing.assert_allclose(mean[index], one.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(covariance[index], np.cov(one.T, bias=True), atol=1e-4)


def test_a_shift_changes_means_and_leaves_covariances() -> None:
    x = features(1)
    mean, covariance = mean_and_covariance(x)
    shifted_mean, shifted_covariance = mean_and_covariance(x + 2)
    np.testing.assert_allclose(shifted_mean, mean + 2, rtol=1e-5)
    np.testing.assert_allclose(shifted_covariance, covariance, atol=1e-4)


@pytest.mark.parametrize("side", [7, 64, 200])
def test_a_batch_gives_what_its_images_give_one_by_one(side: int) -> None:
    one, other = features(1, side, side), features(2, side, side)
    for function in (
        losses.content_loss,
        lambda a, b: losses.style_loss(a, b, 35),
        lambda a, _: losses.total_variation_loss(a),
        lambda a, _: losses.total_variation_loss(a, "l1"),
        lambda a, _: losses.gram_matrix(a),
        lambda a, _: mean_and_covariance(a)[1],
    ):
        together = function(one, other)
        assert together.shape[0] == 3
        alone = [function(one[i : i + 1], other[i : i + 1])[0] for i in range(3)]
        # To the bit: where images part by rounding, optimisations part by more.
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_a_unit_gradient_has_each_images_direction_and_the_weights_norm(dtype: tf.DType) -> None:
    x, upstream = (
        tf.cast(features(1), dtype),
        features(2) * np.array([1, 1e-6, 0])[:, None, None, None],
    )
    with tf.GradientTape() as tape:
        tape.watch(x)
        same = losses.with_unit_gradient(x, tf.constant(3.0))
        value = tf.reduce_sum(same * tf.cast(upstream, dtype))
    found = tf.cast(tape.gradient(value, x), tf.float32).numpy()
    assert same.dtype == dtype
    np.testing.assert_array_equal(tf.cast(same, tf.float32), tf.cast(x, tf.float32))
    np.testing.assert_allclose(np.abs(found).sum(axis=(1, 2, 3)), [3, 3, 0], rtol=1e-2)
    for index in (0, 1):
        direction = upstream[index] / np.abs(upstream[index]).sum() * 3
        np.testing.assert_allclose(found[index], direction, rtol=2e-2, atol=1e-4)


def test_losses_of_bfloat16_features_are_float32() -> None:
    x = tf.cast(features(1), tf.bfloat16)
    results = [losses.gram_matrix(x), losses.content_loss(x, x), losses.style_loss(x, x, 35)]
    assert all(result.dtype == tf.float32 for result in results)
    np.testing.assert_allclose(
        results[0], gram_in_double(tf.cast(x, tf.float32).numpy()), rtol=1e-5, atol=1e-4
    )
