"""The engine on the grid's canvases: padded and cropped back, and what goes on from checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nst_core.canvas import Size
from nst_core.engine import scale
from nst_core.engine.style_engine import StyleEngine
from nst_core.network.weights import VggWeights
from nst_core.results import Style, StyleResult
from tests.nst_core.engine.quick import Draw, pictures, quick

# 160x24 px come to 160x32 as multiples of 32 px, and to 160x64 on the grid; 160x40 to the latter.
AUTO = quick(image_size=160, steps=3, checkpoint_seconds=1e-9)
GRID = AUTO.updated({"canvas_multiple": "grid"})
OF_32 = AUTO.updated({"canvas_multiple": 32})
FINE, COARSE = Size(160, 32), Size(160, 64)


class OnGpu(StyleEngine):
    """An engine that chooses its canvases as one on a GPU does."""

    on_gpu = True


@pytest.fixture(scope="module")
def gpu_engine(procedural: VggWeights) -> StyleEngine:
    return OnGpu(procedural, padding="zero", precision="float32", device="cpu")


@pytest.fixture(scope="module")
def strip(draw: Draw) -> np.ndarray:
    return draw(160, 24, 1)


@pytest.fixture(scope="module")
def wider(draw: Draw) -> np.ndarray:
    return draw(160, 40, 2)


def canvases(results: Any) -> list[Size]:
    return [one.canvas for one in results if isinstance(one, StyleResult)]


def test_auto_is_the_grid_where_the_engine_computes_on_a_gpu(
    engine: StyleEngine, gpu_engine: StyleEngine, strip: np.ndarray, style: Style
) -> None:
    assert not engine.on_gpu
    here, there = (one.stylize(strip, [style], AUTO) for one in (engine, gpu_engine))
    assert canvases([here, there]) == [FINE, COARSE]
    grid, multiple = (
        engine.stylize(strip, [style], GRID),
        gpu_engine.stylize(strip, [style], OF_32),
    )
    np.testing.assert_array_equal(there.image, grid.image)
    np.testing.assert_array_equal(here.image, multiple.image)
    assert here.image.shape == there.image.shape == (24, 160, 3)


def test_contents_of_one_canvas_of_the_grid_are_optimised_together(
    engine: StyleEngine, strip: np.ndarray, wider: np.ndarray, style: Style
) -> None:
    results = engine.stylize_batch([strip, wider], [style], GRID)
    assert canvases(results) == [COARSE, COARSE]
    assert [found.shape for found in pictures(results)] == [(24, 160, 3), (40, 160, 3)]
    assert {one.batch for one in results if isinstance(one, StyleResult)} == {2}
    for content, found in zip((strip, wider), pictures(results), strict=True):
        np.testing.assert_array_equal(found, engine.stylize(content, [style], GRID).image)
    # On a CPU `auto` tells them apart, whatever the batch that they came in.
    assert canvases(engine.stylize_batch([strip, wider], [style], AUTO)) == [FINE, COARSE]


def interrupted(
    engine: StyleEngine, content: np.ndarray, style: Style, config: Any
) -> dict[str, np.ndarray]:
    """The checkpoint after the first step, however fast the steps of the tests before were."""
    saved: list[dict[str, np.ndarray]] = []

    def save(_: int, arrays: Any) -> None:
        saved.append({name: np.array(array) for name, array in arrays})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale, "_first_call", lambda *_: 1)
        engine.stylize_batch([content], [style], config, save=save)
    return saved[0]


def test_what_was_interrupted_goes_on_where_the_canvas_is_the_same(
    engine: StyleEngine,
    gpu_engine: StyleEngine,
    strip: np.ndarray,
    wider: np.ndarray,
    style: Style,
) -> None:
    def resumed(one: StyleEngine, content: np.ndarray, config: Any, saved: Any) -> int | None:
        (found,) = one.stylize_batch([content], [style], config, checkpoints=[saved])
        assert isinstance(found, StyleResult)
        return found.resumed_at_step

    of_strip = interrupted(engine, strip, style, OF_32)
    assert resumed(engine, strip, AUTO, of_strip) == 1
    assert resumed(engine, strip, GRID, of_strip) is None
    assert resumed(gpu_engine, strip, AUTO, of_strip) is None
    # The names of the settings do not matter where the canvas is that of multiples of 32 px too.
    of_wider = interrupted(engine, wider, style, OF_32)
    assert resumed(gpu_engine, wider, AUTO, of_wider) == 1
    on_grid = interrupted(gpu_engine, strip, style, AUTO)
    assert resumed(engine, strip, GRID, on_grid) == 1
    assert resumed(engine, strip, AUTO, on_grid) is None
