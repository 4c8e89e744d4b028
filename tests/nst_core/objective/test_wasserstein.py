"""The Wasserstein distance is that of normal distributions, and so is its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from nst_core.objective import losses, wasserstein


def features(seed: int, channels: int = 6, batch: int = 3) -> np.ndarray:
    """Correlated channels of unlike size, as a network's are."""
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(channels, channels)) / np.arange(1, channels + 1)
    plain = generator.normal(1, 2, (batch, 9, 7, channels))
    return (plain @ mix).astype(np.float32)


def statistics(x: np.ndarray) -> tf.Tensor:
    positions = tf.constant([float(x.shape[1] * x.shape[2])])
    mean, covariance = losses.mean_and_covariance(losses.moments(x), positions)
    return tf.concat([covariance, mean[:, None, :]], axis=1)


def normal(x: np.ndarray, blur: float) -> tuple[np.ndarray, np.ndarray]:
    flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return flat.mean(axis=0), np.cov(flat.T, bias=True) + blur * np.eye(flat.shape[1])


def in_double(x: np.ndarray, style: np.ndarray) -> float:
    """The distance by its formula, in float64."""
    blur = wasserstein.BLUR * np.trace(normal(style, 0)[1]) + wasserstein.LEAST_BLUR
    (mean, covariance), (style_mean, style_covariance) = normal(x, blur), normal(style, blur)
    root = scipy.linalg.sqrtm(style_covariance)
    common = np.trace(scipy.linalg.sqrtm(root @ covariance @ root)).real
    variances = np.trace(covariance) + np.trace(style_covariance)
    return float(np.sum((mean - style_mean) ** 2) + variances - 2 * common)


def test_the_distance_is_that_of_its_formula_in_float64() -> None:
    x, style = features(1), features(2, batch=1)
    found = wasserstein.distance(statistics(x), wasserstein.target(statistics(style)))
    assert found.dtype == tf.float32
    expected = [in_double(one[None], style) for one in x]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_where_products_of_float32_keep_three_digits_those_of_float64_keep_the_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = tf.matmul

    def short(one: tf.Tensor, other: tf.Tensor, **more: bool) -> tf.Tensor:
        """As GPUs multiply float32: of factors with ten bits behind the point."""
        if one.dtype == tf.float32:
            bits = [tf.bitcast(x, tf.int32) & -(1 << 13) for x in (one, other)]
            one, other = (tf.bitcast(x, tf.float32) for x in bits)
        return product(one, other, **more)

    own = statistics(features(2, batch=1))
    target = wasserstein.target(own)
    monkeypatch.setattr(tf, "matmul", short)
    energy = wasserstein.energy(target).numpy()
    distances = [
        abs(wasserstein.distance(own, target, exact).numpy()) / energy
        for exact in (tf.float32, tf.float64)
    ]
    assert distances[1] < 1e-5 < distances[0]


def test_for_covariances_that_commute_it_is_the_distance_of_means_and_deviations() -> None:
    deviations, style_deviations = np.array([1.0, 2, 5]), np.array([3.0, 2, 1])
    means, style_means = np.array([0.0, 1, -2]), np.array([1.0, 1, 2])
    found, style = (
        np.concatenate([np.diag(deviation**2), mean[None]])[None].astype(np.float32)
        for deviation, mean in ((deviations, means), (style_deviations, style_means))
    )
    expected = np.sum((means - style_means) ** 2) + np.sum((deviations - style_deviations) ** 2)
    target = wasserstein.target(style)
    np.testing.assert_allclose(wasserstein.distance(found, target), [expected], rtol=2e-3)
    energy = np.sum(style_means**2) + np.sum(style_deviations**2)
    np.testing.assert_allclose(wasserstein.energy(target), [energy], rtol=1e-5)


def test_the_gradient_is_that_of_finite_differences_in_float64() -> None:
    x, style = features(1, batch=1), features(2, batch=1)
    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = wasserstein.distance(statistics(variable), wasserstein.target(statistics(style)))
    found = tape.gradient(value, variable).numpy()
    generator = np.random.default_rng(3)
    for _ in range(5):
        way = generator.normal(size=x.shape)
        ahead, behind = (in_double(x.astype(np.float64) + h * way, style) for h in (1e-4, -1e-4))
        assert np.sum(found * way) == pytest.approx((ahead - behind) / 2e-4, rel=2e-3, abs=1e-3)


def test_features_with_more_channels_than_positions_have_the_distance_of_float64() -> None:
    # Most directions are without variance: roots have no derivative there.
    generator = np.random.default_rng(1)
    x, style = (generator.exponential(s, (1, 5, 7, 96)).astype(np.float32) for s in (1, 2))
    variable = tf.constant(x)
    target = wasserstein.target(statistics(style))
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = wasserstein.distance(statistics(variable), target)
    assert float(value[0]) == pytest.approx(in_double(x, style), rel=1e-3)
    gradient = tape.gradient(value, variable).numpy().astype(np.float64)
    ahead, behind = (in_double(x - h * gradient, style) for h in (1e-3, -1e-3))
    assert np.sum(gradient**2) == pytest.approx((behind - ahead) / 2e-3, rel=1e-2)


def test_equal_distributions_are_at_distance_nothing() -> None:
    x = features(1, channels=64, batch=1)
    target = wasserstein.target(statistics(x))
    found = wasserstein.distance(statistics(x), target) / wasserstein.energy(target)
    np.testing.assert_allclose(found, [0], atol=1e-4)


def test_an_image_has_the_same_distance_and_gradient_in_any_batch() -> None:
    x, target = features(1, channels=64), wasserstein.target(statistics(features(2, 64, 1)))

    def evaluated(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        variable = tf.constant(part)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = wasserstein.distance(statistics(variable), target)
        return value.numpy(), tape.gradient(value, variable).numpy()

    together = evaluated(x)
    for index in range(3):
        alone = evaluated(x[index : index + 1])
        for whole, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(whole[index], one[0])


def test_features_that_are_no_numbers_spoil_their_own_image_alone() -> None:
    x, style = features(1), features(2, batch=1)
    x[1] = np.nan
    found = wasserstein.distance(statistics(x), wasserstein.target(statistics(style))).numpy()
    np.testing.assert_array_equal(np.isfinite(found), [True, False, True])


def test_flat_features_have_finite_distances_and_gradients() -> None:
    flat = tf.ones([1, 4, 4, 6])
    target = wasserstein.target(statistics(flat))
    for x in (flat, flat + 1):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = wasserstein.distance(statistics(x), target)
        assert np.isfinite(value).all()
        assert np.isfinite(tape.gradient(value, x)).all()
