"""Benchmarks that are made seldom, or only where a GPU is lent, still make their tables."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from PIL import Image

from benchmarks import gpu, kernels, options, references, time_to_loss
from nst_core.canvas import Size
from nst_core.config import preset
from nst_core.devices.operations import step_operations
from nst_core.network.loading import load_weights


def test_the_time_to_the_same_loss_has_a_row_for_each_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(time_to_loss, "LEAST_STEPS", 3)
    monkeypatch.setattr(references, "EVALUATIONS_PER_ROUND", 2)
    content, style = tmp_path / "content.png", tmp_path / "style.png"
    Image.radial_gradient("L").convert("RGB").save(content)
    Image.linear_gradient("L").convert("RGB").save(style)
    words = ["loss", "--objective=default", "--size=64x48", "--rounds=1", "--adam-steps=3"]
    words += [f"--content={content}", f"--style={style}"]
    ((title, chosen),) = time_to_loss.cases(options.parse(words, ("loss",)))
    assert title == ": default, 64x48 px"
    header, rows = time_to_loss.table(chosen)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    methods = [row["method"].partition(" (")[0] for row in found]
    assert methods == ["reference A", "engine, to A's", "reference B", "engine, by Adam, to B's"]
    for row in found:
        assert int(row["evaluations"]) >= 1
        assert float(row["loss"]) > 0


def test_a_pair_s_time_on_a_device_is_the_sum_of_its_parts() -> None:
    config = preset("default").updated({"steps": 2, "scales": [1]})
    (row,) = gpu.measure(load_weights("procedural"), "float32", 32, (1,), config)
    # Device, side, precision and batch; then seconds, and milliseconds of the parts.
    seconds, *parts = map(float, row[4:9])
    assert seconds > 0
    assert sum(parts) == pytest.approx(1000 * seconds, abs=1)


def test_a_step_for_a_gpu_has_the_operations_that_are_counted_on() -> None:
    # The gradients of reflected edges are convolutions of somewhat larger maps.
    config = preset("default").updated({"precision": "bfloat16", "padding": "zero"})
    size = Size(96, 64)
    found = kernels.kernels(kernels.lowered(config, 2, size, moving=False))
    kinds = [one.kind for one in found]
    # Both ways: 13 layers, and the Gram matrices of five.
    assert kinds.count("convolution") == 26
    assert kinds.count("product") == 10
    # And both ways in the first layer five channels with nothing in them.
    empty = 2 * 2 * 9 * 5 * 64 * size.width * size.height
    operations = sum(one.operations for one in found)
    assert operations == pytest.approx(2 * (step_operations(config, size) + empty))
    assert all(one.size > 0 for one in found)


def test_what_a_gpu_s_compiler_needs_is_said_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(kernels, "lowered", lambda *_, **__: b"")
    for python in (shutil.which("false"), tmp_path / "python"):
        chosen = options.parse(["kernels", f"--xla-python={python}"], ("kernels",))
        with pytest.raises(SystemExit, match=r'--xla-python takes .* "jax\[cuda13\]'):
            kernels.table(chosen)


def test_a_gpu_s_convolutions_cut_off_what_is_negative_themselves() -> None:
    python = options.parse(["kernels"], ("kernels",)).xla_python
    if not pathlib.Path(python).exists():
        pytest.skip("needs XLA for GPUs in .venv-xla (see benchmarks/kernels.py)")
    config = preset("default").updated({"precision": "bfloat16"})
    module = kernels.compiled(python, kernels.lowered(config, 2, Size(256, 192))).module
    assert module.count(b'"activation_mode":"kRelu"') == 13
    kinds = [one.kind for one in kernels.kernels(module)]
    assert kinds.count("convolution") == 26
    # Nor is a product compiled, of which there would be one for each tiling that is tried.
    assert kinds.count("product") == module.count(b"__cublas$gemm") >= 10
