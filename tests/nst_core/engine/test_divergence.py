"""When a loss has run away: told from the start, the best total, and plain grey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from nst_core.engine.divergence import diverged
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import Diverged
from nst_core.network.weights import VggWeights
from nst_core.results import Style, StyleResult

Draw = Callable[[int, int, int], np.ndarray]

ADAM = StyleConfig().updated(
    {
        "image_size": 64,
        "scales": [1],
        "steps": 8,
        "optimizer": "adam",
        "content_layers": {"block2_conv2": 1},
        "style_layers": {"block1_conv1": 1, "block2_conv1": 1},
    }
)


def verdict(*totals: float, plain: float = 1.0) -> bool:
    terms = np.array(totals, np.float32)[:, None, None]
    (found,) = diverged(terms, lambda: np.array([plain]))
    return bool(found)


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ((0.3, 0.2, 0.1), False),
        ((0.3, 3000.0, 203.0), True),  # the explosion is in the second step
        ((np.inf, 50.0, 203.0), True),
        ((np.inf, 50.0, 40.0), False),
        ((0.3, 0.1, 0.1, 5.0), True),  # it came near, and then went
        ((0.3, 0.1, 0.1, np.nan), True),
        ((0.3, 0.1, 0.1, np.inf), True),
        ((900.0, 500.0, 600.0), False),  # a start from noise that is far from done
        ((1e-7, 0.3, 0.02), False),  # a content that was in the style already
        ((0.3, 0.9, 0.5), False),  # steps that swing
    ],
)
def test_a_loss_has_run_away_if_it_is_far_above_its_best_and_plain_grey(
    totals: tuple[float, ...], expected: bool
) -> None:
    assert verdict(*totals) is expected


def test_plain_grey_is_measured_only_where_it_decides() -> None:
    def refuse() -> Any:
        raise AssertionError("measured")

    diverged(np.array([0.3, 0.2, np.nan, 0.1])[:2, None, None], refuse)
    assert diverged(np.array([0.3, np.nan])[:, None, None], refuse).all()


def test_each_image_of_a_batch_is_judged_alone() -> None:
    terms = np.array([[0.3, 0.3, 0.3], [9.0, 0.2, np.nan]])[:, :, None]
    assert diverged(terms, lambda: np.ones(3)).tolist() == [True, False, True]


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return StyleEngine(procedural, precision="float32", device="cpu")


def test_steps_that_are_far_too_long_are_diverged_after_the_careful_try(
    engine: StyleEngine, draw: Draw
) -> None:
    contents, style = [draw(64, 64, 1), draw(64, 64, 2)], Style(draw(64, 64, 9))
    config = ADAM.updated({"learning_rate": 1e4, "clip_pixels": False})
    for result in engine.stylize_batch(contents, [style], config):
        assert isinstance(result, Diverged)
        assert "learning_rate" in str(result)


@pytest.mark.parametrize("changes", [{}, {"scales": [0.5, 1], "steps": [4, 4]}, {"init": "noise"}])
def test_ordinary_steps_are_not(engine: StyleEngine, draw: Draw, changes: dict[str, Any]) -> None:
    config = ADAM.updated({"learning_rate": 10, **changes})
    result = engine.stylize(draw(64, 64, 1), [Style(draw(64, 64, 9))], config)
    assert not result.retried


def test_a_content_that_is_its_own_style_does_not_diverge(engine: StyleEngine, draw: Draw) -> None:
    content = draw(64, 64, 1)
    result = engine.stylize(content, [Style(content)], ADAM.updated({"learning_rate": 10}))
    assert isinstance(result, StyleResult)
    assert not result.retried
