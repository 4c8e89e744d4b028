"""What `StyleEngine` promises: reproducible, batch-blind, careful, and clear when it fails."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nst_core.canvas import Size
from nst_core.engine.style_engine import StyleEngine
from nst_core.imaging import colors, images
from nst_core.network.weights import VggWeights
from nst_core.results import LOG_COLUMNS, Style
from tests.nst_core.engine.quick import (
    QUICK,
    Draw,
    new_engine,
    pictures,
    quick,
    totals,
)


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
        palette = colors.color_statistics(style.rgb)
        expected = colors.with_colors(contents[0], palette)
        np.testing.assert_allclose(found, expected, atol=1e-3)
        assert np.abs(found.mean(axis=(0, 1)) - palette[0]).max() < 5
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
        # Shallower layers move these contents little in ten steps.
        deeper = quick(
            content_layers={"block3_conv2": 1},
            style_layers={"block1_conv1": 1, "block2_conv1": 1, "block3_conv1": 1},
            steps=10,
        )
        config = deeper.updated({"preserve_colors": way, "content_colors": "style"})
        together = pictures(engine.stylize_batch(reddish, [bluish], config))
        plain = engine.stylize(reddish[0], [bluish], deeper).image
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
