"""Geometry: how large the content, its canvas, its coarse scales and the style become."""

from __future__ import annotations

import dataclasses

import numpy as np

from nst_core.config import StyleConfig
from nst_core.errors import InputTooLarge, InputTooSmall

# Four poolings leave at least 2×2 features, the least that reflect padding works on.
LEAST_CANVAS = 32
LEAST_SIDE = 16
LONGEST_SIDE = 8192
COARSE_MULTIPLE = 16


@dataclasses.dataclass(frozen=True, order=True)
class Size:
    """Width and height, px."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def size_of(rgb: np.ndarray) -> Size:
    """The size of an image array `[H, W, …]`."""
    return Size(rgb.shape[1], rgb.shape[0])


@dataclasses.dataclass(frozen=True)
class Fit:
    """How large a picture is wanted: at a long side, at a height, or at one size, px.

    One of the three is given; the first two keep the aspect ratio.
    """

    long_side: int | None = None
    height: int | None = None
    size: Size | None = None

    @classmethod
    def of(cls, config: StyleConfig, factor: float = 1.0) -> Fit:
        """The configured height or long side times `factor`."""
        if config.image_height is not None:
            return cls(height=max(1, round(config.image_height * factor)))
        return cls(long_side=max(1, round((config.image_size or 0) * factor)))

    def of_source(self, source: Size) -> Size:
        """The size that a picture of size `source` comes to."""
        if self.size is not None:
            return self.size
        if self.height is not None:
            return Size(max(1, source.width * self.height // source.height), self.height)
        longest, side = max(source.width, source.height), self.long_side or 1
        return Size(max(1, source.width * side // longest), max(1, source.height * side // longest))


def fitted(source: Size, config: StyleConfig, factor: float = 1.0) -> Size:
    """`source` at the configured height or long side times `factor`, its aspect ratio kept."""
    return Fit.of(config, factor).of_source(source)


def content_size(source: Size, config: StyleConfig, name: str) -> Size:
    """The size of the result for a content of size `source`.

    Raises:
        InputTooSmall: a side would be under 16 px.
        InputTooLarge: a side would be over 8192 px.
    """
    size = fitted(source, config)
    _check(size, f"{name} is {source} px and becomes {size} px", "image_size")
    return size


def canvas_size(content: Size, config: StyleConfig) -> Size:
    """The content's size rounded up to the canvas multiple."""
    return Size(
        _round_up(content.width, config.canvas_multiple),
        _round_up(content.height, config.canvas_multiple),
    )


def scale_sizes(canvas: Size, config: StyleConfig) -> list[Size]:
    """The canvas at each of the configured scales; the last is the canvas itself."""
    coarse = [
        Size(_coarse_side(canvas.width, scale), _coarse_side(canvas.height, scale))
        for scale in config.scales[:-1]
    ]
    return [*coarse, canvas]


def style_size(style: Size, content: Size, config: StyleConfig, scale: float, name: str) -> Size:
    """The size at which a style image is measured for content of size `content` at `scale`.

    With `style_fit: keep` it does not depend on the content, so that a catalog shares it.

    Raises:
        InputTooSmall: at full scale a side would be under 16 px.
        InputTooLarge: at full scale a side would be over 8192 px.
    """
    factor = config.style_scale * scale
    if config.style_fit == "stretch":
        size = Size(round(content.width * factor), round(content.height * factor))
    else:
        size = fitted(style, config, factor)
    if scale == 1:
        _check(size, f"The style {name} is {style} px and becomes {size} px", "style_scale")
    return Size(max(size.width, 1), max(size.height, 1))


def _check(size: Size, what: str, setting: str) -> None:
    if min(size.width, size.height) < LEAST_SIDE:
        raise InputTooSmall(
            f"{what}, with a side under {LEAST_SIDE} px; "
            f"crop it to a less extreme shape or raise {setting}."
        )
    if max(size.width, size.height) > LONGEST_SIDE:
        raise InputTooLarge(
            f"{what}, with a side over {LONGEST_SIDE} px; "
            f"crop it to a less extreme shape or lower image_height or {setting}."
        )


def _round_up(side: int, multiple: int) -> int:
    return max(LEAST_CANVAS, -(-side // multiple) * multiple)


def _coarse_side(side: int, scale: float) -> int:
    return max(LEAST_CANVAS, round(side * scale / COARSE_MULTIPLE) * COARSE_MULTIPLE)
