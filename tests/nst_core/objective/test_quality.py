"""Quality numbers against known cases, NumPy in float64, and images that are their own style."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        "padding": "zero",
        "content_colors": "own",
        "content_layers": {"block2_conv1": 1},
        "style_layers": dict.fromkeys(LAYERS, 1),
    }
)


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return StyleEngine(procedural, padding="zero", precision="float32", device="cpu")


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    pair = (tf.constant(image[None], tf.float32) for image in (one, other))
    return float(quality.structural_similarity(*pair)[0])


def similarity_by_numpy(one: np.ndarray, other: np.ndarray) -> float:
    """Wang et al. 2004 in float64, one axis of the window after the other."""
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))

    def windowed(x: np.ndarray) -> np.ndarray:
        for _ in range(2):
            x = np.lib.stride_tricks.sliding_window_view(x, 11, axis=0) @ weights / weights.sum()
            x = x.T
        return x

    x, y = (image.astype(np.float64) @ [0.299, 0.587, 0.114] for image in (one, other))
    mean_x, mean_y = windowed(x), windowed(y)
    variances = windowed(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = windowed(x * y) - mean_x * mean_y
    means, spreads = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + means) / (mean_x**2 + mean_y**2 + means)
    return float(np.mean(luminance * (2 * covariance + spreads) / (variances + spreads)))


class TestSimilarity:
    def test_of_an_image_to_itself_is_one(self, draw: Draw) -> None:
        picture = draw(40, 30, 1)
        assert similarity(picture, picture) == pytest.approx(1, abs=1e-6)

    def test_is_that_of_the_paper(self, draw: Draw) -> None:
        one = draw(60, 41, 1)
        noise = np.random.default_rng(0).normal(0, 25, one.shape)
        bright = np.clip(one / 8 + 220, 0, 255)
        for other in (draw(60, 41, 2), np.clip(one + noise, 0, 255), 255 - one, bright):
            found = similarity(one, other)
            assert found == pytest.approx(similarity_by_numpy(one, other), abs=1e-4)
            assert found == pytest.approx(similarity(other, one), abs=1e-5)

    def test_of_two_flat_images_compares_their_brightness(self) -> None:
        dark, bright = (np.full((20, 20, 3), value, np.float32) for value in (50, 100))
        constant = (0.01 * 255) ** 2
        expected = (2 * 50 * 100 + constant) / (50**2 + 100**2 + constant)
        assert similarity(dark, bright) == pytest.approx(expected, abs=1e-4)

    def test_has_the_same_bits_in_any_batch(self, draw: Draw) -> None:
        ones, others = (
            tf.constant(np.stack([draw(40, 30, seed) for seed in seeds]), tf.float32)
            for seeds in ((1, 2, 3), (4, 5, 6))
        )
        together = quality.structural_similarity(ones, others).numpy()
        for index, found in enumerate(together):
            part = slice(index, index + 1)
            assert quality.structural_similarity(ones[part], others[part]).numpy() == found


def gram_errors(found: list[Any], styles: list[Any], shares: list[Any]) -> np.ndarray:
    tensors = (tf.constant(one, tf.float32) for one in (found, styles, shares))
    errors: np.ndarray = quality.gram_errors(*tensors).numpy()
    return errors


class TestGramErrors:
    def test_are_relative_frobenius_norms(self) -> None:
        style = [[3.0, 0.0], [0.0, 4.0]]
        found = [np.zeros((2, 2)), style, [[3.0, 3.0], [4.0, 4.0]]]
        np.testing.assert_allclose(gram_errors(found, [style], [[2.0]] * 3), [1, 0, 1], rtol=1e-6)

    def test_of_a_style_without_energy_are_finite(self) -> None:
        flat = [np.zeros((2, 2))]
        assert gram_errors(flat, flat, [[1.0]]) == 0

    def test_several_styles_mix_by_the_shares_that_they_have_in_an_image(self) -> None:
        styles = [np.zeros((2, 2)), np.ones((2, 2))]
        found = [np.full((2, 2), 0.75), np.full((2, 2), 0.75), np.full((2, 2), 0.5)]
        shares = [[1.0, 3.0], [0.0, 2.0], [2.0, 2.0]]
        np.testing.assert_allclose(gram_errors(found, styles, shares), [0, 0.25, 0], atol=1e-6)

    def test_are_those_of_numpy_in_float64_and_have_the_same_bits_in_any_batch(self) -> None:
        generator = np.random.default_rng(0)
        features = generator.uniform(0, 1e3, (4, 200, 40))
        found = np.einsum("bpc,bpd->bcd", features, features) / 200
        style, shares = found[3:], [[1.0]]
        errors = gram_errors(list(found[:3]), list(style), shares * 3)
        norms = np.linalg.norm(found[:3] - style, axis=(1, 2)) / np.linalg.norm(style)
        np.testing.assert_allclose(errors, norms, rtol=1e-5)
        for index, error in enumerate(errors):
            assert gram_errors([found[index]], list(style), shares) == error


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
