"""What pairs cost on GPUs: estimated from counted operations, in proportion to the work."""

from __future__ import annotations

import pytest

from nst_core.canvas import Size
from nst_core.config import StyleConfig, preset
from nst_core.devices.operations import pair_operations, step_operations
from pipeline.job import gpus

ONE_SCALE = StyleConfig().updated({"scales": [1], "steps": 10})
SQUARE = Size(512, 512)


def test_the_operations_of_a_step_are_vgg19_s_to_its_deepest_layer() -> None:
    # Measured by TensorFlow's profiler: 94.7 GFLOP, convolutions alone.
    deepest = StyleConfig().updated({"style_layers": {"block5_conv1": 1}})
    assert step_operations(deepest, Size(256, 256)) == pytest.approx(94.7e9, rel=0.01)


def test_the_operations_of_a_pair_are_those_of_its_scales() -> None:
    step = step_operations(ONE_SCALE, SQUARE)
    assert pair_operations(ONE_SCALE, SQUARE) == 10 * step
    two = ONE_SCALE.updated({"scales": [0.5, 1], "steps": [8, 10]})
    assert pair_operations(two, SQUARE) == pytest.approx((8 / 4 + 10) * step)


def test_seconds_are_operations_over_the_assumed_share_of_the_peak() -> None:
    operations = pair_operations(ONE_SCALE, SQUARE)
    seconds = {name: gpu.seconds(ONE_SCALE, SQUARE) for name, gpu in gpus.GPUS.items()}
    assert seconds["nvidia-l4"] == pytest.approx(operations / (0.067 * 121e12))
    # A T4 has no matrix units for bfloat16, and `auto` takes float32 there.
    assert seconds["nvidia-tesla-t4"] == pytest.approx(operations / (0.5 * 8.1e12))
    order = ["nvidia-tesla-t4", "nvidia-l4", "nvidia-a100", "nvidia-h100"]
    assert sorted(order, key=seconds.__getitem__, reverse=True) == order


def test_float32_takes_longer_where_bfloat16_has_matrix_units() -> None:
    gpu = gpus.find("nvidia-l4")
    plain = ONE_SCALE.updated({"precision": "float32"})
    assert gpu.seconds(plain, SQUARE) == pytest.approx(121 / 60 * gpu.seconds(ONE_SCALE, SQUARE))
    forced = ONE_SCALE.updated({"precision": "bfloat16"})
    old = gpus.find("nvidia-tesla-t4")
    assert old.seconds(forced, SQUARE) == old.seconds(plain, SQUARE)


def test_workers_share_the_work_and_each_pays_for_its_start() -> None:
    # Each of them compiles the programs before, too.
    one, eight = gpus.cost(8 * 3600, 1, 360), gpus.cost(8 * 3600, 8, 360)
    start = gpus.START_MINUTES / 60 + 0.1
    assert (one.hours, one.gpu_hours) == pytest.approx((8 + start, 8 + start))
    assert (eight.hours, eight.gpu_hours) == pytest.approx((1 + start, 8 + 8 * start))


def test_a_plan_adds_up_the_pairs_of_every_canvas() -> None:
    gpu = gpus.find("nvidia-l4")
    wide = Size(1024, 512)
    found = gpus.plan(gpu, 4, [(ONE_SCALE, SQUARE, 100), (ONE_SCALE, wide, 50)])
    seconds = gpu.seconds(ONE_SCALE, SQUARE) * (100 + 2 * 50)
    assert found["seconds_per_pair"] == pytest.approx(seconds / 150)
    compiling = 2 * gpus.PROGRAM_SECONDS
    assert found["gpu_hours"] == pytest.approx(gpus.cost(seconds, 4, compiling).gpu_hours)
    assert found["hours"] == pytest.approx(found["gpu_hours"] / 4)
    # Without work no worker starts.
    assert gpus.plan(gpu, 4, [])["gpu_hours"] == 0


def test_programs_are_counted_by_what_a_step_computes_and_by_size() -> None:
    two = ONE_SCALE.updated({"scales": [0.5, 1], "steps": [8, 10]})
    small, wide = Size(256, 256), Size(512, 256)

    def found(*work: gpus.Work) -> tuple[int, int, int, float]:
        one = gpus.shapes(work, compiled=True)
        return one["canvases"], one["scales"], one["programs"], one["compile_seconds"]

    each = gpus.PROGRAM_SECONDS
    assert found() == (0, 0, 0, 0)
    assert found((ONE_SCALE, SQUARE, 9)) == (1, 1, 1, each)
    assert found((two, SQUARE, 1), (two, wide, 1)) == (2, 2, 4, 4 * each)
    # The coarse scale of the one is as large as the other.
    assert found((two, SQUARE, 1), (two, small, 1)) == (2, 2, 3, 3 * each)
    # Weights, steps and seeds are numbers, layers and terms are other operations.
    same = two.updated({"style_weight": 3, "steps": 5, "seed": 4, "tile": "off"})
    assert found((two, SQUARE, 1), (same, SQUARE, 1)) == (1, 2, 2, 2 * each)
    for change in (
        {"style_layers": {"block1_conv1": 1}},
        {"tv_weight": 0},
        {"optimizer": "adam"},
        {"precision": "float32"},
        {"pooling": "max"},
        {"keep": "face.png"},
    ):
        assert found((two, SQUARE, 1), (two.updated(change), SQUARE, 1)) == (1, 2, 4, 4 * each)
    on_cpu = gpus.shapes([(two, SQUARE, 1)], compiled=False)
    assert on_cpu == {"canvases": 1, "scales": 2, "programs": 0, "compile_seconds": 0}


def test_a_preset_of_more_steps_costs_more() -> None:
    gpu = gpus.find("nvidia-l4")
    names = ("preview", "default", "quality")
    costs = [gpu.seconds(preset(name), SQUARE) for name in names]
    assert costs == sorted(costs)
