"""The grid: few canvases, the same for every catalog, that pad little."""

from __future__ import annotations

import pytest

from nst_core.canvas import Size, canvas_size, content_size, scale_sizes
from nst_core.config import StyleConfig, preset
from nst_core.errors import InputTooLarge, InputTooSmall

# As cameras and shops have them, lying; large enough that their ratio is exact.
COMMON = [(1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (2, 1)]
SHAPES = [*COMMON, *((height, width) for width, height in COMMON)]
SIZES = [32, 256, 500, 512, 640, 768, 1024, 1300, 2048, 8192]
ON_GRID = StyleConfig(canvas_multiple="grid")


def on_grid(content: Size, config: StyleConfig) -> Size:
    """The grid's canvas; whether there is a GPU makes no difference to it."""
    found = canvas_size(content, config, on_gpu=False)
    assert found == canvas_size(content, config, on_gpu=True)
    return found


def photographs(config: StyleConfig, side: int) -> set[Size]:
    """The sizes of contents of any shape from 1:16 to 16:1, at one size."""
    step = max(1, side // 256)
    others = range(max(16, side // 16), 16 * side + 1, step)
    found = set()
    for source in (Size(side, other) for other in others):
        for one in (source, Size(source.height, source.width)):
            try:
                found.add(content_size(one, config, "x"))
            except (InputTooSmall, InputTooLarge):
                continue
    return found


def padded(content: Size, canvas: Size) -> float:
    """The share of the canvas that is padding."""
    return 1 - content.width * content.height / (canvas.width * canvas.height)


@pytest.mark.parametrize(
    ("source", "size", "expected"),
    [
        (Size(3000, 3000), 512, Size(512, 512)),
        (Size(3000, 2000), 512, Size(512, 352)),
        (Size(2000, 3000), 512, Size(352, 512)),
        (Size(4000, 3000), 512, Size(512, 384)),
        (Size(1920, 1080), 512, Size(512, 288)),
        (Size(1920, 1080), 500, Size(512, 288)),
        (Size(1000, 900), 512, Size(512, 512)),
        (Size(4000, 1000), 512, Size(512, 128)),
        (Size(4000, 200), 512, Size(512, 128)),
        (Size(3000, 2000), 64, Size(64, 64)),
    ],
)
def test_the_long_side_is_given_and_the_short_one_has_a_few_lengths(
    source: Size, size: int, expected: Size
) -> None:
    config = ON_GRID.updated({"image_size": size})
    assert on_grid(content_size(source, config, "x"), config) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Size(2000, 3000), Size(288, 416)),
        (Size(3000, 2000), Size(640, 416)),
        (Size(1920, 1080), Size(768, 416)),
        (Size(8000, 1000), Size(3328, 416)),
        (Size(20000, 1000), Size(8192, 416)),
    ],
)
def test_where_the_height_is_given_the_width_has_a_few_lengths(
    source: Size, expected: Size
) -> None:
    config = ON_GRID.updated({"image_height": 400})
    assert on_grid(content_size(source, config, "x"), config) == expected


@pytest.mark.parametrize("side", SIZES)
def test_photographs_of_any_shape_at_one_size_come_to_at_most_15_canvases(side: int) -> None:
    config = ON_GRID.updated({"image_size": side, "scales": [0.25, 0.5, 1], "steps": 10})
    contents = photographs(config, side)
    canvases = {on_grid(one, config) for one in contents}
    assert len(canvases) <= 15
    # So do their coarse scales, at each of them.
    for sizes in zip(*(scale_sizes(one, config) for one in canvases), strict=True):
        assert len(set(sizes)) <= 15


@pytest.mark.parametrize("height", [64, 400, 1024, 8192])
def test_with_a_height_long_strips_add_only_a_few(height: int) -> None:
    config = ON_GRID.updated({"image_height": height})
    contents = photographs(config, height)
    canvases = {on_grid(one, config) for one in contents}
    strips = {one for one in canvases if one.width > 4 * one.height}
    assert len(canvases - strips) <= 15
    # 8 and 16 times the height, or the largest side there is.
    assert len(strips) <= 2


@pytest.mark.parametrize("given", ["image_size", "image_height"])
@pytest.mark.parametrize("side", SIZES)
def test_every_content_fits_its_canvas_and_none_is_padded_by_much(given: str, side: int) -> None:
    config = ON_GRID.updated({given: side})
    for content in photographs(config, side):
        canvas = on_grid(content, config)
        assert content.width <= canvas.width <= 8192
        assert content.height <= canvas.height <= 8192
        assert canvas.width % 32 == canvas.height % 32 == 0
        least = canvas_size(content, StyleConfig(canvas_multiple=32), on_gpu=False)
        if 4 * min(content.width, content.height) >= max(content.width, content.height):
            # A rung and the rounding up to 32 px: never as much again.
            assert canvas.width * canvas.height <= 2 * least.width * least.height


def test_common_photographs_are_padded_by_little_on_average() -> None:
    shares, plain = [], []
    for side in range(256, 2049, 16):
        config = ON_GRID.updated({"image_size": side})
        for width, height in SHAPES:
            content = content_size(Size(1440 * width, 1440 * height), config, "x")
            shares.append(padded(content, on_grid(content, config)))
            multiple = config.updated({"canvas_multiple": 32})
            plain.append(padded(content, canvas_size(content, multiple, on_gpu=True)))
    mean, of_multiples = (sum(one) / len(one) for one in (shares, plain))
    assert mean < 0.12
    # The few canvases cost little more than the many.
    assert of_multiples < mean < of_multiples + 0.01


@pytest.mark.parametrize("given", ["image_size", "image_height"])
@pytest.mark.parametrize("side", [64, 500, 1024])
def test_contents_that_share_a_multiple_of_32_px_share_a_canvas_of_the_grid(
    given: str, side: int
) -> None:
    config = StyleConfig().updated({given: side})
    of_multiples: dict[Size, set[Size]] = {}
    for content in photographs(config, side):
        fine = canvas_size(content, config, on_gpu=False)
        of_multiples.setdefault(fine, set()).add(canvas_size(content, config, on_gpu=True))
    assert all(len(grids) == 1 for grids in of_multiples.values())
    assert len(set().union(*of_multiples.values())) <= len(of_multiples)


def test_auto_is_the_grid_on_gpus_and_multiples_of_32_px_on_cpus() -> None:
    content = Size(512, 300)
    assert StyleConfig().canvas_multiple == "auto"
    assert canvas_size(content, StyleConfig(), on_gpu=False) == Size(512, 320)
    assert canvas_size(content, StyleConfig(), on_gpu=True) == Size(512, 352)
    for on_gpu in (False, True):
        exact = preset("notebook").updated({"image_size": 512})
        assert canvas_size(content, exact, on_gpu=on_gpu) == content
