"""How it is done without this project, written plainly: Keras's notebook, TensorFlow's tutorial.

Reference A is the Keras example "Neural style transfer" in its L-BFGS form: Keras's VGG19 on a
batch of content, style and combination at every evaluation, one `tf.function` for loss and
gradient, SciPy's L-BFGS on float64 vectors in rounds of 20 evaluations, each round from nothing.
Reference B is the loop of TensorFlow's tutorial: Adam, one image, targets computed once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nst_core.config import StyleConfig
from nst_core.layers import CONV_LAYERS
from nst_core.network.weights import VggWeights

Tensor = Any
# An image [1, H, W, 3], RGB float32 in 0…255 → its loss, a scalar.
Loss = Callable[[Tensor], Tensor]
# Called with the evaluations so far, the seconds they took, and the loss.
Report = Callable[[int, float, float], None]

EVALUATIONS_PER_ROUND = 20
CONTENT_LAYER = "block5_conv2"
STYLE_LAYERS = [f"block{block}_conv1" for block in range(1, 6)]
CONTENT_WEIGHT, STYLE_WEIGHT, VARIATION_WEIGHT = 0.025, 1.0, 1e-4
# The tutorial's losses begin about here; its epsilon is made for gradients of that size.
TUTORIAL_LOSS = 1e7


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an optimisation came to: the image `[H, W, 3]` as it left the loop, and its loss."""

    image: np.ndarray
    loss: float
    evaluations: int
    seconds: float


def keras_vgg19(weights: VggWeights) -> Any:
    """Keras's VGG19 with the given weights: all layers' outputs by name."""
    network = keras.applications.VGG19(weights=None, include_top=False)
    for name, arrays in weights.layers.items():
        network.get_layer(name).set_weights(arrays)
    return keras.Model(network.inputs, {layer.name: layer.output for layer in network.layers})


def notebook_loss(extractor: Any, content: np.ndarray, style: np.ndarray) -> Loss:
    """The notebook's loss as the notebook computes it: three images through the network.

    Args:
        extractor: of `keras_vgg19`.
        content, style: RGB `[H, W, 3]`, both of the combination's size.
    """
    fixed = tf.constant(np.stack([content, style]), tf.float32)

    def loss(image: Tensor) -> Tensor:
        features = extractor(_preprocessed(tf.concat([fixed, image], axis=0)))
        return _notebook_terms(
            image,
            {name: features[name][2] for name in features},
            features[CONTENT_LAYER][0],
            {name: _gram(features[name][1]) for name in STYLE_LAYERS},
        )

    return loss


def notebook_loss_of_one(extractor: Any, content: np.ndarray, style: np.ndarray) -> Loss:
    """The notebook's loss with the targets computed once: one image through the network."""
    fixed = extractor(_preprocessed(tf.constant(np.stack([content, style]), tf.float32)))
    grams = {name: _gram(fixed[name][1]) for name in STYLE_LAYERS}

    def loss(image: Tensor) -> Tensor:
        features = extractor(_preprocessed(image))
        found = {name: features[name][0] for name in features}
        return _notebook_terms(image, found, fixed[CONTENT_LAYER][0], grams)

    return loss


def _notebook_terms(
    image: Tensor, features: dict[str, Tensor], content: Tensor, style_grams: dict[str, Tensor]
) -> Tensor:
    total = CONTENT_WEIGHT * tf.reduce_sum(tf.square(features[CONTENT_LAYER] - content))
    size = image.shape[1] * image.shape[2]
    for name in STYLE_LAYERS:
        difference = tf.square(style_grams[name] - _gram(features[name]))
        style_loss = tf.reduce_sum(difference) / (4.0 * 3**2 * size**2)
        total += STYLE_WEIGHT / len(STYLE_LAYERS) * style_loss
    return total + VARIATION_WEIGHT * _variation(image)


def default_loss(
    weights: VggWeights, config: StyleConfig, content: np.ndarray, style: np.ndarray
) -> Loss:
    """The loss of the preset `default`, its targets computed once, at one scale.

    Args:
        config: gives layers and weights; pooling is by averages, padding by reflection.
        content, style: RGB `[H, W, 3]` as they enter: resized, the content in its colours.
    """
    wanted = [*config.content_layers, *config.style_layers]
    contents = plain_features(weights, tf.constant(content[None], tf.float32), wanted)
    styles = plain_features(weights, tf.constant(style[None], tf.float32), wanted)
    grams = {name: _gram(styles[name][0], mean=True) for name in config.style_layers}
    content_share = config.content_weight / sum(config.content_layers.values())
    style_share = config.style_weight / sum(config.style_layers.values())

    def loss(image: Tensor) -> Tensor:
        features = plain_features(weights, image, wanted)
        total = config.tv_weight * _variation(image / 255) / (image.shape[1] * image.shape[2])
        for name, share in config.content_layers.items():
            distance = tf.reduce_mean(tf.square(features[name] - contents[name]))
            variance = tf.math.reduce_variance(contents[name])
            total += content_share * share * distance / variance
        for name, share in config.style_layers.items():
            distance = tf.reduce_sum(tf.square(_gram(features[name][0], mean=True) - grams[name]))
            total += style_share * share * distance / tf.reduce_sum(tf.square(grams[name]))
        return total

    return loss


def plain_features(weights: VggWeights, image: Tensor, wanted: list[str]) -> dict[str, Tensor]:
    """VGG19 with average pooling and reflect padding, as TensorFlow's functions give it."""
    found = {}
    x = _preprocessed(image)
    deepest = max(CONV_LAYERS.index(name) for name in wanted)
    for before, name in zip(("block1", *CONV_LAYERS), CONV_LAYERS[: deepest + 1], strict=False):
        if before[:6] != name[:6]:
            x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        kernel, bias = weights.layers[name]
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
        found[name] = x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias)
    return found


def _preprocessed(rgb: Tensor) -> Tensor:
    return keras.applications.vgg19.preprocess_input(rgb)


def _gram(feature: Tensor, *, mean: bool = False) -> Tensor:
    """Inner products of the channels of `[H, W, C]`; `mean`: per position."""
    flat = tf.reshape(tf.transpose(feature, [2, 0, 1]), [feature.shape[-1], -1])
    gram = tf.matmul(flat, flat, transpose_b=True)
    return gram / flat.shape[1] if mean else gram


def _variation(image: Tensor) -> Tensor:
    down = tf.square(image[:, :-1, :-1] - image[:, 1:, :-1])
    right = tf.square(image[:, :-1, :-1] - image[:, :-1, 1:])
    return tf.reduce_sum(tf.pow(down + right, 1.25))


def by_scipy(
    loss: Loss,
    start: np.ndarray,
    rounds: int,
    report: Report,
    factor: float = 1.0,
    evaluations: int = EVALUATIONS_PER_ROUND,
) -> Outcome:
    """The notebook's way: rounds of SciPy's L-BFGS from the image `[H, W, 3]`.

    Args:
        evaluations: the most of a round.
        factor: of the loss that SciPy sees: it ends where gradients are under 1e-5.
    """
    from scipy.optimize import fmin_l_bfgs_b

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def loss_and_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            value = loss(image)
        return value, tape.gradient(value, image)

    count = 0

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal count
        count += 1
        image = tf.constant(flat.reshape(1, *start.shape), tf.float32)
        value, gradient = loss_and_gradient(image)
        flat_gradient = gradient.numpy().ravel().astype(np.float64)
        return factor * float(value), factor * flat_gradient

    x, value = start.ravel().astype(np.float64), np.inf
    started = time.perf_counter()
    for _ in range(rounds):
        x, value, _ = fmin_l_bfgs_b(evaluate, x, maxfun=evaluations)
        report(count, time.perf_counter() - started, value / factor)
    seconds = time.perf_counter() - started
    return Outcome(x.reshape(start.shape).astype(np.float32), value / factor, count, seconds)


def by_adam(loss: Loss, start: np.ndarray, steps: int, report: Report) -> Outcome:
    """The tutorial's way: Adam on pixels in 0…1 from the image `[H, W, 3]`.

    The loss is scaled so that it begins where the tutorial's does.
    """
    image = tf.Variable(start[None] / 255, dtype=tf.float32)
    optimizer = keras.optimizers.Adam(learning_rate=0.02, beta_1=0.99, epsilon=1e-1)
    optimizer.build([image])
    factor = TUTORIAL_LOSS / loss_of(loss, start)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step() -> Tensor:
        with tf.GradientTape() as tape:
            value = loss(255 * image)
            scaled = factor * value
        optimizer.apply_gradients([(tape.gradient(scaled, image), image)])
        image.assign(tf.clip_by_value(image, 0.0, 1.0))
        return value

    started = time.perf_counter()
    for index in range(1, steps + 1):
        value = float(step())
        if index % 50 == 0:
            report(index, time.perf_counter() - started, value)
    seconds = time.perf_counter() - started
    finished = 255 * image[0].numpy()
    return Outcome(finished, loss_of(loss, finished), steps, seconds)


def loss_of(loss: Loss, image: np.ndarray) -> float:
    """The loss of an image `[H, W, 3]`."""
    return float(loss(tf.constant(image[None], tf.float32)))
