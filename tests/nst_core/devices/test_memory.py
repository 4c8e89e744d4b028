"""Memory: what is predicted, what there is, and what the engine makes of too little."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.devices import device, memory
from nst_core.engine import batch
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import ConfigError, OutOfMemory
from nst_core.network.weights import VggWeights
from nst_core.optimizers import HISTORY
from nst_core.results import Style, StyleResult

Draw = Callable[[int, int, int], np.ndarray]

GIB = 2**30
LARGE = Size(4096, 3072)
# Shallow layers see 16 px far: small pictures have several tiles.
QUICK = StyleConfig().updated(
    {
        "weights": "procedural",
        "image_size": 160,
        "scales": [1],
        "steps": 3,
        "content_layers": {"block2_conv1": 1},
        "style_layers": {"block1_conv1": 1, "block2_conv1": 1},
    }
)
LARGER = QUICK.updated({"image_size": 320, "steps": 2})


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return StyleEngine(procedural, precision="float32", device="cpu")


@pytest.fixture(scope="module")
def contents(draw: Draw) -> list[np.ndarray]:
    return [draw(160, 96, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def style(draw: Draw) -> Style:
    return Style(draw(160, 128, 9))


def available(monkeypatch: pytest.MonkeyPatch, amount: float) -> None:
    monkeypatch.setattr(batch, "available_memory", lambda _: amount)


def predicted(config: StyleConfig, count: int = 1, tile: int | None = None) -> float:
    size = Size(160, 96)
    return memory.predicted(config, size, count, "float32", tile, one_by_one=True)


class TestPrediction:
    def test_it_grows_with_pixels_batch_depth_and_the_optimizers_images(self) -> None:
        config = StyleConfig()
        one = memory.predicted(config, Size(512, 512), 1, "float32", None)
        assert memory.predicted(config, Size(512, 512), 2, "float32", None) > 1.5 * one
        assert memory.predicted(config, Size(512, 512), 1, "bfloat16", None) < one
        shallow = config.updated({"style_layers": {"block1_conv1": 1}})
        shallow = shallow.updated({"content_layers": {"block1_conv1": 1}})
        assert memory.predicted(shallow, Size(512, 512), 1, "float32", None) < one
        adam = config.updated({"optimizer": "adam"})
        assert memory.predicted(adam, Size(512, 512), 1, "float32", None) < one

    def test_of_images_that_pass_one_by_one_only_one_has_features(self) -> None:
        config, size = StyleConfig(), Size(512, 512)
        one, four, at_once = (
            memory.parts(config, size, count, "float32", None, one_by_one=one_by_one)
            for count, one_by_one in ((1, True), (4, True), (4, False))
        )
        assert one.features == four.features == at_once.features / 4
        assert (four.targets, four.image) == (at_once.targets, at_once.image)
        # Features that TensorFlow could not count in one tensor, in two.
        for one_by_one, most in ((True, 2), (False, 1)):
            assert most == memory.fitting_batch(
                config, Size(4096, 4096), 2, "float32", math.inf, one_by_one=one_by_one
            )

    def test_in_tiles_only_images_and_targets_grow_with_the_picture(self) -> None:
        config = StyleConfig().updated({"optimizer": "adam"})
        small, large = (
            memory.predicted(config, Size(side, side), 1, "float32", 256) for side in (2048, 4096)
        )
        whole = memory.predicted(config, Size(4096, 4096), 1, "float32", None)
        images_and_targets = 12 * (memory.TILED_IMAGES["adam"] + 3 * memory.TILED_TARGETS)
        assert large - small <= images_and_targets * (4096**2 - 2048**2)
        assert large < whole / 4

    def test_in_tiles_l_bfgs_needs_two_images_for_each_step_that_it_remembers(self) -> None:
        def more(steps: Any, **settings: Any) -> float:
            """Images beyond those of a single step."""
            several, one = (
                predicted(QUICK.updated({**settings, "steps": count}), tile=64)
                for count in (steps, 1)
            )
            return (several - one) / (4 * 3 * 160 * 96)

        assert more(5) == pytest.approx(2 * 4)
        assert more([3, 5], scales=[0.5, 1]) == pytest.approx(2 * 4)
        assert more(500) == more(HISTORY) == pytest.approx(2 * (HISTORY - 1))
        assert more(500, optimizer="adam") == 0

    def test_the_largest_tile_that_fits_is_taken(self) -> None:
        config = StyleConfig().updated({"optimizer": "adam"})
        sides = [
            memory.fitting_tile(config, LARGE, "float32", gib * GIB) for gib in (1000, 24, 12, 6, 0)
        ]
        assert sides[0] is None
        tiled = [side for side in sides if side]
        assert tiled == sorted(tiled, reverse=True)
        assert len(set(tiled)) >= 3

    @pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
    def test_where_none_fits_tiles_are_the_largest_that_save_nearly_all(
        self, optimizer: str
    ) -> None:
        config = StyleConfig().updated({"optimizer": optimizer})
        side = memory.fitting_tile(config, LARGE, "float32", 0.0)
        needed = {
            tile: memory.predicted(config, LARGE, 1, "float32", tile) for tile in memory.SIDES
        }
        least = min(needed.values())
        assert side is not None
        assert least < needed[side] <= 1.03 * least
        assert all(needed[tile] > 1.03 * least for tile in memory.SIDES if tile > side)
        whole = memory.work(config, LARGE, None)
        assert memory.work(config, LARGE, side) < 5 * whole < memory.work(config, LARGE, 128)

    def test_no_layer_has_more_features_than_tensorflow_counts(self) -> None:
        config = StyleConfig().updated({"image_size": 8192})
        largest = Size(8192, 8192)
        assert memory.fitting_batch(config, Size(4096, 4096), 9, "float32", math.inf) == 1
        assert memory.fitting_batch(config, largest, 1, "float32", math.inf) == 0
        assert memory.fitting_tile(config, largest, "float32", math.inf) == memory.SIDES[0]


def test_on_this_machine_memory_is_a_number_of_bytes() -> None:
    assert device.available_memory(device.CPU) > 2**20


class TestDecisions:
    def test_a_batch_is_cut_to_what_fits(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = engine.stylize_batch(contents, [style], QUICK)
        available(monkeypatch, predicted(QUICK, 2) / memory.SHARE)
        found = engine.stylize_batch(contents, [style], QUICK)
        assert [r.batch for r in found if isinstance(r, StyleResult)] == [2, 2, 1]
        for one, other in zip(found, whole, strict=True):
            assert isinstance(one, StyleResult)
            assert isinstance(other, StyleResult)
            assert one.tile is None
            np.testing.assert_allclose(one.image, other.image, atol=0.1)

    def test_an_image_that_does_not_fit_whole_is_tiled(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(memory, "SIDES", (128, 64))
        whole = engine.stylize(contents[0], [style], LARGER)
        least, more = (
            memory.predicted(LARGER, Size(320, 192), 1, "float32", tile) for tile in (64, 128)
        )
        available(monkeypatch, (least + more) / 2 / memory.SHARE)
        found = engine.stylize_batch(contents[:1], [style], LARGER)
        assert [r.tile for r in found if isinstance(r, StyleResult)] == [64]
        assert whole.tile is None
        assert isinstance(found[0], StyleResult)
        np.testing.assert_allclose(found[0].image, whole.image, atol=0.1)

    def test_what_cannot_fit_fails_before_the_system_runs_out(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        available(monkeypatch, 2**20)
        monkeypatch.setattr(batch, "optimize_scale", None)
        error = engine.stylize_batch(contents[:1], [style], QUICK, names=["a.png"])[0]
        assert isinstance(error, OutOfMemory)
        assert "a.png at 160x96 px needs about" in str(error)
        assert "0.0 GiB are free; lower image_size." in str(error)

    def test_with_tile_off_the_prediction_stops_nothing(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        available(monkeypatch, 2**20)
        found = engine.stylize(contents[0], [style], QUICK.updated({"tile": 0}))
        assert found.tile is None

    def test_with_tile_off_a_canvas_beyond_tensorflows_count_is_refused(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(memory, "MOST_PIXELS", 160 * 96)
        error = engine.stylize_batch(contents[:1], [style], QUICK.updated({"tile": "off"}))[0]
        assert isinstance(error, OutOfMemory)
        assert "set tile to auto or lower image_size." in str(error)

    @pytest.mark.parametrize("error", [MemoryError, tf.errors.ResourceExhaustedError])
    @pytest.mark.parametrize(("setting", "tried"), [("auto", [None, 160]), (128, [128, 64])])
    def test_an_image_that_runs_out_after_all_is_tried_in_smaller_tiles(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
        error: type[Exception],
        setting: Any,
        tried: list[int | None],
    ) -> None:
        real = batch.optimize_scale
        attempts: list[int | None] = []

        def too_small(program: Any, *more: Any) -> Any:
            attempts.append(getattr(program, "side", None))
            if attempts[-1] != tried[-1]:
                raise error() if error is MemoryError else error(None, None, "no memory left")
            return real(program, *more)

        monkeypatch.setattr(batch, "optimize_scale", too_small)
        found = engine.stylize(contents[0], [style], LARGER.updated({"tile": setting}))
        assert attempts == tried
        assert found.tile == tried[-1]

    def test_at_the_smallest_tile_it_is_out_of_memory(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        attempts = []

        def exhausted(program: Any, *_: Any) -> Any:
            attempts.append(getattr(program, "side", None))
            raise MemoryError

        monkeypatch.setattr(batch, "optimize_scale", exhausted)
        for setting, tried in (("auto", [None, 80]), ("off", [None])):
            attempts.clear()
            config = QUICK.updated({"tile": setting})
            error = engine.stylize_batch(contents[:1], [style], config)[0]
            assert isinstance(error, OutOfMemory)
            assert attempts == tried
            assert ("set tile to auto" in str(error)) == (setting == "off")


class TestSetting:
    @pytest.mark.parametrize(
        ("given", "kept"), [("auto", "auto"), ("off", "off"), (0, "off"), (False, "off"), (64, 64)]
    )
    def test_its_values(self, given: Any, kept: Any) -> None:
        assert StyleConfig().updated({"tile": given}).tile == kept

    @pytest.mark.parametrize("given", [True, 1, 48, 72, 8208, -64, 64.5, "64", None, []])
    def test_other_values_are_refused(self, given: Any) -> None:
        with pytest.raises(ConfigError, match=r"^tile is .* give auto, off .* multiple of 16\.$"):
            StyleConfig().updated({"tile": given})

    def test_a_side_tiles_one_image_at_a_time_with_the_same_result(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        whole = engine.stylize_batch(contents[:2], [style], QUICK)
        tiled = engine.stylize_batch(contents[:2], [style], QUICK.updated({"tile": 64}))
        for one, other in zip(tiled, whole, strict=True):
            assert isinstance(one, StyleResult)
            assert isinstance(other, StyleResult)
            assert (one.tile, one.batch, one.steps) == (64, 1, 3)
            np.testing.assert_allclose(one.image, other.image, atol=0.1)

    def test_a_large_style_is_measured_in_tiles(
        self, engine: StyleEngine, contents: list[np.ndarray], draw: Draw
    ) -> None:
        config = QUICK.updated({"style_scale": 2, "image_size": 64, "steps": 1})
        large = [Style(draw(160, 128, 11))]
        whole = engine.stylize(contents[0], large, config)
        fresh = StyleEngine(engine.weights, precision="float32", device="cpu")
        tiled = fresh.stylize(contents[0], large, config.updated({"tile": 64}))
        assert tiled.tile is None
        assert tiled.losses.terms(0) == pytest.approx(whole.losses.terms(0), rel=1e-4)
