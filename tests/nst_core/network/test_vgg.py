"""The feature extractor is VGG19, as Keras defines it, and computes no more than it must."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.layers import CONV_LAYERS, layers_to
from nst_core.network.pooling import l2_pool
from nst_core.network.vgg import Vgg19, preprocess
from nst_core.network.weights import CHANNELS, VggWeights, layer_shapes
from tests.nst_core.engine.quick import shared_network

CONVOLUTIONS = ("Conv2D", "_FusedConv2D")


@pytest.fixture(scope="module")
def image(draw: Any) -> np.ndarray:
    return np.stack([draw(48, 64, seed) for seed in (1, 2)]).astype(np.float32)


def network(weights: VggWeights, pooling: str = "average", padding: str = "reflect") -> Vgg19:
    return shared_network(weights, pooling, padding, tf.float32)


def test_preprocessing_is_that_of_keras(image: np.ndarray) -> None:
    from keras.applications.vgg19 import preprocess_input

    np.testing.assert_allclose(preprocess(image), preprocess_input(image.copy()), atol=1e-5)


def test_every_layer_has_vgg19s_shape(procedural: VggWeights, image: np.ndarray) -> None:
    found = network(procedural).features(image, CONV_LAYERS)
    assert set(found) == set(CONV_LAYERS)
    for name, feature in found.items():
        block = int(name[5])
        shrink = 2 ** (block - 1)
        assert feature.shape == (2, 64 // shrink, 48 // shrink, CHANNELS[block]), name
        assert feature.dtype == tf.float32
        assert tf.reduce_min(feature) >= 0


def test_only_the_wanted_layers_are_returned(procedural: VggWeights, image: np.ndarray) -> None:
    found = network(procedural).features(image, ["block2_conv2", "block1_conv1"])
    assert set(found) == {"block1_conv1", "block2_conv2"}


@pytest.mark.parametrize(
    ("layers", "count"),
    [(["block1_conv1"], 1), (["block3_conv2", "block1_conv1"], 6), (["block5_conv1"], 13)],
)
def test_nothing_behind_the_deepest_layer_is_computed(
    procedural: VggWeights, layers: list[str], count: int
) -> None:
    features = network(procedural).features
    traced = tf.function(lambda x: features(x, layers), autograph=False)
    graph = traced.get_concrete_function(tf.TensorSpec([None, None, None, 3])).graph
    assert sum(operation.type in CONVOLUTIONS for operation in graph.get_operations()) == count
    assert len(layers_to(layers)) == count


def root_mean_square(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    return np.sqrt(np.mean(x**2, axis=axis))


@pytest.mark.parametrize(
    ("pooling", "reduce"), [("max", np.max), ("average", np.mean), ("l2", root_mean_square)]
)
def test_pooling_reduces_two_by_two_and_drops_an_odd_edge(
    procedural: VggWeights, image: np.ndarray, pooling: str, reduce: Any
) -> None:
    found = network(procedural, pooling).features(
        image[:, :63, :47], ["block1_conv2", "block2_conv1"]
    )
    even = found["block1_conv2"].numpy()[:, :62, :46]
    pooled = reduce(even.reshape(2, 31, 2, 23, 2, 64), axis=(2, 4))
    kernel, bias = procedural.layers["block2_conv1"]
    padded = np.pad(pooled, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
    expected = tf.nn.relu(tf.nn.conv2d(padded, kernel, 1, "VALID") + bias)
    np.testing.assert_allclose(found["block2_conv1"], expected, atol=1e-4)


def test_reflect_padding_keeps_a_flat_image_flat_and_zero_padding_does_not(
    procedural: VggWeights,
) -> None:
    flat = np.full((1, 32, 32, 3), 30, np.float32)
    reflected = network(procedural).features(flat, ["block1_conv1"])["block1_conv1"].numpy()
    zeros = network(procedural, padding="zero").features(flat, ["block1_conv1"])["block1_conv1"]
    np.testing.assert_allclose(reflected, np.broadcast_to(reflected[:, 8, 8], (1, 32, 32, 64)))
    np.testing.assert_allclose(zeros[:, 8, 8], reflected[:, 8, 8], rtol=1e-5)
    assert np.abs(zeros[:, 0, 0] - reflected[:, 0, 0]).max() > 0.1


def test_padding_is_one_pixel_of_reflection(procedural: VggWeights, image: np.ndarray) -> None:
    kernel, bias = procedural.layers["block1_conv1"]
    found = network(procedural).features(image, ["block1_conv1"])["block1_conv1"]
    padded = np.pad(preprocess(image), [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
    for row, column in ((0, 0), (63, 47), (0, 20), (30, 30)):
        window = padded[:, row : row + 3, column : column + 3].astype(np.float64)
        expected = np.maximum(np.einsum("bijc,ijcd->bd", window, kernel) + bias, 0)
        np.testing.assert_allclose(found[:, row, column], expected, atol=1e-4)


def test_features_equal_those_of_keras_vgg19(keras_vgg19: Any, image: np.ndarray) -> None:
    import keras

    layers = {name: tuple(keras_vgg19.get_layer(name).get_weights()) for name in layer_shapes()}
    names = ("block1_conv1", "block2_conv2", "block3_conv4", "block4_conv2", "block5_conv4")
    outputs = [keras_vgg19.get_layer(name).output for name in names]
    expected = keras.Model(keras_vgg19.input, outputs)(
        keras.applications.vgg19.preprocess_input(image.copy())
    )
    found = network(VggWeights("keras", "", layers), "max", "zero").features(image, names)
    for name, wanted in zip(names, expected, strict=True):
        scale = np.abs(wanted).max()
        assert scale > 0.1
        np.testing.assert_allclose(found[name] / scale, wanted / scale, atol=1e-4)


@pytest.mark.parametrize("padding", ["reflect", "zero"])
@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (45, 39)])
def test_gradients_equal_those_of_the_plain_network_in_float64(
    procedural: VggWeights,
    plain_vgg19: Any,
    draw: Any,
    pooling: str,
    padding: str,
    height: int,
    width: int,
) -> None:
    x = np.stack([draw(width, height, seed) for seed in (3, 4)]).astype(np.float64)
    names = ("block1_conv2", "block3_conv1", "block4_conv2")
    gradients = []
    for features, dtype in (
        (network(procedural, pooling, padding).features, tf.float32),
        (plain_vgg19(procedural, pooling, padding), tf.float64),
    ):
        image = tf.constant(x, dtype)
        with tf.GradientTape() as tape:
            tape.watch(image)
            found = features(image, names)
            total = tf.add_n([tf.reduce_sum(found[name] ** 2) for name in names])
        gradients.append(tf.cast(tape.gradient(total, image), tf.float64).numpy())
    found, expected = gradients
    # Maxima that are nearly tied fall either way in float32.
    tolerance = 1e-3 if pooling == "max" else 1e-4
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def test_features_and_gradients_are_the_same_inside_of_what_xla_compiles(
    procedural: VggWeights, image: np.ndarray
) -> None:
    plain, names = network(procedural), ("block1_conv1", "block2_conv2")

    def with_gradient(vgg: Vgg19, x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = vgg.features(x, names)
            total = tf.add_n([tf.reduce_sum(one**2) for one in found.values()])
        return *found.values(), tape.gradient(total, x)

    compiled = tf.function(
        functools.partial(with_gradient, plain.for_xla()), jit_compile=True, autograph=False
    )
    x = tf.constant(image)
    for found, expected in zip(compiled(x), with_gradient(plain, x), strict=True):
        assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_bfloat16_features_are_near_those_of_float32(
    procedural: VggWeights, image: np.ndarray
) -> None:
    exact = network(procedural).features(image, ["block3_conv1"])["block3_conv1"]
    vgg = Vgg19(procedural, "average", "reflect", tf.bfloat16)
    rough = vgg.features(image, ["block3_conv1"])["block3_conv1"]
    assert rough.dtype == tf.bfloat16
    error = np.linalg.norm(tf.cast(rough, tf.float32) - exact) / np.linalg.norm(exact)
    assert error < 0.03


def test_l2_pooling_has_the_gradient_of_the_root_and_none_where_there_is_no_signal() -> None:
    x = np.random.default_rng(1).exponential(size=(2, 5, 7, 3)).astype(np.float32)
    x[0, :2, :2] = 0
    variable, plain = tf.constant(x), tf.constant(x[:, :4, :6])
    upstream = tf.range(36, dtype=tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([variable, plain])
        found = tf.reduce_sum(tf.reshape(l2_pool(variable), [-1]) * upstream)
        blocks = tf.reshape(plain, [2, 2, 2, 3, 2, 3])
        roots = tf.sqrt(tf.reduce_mean(blocks**2, axis=[2, 4]))
        expected = tf.reduce_sum(tf.reshape(roots, [-1]) * upstream)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    gradient, wanted = tape.gradient(found, variable).numpy(), tape.gradient(expected, plain)
    np.testing.assert_allclose(gradient[:, :4, :6], np.nan_to_num(wanted), rtol=1e-5)
    assert (gradient[:, 4:] == 0).all()
    assert (gradient[:, :, 6:] == 0).all()
    assert (gradient[0, :2, :2] == 0).all()
    rough = tf.cast(x, tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(rough)
        pooled = l2_pool(rough)
    assert np.isfinite(tf.cast(tape.gradient(pooled, rough), tf.float32)).all()
