"""How large the content, its canvas, its coarse scales and the style become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nst_core.canvas import Size, canvas_size, content_size, scale_sizes, style_size
from nst_core.config import StyleConfig, preset
from nst_core.errors import InputTooLarge, InputTooSmall
from nst_core.imaging import images
from nst_core.imaging.foreseen import look_at
from nst_core.results import Style


def config(**changes: object) -> StyleConfig:
    return StyleConfig().updated(changes)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Size(1000, 500), Size(512, 256)),
        (Size(500, 1000), Size(256, 512)),
        (Size(300, 300), Size(512, 512)),
        (Size(64, 48), Size(512, 384)),
        (Size(1000, 333), Size(512, 170)),
    ],
)
def test_image_size_is_the_long_side_and_the_aspect_ratio_is_kept(
    source: Size, expected: Size
) -> None:
    assert content_size(source, config(image_size=512), "x") == expected


def test_image_height_is_the_height_and_the_width_follows_rounded_down() -> None:
    assert content_size(Size(1000, 600), config(image_height=400), "x") == Size(666, 400)
    assert content_size(Size(600, 1000), config(image_height=400), "x") == Size(240, 400)


@pytest.mark.parametrize(
    ("side", "multiple", "expected"), [(65, 32, 96), (96, 32, 96), (65, 1, 65)]
)
def test_the_canvas_is_the_next_multiple(side: int, multiple: int, expected: int) -> None:
    found = canvas_size(Size(side, 64), config(canvas_multiple=multiple), on_gpu=False)
    assert found == Size(expected, 64)


def test_no_canvas_is_smaller_than_the_network_can_take() -> None:
    assert canvas_size(Size(17, 20), config(canvas_multiple=1), on_gpu=False) == Size(32, 32)


def test_the_notebook_preset_pads_nothing() -> None:
    size = content_size(Size(1023, 819), preset("notebook"), "x")
    assert size == Size(499, 400)
    assert canvas_size(size, preset("notebook"), on_gpu=True) == size


def test_coarse_scales_are_multiples_of_16_and_the_last_scale_is_the_canvas() -> None:
    sizes = scale_sizes(Size(512, 352), config(scales=[0.25, 0.5, 1], steps=10))
    assert sizes == [Size(128, 96), Size(256, 176), Size(512, 352)]


def test_coarse_scales_do_not_fall_below_what_the_network_can_take() -> None:
    sizes = scale_sizes(Size(64, 33), config(scales=[0.1, 1], steps=10, canvas_multiple=1))
    assert sizes == [Size(32, 32), Size(64, 33)]


def test_a_kept_style_has_its_own_aspect_ratio_at_the_contents_long_side() -> None:
    settings = config(image_size=200)
    wide, tall = Size(200, 100), Size(50, 200)
    for content in (wide, tall):
        assert style_size(Size(400, 800), content, settings, 1, "s") == Size(100, 200)
        assert style_size(Size(400, 800), content, settings, 0.5, "s") == Size(50, 100)


def test_style_scale_enlarges_the_style() -> None:
    settings = config(image_size=200, style_scale=1.5)
    assert style_size(Size(400, 800), Size(200, 100), settings, 1, "s") == Size(150, 300)


def test_a_stretched_style_has_the_contents_size() -> None:
    settings = config(image_size=200, style_fit="stretch")
    assert style_size(Size(400, 800), Size(200, 100), settings, 1, "s") == Size(200, 100)
    assert style_size(Size(400, 800), Size(200, 100), settings, 0.5, "s") == Size(100, 50)


def test_a_style_may_become_tiny_at_a_coarse_scale_only() -> None:
    settings = config(image_size=64)
    assert style_size(Size(100, 25), Size(64, 64), settings, 0.02, "s") == Size(1, 1)
    with pytest.raises(InputTooSmall, match=r"style wave .* 100x10 px .* 64x6 px.*style_scale"):
        style_size(Size(100, 10), Size(64, 64), settings, 1, "wave")


@pytest.mark.parametrize(
    ("source", "settings", "expected"),
    [
        (Size(1600, 20), {"image_size": 512, "smallest_side": 16}, Size(1280, 16)),
        (Size(20, 1600), {"image_size": 512, "smallest_side": 64}, Size(64, 5120)),
        (Size(1600, 20), {"image_height": 16, "smallest_side": 32}, Size(2560, 32)),
        (Size(20, 1600), {"image_height": 512, "smallest_side": 16}, Size(16, 1280)),
        (Size(777, 31), {"image_size": 128, "smallest_side": 17}, Size(426, 17)),
        # What has enough is as it is.
        (Size(640, 480), {"image_size": 512, "smallest_side": 384}, Size(512, 384)),
        (Size(641, 480), {"image_size": 512, "smallest_side": 0}, Size(512, 383)),
    ],
)
def test_an_extreme_shape_is_enlarged_where_that_is_asked_for(
    source: Size, settings: dict[str, Any], expected: Size
) -> None:
    assert content_size(source, config(**settings), "x") == expected
    assert style_size(source, expected, config(**settings), 1, "s") == expected


def test_enlarging_ends_at_the_longest_side() -> None:
    with pytest.raises(InputTooLarge, match=r"9000x9 px .* over 8192 px.*lower .*smallest_side"):
        content_size(Size(9000, 9), config(smallest_side=16), "x")


def test_an_extreme_shape_is_too_small_and_the_message_says_what_to_do() -> None:
    with pytest.raises(InputTooSmall) as caught:
        content_size(Size(2000, 40), config(image_size=512), "a/ribbon.png")
    message = str(caught.value)
    assert message.startswith("a/ribbon.png is 2000x40 px and becomes 512x10 px")
    assert "16 px" in message
    assert "image_size" in message
    assert "smallest_side" in message
    assert message.endswith(".")


def test_an_extreme_shape_is_too_large_when_the_height_is_given() -> None:
    with pytest.raises(InputTooLarge, match=r"4000x100 px .* 16000x400 px.*image_height"):
        content_size(Size(4000, 100), config(image_height=400), "a/ribbon.png")


@pytest.mark.parametrize("scale", [0.5, 1])
def test_a_style_that_is_too_large_is_so_at_every_scale(scale: float) -> None:
    with pytest.raises(InputTooLarge, match=r"style s is 20000x1 px .* 8000000x400 px"):
        style_size(Size(20_000, 1), Size(400, 400), config(image_height=400), scale, "s")


def test_a_style_that_is_too_large_is_not_resized_where_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: Any) -> Any:
        raise AssertionError("8000000 px wide")

    line = Style(np.tile(np.arange(20_000, dtype=np.uint8)[:, None], (1, 1, 3)))
    monkeypatch.setattr(images, "resize_in_kind", refused)
    look_at(np.zeros((400, 400, 3), np.uint8), [line], config(image_height=400))


def test_the_limits_themselves_are_allowed() -> None:
    assert content_size(Size(2048, 64), config(image_size=512), "x") == Size(512, 16)
    assert content_size(Size(2048, 64), config(image_size=8192), "x") == Size(8192, 256)
