"""What the engine takes and returns: styles; images, loss logs, and how they came about.

What holds arrays is equal to itself alone: arrays have no one answer to whether they are equal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from nst_core.canvas import Size, size_of

LOG_COLUMNS = ("step", "scale", "width", "height", "seconds")


@dataclasses.dataclass(frozen=True, eq=False)
class Style:
    """One style image: RGB `[H, W, 3]` (uint8 or float32, 0…255), its weight among several.

    `alpha`: uint8 `[H, W]` where it is transparent in part, else None. Transparent parts are no
    part of the style, neither of its colours nor of its statistics. `source`: its size before it
    was made smaller, from which its size at every scale follows; None where that is its own.

    What is found out about the arrays is remembered for as long as they are there, also for styles
    that share them under other weights: they are not to be changed afterwards.
    """

    rgb: np.ndarray
    weight: float = 1.0
    name: str = "style"
    alpha: np.ndarray | None = None
    source: Size | None = None

    @property
    def original(self) -> Size:
        """Its size before it was made smaller."""
        return self.source or size_of(self.rgb)


@dataclasses.dataclass(frozen=True, eq=False)
class LossLog:
    """The weighted terms after every step.

    `columns` are `LOG_COLUMNS` (step counts over all scales; width and height of the canvas,
    px; seconds since the start, interpolated within one call to the device), then the terms:
    `total` is the sum of `content`, `style` and `tv`; `style/<layer>` sum to `style`. `rows` are
    `[S, C]`, one for each step.
    """

    columns: tuple[str, ...]
    rows: np.ndarray

    def terms(self, index: int) -> dict[str, float]:
        """The terms of one row, by name."""
        skip = len(LOG_COLUMNS)
        return dict(zip(self.columns[skip:], self.rows[index, skip:].tolist(), strict=True))


@dataclasses.dataclass(frozen=True)
class Quality:
    """A finished image beside its style and its content.

    `gram_errors`: by style layer, how far the Gram matrix per position is from the style's
    (several styles: their weighted mean), relative to it; 0 is the style itself.
    `ssim`: the structural similarity of the luminance to the content's; 1 is the
    content itself.
    """

    gram_errors: dict[str, float]
    ssim: float


@dataclasses.dataclass(frozen=True, eq=False)
class StyleResult:
    """One stylized image.

    `image` is float32 `[height, width, 3]`, sRGB in 0…255, of the content's resized size; a view
    of its whole batch, to be copied before it is written to.
    `quality` is that of `image`; `seconds` is this image's share of its batch's wall time. `tile`
    is the side of the interiors of the tiles in which the last scale passed the network, px; None
    where it passed whole. `resumed_at_step` is the count of steps from which an interrupted
    optimisation went on; None where it was not interrupted.
    """

    image: np.ndarray
    quality: Quality
    losses: LossLog
    seconds: float
    canvas: Size
    precision: str
    device: str
    batch: int
    tile: int | None
    retried: bool
    resumed_at_step: int | None = None

    @property
    def steps(self) -> int:
        """Evaluations of loss and gradient, over all scales."""
        return len(self.losses.rows)


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where an optimisation is: `step` of at most `steps`, and each image's total loss."""

    step: int
    steps: int
    scale: float
    totals: tuple[float, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """An image on its way: of which content of the batch, after how many of its steps.

    `image` is as in `StyleResult`; coarse scales are enlarged as the next scale starts from them.
    """

    content: int
    step: int
    image: np.ndarray


@dataclasses.dataclass(frozen=True)
class Compiling:
    """XLA compiles the steps for a canvas: `programs` of them, one for each of its scales."""

    canvas: Size
    programs: int

    def __str__(self) -> str:
        counted = "1 program" if self.programs == 1 else f"{self.programs} programs"
        return f"compiling {self.canvas} ({counted})"


Report = Callable[[Progress], None]
OnCompiling = Callable[[Compiling], None]
OnSnapshot = Callable[[Snapshot], None]
