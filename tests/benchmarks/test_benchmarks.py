"""Benchmarks that are made seldom, or only where a GPU is lent, still make their tables."""

from __future__ import annotations

import pathlib

import pytest
from PIL import Image

from benchmarks import gpu, options, references, time_to_loss
from nst_core.config import preset
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
    config = preset("default").updated({"steps": 2})
    (row,) = gpu.measure(load_weights("procedural"), "float32", 32, (1,), config)
    # Device, side, precision and batch; then seconds, and milliseconds of the parts.
    seconds, *parts = map(float, row[4:9])
    assert seconds > 0
    assert sum(parts) == pytest.approx(1000 * seconds, abs=1)
