"""Quality numbers against known cases, TensorFlow's SSIM, and images that are their own style."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from nst_core.network.weights import VggWeights
from nst_core.objective import quality
from nst_core.results import Style, StyleResult

Draw = Callable[[int, int, int], np.ndarray]

LAYERS = ("block1_conv1", "block2_conv1")
# One evaluation of L-BFGS is that of the start: the result is the content.
UNTOUCHED = StyleConfig().updated(
    {
        "weights": "procedural",
        "image_size": 64,
        "scales": [1],
        "steps": 1,
        "content_colors": "own",
        "content_layers": {"block2_conv1": 1},
        "style_layers": dict.fromkeys(LAYERS, 1),
    }
)


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return StyleEngine(procedural, padding="zero", precision="float32", device="cpu")


class TestSimilarity:
    def test_of_an_image_to_itself_is_one(self, draw: Draw) -> None:
        picture = draw(40, 30, 1)
        assert quality.structural_similarity(picture, picture) == pytest.approx(1, abs=1e-12)

    def test_is_that_of_tensorflow(self, draw: Draw) -> None:
        one = draw(60, 41, 1)
        noise = np.random.default_rng(0).normal(0, 25, one.shape)
        for other in (draw(60, 41, 2), np.clip(one + noise, 0, 255), 255 - one):
            found = quality.structural_similarity(one, other)
            grey = (quality.luminance_of(image)[None, :, :, None] for image in (one, other))
            assert found == pytest.approx(float(tf.image.ssim(*grey, 255.0)[0]), abs=1e-4)
            assert found == pytest.approx(quality.structural_similarity(other, one), abs=1e-12)

    def test_of_two_flat_images_compares_their_brightness(self) -> None:
        dark, bright = (np.full((20, 20, 3), value, np.float32) for value in (50, 100))
        constant = (0.01 * 255) ** 2
        expected = (2 * 50 * 100 + constant) / (50**2 + 100**2 + constant)
        assert quality.structural_similarity(dark, bright) == pytest.approx(expected, abs=1e-6)


class TestGramErrors:
    def test_are_relative_frobenius_norms(self) -> None:
        style = {"a": np.array([[3.0, 0.0], [0.0, 4.0]]), "b": np.eye(2)}
        found = {"a": np.zeros((2, 2)), "b": np.array([[1.0, 0.0], [0.0, 3.0]])}
        assert quality.gram_errors(found, style) == pytest.approx({"a": 1.0, "b": np.sqrt(2)})
        assert quality.gram_errors(style, style) == {"a": 0.0, "b": 0.0}

    def test_of_a_style_without_energy_are_finite(self) -> None:
        flat = {"a": np.zeros((2, 2))}
        assert quality.gram_errors(flat, flat) == {"a": 0.0}

    def test_several_styles_mix_by_weight(self) -> None:
        mixed = quality.mean_grams([{"a": np.zeros((2, 2))}, {"a": np.ones((2, 2))}], [1, 3])
        np.testing.assert_allclose(mixed["a"], 0.75)


class TestResults:
    @pytest.mark.parametrize("statistics", ["gram", "covariance"])
    def test_a_style_as_its_own_result_has_no_error_whatever_is_optimised(
        self, engine: StyleEngine, draw: Draw, statistics: str
    ) -> None:
        picture = draw(64, 64, 1)
        config = UNTOUCHED.updated({"style_statistics": statistics})
        found = engine.stylize(picture, [Style(picture)], config).quality
        assert found.gram_errors == pytest.approx(dict.fromkeys(LAYERS, 0), abs=1e-5)
        assert found.ssim == pytest.approx(1)

    def test_the_style_comes_nearer_and_the_content_goes_further(
        self, engine: StyleEngine, draw: Draw
    ) -> None:
        content, style = draw(64, 50, 1), Style(draw(64, 64, 2))
        before = engine.stylize(content, [style], UNTOUCHED).quality
        after = engine.stylize(content, [style], UNTOUCHED.updated({"steps": 30})).quality
        for layer in LAYERS:
            assert after.gram_errors[layer] < 0.5 * before.gram_errors[layer]
        assert 0 < after.ssim < 0.95 * before.ssim

    def test_are_those_of_the_colours_that_come_out(self, engine: StyleEngine, draw: Draw) -> None:
        content, style = draw(64, 64, 1), Style(draw(64, 64, 2))
        config = UNTOUCHED.updated({"content_colors": "style"})
        plain, kept = (
            engine.stylize(content, [style], config.updated({"preserve_colors": colors})).quality
            for colors in ("none", "luminance")
        )
        assert kept.gram_errors["block1_conv1"] > plain.gram_errors["block1_conv1"]

    def test_do_not_depend_on_the_batch(self, engine: StyleEngine, draw: Draw) -> None:
        several = [draw(64, 64, 1), draw(64, 40, 2)]
        style = Style(draw(80, 64, 9))
        together = engine.stylize_batch(several, [style], UNTOUCHED)
        for content, found in zip(several, together, strict=True):
            assert isinstance(found, StyleResult)
            alone = engine.stylize(content, [style], UNTOUCHED).quality
            assert found.quality.gram_errors == pytest.approx(alone.gram_errors, rel=1e-4)
            assert found.quality.ssim == pytest.approx(alone.ssim, rel=1e-4)
