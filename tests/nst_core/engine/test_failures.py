"""What fails, and what is tried again."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from nst_core.engine import batch
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import DeadlineExceeded, Diverged, OutOfMemory, WeightsError
from nst_core.results import Style, StyleResult
from tests.nst_core.engine.quick import QUICK, assert_one_sentence, out_of_memory, pictures, quick


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
        real = batch.optimize_scale

        def watched(program: Any, start: Any, targets: Any, config: StyleConfig, *more: Any) -> Any:
            tried.append((len(start.active), config.learning_rate))
            return real(program, start, targets, config, *more)

        monkeypatch.setattr(batch, "optimize_scale", watched)
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

    @pytest.mark.parametrize(("scales", "computed"), [([1], [2, 1]), ([0.5, 1], [2, 2, 1, 1])])
    def test_a_retry_that_succeeds_says_so(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
        scales: list[float],
        computed: list[int],
    ) -> None:
        real = batch.optimize_scale
        calls: list[int] = []

        def broken_at_first(*arguments: Any) -> Any:
            course = real(*arguments)
            calls.append(len(course.failed))
            failed = np.array([True, False]) if len(calls) == 1 else course.failed
            return dataclasses.replace(course, failed=failed)

        monkeypatch.setattr(batch, "optimize_scale", broken_at_first)
        results = engine.stylize_batch(contents[:2], [style], quick(steps=5, scales=scales))
        assert [r.retried for r in results if isinstance(r, StyleResult)] == [True, False]
        assert calls == computed

    def test_a_retry_is_in_float32_whatever_the_engine_computes_in(
        self,
        rough_engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        real = batch.optimize_scale

        def fails_together(program: Any, start: Any, *more: Any) -> Any:
            count = len(start.active)
            failed = np.array([count > 1, False])[:count]
            return dataclasses.replace(real(program, start, *more), failed=failed)

        monkeypatch.setattr(batch, "optimize_scale", fails_together)
        results = rough_engine.stylize_batch(contents[:2], [style], quick(steps=3))
        found = [one.precision for one in results if isinstance(one, StyleResult)]
        assert found == ["float32", "bfloat16"]

    def test_a_batch_that_does_not_fit_into_memory_is_halved(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = pictures(engine.stylize_batch(contents, [style], QUICK))
        real = batch.optimize_scale
        tried: list[int] = []

        def small_memory(program: Any, start: Any, *more: Any) -> Any:
            tried.append(len(start.active))
            return out_of_memory() if len(start.active) > 1 else real(program, start, *more)

        monkeypatch.setattr(batch, "optimize_scale", small_memory)
        results = engine.stylize_batch(contents, [style], QUICK)
        assert [r.batch for r in results if isinstance(r, StyleResult)] == [1, 1, 1]
        assert tried == [3, 1, 1, 1]
        np.testing.assert_array_equal(pictures(results), whole)

    def test_an_image_that_does_not_fit_alone_fails_alone(
        self,
        engine: StyleEngine,
        contents: list[np.ndarray],
        style: Style,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(batch, "optimize_scale", out_of_memory)
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
        real = batch.optimize_scale

        def fails_then_exhausts(program: Any, start: Any, *more: Any) -> Any:
            if len(start.active) == 1:
                return out_of_memory()
            return dataclasses.replace(real(program, start, *more), failed=np.array([False, True]))

        monkeypatch.setattr(batch, "optimize_scale", fails_then_exhausts)
        fine, failed = engine.stylize_batch(contents[:2], [style], quick(steps=3))
        assert isinstance(fine, StyleResult)
        assert isinstance(failed, OutOfMemory)

    def test_weights_that_cannot_be_had_stop_the_engine(self) -> None:
        with pytest.raises(WeightsError, match="does not exist"):
            StyleEngine("no/such/file.h5", device="cpu")
