"""Styles that go to regions of their own, and parts of the content that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import InputTooSmall, PairError
from nst_core.imaging import images
from nst_core.network.weights import VggWeights
from nst_core.objective import losses
from nst_core.objective.objective import Objective
from nst_core.results import Style, StyleResult
from tests.nst_core.engine.quick import shared_network

Draw = Callable[[int, int, int], np.ndarray]

QUICK = StyleConfig().updated(
    {
        "image_size": 64,
        "scales": [1],
        "steps": 12,
        # The same bits in every batch.
        "padding": "zero",
        "content_layers": {"block2_conv2": 1},
        "style_layers": {"block1_conv1": 1, "block2_conv1": 1},
    }
)
LEFT = np.repeat(np.arange(64)[None] < 32, 64, axis=0).astype(np.float32)


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return StyleEngine(procedural, padding=QUICK.padding, precision="float32", device="cpu")


@pytest.fixture(scope="module")
def contents(draw: Draw) -> list[np.ndarray]:
    return [draw(64, 64, seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def styles(draw: Draw) -> list[Style]:
    dark, bright = draw(64, 64, 8) // 3, 255 - draw(72, 64, 9) // 3
    return [Style(dark, name="dark"), Style(bright, weight=2, name="bright")]


def pictures(results: Sequence[StyleResult | PairError]) -> list[np.ndarray]:
    for result in results:
        if isinstance(result, PairError):
            raise result
    return [result.image for result in results if isinstance(result, StyleResult)]


def gram(engine: StyleEngine, image: np.ndarray) -> np.ndarray:
    network = shared_network(
        engine.weights, engine.programs.pooling, engine.programs.padding, tf.float32
    )
    feature = network.features(image[None].astype(np.float32), ["block2_conv1"])["block2_conv1"]
    found = losses.gram_matrix(feature) / (feature.shape[1] * feature.shape[2])
    return found.numpy()[0]


@pytest.mark.parametrize("statistics", ["gram", "covariance", "wasserstein"])
def test_each_half_takes_its_own_style(
    engine: StyleEngine, contents: list[np.ndarray], styles: list[Style], statistics: str
) -> None:
    config = QUICK.updated({"style_statistics": statistics, "steps": 40})
    found = engine.stylize(contents[0], styles, config, masks=[LEFT, 1 - LEFT]).image
    dark, bright = (gram(engine, style.rgb) for style in styles)
    left, right = gram(engine, found[:, :30]), gram(engine, found[:, 34:])
    assert np.sum((left - dark) ** 2) < np.sum((left - bright) ** 2)
    assert np.sum((right - bright) ** 2) < np.sum((right - dark) ** 2)


def test_the_style_term_is_the_sum_of_each_styles_distance_under_its_mask(
    procedural: VggWeights, draw: Draw
) -> None:
    config = QUICK.updated({"style_layers": {"block2_conv1": 1}, "style_weight": 1})
    objective = Objective(shared_network(procedural, "average", "reflect", tf.float32), config)
    x, one, other = (draw(64, 48, seed)[None].astype(np.float32) for seed in (1, 2, 3))
    mask = np.random.default_rng(4).uniform(size=(1, 48, 64, 2)).astype(np.float32)
    measured = [objective.style_targets(style) for style in (one, other)]
    found = [statistics["block2_conv1"] for statistics in measured]
    targets = {
        "content": objective.content_targets(x),
        "style": objective.finished(*measured),
        "regions": objective.regions(tf.constant(mask), [[1, 3]]),
    }
    terms = objective.evaluate(
        tf.constant(x), targets, objective.aims(targets), objective.weights(config)
    )
    feature = objective.network.features(x, ["block2_conv1"])["block2_conv1"].numpy()
    flat = feature.reshape(-1, 128).astype(np.float64)
    pooled = mask.reshape(24, 2, 32, 2, 2).mean(axis=(1, 3)).reshape(-1, 2).astype(np.float64)
    expected = 0.0
    for index, (target, part) in enumerate(zip(found, (0.25, 0.75), strict=True)):
        share = pooled[:, index] / pooled[:, index].sum()
        difference = (flat * share[:, None]).T @ flat - target[0].numpy()
        expected += part * np.sum(difference**2) / np.sum(target[0].numpy() ** 2)
    assert float(terms[0, objective.columns.index("style")]) == pytest.approx(expected, rel=1e-4)


def test_one_style_everywhere_by_a_mask_is_the_style_without_one(
    engine: StyleEngine, contents: list[np.ndarray], styles: list[Style]
) -> None:
    config = QUICK.updated({"steps": 3, "optimizer": "adam"})
    plain = engine.stylize(contents[0], styles[:1], config)
    masked = engine.stylize(contents[0], styles[:1], config, masks=[np.ones((7, 7), np.float32)])
    np.testing.assert_allclose(
        masked.losses.terms(0)["total"], plain.losses.terms(0)["total"], rtol=1e-5
    )
    # Without any mask nothing is different, to the bit.
    same = engine.stylize(contents[0], styles[:1], config, masks=[None]).image
    np.testing.assert_array_equal(same, plain.image)


def test_what_is_kept_stays_exactly_as_it_was(
    engine: StyleEngine, contents: list[np.ndarray], styles: list[Style]
) -> None:
    config = QUICK.updated({"scales": [0.5, 1], "content_colors": "style"})
    keep = LEFT.copy()
    keep[:, 28:36] = np.linspace(1, 0, 8)
    found = engine.stylize(contents[0], styles[:1], config, keep=keep).image
    np.testing.assert_array_equal(found[:, :28], contents[0][:, :28])
    change = np.abs(found - contents[0]).mean(axis=(0, 2))
    assert change[40:].min() > 5
    assert change[29] < change[35]


def test_what_is_kept_and_two_pixels_around_it_are_no_part_of_the_style(
    engine: StyleEngine, contents: list[np.ndarray], styles: list[Style]
) -> None:
    beside = 1 - np.roll(LEFT, 2, axis=1)
    beside[:, :2] = 0
    found = engine.stylize(contents[0], styles[:1], QUICK, keep=LEFT)
    masked = engine.stylize(contents[0], styles[:1], QUICK, keep=LEFT, masks=[beside])
    np.testing.assert_array_equal(found.image, masked.image)
    everywhere = np.ones_like(LEFT)
    more = engine.stylize(contents[0], styles[:1], QUICK, keep=LEFT, masks=[everywhere])
    assert found.losses.terms(-1)["style"] < 0.7 * more.losses.terms(-1)["style"]
    # Several styles are mixed there, as elsewhere.
    mixed = engine.stylize(contents[0], styles, QUICK, keep=LEFT)
    assert np.abs(mixed.image - found.image)[:, 34:].mean() > 1


def test_masks_and_keeps_come_to_the_contents_size_and_canvas(
    engine: StyleEngine, draw: Draw, styles: list[Style]
) -> None:
    content, config = draw(120, 70, 3), QUICK.updated({"scales": [0.5, 1], "steps": 3})
    mask, keep = np.zeros((35, 60), np.float32), np.zeros((7, 12), np.float32)
    mask[:, :30], keep[:, 6:] = 1, 1
    found = engine.stylize(content, styles, config, masks=[mask, None], keep=keep)
    assert found.image.shape == (37, 64, 3)
    kept = images.resize(content, 64, 37, "lanczos")
    np.testing.assert_array_equal(found.image[:, 48:], kept[:, 48:])
    assert np.abs(found.image - kept)[:, :16].mean() > 3


def test_a_batch_with_masks_and_keeps_gives_what_its_images_give_alone(
    engine: StyleEngine, draw: Draw, styles: list[Style]
) -> None:
    several = [draw(64, 64, seed) for seed in (1, 2, 3, 4)]
    masks: list[list[Any]] = [[LEFT, 1 - LEFT], [None, None], [LEFT.T, None], [None, LEFT]]
    keeps = [None, LEFT, LEFT.T * 0.5, None]
    together = pictures(engine.stylize_batch(several, styles, QUICK, masks=masks, keeps=keeps))
    for index, content in enumerate(several):
        alone = engine.stylize(content, styles, QUICK, masks=masks[index], keep=keeps[index])
        np.testing.assert_allclose(together[index], alone.image, atol=1)


def test_a_mask_of_nothing_and_a_keep_of_everything_fail_their_own_pair(
    engine: StyleEngine, draw: Draw, styles: list[Style]
) -> None:
    several = [draw(64, 64, seed) for seed in (1, 2, 3)]
    masks = [[LEFT, 0 * LEFT], [LEFT, 1 - LEFT], [LEFT, 1 - LEFT]]
    found = engine.stylize_batch(
        several,
        styles,
        QUICK.updated({"steps": 2}),
        names=["a.png", "b.png", "c.png"],
        masks=masks,
        keeps=[None, None, np.ones((64, 64), np.float32)],
    )
    assert isinstance(found[1], StyleResult)
    for error, parts in ((found[0], ("mask of style 2 for a.png",)), (found[2], ("c.png", "keep"))):
        assert isinstance(error, InputTooSmall)
        assert str(error).endswith(".")
        assert all(part in str(error) for part in parts)
    with pytest.raises(ValueError, match="one mask or None for each style"):
        engine.stylize(several[0], styles, QUICK, masks=[LEFT])
