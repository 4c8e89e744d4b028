"""The way through the scales, and where it ends early."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.compiled import graphs
from nst_core.engine import scale
from nst_core.engine.program import Program, optimizer_for
from nst_core.engine.scale import ScaleState
from nst_core.engine.style_engine import StyleEngine
from nst_core.optimizers import bands
from nst_core.results import Progress, Style, StyleResult
from tests.nst_core.engine.quick import Draw, pictures, quick, totals


class TestScales:
    def test_the_log_has_the_steps_of_every_scale(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        config = quick(image_size=96, scales=[0.5, 1], steps=[7, 4])
        result = engine.stylize(draw(96, 60, 1), [style], config)
        assert result.canvas == Size(96, 64)
        rows = [tuple(row[:4]) for row in result.losses.rows]
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

    def test_a_scale_begins_with_what_the_coarser_one_saw_of_each_image(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        starts: list[Any] = []
        real = ScaleState.from_images

        def spied(*given: Any) -> ScaleState:
            begun = real(*given)
            starts.append({name: np.array(begun.state[name]) for name in bands.NAMES})
            return begun

        monkeypatch.setattr(ScaleState, "from_images", spied)
        config = quick(scales=[0.5, 1], steps=[8, 1], image_size=96)
        engine.stylize_batch(contents[:2], [style], config)
        coarse, fine = starts
        for name in bands.NAMES:
            assert not coarse[name].any()
            # Shares, of each step that is remembered.
            assert (fine[name].sum(axis=1) > 1).all()
            assert np.abs(fine[name][0] - fine[name][1]).max() > 0.01

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


class TestCalls:
    def test_later_batches_of_a_canvas_begin_with_calls_of_full_length(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # A call takes what it should, however fast the machine is.
        monkeypatch.setattr(scale, "SECONDS_PER_CALL", 1e6)
        config = quick(steps=50, optimizer="adam", average_decay=0.5)
        program = engine.programs.compiled(config, engine.precision)
        calls: list[int] = []
        advance = program.advance

        def counted(*arguments: Any) -> Any:
            calls.append(arguments[-1])
            return advance(*arguments)

        monkeypatch.setattr(program, "advance", counted)
        first = engine.stylize_batch(contents[:2], [style], config)
        assert calls == [1, 4, 16, 29]
        calls.clear()
        second = engine.stylize_batch(contents[:2], [style], config)
        assert calls == [50]
        calls.clear()
        engine.stylize_batch(contents[:1], [style], config)
        assert calls == [1, 4, 16, 29]  # Of one image nothing was known yet.
        for one, again in zip(pictures(first), pictures(second), strict=True):
            np.testing.assert_array_equal(one, again)

    def test_xla_compiles_one_program_for_each_canvas_and_none_for_the_next_pair(
        self,
        engine: StyleEngine,
        draw: Draw,
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        config = quick(
            content_layers={"block1_conv1": 1},
            style_layers={"block1_conv1": 1},
            image_size=64,
            scales=[0.5, 1],
            steps=[8, 24],
        )
        plain = engine.programs.compiled(config, "float32")
        compiled = Program(plain.objective, optimizer_for(config, "float32"), xla=True)
        monkeypatch.setattr(engine.programs, "compiled", lambda *_, **__: compiled)
        # XLA compiles once for each signature: shapes and types of what a graph is called with.
        signatures: list[tuple[Any, ...]] = []
        call = graphs.Graph.__call__

        def watched(graph: graphs.Graph, *arguments: Any) -> Any:
            if graph._xla:
                tensors = map(tf.convert_to_tensor, tf.nest.flatten(arguments))
                signatures.append((graph, *((one.shape, one.dtype) for one in tensors)))
            return call(graph, *arguments)

        monkeypatch.setattr(graphs.Graph, "__call__", watched)
        for number, seconds_per_call in enumerate((1e6, 0.0)):
            monkeypatch.setattr(scale, "SECONDS_PER_CALL", seconds_per_call)
            signatures_before = len(signatures)
            engine.stylize(draw(64, 64, number), [style], config)
            assert len(signatures) - signatures_before > 2
            assert len({tuple(map(str, one)) for one in signatures}) == 2


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
        config = quick(steps=80, tolerance=0.05)
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
