"""Numbers that one can trust: the compiled steps in float32, in batches, and in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.config import StyleConfig, preset
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import PairError
from nst_core.network.weights import VggWeights
from nst_core.results import Style, StyleResult

Draw = Callable[[int, int, int], np.ndarray]


def engine_for(config: StyleConfig, weights: VggWeights, precision: str) -> StyleEngine:
    own = {"precision": precision, "device": "cpu"}
    return StyleEngine.for_config(config.updated(own), weights)


def notebook_total(
    features: Callable[[Any, Sequence[str]], dict[str, Any]], x: Any, content: Any, style: Any
) -> Any:
    """The notebook's loss of an image `[1, H, W, 3]`, in the dtype of `features`."""
    styles = [f"block{block}_conv1" for block in range(1, 6)]
    found, wanted, styled = (
        features(image, [*styles, "block5_conv2"]) for image in (x, content, style)
    )
    total = 0.025 * tf.reduce_sum((found["block5_conv2"] - wanted["block5_conv2"]) ** 2)
    size = x.shape[1] * x.shape[2]
    for name in styles:
        gram, target = (
            tf.einsum("bijc,bijd->cd", image[name], image[name]) for image in (found, styled)
        )
        total += tf.reduce_sum((gram - target) ** 2) / (4 * 9 * size**2) / len(styles)
    right = (x[:, :-1, 1:] - x[:, :-1, :-1]) ** 2
    down = (x[:, 1:, :-1] - x[:, :-1, :-1]) ** 2
    return total + 1e-4 * tf.reduce_sum((right + down) ** 1.25)


def test_the_compiled_notebook_objective_and_its_gradient_are_right_to_five_digits(
    procedural: VggWeights, plain_vgg19: Any, draw: Draw
) -> None:
    pictures = [draw(64, 48, seed)[None] for seed in (1, 3, 5)]
    config = preset("notebook")
    program = engine_for(config, procedural, "float32").programs.compiled(config, "float32")
    x, content, style = (tf.constant(picture, tf.float32) for picture in pictures)
    style_targets = program.objective.finished(program.style_targets(style))
    targets = {"content": program.content_targets(content), "style": style_targets}
    weights = program.objective.weights(config)
    # The first step of L-BFGS evaluates the start itself.
    state, log = program.advance(program.start(x), targets, weights, 1.0, 1)

    features = plain_vgg19(procedural, "max", "zero")
    x, content, style = (tf.constant(picture, tf.float64) for picture in pictures)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = notebook_total(features, x, content, style)
    expected = tape.gradient(total, x).numpy()
    assert log[0, 0, 0] == pytest.approx(float(total), rel=1e-5)
    error = np.linalg.norm(state["gradient"].numpy() - expected)
    assert error < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_pair_has_the_same_pixels_alone_in_a_batch_and_in_another_order(
    procedural: VggWeights, draw: Draw, optimizer: str
) -> None:
    changes = {"image_size": 32, "scales": [1], "steps": 20, "optimizer": optimizer}
    config = StyleConfig().updated(changes)
    engine = engine_for(config, procedural, "float32")
    contents, style = [draw(32, 32, seed) for seed in (1, 2, 3, 4)], Style(draw(40, 32, 9))
    together = pictures(engine.stylize_batch(contents, [style], config))
    turned = pictures(engine.stylize_batch([contents[3], contents[0]], [style], config))
    alone = engine.stylize(contents[0], [style], config).image
    np.testing.assert_allclose(turned, [together[3], together[0]], atol=1)
    np.testing.assert_allclose(together[0], alone, atol=1)


@pytest.mark.parametrize("name", ["default", "notebook"])
def test_bfloat16_ends_within_two_percent_of_float32s_loss(
    procedural: VggWeights, draw: Draw, name: str
) -> None:
    size = {"image_height": 64} if name == "notebook" else {"image_size": 64}
    config = preset(name).updated({**size, "scales": [1], "steps": 20})
    content, style = draw(64, 64, 1), [Style(draw(64, 64, 9))]
    engines = {p: engine_for(config, procedural, p) for p in ("float32", "bfloat16")}
    ends = {p: engine.stylize(content, style, config) for p, engine in engines.items()}
    assert ends["bfloat16"].precision == "bfloat16"
    # Both pictures by the exact objective: that of a first step, which leaves its start alone.
    again = config.updated({"init": "picture.png", "steps": 1})
    exact, rough = (
        engines["float32"].stylize(content, style, again, init=ends[p].image).losses.terms(0)
        for p in ("float32", "bfloat16")
    )
    assert rough["total"] == pytest.approx(exact["total"], rel=0.02)


def pictures(results: Sequence[StyleResult | PairError]) -> list[np.ndarray]:
    assert all(isinstance(result, StyleResult) for result in results), results
    return [result.image for result in results if isinstance(result, StyleResult)]
