"""An interrupted optimisation goes on from its checkpoint and ends with the same pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from nst_core.engine import batch, checkpoints, scale, style_engine
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import DeadlineExceeded, PairError
from nst_core.network.weights import VggWeights
from nst_core.results import Snapshot, Style, StyleResult

Draw = Callable[[int, int, int], np.ndarray]
Arrays = dict[str, np.ndarray]

QUICK = StyleConfig().updated(
    {
        "weights": "procedural",
        "padding": "zero",
        "image_size": 64,
        "scales": [0.5, 1],
        "steps": [7, 7],
        "checkpoint_seconds": 1e-9,
        "content_layers": {"block2_conv1": 1},
        "style_layers": {"block1_conv1": 1, "block2_conv1": 1},
    }
)
# After one call of one step, one of four, and the last, in either scale.
SAVED = [[1], [5], [7], [7, 1], [7, 5], [7, 7]]


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return StyleEngine(procedural, padding="zero", precision="float32", device="cpu")


@pytest.fixture(scope="module")
def contents(draw: Draw) -> list[np.ndarray]:
    return [draw(64, 64, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def style(draw: Draw) -> Style:
    return Style(draw(64, 64, 9))


@pytest.fixture(autouse=True)
def however_long_it_takes_to_save(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST_TIME", math.inf)
    # Calls of 1, 4, 16… steps, on machines of any speed, whatever was done before.
    monkeypatch.setattr(scale, "SECONDS_PER_CALL", 1e9)
    monkeypatch.setattr(scale, "_first_call", lambda *_: 1)


def run(
    engine: StyleEngine,
    contents: Sequence[np.ndarray],
    style: Style,
    config: StyleConfig = QUICK,
    **more: Any,
) -> tuple[list[StyleResult | PairError], list[list[Arrays]]]:
    """The results of a batch, and for each content its checkpoints."""
    saved: list[list[Arrays]] = [[] for _ in contents]

    def save(content: int, arrays: Any) -> None:
        saved[content].append({name: np.array(array) for name, array in arrays})

    return engine.stylize_batch(contents, [style], config, save=save, **more), saved


def same(found: StyleResult | PairError, expected: StyleResult | PairError) -> bool:
    """Whether two results have the same pixels and the same log, but for the time."""
    assert isinstance(found, StyleResult)
    assert isinstance(expected, StyleResult)
    np.testing.assert_array_equal(found.image, expected.image)
    rows = [[(*row[:4], *row[5:]) for row in one.losses.rows] for one in (found, expected)]
    assert rows[0] == rows[1]
    return found.quality == expected.quality


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "lbfgs"},
        {"optimizer": "adam"},
        {"optimizer": "adam", "average_decay": 0.5},
        {"init": "noise", "clip_pixels": False},
    ],
)
def test_what_goes_on_ends_as_what_was_never_interrupted(
    engine: StyleEngine, contents: list[np.ndarray], style: Style, changes: dict[str, Any]
) -> None:
    config = QUICK.updated(changes)
    (whole,), (saved,) = run(engine, contents[:1], style, config)
    assert isinstance(whole, StyleResult)
    assert whole.resumed_at_step is None
    assert [one["rows"].tolist() for one in saved] == SAVED
    # In the first scale, at its end, and in the second.
    for one in (saved[1], saved[2], saved[4]):
        (found,), _ = run(engine, contents[:1], style, config, checkpoints=[one])
        assert same(found, whole)
        assert isinstance(found, StyleResult)
        assert found.resumed_at_step == one["rows"].sum()


def test_a_checkpoint_holds_plain_arrays_of_one_image(
    engine: StyleEngine, contents: list[np.ndarray], style: Style
) -> None:
    _, saved = run(engine, contents[:2], style)
    for one in saved[1]:
        assert all(array.dtype != object for array in one.values())
        side = 64 if len(one["rows"]) == 2 else 32
        assert one["state/x"].shape == one["state/moves/11"].shape == (side, side, 3)
        assert one["state/terms"].shape == one["log/0/terms"].shape[1:]


def test_images_go_on_in_other_batches_than_before(
    engine: StyleEngine, contents: list[np.ndarray], style: Style
) -> None:
    whole, saved = run(engine, contents, style)
    given = [saved[2][1], None, saved[0][3]]
    found, again = run(engine, contents[::-1], style, checkpoints=given)
    for one, expected in zip(found[::-1], whole, strict=True):
        assert same(one, expected)
    assert [one.resumed_at_step for one in found if isinstance(one, StyleResult)] == [5, None, 8]
    # And those are saved under their own places.
    (later,), _ = run(engine, contents[:1], style, checkpoints=[again[2][0]])
    assert same(later, whole[0])


def test_images_at_one_step_go_on_together(
    engine: StyleEngine, contents: list[np.ndarray], style: Style
) -> None:
    whole, saved = run(engine, contents, style)
    found, _ = run(engine, contents, style, checkpoints=[one[2] for one in saved])
    assert [one.batch for one in found if isinstance(one, StyleResult)] == [3, 3, 3]
    assert all(map(same, found, whole))


def test_images_at_other_steps_of_a_scale_go_on_apart(
    engine: StyleEngine, contents: list[np.ndarray], style: Style
) -> None:
    whole, saved = run(engine, contents[:2], style)
    found, _ = run(engine, contents[:2], style, checkpoints=[saved[0][1], saved[1][0]])
    assert [one.batch for one in found if isinstance(one, StyleResult)] == [1, 1]
    assert all(map(same, found, whole))


def test_an_image_in_tiles_goes_on(engine: StyleEngine, draw: Draw, style: Style) -> None:
    config = QUICK.updated({"image_size": 160, "tile": 64, "scales": [1], "steps": 6})
    (whole,), (saved,) = run(engine, [draw(160, 96, 1)], style, config)
    assert isinstance(whole, StyleResult)
    assert whole.tile == 64
    (found,), _ = run(engine, [draw(160, 96, 1)], style, config, checkpoints=[saved[1]])
    assert same(found, whole)


def test_an_image_that_has_settled_stays_so(
    engine: StyleEngine,
    contents: list[np.ndarray],
    style: Style,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def first_settles(terms: list[np.ndarray], _: StyleConfig) -> Any:
        several = terms[-1].shape[0] == 2
        return np.array([len(terms) == 5, False]) if several else np.array([False])

    monkeypatch.setattr(scale, "_settled", first_settles)
    # With a tolerance a call ends where it is asked.
    monkeypatch.setattr(scale, "TOLERANCE_WINDOW", 5)
    config = QUICK.updated({"tolerance": 0.2})
    whole, saved = run(engine, contents[:2], style, config)
    assert [one.steps for one in whole if isinstance(one, StyleResult)] == [10, 14]
    assert [one["rows"].tolist() for one in saved[0]] == SAVED
    for index in (1, 3, 5):
        given = [one[index] for one in saved]
        found, _ = run(engine, contents[:2], style, config, checkpoints=given)
        assert all(map(same, found, whole))
    assert [one.resumed_at_step for one in found if isinstance(one, StyleResult)] == [10, 14]


def test_a_second_try_goes_on_where_it_was(
    engine: StyleEngine,
    contents: list[np.ndarray],
    style: Style,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = batch.optimize_scale
    rates: list[float] = []

    def watched(*arguments: Any) -> scale.ScaleResult:
        config = arguments[3]
        rates.append(config.learning_rate)
        course = real(*arguments)
        failed = np.array([config.learning_rate == QUICK.learning_rate])
        return dataclasses.replace(course, failed=failed)

    monkeypatch.setattr(batch, "optimize_scale", watched)
    (whole,), (saved,) = run(engine, contents[:1], style)
    assert isinstance(whole, StyleResult)
    assert whole.retried
    assert [bool(one["retried"]) for one in saved] == [False] * 6 + [True] * 6
    assert rates == [4, 4, 1, 1]
    rates.clear()
    (found,), _ = run(engine, contents[:1], style, checkpoints=[saved[7]])
    assert same(found, whole)
    assert rates == [1, 1]
    # One of the first try is no start for the second.
    rates.clear()
    (found,), _ = run(engine, contents[:1], style, checkpoints=[saved[4]])
    assert same(found, whole)
    assert rates == [4, 1, 1]


def test_snapshots_are_taken_at_the_same_steps(
    engine: StyleEngine, contents: list[np.ndarray], style: Style
) -> None:
    config = QUICK.updated({"snapshot_every": 3})
    first: list[Snapshot] = []
    second: list[Snapshot] = []
    _, (saved,) = run(engine, contents[:1], style, config, snapshots=first.append)
    given = next(one for one in saved if one["rows"].tolist() == [7, 2])
    run(engine, contents[:1], style, config, snapshots=second.append, checkpoints=[given])
    assert [one.step for one in first] == [3, 6, 9, 12]
    assert [one.step for one in second] == [12]
    np.testing.assert_array_equal(second[0].image, first[3].image)


def test_a_checkpoint_of_anything_else_is_ignored(
    engine: StyleEngine,
    procedural: VggWeights,
    contents: list[np.ndarray],
    style: Style,
    draw: Draw,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = QUICK.updated({"steps": 1})
    _, (saved,) = run(engine, contents[:1], style, quick)
    given: dict[str, Any] = {"checkpoints": [saved[1]]}
    rough = StyleEngine(procedural, padding="zero", precision="bfloat16", device="cpu")
    kept = np.zeros((64, 64))
    kept[:20] = 1
    others = [
        run(engine, contents[1:2], style, quick, **given),
        run(engine, contents[:1], Style(draw(64, 64, 8)), quick, **given),
        run(engine, contents[:1], dataclasses.replace(style, weight=2.0), quick, **given),
        run(engine, contents[:1], style, quick.updated({"content_weight": 0.5}), **given),
        run(engine, contents[:1], style, quick.updated({"optimizer": "adam"}), **given),
        run(engine, contents[:1], style, quick, keeps=[kept], **given),
        run(rough, contents[:1], style, quick, **given),
    ]
    # Of other weights, of another kind of device, which may be as precise, and of a version whose
    # optimiser keeps something else.
    for where, name, value in (
        (engine, "weights", dataclasses.replace(engine.weights, sha256="of others")),
        (style_engine, "is_gpu", lambda _: True),
        (style_engine, "layout", lambda _: [("x", "float64")]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, value)
            others.append(run(engine, contents[:1], style, quick, **given))
    for (found,), _ in others:
        assert isinstance(found, StyleResult)
        assert found.resumed_at_step is None
    # What changes no pixel may change.
    changed = quick.updated({"deadline_seconds": 900, "max_pixels": 100_000, "tile": "off"})
    (found,), _ = run(engine, contents[:1], style, changed, **given)
    assert isinstance(found, StyleResult)
    assert found.resumed_at_step == 2


def test_the_seconds_before_count(
    engine: StyleEngine, contents: list[np.ndarray], style: Style
) -> None:
    _, (saved,) = run(engine, contents[:1], style)
    spent = [float(one["spent"]) for one in saved]
    assert 0 < spent[0] < spent[-1]
    earlier = {**saved[4], "spent": np.array(1000.0)}
    (found,), _ = run(engine, contents[:1], style, checkpoints=[earlier])
    assert isinstance(found, StyleResult)
    assert 1000 < found.seconds < 1300
    config = QUICK.updated({"deadline_seconds": 1000})
    (late,), _ = run(engine, contents[:1], style, config, checkpoints=[earlier])
    assert isinstance(late, DeadlineExceeded)
    (fine,), _ = run(engine, contents[:1], style, config, checkpoints=[saved[4]])
    assert isinstance(fine, StyleResult)


@pytest.mark.parametrize(
    ("every", "seconds_to_save", "at"),
    [(300.0, 2.0, [300, 602, 904]), (10.0, 5.0, [10, 65, 120]), (0.0, 0.0, [])],
)
def test_it_is_saved_so_often_and_never_for_most_of_the_time(
    monkeypatch: pytest.MonkeyPatch, every: float, seconds_to_save: float, at: list[int]
) -> None:
    monkeypatch.setattr(checkpoints, "MOST_TIME", 0.1)
    now = 0.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    seen: list[float] = []

    def save(_content: int, _arrays: Any) -> None:
        nonlocal now
        seen.append(now)
        now += seconds_to_save

    keeper = checkpoints.Checkpoints([], save, every, lambda _: b"id")
    leg = scale.ScaleState({}, np.empty((0, 1, 1)), np.empty(0), np.array([9]), np.array([True]))
    while now < 1000 and len(seen) < 3:
        keeper.between([0], [], leg, 0.0, False)
        now += 1
    assert seen == at


def test_nothing_is_saved_where_nobody_wants_it(
    engine: StyleEngine, contents: list[np.ndarray], style: Style
) -> None:
    (whole,), (saved,) = run(engine, contents[:1], style, QUICK.updated({"checkpoint_seconds": 0}))
    assert saved == []
    assert same(engine.stylize(contents[0], [style], QUICK), whole)


def test_of_a_batch_on_the_device_only_one_image_comes_to_the_host() -> None:
    class OnDevice:
        """A tensor of which only parts may be fetched."""

        def __getitem__(self, index: int) -> np.ndarray:
            return np.full((2, 2, 3), index, np.float32)

    active = np.ones(4, bool)
    state = {"x": OnDevice(), "moves": (OnDevice(),)}
    terms = np.zeros((0, 4, 5), np.float32)
    reached = scale.ScaleState(state, terms, np.empty(0), np.zeros(4, int), active)
    found = dict(checkpoints._chained({}, [], reached, 2))
    for name in ("state/x", "state/moves/0"):
        np.testing.assert_array_equal(found[name], np.full((2, 2, 3), 2))
