"""Snapshots are exact, of the right image, at the right steps, and change nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from nst_core.engine import batch, scale
from nst_core.engine.snapshots import SnapshotSchedule
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import PairError
from nst_core.network.weights import VggWeights
from nst_core.results import Snapshot, Style, StyleResult

Draw = Callable[[int, int, int], np.ndarray]

QUICK = StyleConfig().updated(
    {
        "weights": "procedural",
        "padding": "zero",
        "image_size": 64,
        "scales": [1],
        "steps": 12,
        "content_layers": {"block2_conv1": 1},
        "style_layers": {"block1_conv1": 1, "block2_conv1": 1},
    }
)


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return StyleEngine(procedural, padding="zero", precision="float32", device="cpu")


@pytest.fixture(scope="module")
def style(draw: Draw) -> Style:
    return Style(draw(64, 64, 9))


def shot(
    engine: StyleEngine, contents: list[np.ndarray], style: Style, **changes: Any
) -> tuple[list[StyleResult | PairError], list[Snapshot]]:
    """The results and the snapshots of a batch."""
    taken: list[Snapshot] = []
    config = QUICK.updated(changes)
    return engine.stylize_batch(contents, [style], config, snapshots=taken.append), taken


def test_a_schedule_waits_for_each_image_s_own_count() -> None:
    seen: list[tuple[int, int]] = []
    schedule = SnapshotSchedule(
        10, np.array([7, 4, 0]), lambda index, step, _: seen.append((index, step))
    )
    everyone, two = np.array([True, True, True]), np.array([False, True, True])
    assert (schedule.due_in(0, everyone), schedule.due_in(0, two)) == (3, 6)
    assert (schedule.due_in(3, everyone), schedule.due_in(6, two)) == (3, 4)
    images = np.zeros((3, 2, 2, 3))
    schedule.take_due(3, schedule.due(3, everyone), images)
    schedule.take_due(6, schedule.due(6, everyone), images)
    assert schedule.due(13, two).size == 0
    assert seen == [(0, 10), (1, 10)]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_snapshot_is_the_result_of_so_many_steps_and_changes_none(
    engine: StyleEngine, draw: Draw, style: Style, optimizer: str
) -> None:
    content = draw(64, 50, 1)
    colors = {"optimizer": optimizer, "preserve_colors": "luminance"}
    plain, none = shot(engine, [content], style, **colors)
    watched, taken = shot(engine, [content], style, snapshot_every=5, **colors)
    short, _ = shot(engine, [content], style, steps=5, **colors)
    assert none == []
    assert [one.step for one in taken] == [5, 10]
    assert isinstance(plain[0], StyleResult)
    assert isinstance(watched[0], StyleResult)
    assert isinstance(short[0], StyleResult)
    np.testing.assert_array_equal(watched[0].image, plain[0].image)
    np.testing.assert_array_equal(taken[0].image, short[0].image)
    assert taken[0].image.dtype == np.float32


def test_steps_count_over_all_scales_and_coarse_ones_are_enlarged(
    engine: StyleEngine, draw: Draw, style: Style
) -> None:
    content = draw(80, 50, 1)
    changes = {"image_size": 80, "scales": [0.5, 1], "steps": [8, 8], "snapshot_every": 4}
    results, taken = shot(engine, [content], style, **changes)
    assert isinstance(results[0], StyleResult)
    assert [one.step for one in taken] == [4, 8, 12, 16]
    assert {one.image.shape for one in taken} == {(50, 80, 3)}
    np.testing.assert_array_equal(taken[-1].image, results[0].image)
    # The coarse scale's last is where the fine one starts: L-BFGS's first evaluation.
    start, _ = shot(engine, [content], style, **{**changes, "steps": [8, 1]})
    assert isinstance(start[0], StyleResult)
    np.testing.assert_allclose(taken[1].image, start[0].image, atol=1e-3)


def test_images_of_a_batch_that_settle_apart_keep_their_own_counts(
    engine: StyleEngine, draw: Draw, style: Style, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_settles(terms: list[np.ndarray], _: float) -> np.ndarray:
        return np.array([len(terms) == 20, False])

    monkeypatch.setattr(scale, "_settled", first_settles)
    contents = [draw(64, 64, 1), draw(64, 64, 2)]
    changes = {"scales": [0.5, 1], "steps": [25, 10], "tolerance": 0.2, "snapshot_every": 8}
    results, taken = shot(engine, contents, style, **changes)
    counts = [result.steps for result in results if isinstance(result, StyleResult)]
    assert counts == [30, 35]
    for index, count in enumerate(counts):
        steps = [one.step for one in taken if one.content == index]
        assert steps == list(range(8, count + 1, 8))


def test_an_image_that_is_done_again_begins_again_under_its_own_place(
    engine: StyleEngine, draw: Draw, style: Style, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batch.optimize_scale
    calls: list[int] = []

    def broken_at_first(*arguments: Any) -> scale.ScaleResult:
        course = real(*arguments)
        calls.append(len(course.failed))
        failed = np.array([False, True]) if len(calls) == 1 else course.failed
        return dataclasses.replace(course, failed=failed)

    monkeypatch.setattr(batch, "optimize_scale", broken_at_first)
    contents = [draw(64, 64, 1), draw(64, 64, 2)]
    results, taken = shot(engine, contents, style, snapshot_every=6)
    found = [(one.content, one.step) for one in taken]
    assert found == [(0, 6), (1, 6), (0, 12), (1, 12), (1, 6), (1, 12)]
    assert isinstance(results[1], StyleResult)
    np.testing.assert_array_equal(taken[-1].image, results[1].image)
