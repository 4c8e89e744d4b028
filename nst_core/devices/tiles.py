"""How a picture is cut into overlapping tiles whose interiors cover it once.

Around its interior a tile has a halo as wide as the network sees; at the picture's own edges it
has none, so that there the network pads as it does for the whole picture.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from nst_core.canvas import Size
from nst_core.layers import ALIGNMENT

LEAST_TILE = 64


@dataclasses.dataclass(frozen=True)
class Span:
    """One axis of a tile: it reaches from `start` to `stop`, its interior from `first` to `last`.

    All but the picture's own end are multiples of `ALIGNMENT`, px.
    """

    start: int
    stop: int
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class Tile:
    """A part of a picture."""

    rows: Span
    columns: Span

    def cut(self, picture: Any) -> Any:
        """The tile's pixels of a picture `[B, H, W, 3]`, a view where that is an array."""
        rows, columns = self.rows, self.columns
        return picture[:, rows.start : rows.stop, columns.start : columns.stop]

    def inside(self, features: Any, stride: int) -> Any:
        """The interior's positions of a layer `[B, h, w, C]` with this stride, px."""
        top, bottom = (edge // stride for edge in (self.rows.first, self.rows.last))
        left, right = (edge // stride for edge in (self.columns.first, self.columns.last))
        return features[:, top:bottom, left:right]

    @property
    def window(self) -> np.ndarray:
        """Top, bottom, left and right of the interior within the tile, px."""
        edges = [
            edge - span.start
            for span in (self.rows, self.columns)
            for edge in (span.first, span.last)
        ]
        return np.array(edges, np.int32)


def tiles_of(size: Size, side: int, halo: int) -> list[Tile]:
    """The tiles of a picture, with interiors of at most `side` px and what the edges add."""
    rows, columns = spans(size.height, side, halo), spans(size.width, side, halo)
    return [Tile(*pair) for pair in itertools.product(rows, columns)]


def extents(size: Size, side: int, halo: int) -> Size:
    """The size of the largest tile, with its halo."""
    longest = [
        max(span.stop - span.start for span in spans(length, side, halo))
        for length in (size.width, size.height)
    ]
    return Size(*longest)


def spans(length: int, side: int, halo: int) -> list[Span]:
    """One axis cut evenly into interiors of at most `side` px, at the edges a halo longer.

    All spans have one length but the last, which is longer by what `length` is over a multiple
    of `ALIGNMENT`: few shapes, and where canvases are such multiples a single one.
    """
    count = max(1, -(-(length - 2 * halo) // side))
    if count == 1:
        return [Span(0, length, 0, length)]
    even = -(-(length - 2 * halo) // (count * ALIGNMENT)) * ALIGNMENT
    whole = even + 2 * halo
    found = [Span(0, whole, 0, whole - halo)]
    while found[-1].last + even + halo < length:
        first = found[-1].last
        found.append(Span(first - halo, first + even + halo, first, first + even))
    start = (length - whole) // ALIGNMENT * ALIGNMENT
    return [*found, Span(start, length, found[-1].last, length)]
