"""Animations: how many frames, how large, how long; read back from their files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from nst_core.imaging import animation


def frames(count: int) -> list[np.ndarray]:
    """Frames that become brighter."""
    return [np.full((24, 32, 3), 20 + 40 * index, np.uint8) for index in range(count)]


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_every_frame_is_shown_in_order_and_the_last_for_longer(kind: str) -> None:
    data = animation.encode_animation(frames(5), kind, 90)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.info["loop"]) == (kind.upper(), (32, 24), 0)
        shown = []
        for one in ImageSequence.Iterator(image):
            one.load()
            pixels = np.asarray(one.convert("RGB"), float)
            shown.append((round(pixels.mean()), one.info["duration"]))
    for index, (brightness, milliseconds) in enumerate(shown):
        assert brightness == pytest.approx(20 + 40 * index, abs=2)
        assert milliseconds == (2000 if index == 4 else 100)
    assert len(shown) == 5
    assert animation.encode_animation(frames(5), kind, 90) == data


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_a_single_frame_is_an_image(kind: str) -> None:
    with Image.open(io.BytesIO(animation.encode_animation(frames(1), kind, 90))) as image:
        assert image.size == (32, 24)


def test_a_gif_keeps_smooth_colours_smooth() -> None:
    # More colours than 256: without dithering, areas of one colour would lie off by several levels.
    red, green = np.meshgrid(np.linspace(40, 200, 256), np.linspace(60, 220, 256))
    smooth = np.stack([red, green, 256 - red], axis=2).astype(np.uint8)
    with Image.open(io.BytesIO(animation.encode_animation([smooth], "gif", 90))) as image:
        shown = np.asarray(image.convert("RGB"), float)
    error = (shown - smooth).reshape(32, 8, 32, 8, 3).mean(axis=(1, 3))
    assert np.abs(error).mean() < 0.8


def test_frames_are_chosen_from_first_to_last() -> None:
    assert animation.chosen(3) == [0, 1, 2]
    many = animation.chosen(1000)
    assert len(set(many)) == animation.MOST_FRAMES
    assert (many[0], many[-1], many) == (0, 999, sorted(many))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 48), (64, 48)),
        ((1024, 700), (512, 350)),
        ((20, 2048), (5, 512)),
        ((1, 4000), (1, 512)),
    ],
)
def test_a_frame_is_no_longer_than_the_limit(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    shown = animation.frame(np.full((size[1], size[0], 3), 90.4, np.float32))
    assert (shown.shape[1], shown.shape[0]) == expected
    assert (shown == 90).all()
