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
# The canvases of `auto` where nothing is compiled.
CPU_MULTIPLE = 32

# The grid's sides are multiples of this many px, so that coarse scales at half the size are exact.
GRID_MULTIPLE = 32
# Short sides of the grid's canvases by their long sides, as numerator and denominator: those of
# common photographs, and between them such that no shape down to 1:4 is padded by more than half.
SHARES = ((1, 4), (3, 8), (1, 2), (9, 16), (2, 3), (3, 4), (13, 16), (1, 1))
# Widths by heights, where heights are given: the same, upright and lying, and long strips.
WIDTHS = (
    *SHARES,
    *((whole, part) for part, whole in reversed(SHARES[:-1])),
    *((2**power, 1) for power in range(3, 9)),
)


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

    One of the three is given; the first two keep the aspect ratio. `short_side`: with these, what
    would have a shorter side than this is so much larger, px; 0: nothing is.
    """

    long_side: int | None = None
    height: int | None = None
    size: Size | None = None
    short_side: int = 0

    @classmethod
    def of(cls, config: StyleConfig, factor: float = 1.0) -> Fit:
        """The configured height or long side times `factor`."""
        least = round(config.smallest_side * factor)
        if config.image_height is not None:
            return cls(height=max(1, round(config.image_height * factor)), short_side=least)
        return cls(long_side=max(1, round((config.image_size or 0) * factor)), short_side=least)

    def of_source(self, source: Size) -> Size:
        """The size that a picture of size `source` comes to."""
        if self.size is not None:
            return self.size
        if self.height is not None:
            found = Size(max(1, source.width * self.height // source.height), self.height)
        else:
            longest, side = max(source.width, source.height), self.long_side or 1
            found = Size(
                max(1, source.width * side // longest), max(1, source.height * side // longest)
            )
        if min(found.width, found.height) >= self.short_side:
            return found
        shortest, side = min(source.width, source.height), self.short_side
        return Size(source.width * side // shortest, source.height * side // shortest)


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


def canvas_size(content: Size, config: StyleConfig, *, on_gpu: bool) -> Size:
    """The size that a content is padded to: `canvas_multiple`, `auto` resolved by `on_gpu`.

    The grid's canvases are never the finer ones: contents that share a canvas of multiples of
    32 px share one of the grid.
    """
    multiple = config.canvas_multiple
    if multiple == "grid" or (multiple == "auto" and on_gpu):
        return _on_grid(content, config)
    return _to_multiple(content, CPU_MULTIPLE if isinstance(multiple, str) else multiple)


def canvas_identity(source: Size, config: StyleConfig, *, on_gpu: bool) -> int | str:
    """Which canvas a content of size `source` comes to: its multiple, or one of the grid."""
    if isinstance(config.canvas_multiple, int):
        return config.canvas_multiple
    content = fitted(source, config)
    canvas = canvas_size(content, config, on_gpu=on_gpu)
    return CPU_MULTIPLE if canvas == _to_multiple(content, CPU_MULTIPLE) else str(canvas)


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
    whole = _style_at(style, content, config, config.style_scale)
    # At every scale: who measures a coarse one first must not make a huge picture for nothing.
    _check(whole, f"The style {name} is {style} px and becomes {whole} px", "style_scale")
    size = _style_at(style, content, config, config.style_scale * scale)
    return Size(max(size.width, 1), max(size.height, 1))


def _style_at(style: Size, content: Size, config: StyleConfig, factor: float) -> Size:
    if config.style_fit == "stretch":
        return Size(round(content.width * factor), round(content.height * factor))
    return fitted(style, config, factor)


def _check(size: Size, what: str, setting: str) -> None:
    if min(size.width, size.height) < LEAST_SIDE:
        raise InputTooSmall(
            f"{what}, with a side under {LEAST_SIDE} px; crop it to a less extreme shape, raise "
            f"{setting}, or set smallest_side to enlarge such pictures."
        )
    if max(size.width, size.height) > LONGEST_SIDE:
        raise InputTooLarge(
            f"{what}, with a side over {LONGEST_SIDE} px; crop it to a less extreme shape or lower "
            f"image_height, smallest_side or {setting}."
        )


def _to_multiple(content: Size, multiple: int) -> Size:
    return Size(_round_up(content.width, multiple), _round_up(content.height, multiple))


def _on_grid(content: Size, config: StyleConfig) -> Size:
    if config.image_height is not None:
        height = _round_up(content.height, GRID_MULTIPLE)
        return Size(_grid_side(content.width, height, WIDTHS), height)
    long = _round_up(max(content.width, content.height), GRID_MULTIPLE)
    short = _grid_side(min(content.width, content.height), long, SHARES)
    return Size(long, short) if content.width >= content.height else Size(short, long)


def _grid_side(needed: int, other: int, shares: tuple[tuple[int, int], ...]) -> int:
    """The grid's least side of at least `needed` px beside one of `other` px."""
    sides = (
        min(LONGEST_SIDE, _round_up(-(-other * part // whole), GRID_MULTIPLE))
        for part, whole in shares
    )
    return next((side for side in sides if side >= needed), needed)


def _round_up(side: int, multiple: int) -> int:
    return max(LEAST_CANVAS, -(-side // multiple) * multiple)


def _coarse_side(side: int, scale: float) -> int:
    return max(LEAST_CANVAS, round(side * scale / COARSE_MULTIPLE) * COARSE_MULTIPLE)
