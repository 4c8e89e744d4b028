"""The objective is DESIGN.md's sum of terms, computed in float64 from the network's features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.config import StyleConfig, preset
from nst_core.network.weights import VggWeights
from nst_core.objective.losses import total_variation_loss
from nst_core.objective.objective import Objective
from nst_core.objective.style_term import mixed
from nst_core.optimizers.curvature import variation_gradient
from tests.nst_core.engine.quick import shared_network

Images = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def images(draw: Any) -> Images:
    """Two starts, their contents, and a style of another size, float32."""
    x = np.stack([draw(64, 48, seed) for seed in (1, 2)]).astype(np.float32)
    content = np.stack([draw(64, 48, seed) for seed in (3, 4)]).astype(np.float32)
    return x, content, draw(40, 72, 5)[None].astype(np.float32)


def objective_of(weights: VggWeights, config: StyleConfig) -> Objective:
    return Objective(shared_network(weights, config.pooling, config.padding, tf.float32), config)


def evaluated(
    objective: Objective, config: StyleConfig, x: Any, content: Any, style: Any
) -> dict[str, np.ndarray]:
    targets = {
        "content": objective.content_targets(tf.constant(content)),
        "style": objective.finished(objective.style_targets(tf.constant(style))),
    }
    terms = objective.evaluate(
        tf.constant(x), targets, objective.aims(targets), objective.weights(config)
    )
    assert terms.dtype == tf.float32
    assert terms.shape == (len(x), len(objective.columns))
    return dict(zip(objective.columns, terms.numpy().T, strict=True))


def gram(feature: np.ndarray) -> np.ndarray:
    flat = feature.reshape(-1, feature.shape[-1]).astype(np.float64)
    product: np.ndarray = flat.T @ flat
    return product


def in_double(found: dict[str, Any], index: int) -> dict[str, np.ndarray]:
    return {name: np.asarray(feature)[index].astype(np.float64) for name, feature in found.items()}


def variation(x: np.ndarray) -> float:
    x = x.astype(np.float64)
    down, right = x[1:, :-1] - x[:-1, :-1], x[:-1, 1:] - x[:-1, :-1]
    return float(np.sum((down**2 + right**2) ** 1.25))


def test_the_notebook_presets_total_is_designs_formula(
    procedural: VggWeights, images: Images
) -> None:
    config = preset("notebook")
    objective = objective_of(procedural, config)
    x, content, _ = images
    # Stretched to the content's size.
    style = np.ascontiguousarray(content[1:, ::-1])
    terms = evaluated(objective, config, x, content, style)
    style_layers = [f"block{block}_conv1" for block in range(1, 6)]
    layers = [*style_layers, "block5_conv2"]
    of_x, of_content, of_style = (
        objective.network.features(image, layers) for image in (x, content, style)
    )
    for index in range(2):
        found, wanted = in_double(of_x, index), in_double(of_content, index)
        styles = in_double(of_style, 0)
        content_term = 0.025 * np.sum((found["block5_conv2"] - wanted["block5_conv2"]) ** 2)
        style_terms = [
            1.0 / 5 * np.sum((gram(styles[name]) - gram(found[name])) ** 2) / (36 * (48 * 64) ** 2)
            for name in style_layers
        ]
        total = content_term + sum(style_terms) + 1e-4 * variation(x[index])
        assert terms["total"][index] == pytest.approx(total, rel=1e-5)
        assert terms["content"][index] == pytest.approx(content_term, rel=1e-5)
        assert terms["tv"][index] == pytest.approx(1e-4 * variation(x[index]), rel=1e-5)
        for name, term in zip(style_layers, style_terms, strict=True):
            assert terms[f"style/{name}"][index] == pytest.approx(term, rel=2e-5)


def test_the_default_terms_are_relative_to_their_targets_energy(
    procedural: VggWeights, images: Images
) -> None:
    config = StyleConfig().updated({"content_layers": {"block2_conv2": 3, "block4_conv2": 1}})
    objective = objective_of(procedural, config)
    x, content, style = images
    terms = evaluated(objective, config, x, content, style)
    layers = [*config.content_layers, *config.style_layers]
    of_x, of_content, of_style = (objective.network.features(i, layers) for i in images)
    for index in range(2):
        found, wanted = in_double(of_x, index), in_double(of_content, index)
        content_term = config.content_weight * sum(
            share * np.mean((found[name] - wanted[name]) ** 2) / np.var(wanted[name])
            for name, share in (("block2_conv2", 0.75), ("block4_conv2", 0.25))
        )
        assert terms["content"][index] == pytest.approx(content_term, rel=1e-4)
        for name, feature in in_double(of_style, 0).items():
            if name not in config.style_layers:
                continue
            # Per position: the style's size differs from the content's.
            wanted_gram = gram(feature) / (feature.shape[0] * feature.shape[1])
            found_gram = gram(found[name]) / (found[name].shape[0] * found[name].shape[1])
            term = np.sum((found_gram - wanted_gram) ** 2) / np.sum(wanted_gram**2) / 5
            assert terms[f"style/{name}"][index] == pytest.approx(term, rel=1e-4)
        tv = config.tv_weight * variation(x[index] / 255) / (48 * 64)
        assert terms["tv"][index] == pytest.approx(tv, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"normalization": "none"},
        {"normalization": "mean", "style_statistics": "wasserstein"},
        {"tv_weight": 0},
    ],
)
def test_the_terms_sum_to_the_total_and_the_layers_to_the_style(
    procedural: VggWeights, images: Images, changes: dict[str, Any]
) -> None:
    config = StyleConfig().updated(changes)
    terms = evaluated(objective_of(procedural, config), config, *images)
    sums = terms["content"] + terms["style"] + terms["tv"]
    np.testing.assert_allclose(terms["total"], sums, rtol=1e-6)
    by_layer = sum(terms[name] for name in terms if name.startswith("style/"))
    np.testing.assert_allclose(terms["style"], by_layer, rtol=1e-6)
    assert list(terms)[:4] == ["total", "content", "style", "tv"]
    assert [name for name in terms if "/" in name] == [f"style/{n}" for n in config.style_layers]


def test_weights_scale_their_terms(procedural: VggWeights, images: Images) -> None:
    one = StyleConfig().updated({"content_weight": 0.05, "style_weight": 1, "tv_weight": 0.1})
    other = one.updated({"content_weight": 0.5, "style_weight": 3, "tv_weight": 0.2})
    objective = objective_of(procedural, one)
    before = evaluated(objective, one, *images)
    after = evaluated(objective, other, *images)
    for name, factor in (("content", 10), ("style", 3), ("tv", 2), ("style/block3_conv1", 3)):
        np.testing.assert_allclose(after[name], factor * before[name], rtol=1e-5)


def plain_total(features: Any, config: StyleConfig, x: Any, content: Any, style: Any) -> Any:
    """The total of one image in float64, from the formulas."""
    names = [*config.content_layers, *config.style_layers]
    found, targets, styles = (features(image, names) for image in (x, content, style))
    size = x.shape[1] * x.shape[2]
    relative = config.normalization == "energy"
    total = tf.zeros([], tf.float64)
    for name, weight in config.content_layers.items():
        loss = tf.reduce_sum((found[name] - targets[name]) ** 2)
        if relative:
            loss /= tf.size(found[name], tf.float64) * tf.math.reduce_variance(targets[name])
        total += config.content_weight * weight / sum(config.content_layers.values()) * loss
    for name, weight in config.style_layers.items():
        grams = []
        for feature in (found[name], styles[name]):
            flat = tf.reshape(feature, [-1, feature.shape[3]])
            positions = tf.size(flat, tf.float64) / flat.shape[1]
            grams.append(tf.matmul(flat, flat, transpose_a=True) / (positions if relative else 1))
        loss = tf.reduce_sum((grams[0] - grams[1]) ** 2)
        loss /= tf.reduce_sum(grams[1] ** 2) if relative else 36 * size**2
        total += config.style_weight * weight / sum(config.style_layers.values()) * loss
    scaled = x / 255 if relative else x
    down = scaled[:, 1:, :-1] - scaled[:, :-1, :-1]
    right = scaled[:, :-1, 1:] - scaled[:, :-1, :-1]
    loss = tf.reduce_sum((down**2 + right**2) ** 1.25)
    return total + config.tv_weight * loss / (size if relative else 1)


@pytest.mark.parametrize("name", ["default", "notebook"])
def test_total_and_gradient_equal_those_of_a_plain_float64_computation(
    procedural: VggWeights, plain_vgg19: Any, images: Images, name: str
) -> None:
    config = preset(name)
    features = plain_vgg19(procedural, config.pooling, config.padding)
    x, content, style = (tf.constant(image[:1], tf.float64) for image in images)
    if config.style_fit == "stretch":
        style = content[:, ::-1]
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = plain_total(features, config, x, content, style)
    expected = tape.gradient(total, x).numpy()

    objective = objective_of(procedural, config)
    start = tf.cast(x, tf.float32)
    targets = {
        "content": objective.content_targets(tf.cast(content, tf.float32)),
        "style": objective.finished(objective.style_targets(tf.cast(style, tf.float32))),
    }
    with tf.GradientTape() as tape:
        tape.watch(start)
        terms = objective.evaluate(
            start, targets, objective.aims(targets), objective.weights(config)
        )
        found_total = terms[:, 0]
    found = tape.gradient(found_total, start).numpy()
    assert float(found_total[0]) == pytest.approx(float(total), rel=1e-4)
    # Maxima that are nearly tied fall either way in float32.
    tolerance = 2e-3 if config.pooling == "max" else 1e-4
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize(("norm", "power"), [("notebook", 2.5), ("l1", 1), ("l2", 2)])
def test_relative_total_variation_is_per_pixel_of_values_from_nothing_to_one(
    procedural: VggWeights, images: Images, norm: str, power: float
) -> None:
    found = []
    for normalization in ("none", "energy"):
        config = StyleConfig().updated(
            {"tv_norm": norm, "tv_weight": 1, "normalization": normalization}
        )
        found.append(evaluated(objective_of(procedural, config), config, *images)["tv"])
    np.testing.assert_allclose(found[0] / 255**power / (48 * 64), found[1], rtol=1e-4)


@pytest.mark.parametrize("norm", ["notebook", "l1", "l2"])
def test_of_plain_sums_the_curvature_of_the_weighted_total_variation_is_known(
    procedural: VggWeights, images: Images, norm: str
) -> None:
    def known(**settings: Any) -> Any:
        config = preset("notebook").updated({"tv_norm": norm, **settings})
        objective = objective_of(procedural, config)
        return objective.stiffness_at(objective.weights(config))

    stiffness_at = known(tv_weight=0.5)
    assert stiffness_at is not None
    x = tf.constant(images[0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = 0.5 * total_variation_loss(x, norm)
    found = variation_gradient(x, stiffness_at(x))
    np.testing.assert_allclose(found, tape.gradient(loss, x), rtol=1e-4, atol=1e-4)
    assert known(tv_weight=0) is None
    # Of relative terms it is no great part.
    assert known(normalization="energy") is known(normalization="mean") is None


def test_mean_terms_are_those_of_neural_style(procedural: VggWeights, images: Images) -> None:
    config = StyleConfig().updated(
        {"normalization": "mean", "content_weight": 5, "style_weight": 500, "tv_norm": "l2"}
    )
    objective = objective_of(procedural, config)
    terms = evaluated(objective, config, *images)
    layers = [*config.content_layers, *config.style_layers]
    of_x, of_content, of_style = (objective.network.features(i, layers) for i in images)
    for index in range(2):
        found, wanted = in_double(of_x, index), in_double(of_content, index)
        error = np.mean((found["block4_conv2"] - wanted["block4_conv2"]) ** 2)
        assert terms["content"][index] == pytest.approx(5 * error, rel=1e-4)
        for name, feature in in_double(of_style, 0).items():
            if name in config.style_layers:
                grams = [gram(f) / f.size for f in (feature, found[name])]
                # Each of the five layers has a weight of 100 there.
                term = 100 * np.mean((grams[0] - grams[1]) ** 2)
                assert terms[f"style/{name}"][index] == pytest.approx(term, rel=1e-4)
        x = images[0][index].astype(np.float64)
        down, right = x[1:, :-1] - x[:-1, :-1], x[:-1, 1:] - x[:-1, :-1]
        squares = np.sum(down**2 + right**2)
        assert terms["tv"][index] == pytest.approx(config.tv_weight * squares, rel=1e-4)


@pytest.mark.parametrize("statistics", ["covariance", "wasserstein"])
def test_mean_terms_of_other_statistics_are_those_per_channel(
    procedural: VggWeights, images: Images, statistics: str
) -> None:
    layer = {"style_layers": {"block2_conv1": 1}, "style_statistics": statistics}
    found = []
    for normalization in ("mean", "none"):
        config = StyleConfig().updated({**layer, "normalization": normalization})
        found.append(evaluated(objective_of(procedural, config), config, *images)["style"])
    # Plain sums: of products of all positions, over 4 · 3² · size²; block2 has size / 4 of them.
    plain = found[1] / 128 if statistics == "wasserstein" else found[1] * 36 * 16 / (128**3 * 129)
    np.testing.assert_allclose(found[0], plain, rtol=1e-4)


def test_relative_terms_are_nothing_at_their_targets(
    procedural: VggWeights, images: Images
) -> None:
    for statistics, rounding in (("gram", 1e-10), ("covariance", 1e-10), ("wasserstein", 1e-4)):
        config = StyleConfig().updated({"style_statistics": statistics})
        content = images[1][:1]
        terms = evaluated(objective_of(procedural, config), config, content, content, content)
        assert terms["content"] == 0
        assert terms["style"] < rounding


@pytest.mark.parametrize("statistics", ["gram", "covariance", "wasserstein"])
def test_relative_terms_do_not_depend_on_the_scale_of_the_features(
    procedural: VggWeights, images: Images, statistics: str
) -> None:
    layer = {"block2_conv1": 1}
    config = StyleConfig().updated(
        {"content_layers": layer, "style_layers": layer, "style_statistics": statistics}
    )
    kernel, bias = procedural.layers["block2_conv1"]
    louder = {**procedural.layers, "block2_conv1": (7 * kernel, 7 * bias)}
    terms = evaluated(objective_of(procedural, config), config, *images)
    scaled = evaluated(objective_of(VggWeights("louder", "", louder), config), config, *images)
    # Float32 tells the smallest eigenvalues apart less well than sums.
    tolerance = 1e-3 if statistics == "wasserstein" else 1e-4
    for name in terms:
        np.testing.assert_allclose(scaled[name], terms[name], rtol=tolerance)


def test_covariance_statistics_compare_covariances_and_means(
    procedural: VggWeights, images: Images
) -> None:
    config = StyleConfig().updated(
        {"style_statistics": "covariance", "style_layers": {"block1_conv2": 1}}
    )
    objective = objective_of(procedural, config)
    terms = evaluated(objective, config, *images)
    of_x, _, of_style = (objective.network.features(i, ["block1_conv2"]) for i in images)
    wanted = in_double(of_style, 0)["block1_conv2"].reshape(-1, 64)
    covariance, mean = np.cov(wanted.T, bias=True), wanted.mean(axis=0)
    for index in range(2):
        found = in_double(of_x, index)["block1_conv2"].reshape(-1, 64)
        of_covariance = np.sum((np.cov(found.T, bias=True) - covariance) ** 2)
        of_mean = np.sum((found.mean(axis=0) - mean) ** 2)
        term = of_covariance / np.sum(covariance**2) / 2 + of_mean / np.sum(mean**2) / 2
        assert terms["style"][index] == pytest.approx(term, rel=1e-3)


def test_normalized_gradients_are_those_of_the_layers_each_by_its_norm_and_weight(
    procedural: VggWeights, images: Images
) -> None:
    changes = {
        "optimizer": "adam",
        "content_layers": {"block2_conv1": 1},
        "content_weight": 5,
        "style_layers": {"block1_conv1": 3, "block2_conv1": 1},
        "style_weight": 8,
        "tv_weight": 0,
    }
    plain = StyleConfig().updated(changes)
    config = plain.updated({"normalize_gradients": True})
    x, content, style = images
    pulled = {}
    for kind in (plain, config):
        objective = objective_of(procedural, kind)
        targets = {
            "content": objective.content_targets(tf.constant(content)),
            "style": objective.finished(objective.style_targets(tf.constant(style))),
        }
        with tf.GradientTape(persistent=True) as tape:
            start = tf.constant(x)
            tape.watch(start)
            features = objective.network.features(start, ["block1_conv1", "block2_conv1"])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(objective.network, "features", lambda *_, known=features: known)
                terms = objective.evaluate(
                    start, targets, objective.aims(targets), objective.weights(kind)
                )
            total = terms[:, 0]
            parts = {name: terms[:, i] for i, name in enumerate(objective.columns)}
        pulled[kind.normalize_gradients] = (tape, parts, features, start, total, terms)
    tape, parts, features, start, _, terms = pulled[False]
    expected = tf.zeros_like(start)
    for term, layer, weight in (
        ("content", "block2_conv1", 5),
        ("style/block1_conv1", "block1_conv1", 6),
        ("style/block2_conv1", "block2_conv1", 2),
    ):
        gradient = tape.gradient(parts[term], features[layer])
        norm = tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
        unit = weight * gradient / norm
        expected += tape.gradient(features[layer], start, output_gradients=unit)
    tape, _, _, start, total, same = pulled[True]
    found = tape.gradient(total, start)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(same, terms)


def test_several_styles_mix_by_their_weights(procedural: VggWeights, images: Images) -> None:
    objective = objective_of(procedural, StyleConfig())
    one, other = (objective.style_targets(image[:1]) for image in images[:2])
    for name, target in mixed([one, other], [3, 1]).items():
        np.testing.assert_allclose(target, 0.75 * one[name] + 0.25 * other[name], rtol=1e-5)
    for name, target in mixed([one, other], [2, 0]).items():
        np.testing.assert_array_equal(target, one[name])
    for name, target in mixed([one], [0.3]).items():
        np.testing.assert_array_equal(target, one[name])


def test_images_of_a_batch_do_not_influence_each_other(
    procedural: VggWeights, images: Images
) -> None:
    config = StyleConfig()
    objective = objective_of(procedural, config)
    x, content, style = images
    together = evaluated(objective, config, x, content, style)
    for index in range(2):
        one = slice(index, index + 1)
        alone = evaluated(objective, config, x[one], content[one], style)
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][one], value, rtol=1e-5)


def test_flat_images_have_finite_terms_and_gradients(procedural: VggWeights) -> None:
    config = StyleConfig()
    objective = objective_of(procedural, config)
    flat = tf.fill([1, 32, 32, 3], 128.0)
    targets = {
        "content": objective.content_targets(flat),
        "style": objective.finished(objective.style_targets(flat)),
    }
    with tf.GradientTape() as tape:
        x = flat + 1.0
        tape.watch(x)
        terms = objective.evaluate(x, targets, objective.aims(targets), objective.weights(config))
        total = terms[:, 0]
    assert np.isfinite(terms).all()
    assert np.isfinite(tape.gradient(total, x)).all()
