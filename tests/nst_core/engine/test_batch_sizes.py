"""How many images are computed at once where XLA compiles each size, and what fills them up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.compiled import compilation
from nst_core.devices import device
from nst_core.devices.batch_sizes import MOST_IMAGES, PIXELS, paying, size_for
from nst_core.engine import batch, program
from nst_core.engine import style_engine as engine_module
from nst_core.engine.style_engine import StyleEngine
from nst_core.network.weights import VggWeights
from nst_core.objective.objective import Objective
from nst_core.results import Style, StyleResult
from tests.nst_core.engine.quick import Draw, pictures, quick

FEW_LAYERS = {"content_layers": {"block1_conv2": 1}, "style_layers": {"block1_conv1": 1}}


@pytest.fixture
def on_gpu(procedural: VggWeights, monkeypatch: pytest.MonkeyPatch) -> StyleEngine:
    """As on a GPU; where there is none, TensorFlow places its operations on the processor."""
    monkeypatch.setattr(engine_module, "choose_device", lambda _: device.GPU)
    monkeypatch.setattr(batch, "available_memory", lambda _: 2.0**40)
    monkeypatch.setattr(engine_module, "whole_memory", lambda _: 2.0**40)
    return StyleEngine(procedural, padding="zero", precision="bfloat16")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the compiled programs have computed at once, call by call."""
    found: list[int] = []
    advance = program.Program.advance

    def note(self: program.Program, state: dict, *rest: object) -> object:  # type: ignore[type-arg]
        found.append(state["x"].shape[0])
        return advance(self, state, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(program.Program, "advance", note)
    return found


def test_a_batch_has_as_many_pixels_as_pay_and_a_power_of_two_of_images() -> None:
    for side in (32, 64, 512, 640, 1024, 4096, 8192):
        count = paying(Size(side, side))
        assert count & (count - 1) == 0
        assert count == 1 or (count * side * side <= PIXELS and count <= MOST_IMAGES)
    assert paying(Size(512, 512)) == 16
    assert paying(Size(8192, 8192)) == 1


def test_nothing_is_compiled_that_can_be_filled_up_or_cut() -> None:
    # Of nothing there is, the next power of two; of something, what is large enough.
    assert size_for(5, 16, ()) == 8
    assert size_for(1, 16, ()) == 1
    assert size_for(40, 16, ()) == 16
    assert size_for(3, 16, {16}) == 16
    assert size_for(3, 16, {4, 16}) == 4
    # Cut in two rather than compiled; not into many.
    assert size_for(16, 16, {8}) == 8
    assert size_for(16, 16, {4}) == 16
    # What does not fit any more is not there.
    assert size_for(5, 4, {16}) == 4


def test_images_that_fill_a_batch_change_nothing(
    on_gpu: StyleEngine, draw: Draw, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []
    first_call = compilation.CompiledFunction._first_call

    def counted(function: compilation.CompiledFunction, shapes: Any, arguments: Any) -> Any:
        compiled.append(shapes)
        return first_call(function, shapes, arguments)

    monkeypatch.setattr(compilation.CompiledFunction, "_first_call", counted)
    several = [draw(64, 64, seed) for seed in range(5)]
    styles = [[Style(draw(64, 64, seed + 9))] for seed in range(5)]
    config = quick(steps=3, scales=(0.5, 1), **FEW_LAYERS)
    whole = on_gpu.stylize_batch(several, styles, config)
    assert {*computed} == {8}
    computed.clear()
    # Fewer of them, and one alone, in the program that is there.
    few = on_gpu.stylize_batch(several[:3], styles[:3], config)
    alone = on_gpu.stylize(several[4], styles[4], config)
    assert {*computed} == {8}
    # One program for each scale, none for other counts.
    assert len(compiled) == 2
    for one, other in zip([*few, alone], [*whole[:3], whole[4]], strict=True):
        assert isinstance(one, StyleResult)
        assert isinstance(other, StyleResult)
        np.testing.assert_allclose(one.image, other.image, atol=0.05)
        assert len(one.losses.rows) == len(other.losses.rows) == 6
        for mine, its in zip(one.losses.rows, other.losses.rows, strict=True):
            np.testing.assert_allclose(mine[5:], its[5:], rtol=1e-3)
    assert [r.batch for r in few if isinstance(r, StyleResult)] == [3, 3, 3]


def test_the_network_outside_of_the_steps_sees_few_counts_too(
    on_gpu: StyleEngine, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    for name in ("content_targets", "style_targets"):
        real = getattr(Objective, name)

        def traced(self: Objective, images: Any, *rest: Any, real: Any = real) -> dict[str, Any]:
            tf.py_function(lambda one: seen.append(int(one.shape[0])), [images], [])
            return dict(real(self, images, *rest))

        monkeypatch.setattr(Objective, name, traced)
    several = [draw(64, 64, seed) for seed in range(5)]
    config = quick(steps=1, **FEW_LAYERS)
    found = on_gpu.stylize_batch(several, [Style(draw(64, 64, 9))], config)
    # One style; the contents' targets and the results' statistics, filled up.
    assert {*seen} == {1, 8}
    assert len(found) == 5


def test_snapshots_are_taken_of_no_image_that_only_fills(
    on_gpu: StyleEngine, draw: Draw, style: Style
) -> None:
    config = quick(steps=4, snapshot_every=2, **FEW_LAYERS)
    taken: list[tuple[int, int]] = []
    on_gpu.stylize_batch(
        [draw(64, 64, seed) for seed in range(3)],
        [style],
        config,
        snapshots=lambda one: taken.append((one.content, one.step)),
    )
    assert sorted(taken) == [(index, step) for index in range(3) for step in (2, 4)]


def test_where_a_full_batch_does_not_fit_a_smaller_one_is_computed(
    on_gpu: StyleEngine,
    draw: Draw,
    style: Style,
    computed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    advance = program.Program.advance
    refused: list[int] = []

    def scarce(self: program.Program, state: dict, *rest: object) -> object:  # type: ignore[type-arg]
        if state["x"].shape[0] > 2:
            refused.append(state["x"].shape[0])
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return advance(self, state, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(program.Program, "advance", scarce)
    for _ in range(2):
        found = on_gpu.stylize_batch(
            [draw(64, 64, seed) for seed in range(5)], [style], quick(steps=2, **FEW_LAYERS)
        )
        assert len(pictures(found)) == 5
    assert max(computed) == 2
    # What has not fitted is tried no more: each time the card would wait for room.
    assert refused == [8, 4]
    assert on_gpu.batch_size(quick(steps=2, **FEW_LAYERS), Size(64, 64)) == 2


def test_what_is_best_given_at_once_depends_on_the_device(
    on_gpu: StyleEngine, engine: StyleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    canvas = Size(512, 384)
    assert on_gpu.batch_size(quick(), canvas) == paying(canvas)
    assert engine.batch_size(quick(), canvas) == 1
    monkeypatch.setattr(engine_module, "whole_memory", lambda _: 2.0**30)
    assert 1 <= on_gpu.batch_size(quick(), canvas) < paying(canvas)


def test_what_is_best_does_not_depend_on_what_the_device_is_busy_with(
    procedural: VggWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "choose_device", lambda _: device.GPU)
    for module in (device, engine_module):
        monkeypatch.setattr(module, "whole_memory", lambda _: 12 * 2.0**30)
    on_gpu = StyleEngine(procedural, padding="zero", precision="bfloat16")
    canvas, found = Size(512, 512), []
    for used in (0, 7 * 2**30):
        in_use = {"current": used}
        monkeypatch.setattr(
            tf.config.experimental, "get_memory_info", lambda _, told=in_use: dict(told)
        )
        found.append(on_gpu.batch_size(quick(), canvas))
    assert found == [paying(canvas)] * 2
