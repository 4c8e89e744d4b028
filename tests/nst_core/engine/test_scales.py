"""The way through the scales, and where it ends early."""

from __future__ import annotations

import numpy as np
import pytest

from nst_core.canvas import Size
from nst_core.engine import scale
from nst_core.engine.style_engine import StyleEngine
from nst_core.results import Progress, Style, StyleResult
from tests.nst_core.engine.quick import Draw, quick, totals


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
        monkeypatch.setattr(scale, "SECONDS_PER_CALL", 0.0)
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
            monkeypatch.setattr(scale, "SECONDS_PER_CALL", seconds)
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
