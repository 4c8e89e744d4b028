"""What `StyleEngine` promises: reproducible, batch-blind, careful, and clear when it fails."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core import batch, colors, device, images, program
from nst_core import engine as engine_module
from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.engine import StyleEngine
from nst_core.errors import (
    DeadlineExceeded,
    DeviceError,
    Diverged,
    InputTooSmall,
    OutOfMemory,
    PairError,
    WeightsError,
)
from nst_core.results import LOG_COLUMNS, Progress, Style, StyleResult
from nst_core.weights import VggWeights

Draw = Callable[[int, int, int], np.ndarray]

# Small and shallow: what is tested here does not depend on depth.
QUICK = StyleConfig().updated(
    {
        "weights": "procedural",
        "image_size": 64,
        "scales": [1],
        "steps": 20,
        "content_colors": "own",
        "content_layers": {"block3_conv2": 1},
        "style_layers": {"block1_conv1": 1, "block2_conv1": 1, "block3_conv1": 1},
    }
)
HAS_GPU = bool(tf.config.list_physical_devices("GPU"))


def quick(**changes: Any) -> StyleConfig:
    return QUICK.updated(changes)


def new_engine(weights: VggWeights, precision: str = "float32") -> StyleEngine:
    # With zero padding TensorFlow's convolutions have the same bits in every batch, whatever the
    # count of threads; with reflect padding, only where there are few.
    return StyleEngine(weights, padding="zero", precision=precision, device="cpu")


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return new_engine(procedural)


@pytest.fixture(scope="module")
def rough_engine(procedural: VggWeights) -> StyleEngine:
    """In bfloat16."""
    return new_engine(procedural, "bfloat16")


@pytest.fixture(scope="module")
def contents(draw: Draw) -> list[np.ndarray]:
    return [draw(64, 64, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def style(draw: Draw) -> Style:
    return Style(draw(80, 64, 9))


def pictures(results: Sequence[StyleResult | PairError]) -> list[np.ndarray]:
    for result in results:
        if isinstance(result, PairError):
            raise result
    return [result.image for result in results if isinstance(result, StyleResult)]


def totals(result: StyleResult) -> np.ndarray:
    return np.array([result.losses.terms(i)["total"] for i in range(result.steps)])


def out_of_memory(*_: Any) -> Any:
    raise tf.errors.ResourceExhaustedError(None, None, "no memory left")


def assert_one_sentence(error: object, *parts: str) -> None:
    message = str(error)
    assert "\n" not in message
    assert message.endswith(".")
    for part in parts:
        assert part in message


class TestOneImage:
    def test_the_loss_falls_and_the_log_tells_of_every_step(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        result = engine.stylize(contents[0], [style], QUICK)
        losses = totals(result)
        assert len(losses) == result.steps == 20
        assert losses[-1] < 0.4 * losses[0]
        assert (np.diff(losses) <= 1e-6 * losses[:-1]).all()
        assert result.losses.columns[: len(LOG_COLUMNS)] == LOG_COLUMNS
        assert [row[0] for row in result.losses.rows] == list(range(1, 21))
        seconds = [row[4] for row in result.losses.rows]
        assert seconds == sorted(seconds)
        terms = result.losses.terms(-1)
        assert terms["total"] == pytest.approx(terms["content"] + terms["style"] + terms["tv"])
        by_layer = sum(value for name, value in terms.items() if name.startswith("style/"))
        assert terms["style"] == pytest.approx(by_layer)

    def test_the_result_has_the_contents_resized_size_although_the_canvas_is_padded(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        result = engine.stylize(draw(150, 110, 4), [style], quick(steps=3))
        assert result.canvas == Size(64, 64)
        assert result.image.shape == (46, 64, 3)
        assert result.image.dtype == np.float32
        assert result.image.min() >= 0
        assert result.image.max() <= 255
        assert (result.precision, result.device, result.batch) == ("float32", "/CPU:0", 1)
        assert not result.retried
        assert result.seconds > 0

    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_the_same_call_gives_the_same_pixels(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, optimizer: str
    ) -> None:
        config = quick(optimizer=optimizer)
        first, second = (engine.stylize(contents[0], [style], config) for _ in range(2))
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(totals(first), totals(second))

    def test_another_engine_gives_the_same_pixels(
        self,
        engine: StyleEngine,
        procedural: VggWeights,
        contents: list[np.ndarray],
        style: Style,
    ) -> None:
        found = new_engine(procedural).stylize(contents[0], [style], QUICK)
        np.testing.assert_array_equal(
            found.image, engine.stylize(contents[0], [style], QUICK).image
        )

    def test_bfloat16_gives_the_same_pixels_again_and_a_loss_near_float32s(
        self,
        engine: StyleEngine,
        rough_engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
    ) -> None:
        config = quick(steps=40)
        first, second = (rough_engine.stylize(contents[0], [style], config) for _ in range(2))
        np.testing.assert_array_equal(first.image, second.image)
        assert first.precision == "bfloat16"
        exact = engine.stylize(contents[0], [style], config)
        assert totals(first)[-1] == pytest.approx(totals(exact)[-1], rel=0.05)

    def test_adam_lowers_the_loss_and_averages_its_iterates(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        last = engine.stylize(contents[0], [style], quick(optimizer="adam", steps=30))
        averaged = engine.stylize(
            contents[0], [style], quick(optimizer="adam", steps=30, average_decay=0.9)
        )
        assert totals(last)[-1] < 0.5 * totals(last)[0]
        np.testing.assert_allclose(totals(averaged), totals(last), rtol=1e-5)
        difference = np.abs(averaged.image - last.image)
        assert 0.1 < difference.mean() < 10

    def test_pixels_may_leave_their_range_between_steps_but_not_in_the_result(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        bright = np.clip(contents[0].astype(np.float32) + 120, 0, 255)
        own = {"steps": 10, "content_colors": "own"}
        clipped = engine.stylize(bright, [style], quick(**own))
        free = engine.stylize(bright, [style], quick(**own, clip_pixels=False))
        assert np.abs(clipped.image - free.image).max() > 0
        assert free.image.min() >= 0
        assert free.image.max() <= 255

    def test_the_content_enters_in_the_styles_colours(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(content_colors="style", steps=1)
        found = engine.stylize(contents[0], [style], config).image
        mean, covariance = colors.color_statistics(style.rgb)
        np.testing.assert_array_equal(found, colors.with_colors(contents[0], mean, covariance))
        assert np.abs(found.mean(axis=(0, 1)) - mean).max() < 5
        own = engine.stylize(contents[0], [style], quick(steps=1)).image
        np.testing.assert_array_equal(own, contents[0])

    def test_luminance_only_keeps_the_contents_colours(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(preserve_colors="luminance")
        image = engine.stylize(contents[0], [style], config).image
        assert np.abs(image - contents[0]).mean() > 3
        inside = ((image > 0) & (image < 255)).all(axis=2)
        assert inside.mean() > 0.5
        # With the chroma kept, all three channels move by the same amount.
        shift = (image - contents[0])[inside]
        np.testing.assert_allclose(shift, shift[:, :1].repeat(3, axis=1), atol=1e-3)

    @pytest.mark.parametrize("way", ["covariance", "histogram"])
    def test_the_style_in_the_contents_colours_keeps_them(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, way: str
    ) -> None:
        reddish = [np.clip(one * [1.0, 0.6, 0.3], 0, 255).astype(np.uint8) for one in contents]
        bluish = dataclasses.replace(style, rgb=(style.rgb * [0.3, 0.5, 1.0]).astype(np.uint8))
        config = quick(preserve_colors=way, content_colors="style", steps=10)
        together = pictures(engine.stylize_batch(reddish, [bluish], config))
        plain = engine.stylize(reddish[0], [bluish], quick(steps=10)).image
        for content, found in zip(reddish, together, strict=True):
            own = content.mean(axis=(0, 1))
            assert np.abs(found.mean(axis=(0, 1)) - own).max() < 12
            assert np.abs(found - content).mean() > 3
            # Every content has a style of its own, whatever batch it comes in.
            np.testing.assert_array_equal(engine.stylize(content, [bluish], config).image, found)
        own = reddish[0].mean(axis=(0, 1))
        kept, lost = (np.abs(one.mean(axis=(0, 1)) - own).max() for one in (together[0], plain))
        assert kept < lost / 2

    def test_the_notebook_recipe_runs(
        self, procedural: VggWeights, draw: Draw, style: Style
    ) -> None:
        from nst_core.config import preset

        config = preset("notebook").updated({"image_height": 48, "steps": 10})
        engine = StyleEngine(procedural, pooling="max", padding="zero", precision="float32")
        result = engine.stylize(draw(130, 100, 4), [style], config)
        assert result.image.shape == (48, 62, 3)
        assert result.canvas == Size(62, 48)
        assert totals(result)[-1] < totals(result)[0]

    def test_a_very_narrow_style_is_measured_all_the_same(
        self, engine: StyleEngine, contents: list[np.ndarray], draw: Draw
    ) -> None:
        narrow = Style(draw(200, 60, 5))
        result = engine.stylize(contents[0], [narrow], quick(steps=2))
        assert np.isfinite(result.image).all()


class TestStart:
    def test_noise_is_reproducible_and_depends_on_the_seed(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        one, again, other = (
            engine.stylize(contents[0], [style], quick(init="noise", seed=seed, steps=5)).image
            for seed in (7, 7, 8)
        )
        np.testing.assert_array_equal(one, again)
        assert np.abs(one - other).mean() > 5

    def test_noise_may_have_the_styles_colours(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        dark = dataclasses.replace(style, rgb=style.rgb // 2 + 30)
        config = quick(init="style_statistics", steps=1)
        start = engine.stylize(contents[0], [dark], config).image
        mean, covariance = colors.color_statistics(dark.rgb)
        found_mean, found = colors.color_statistics(start)
        np.testing.assert_allclose(found_mean, mean, atol=3)
        np.testing.assert_allclose(found, covariance, atol=0.15 * covariance.max())
        other = engine.stylize(contents[0], [dark], config.updated({"seed": 1})).image
        assert np.abs(start - other).mean() > 5
        together = pictures(engine.stylize_batch(contents, [dark], config))
        np.testing.assert_array_equal(together[0], start)

    def test_noise_is_the_same_in_a_batch(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(init="noise", steps=1)
        alone = engine.stylize(contents[1], [style], config).image
        together = pictures(engine.stylize_batch(contents, [style], config))
        np.testing.assert_array_equal(together[1], alone)

    def test_a_given_image_is_the_start(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, draw: Draw
    ) -> None:
        start = draw(50, 50, 11)
        config = quick(init="start.png", steps=1)
        # The only evaluation of L-BFGS's first step is that of the start itself.
        found = engine.stylize(contents[0], [style], config, init=start)
        np.testing.assert_allclose(found.image, images.resize(start, 64, 64, "lanczos"), atol=1e-3)

    def test_each_image_of_a_batch_has_its_own_start(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, draw: Draw
    ) -> None:
        starts = [draw(64, 64, seed) for seed in (21, 22, 23)]
        config = quick(init="start.png", steps=1)
        found = pictures(engine.stylize_batch(contents, [style], config, inits=starts))
        np.testing.assert_allclose(found, starts, atol=1e-3)


class TestBatches:
    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_an_image_does_not_depend_on_its_neighbours_or_their_order(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, optimizer: str
    ) -> None:
        # To the bit: where images part by rounding, optimisations part by more.
        config = quick(steps=15, optimizer=optimizer)
        together = pictures(engine.stylize_batch(contents, [style], config))
        turned = pictures(engine.stylize_batch(contents[::-1], [style], config))[::-1]
        for content, one, other in zip(contents, together, turned, strict=True):
            alone = engine.stylize(content, [style], config).image
            np.testing.assert_array_equal(one, alone)
            np.testing.assert_array_equal(other, alone)

    @pytest.mark.parametrize("statistics", ["gram", "covariance", "wasserstein"])
    def test_nor_with_every_layer_and_scale_in_bfloat16(
        self, rough_engine: StyleEngine, draw: Draw, style: Style, statistics: str
    ) -> None:
        config = StyleConfig().updated(
            {"image_size": 64, "steps": [6, 3], "style_statistics": statistics}
        )
        several = [draw(96, 70, 1), draw(96, 90, 2)]
        together = pictures(rough_engine.stylize_batch(several, [style], config))
        for content, found in zip(several, together, strict=True):
            alone = rough_engine.stylize(content, [style], config).image
            np.testing.assert_array_equal(found, alone)

    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_nor_by_more_than_rounding_with_reflect_padding(
        self, procedural: VggWeights, contents: list[np.ndarray], style: Style, optimizer: str
    ) -> None:
        engine = StyleEngine(procedural, padding="reflect", precision="float32", device="cpu")
        config = quick(steps=10, optimizer=optimizer)
        together = pictures(engine.stylize_batch(contents, [style], config))
        for content, found in zip(contents, together, strict=True):
            alone = engine.stylize(content, [style], config).image
            np.testing.assert_allclose(found, alone, atol=1)

    def test_contents_of_several_sizes_share_a_canvas(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        several = [draw(64, 40, 1), draw(64, 64, 2), draw(100, 80, 3)]
        results = engine.stylize_batch(several, [style], quick(steps=10))
        assert [found.shape[:2] for found in pictures(results)] == [(40, 64), (64, 64), (51, 64)]
        for content, found in zip(several, pictures(results), strict=True):
            alone = engine.stylize(content, [style], quick(steps=10))
            np.testing.assert_array_equal(found, alone.image)
        assert {r.batch for r in results if isinstance(r, StyleResult)} == {3}

    def test_contents_of_several_canvases_are_no_batch(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        with pytest.raises(ValueError, match=r"64x32.*64x64"):
            engine.stylize_batch([draw(64, 30, 1), draw(64, 64, 2)], [style], QUICK)
        stretched = quick(style_fit="stretch")
        with pytest.raises(ValueError, match=r"64x50.*64x64"):
            engine.stylize_batch([draw(64, 50, 1), draw(64, 64, 2)], [style], stretched)
        with pytest.raises(ValueError, match="0 styles"):
            engine.stylize_batch([draw(64, 64, 2)], [], QUICK)

    def test_a_content_that_is_too_narrow_is_named(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        with pytest.raises(InputTooSmall) as caught:
            engine.stylize_batch([draw(200, 20, 1)], [style], QUICK, names=["gs://b/ribbon.png"])
        assert_one_sentence(caught.value, "gs://b/ribbon.png is 200x20 px", "64x6 px")

    def test_a_style_that_is_too_narrow_fails_its_pairs(
        self, engine: StyleEngine, contents: list[np.ndarray], draw: Draw
    ) -> None:
        narrow = Style(draw(200, 20, 1), name="gs://b/ribbon.png")
        for error in engine.stylize_batch(contents, [narrow], QUICK):
            assert isinstance(error, InputTooSmall)
            assert_one_sentence(error, "The style gs://b/ribbon.png is 200x20 px", "style_scale")


class TestStyles:
    def test_targets_are_computed_once_per_style_and_size(
        self, procedural: VggWeights, contents: list[np.ndarray], style: Style, draw: Draw
    ) -> None:
        engine = new_engine(procedural)
        for _ in range(3):
            engine.stylize_batch(contents, [style], quick(steps=1))
        assert (engine.style_passes, engine.batches) == (1, 3)
        # Neither weights nor the content's shape are a reason to measure the style again.
        engine.stylize(draw(64, 40, 1), [style], quick(steps=1, style_weight=3))
        assert engine.style_passes == 1
        engine.stylize(contents[0], [style], quick(steps=1, image_size=80))
        assert engine.style_passes == 2
        engine.stylize(contents[0], [style], quick(steps=1, scales=[0.5, 1]))
        assert engine.style_passes == 3
        engine.stylize(contents[0], [Style(draw(80, 64, 10))], quick(steps=1))
        assert engine.style_passes == 4

    def test_forgotten_targets_are_computed_again(
        self,
        procedural: VggWeights,
        contents: list[np.ndarray],
        draw: Draw,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(engine_module, "STYLE_CACHE_ENTRIES", 2)
        engine = new_engine(procedural)
        for seed in (1, 2, 1, 3, 1, 2):
            engine.stylize(contents[0], [Style(draw(64, 64, seed))], quick(steps=1))
        assert engine.style_passes == 4

    def test_several_styles_mix_by_weight(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, draw: Draw
    ) -> None:
        other = Style(draw(64, 64, 10), weight=2)
        single = engine.stylize(contents[0], [style], QUICK).image
        mixed = engine.stylize(contents[0], [style, other], QUICK).image
        turned = engine.stylize(contents[0], [other, style], QUICK).image
        without = dataclasses.replace(other, weight=0)
        same = engine.stylize(contents[0], [style, without], QUICK).image
        assert np.abs(mixed - single).mean() > 1
        np.testing.assert_allclose(turned, mixed, atol=1e-3)
        np.testing.assert_array_equal(same, single)

    def test_a_stretched_style_is_measured_at_the_contents_size(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(style_fit="stretch", steps=5)
        kept = engine.stylize(contents[0], [style], quick(steps=5)).image
        stretched = engine.stylize(contents[0], [style], config).image
        # A style that has been stretched beforehand needs no stretching.
        square = Style(images.resize(style.rgb, 64, 64, "lanczos"))
        np.testing.assert_allclose(
            engine.stylize(contents[0], [square], quick(steps=5)).image, stretched, atol=1e-3
        )
        assert np.abs(stretched - kept).mean() > 0.1


class TestScales:
    def test_the_log_has_the_steps_of_every_scale(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        config = quick(image_size=96, scales=[0.5, 1], steps=[7, 4])
        result = engine.stylize(draw(96, 60, 1), [style], config)
        assert result.canvas == Size(96, 64)
        rows = [row[:4] for row in result.losses.rows]
        coarse = [(step, 0.5, 48, 32) for step in range(1, 8)]
        assert rows == coarse + [(step, 1.0, 96, 64) for step in range(8, 12)]
        assert [row[4] for row in result.losses.rows] == sorted(
            row[4] for row in result.losses.rows
        )
        assert result.image.shape == (60, 96, 3)

    def test_a_scale_starts_where_the_coarser_one_ended(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(image_size=96, scales=[0.5, 1], steps=[40, 1])
        fine = totals(engine.stylize(contents[0], [style], config))
        cold = totals(engine.stylize(contents[0], [style], quick(image_size=96, steps=1)))
        assert fine[-1] < 0.8 * cold[0]

    def test_progress_rises_to_the_end(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(program, "SECONDS_PER_CALL", 0.0)
        seen: list[Progress] = []
        config = quick(scales=[0.5, 1], steps=[6, 4])
        engine.stylize_batch(contents, [style], config, progress=seen.append)
        assert [progress.step for progress in seen] == list(range(1, 11))
        assert {progress.steps for progress in seen} == {10}
        assert [progress.scale for progress in seen] == [0.5] * 6 + [1.0] * 4
        assert all(len(progress.totals) == 3 for progress in seen)


class TestTolerance:
    def test_it_ends_a_scale_early_however_the_steps_are_cut_into_calls(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        config = quick(steps=200, tolerance=0.3)
        results = []
        for seconds in (0.0, 0.3, 1e9):
            monkeypatch.setattr(program, "SECONDS_PER_CALL", seconds)
            results.append(engine.stylize(contents[0], [style], config))
        assert {result.steps for result in results} <= {40, 60, 80, 100}
        for result in results[1:]:
            assert result.steps == results[0].steps
            np.testing.assert_array_equal(result.image, results[0].image)

    def test_it_ends_each_image_of_a_batch_when_that_image_has_settled(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(steps=80, tolerance=0.1)
        done = engine.stylize(contents[1], [style], quick(steps=80)).image
        several, starts = contents[:2], [contents[0].astype(np.float32), done]
        together = engine.stylize_batch(several, [style], config, inits=starts)
        steps = []
        for content, start, found in zip(several, starts, together, strict=True):
            alone = engine.stylize(content, [style], config, init=start)
            assert isinstance(found, StyleResult)
            assert found.steps == alone.steps
            np.testing.assert_array_equal(found.image, alone.image)
            steps.append(found.steps)
        assert steps[0] > steps[1] == 40

    @pytest.mark.parametrize(("optimizer", "steps"), [("lbfgs", 60), ("adam", 100)])
    def test_lbfgs_ends_where_nothing_lower_is_found(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        optimizer: str,
        steps: int,
    ) -> None:
        nothing_to_gain = {"style_weight": 0, "tv_weight": 0, "content_colors": "own"}
        config = quick(steps=100, optimizer=optimizer, **nothing_to_gain)
        assert engine.stylize(contents[0], [style], config).steps == steps

    def test_without_it_every_step_is_taken(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        assert engine.stylize(contents[0], [style], quick(steps=70)).steps == 70


class TestFailures:
    def test_a_passed_deadline_fails_the_pairs_with_one_sentence(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(steps=100_000, deadline_seconds=0.05)
        before = time.monotonic()
        results = engine.stylize_batch(contents, [style], config)
        assert time.monotonic() - before < 20
        assert len(results) == 3
        for error in results:
            assert isinstance(error, DeadlineExceeded)
            assert_one_sentence(error, "deadline_seconds (0.05)", "of 100000")
        with pytest.raises(DeadlineExceeded):
            engine.stylize(contents[0], [style], config)

    def test_a_deadline_that_is_kept_changes_nothing(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        kept = engine.stylize(contents[0], [style], quick(deadline_seconds=500)).image
        np.testing.assert_array_equal(kept, engine.stylize(contents[0], [style], QUICK).image)

    def test_a_loss_without_end_is_tried_once_more_and_then_diverged(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fine = engine.stylize(contents[0], [style], QUICK).image
        tried: list[tuple[int, float]] = []
        follow = batch.follow

        def watched(program: Any, start: Any, targets: Any, config: StyleConfig, *more: Any) -> Any:
            tried.append((len(start), config.learning_rate))
            return follow(program, start, targets, config, *more)

        monkeypatch.setattr(batch, "follow", watched)
        config = quick(content_weight=1e38, normalization="none", init="noise", steps=5)
        results = engine.stylize_batch(
            contents[:2], [style], config, names=["gs://b/a.png", "gs://b/b.png"]
        )
        assert tried == [(2, 4.0), (1, 1.0), (1, 1.0)]
        for name, error in zip("ab", results, strict=True):
            assert isinstance(error, Diverged)
            assert_one_sentence(error, f"gs://b/{name}.png", "twice", "content_weight")
        np.testing.assert_array_equal(engine.stylize(contents[0], [style], QUICK).image, fine)

    @pytest.mark.parametrize(
        ("optimizer", "content_colors"), [("lbfgs", "own"), ("adam", "own"), ("lbfgs", "style")]
    )
    def test_an_image_that_is_no_number_fails_alone(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        optimizer: str,
        content_colors: str,
    ) -> None:
        config = quick(optimizer=optimizer, content_colors=content_colors, scales=[0.5, 1])
        broken = contents[1].astype(np.float32)
        broken[10, 10] = np.nan
        results = engine.stylize_batch([contents[0], broken, contents[2]], [style], config)
        assert isinstance(results[1], Diverged)
        whole = pictures(engine.stylize_batch(contents, [style], config))
        for index in (0, 2):
            (found,) = pictures([results[index]])
            np.testing.assert_array_equal(found, whole[index])

    def test_a_retry_that_succeeds_says_so(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        follow = batch.follow
        calls: list[int] = []

        def broken_at_first(*arguments: Any) -> Any:
            course = follow(*arguments)
            calls.append(len(course.failed))
            failed = np.array([True, False]) if len(calls) == 1 else course.failed
            return dataclasses.replace(course, failed=failed)

        monkeypatch.setattr(batch, "follow", broken_at_first)
        results = engine.stylize_batch(contents[:2], [style], quick(steps=5))
        assert [r.retried for r in results if isinstance(r, StyleResult)] == [True, False]
        assert calls == [2, 1]

    def test_a_batch_that_does_not_fit_into_memory_is_halved(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = pictures(engine.stylize_batch(contents, [style], QUICK))
        follow = batch.follow

        def small_memory(program: Any, start: Any, *more: Any) -> Any:
            return out_of_memory() if len(start) > 1 else follow(program, start, *more)

        monkeypatch.setattr(batch, "follow", small_memory)
        results = engine.stylize_batch(contents, [style], QUICK)
        assert [r.batch for r in results if isinstance(r, StyleResult)] == [1, 1, 1]
        np.testing.assert_array_equal(pictures(results), whole)

    def test_an_image_that_does_not_fit_alone_fails_alone(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(batch, "follow", out_of_memory)
        results = engine.stylize_batch(contents[:2], [style], QUICK, names=["a.png", "b.png"])
        for name, error in zip(("a.png", "b.png"), results, strict=True):
            assert isinstance(error, OutOfMemory)
            assert_one_sentence(error, name, "64x64 px", "image_size")
            # Its frames would keep the batch's tensors in memory.
            assert error.__traceback__ is None

    def test_a_retry_that_does_not_fit_into_memory_fails_its_image_alone(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        follow = batch.follow

        def fails_then_exhausts(program: Any, start: Any, *more: Any) -> Any:
            if len(start) == 1:
                return out_of_memory()
            return dataclasses.replace(
                follow(program, start, *more), failed=np.array([False, True])
            )

        monkeypatch.setattr(batch, "follow", fails_then_exhausts)
        fine, failed = engine.stylize_batch(contents[:2], [style], quick(steps=3))
        assert isinstance(fine, StyleResult)
        assert isinstance(failed, OutOfMemory)

    def test_weights_that_cannot_be_had_stop_the_engine(self) -> None:
        with pytest.raises(WeightsError, match="does not exist"):
            StyleEngine("no/such/file.h5", device="cpu")


class TestDevice:
    @pytest.mark.skipif(HAS_GPU, reason="TensorFlow sees a GPU")
    def test_a_gpu_that_is_demanded_and_not_there_stops_the_engine(
        self, procedural: VggWeights
    ) -> None:
        with pytest.raises(DeviceError) as caught:
            StyleEngine(procedural, device="gpu")
        assert_one_sentence(caught.value, "device is gpu", "set device to auto or cpu")

    @pytest.mark.skipif(not HAS_GPU, reason="needs a GPU, and TensorFlow sees none")
    def test_a_gpu_gives_nearly_the_cpus_loss(
        self, engine: StyleEngine, procedural: VggWeights, contents: list[np.ndarray], style: Style
    ) -> None:
        on_gpu = StyleEngine(procedural, precision="float32", device="gpu")
        found = on_gpu.stylize(contents[0], [style], QUICK)
        expected = engine.stylize(contents[0], [style], QUICK)
        assert found.device == device.GPU
        np.testing.assert_allclose(totals(found)[:3], totals(expected)[:3], rtol=1e-2)
        assert totals(found)[-1] == pytest.approx(totals(expected)[-1], rel=0.05)

    @pytest.mark.parametrize(("precision", "at_once"), [("float32", 1), ("bfloat16", 3)])
    def test_a_gpu_takes_images_one_by_one_in_float32_and_together_in_bfloat16(
        self,
        procedural: VggWeights,
        contents: list[np.ndarray],
        style: Style,
        precision: str,
        at_once: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Where there is no GPU, TensorFlow places its operations on the processor.
        monkeypatch.setattr(engine_module, "choose_device", lambda _: device.GPU)
        monkeypatch.setattr(batch, "available_memory", lambda _: np.inf)
        config = quick(
            content_layers={"block1_conv2": 1}, style_layers={"block1_conv1": 1}, steps=2
        )
        on_gpu = StyleEngine(procedural, precision=precision)
        results = on_gpu.stylize_batch(contents, [style], config)
        pictures(results)
        assert [result.batch for result in results if isinstance(result, StyleResult)] == [
            at_once
        ] * len(contents)

    @pytest.mark.skipif(not HAS_GPU, reason="needs a GPU, and TensorFlow sees none")
    def test_on_a_gpu_too_an_image_does_not_depend_on_its_neighbours(
        self, procedural: VggWeights, contents: list[np.ndarray], style: Style
    ) -> None:
        on_gpu = StyleEngine(procedural, precision="float32", device="gpu")
        config = quick(steps=50)
        together = pictures(on_gpu.stylize_batch(contents, [style], config))
        alone = on_gpu.stylize(contents[1], [style], config).image
        np.testing.assert_allclose(together[1], alone, atol=1)

    def test_auto_takes_bfloat16_where_the_processor_computes_in_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for computes, expected in ((True, "bfloat16"), (False, "float32")):
            monkeypatch.setattr(device, "cpu_has_bfloat16", lambda computes=computes: computes)
            assert device.choose_precision("auto", device.CPU) == expected
            assert device.choose_precision("float32", device.CPU) == "float32"

    def test_a_configuration_chooses_its_engine(self, procedural: VggWeights) -> None:
        config = quick(pooling="max", padding="zero", precision="bfloat16", device="cpu")
        found = StyleEngine.for_config(config, procedural)
        assert (found.pooling, found.padding, found.precision) == ("max", "zero", "bfloat16")
        assert found.device == device.CPU
        assert found.weights is procedural

    def test_the_compiled_program_of_gpus_gives_the_same_numbers(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(
            content_layers={"block2_conv1": 1},
            style_layers={"block1_conv1": 1, "block2_conv1": 1},
            steps=8,
        )
        plain = engine.program(config, "float32")
        compiled = program.Program(
            plain.objective, program.optimizer_for(config, "float32"), xla=True
        )
        start = np.stack(contents[:2]).astype(np.float32)
        targets = {
            "content": plain.content_targets(tf.constant(start)),
            "style": plain.style_targets(tf.constant(style.rgb[None], tf.float32)),
        }
        courses = [
            program.follow(one, start, targets, config, 8, np.inf, lambda *_: None)
            for one in (plain, compiled)
        ]
        np.testing.assert_allclose(courses[1].terms, courses[0].terms, rtol=1e-3, atol=1e-9)
        np.testing.assert_allclose(courses[1].images, courses[0].images, atol=1)
