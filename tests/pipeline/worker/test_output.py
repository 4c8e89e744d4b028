"""What is written of one result: sizes, transparency, colours, the loss log."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.imaging import images
from nst_core.imaging.colors import luminance_of
from nst_core.results import LOG_COLUMNS, LossLog
from pipeline.worker import output
from pipeline.worker.inputs import Inputs

GREY = np.full((48, 64, 3), 90, np.float32)


def inputs(content: images.Picture, keep: np.ndarray | None = None) -> Inputs:
    """What was read for a pair of this content."""
    return Inputs(content, content.rgb, None, (None,), keep)


def decoded(encoded: bytes) -> Any:
    """The pixels of a file."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image)


def test_the_loss_log_is_csv_with_nine_digits() -> None:
    terms = ("total", "content", "style", "tv", "style/block1_conv1")
    row = [1, 1.0, 64, 64, 0.5, 6.0, 1.0, 2.0, 3.0, 2.0]
    log = LossLog((*LOG_COLUMNS, *terms), np.array([row]))
    rows = list(csv.reader(io.StringIO(output.loss_csv(log).decode())))
    assert rows[0] == [*LOG_COLUMNS, *terms]
    assert rows[1] == ["1", "1", "64", "64", "0.5", "6", "1", "2", "3", "2"]
    fine = LossLog(("step", "total"), np.array([[1, 0.1234567891234]]))
    assert output.loss_csv(fine) == b"step,total\n1,0.123456789\n"


@pytest.mark.parametrize("output_format", ["png", "webp", "tiff", "avif"])
def test_transparency_is_put_back_at_the_result_s_size(output_format: str) -> None:
    alpha = np.zeros((96, 128), np.uint8)
    alpha[:, 64:] = 255
    rgb = np.zeros((96, 128, 3), np.uint8)
    content = images.Picture(rgb, alpha)
    config = StyleConfig(output_format=output_format, resample="nearest")
    encoded = output.encode_image(GREY, inputs(content), config, {})
    with Image.open(io.BytesIO(encoded)) as image:
        assert (image.mode, image.size) == ("RGBA", (64, 48))
        found = np.asarray(image)[..., 3]
    assert (found[:, :32] == 0).all()
    assert (found[:, 32:] == 255).all()


def original(**changes: Any) -> StyleConfig:
    """The configuration of a result at the original's size."""
    return StyleConfig().updated({"output_size": "original", **changes})


def test_the_original_s_size_brings_its_own_transparency_back() -> None:
    generator = np.random.default_rng(0)
    alpha = generator.integers(0, 256, (111, 147), np.uint8)
    content = images.Picture(np.zeros((111, 147, 3), np.uint8), alpha)
    found = decoded(output.encode_image(GREY, inputs(content), original(), {}))
    assert output.output_size(GREY, content, original()) == Size(147, 111)
    assert (found[..., 3] == alpha).all()
    assert (found[..., :3] == 90).all()


def test_the_original_s_size_keeps_every_detail_of_colours_that_are_kept() -> None:
    generator = np.random.default_rng(0)
    content = images.Picture(generator.integers(100, 150, (96, 128, 3), np.uint8), None)
    config = original(preserve_colors="luminance")
    found = decoded(output.encode_image(GREY, inputs(content), config, {})).astype(float)
    chroma = content.rgb - luminance_of(content.rgb)[..., None]
    assert np.abs(found - luminance_of(found)[..., None] - chroma).max() < 1.5
    assert np.abs(luminance_of(found) - 90).max() < 1.5


def test_a_large_result_may_be_reduced_to_a_small_original() -> None:
    content = images.Picture(np.zeros((30, 40, 3), np.uint8), None)
    assert decoded(output.encode_image(GREY, inputs(content), original(), {})).shape == (30, 40, 3)


def test_what_stays_is_the_original_with_all_its_detail() -> None:
    generator = np.random.default_rng(0)
    content = images.Picture(generator.integers(0, 256, (96, 128, 3), np.uint8), None)
    keep = np.zeros((48, 64), np.float32)
    keep[:, 40:] = 1
    keep[:, 36:40] = 0.5
    encoded = output.encode_image(GREY, inputs(content, keep), original(), {})
    found = decoded(encoded).astype(int)
    assert (found[:, 90:] == content.rgb[:, 90:]).all()
    assert (found[:, :60] == 90).all()


def test_a_half_transparent_part_that_stays_comes_back_as_it_was() -> None:
    rgb = np.full((48, 64, 3), (78, 96, 107), np.uint8)
    content = images.Picture(rgb, np.full((48, 64), 128, np.uint8))
    kept = inputs(content, np.ones((48, 64), np.float32))
    for config in (original(), original(preserve_colors="luminance")):
        found = decoded(output.encode_image(GREY, kept, config, {}))
        assert (found == (78, 96, 107, 128)).all()
