"""Pictures no larger than they are wanted: decoded at a fraction, then resized in 8 bits."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from nst_core.canvas import Fit, Size

RESAMPLE = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
# What is made smaller by cheaper means stays this many times as large for Lanczos's filter.
GAP = 2


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is wanted of a picture in a file.

    `fit`: at which size. Larger pictures are made smaller, smaller ones stay: to enlarge them is
    for who needs it. `resample`: `lanczos` or `nearest`. `whole_alpha`: transparency stays as
    large as it is. `over_surroundings`: colours of what hardly shows give way to those around it
    before the size changes, see `transparency.onto_surroundings`.
    """

    fit: Fit
    resample: str = "lanczos"
    whole_alpha: bool = False
    over_surroundings: bool = False


class Shrinking:
    """One picture's way to the size that is wanted, step by step, in the file's own orientation.

    Args:
        source: its size upright, px.
        is_turned: whether width and height change places when it is turned upright.
    """

    def __init__(self, wanted: Wanted | None, source: Size, *, is_turned: bool) -> None:
        self.source = source
        self.wanted = wanted or Wanted(Fit(size=source))
        target = self.wanted.fit.of_source(source)
        self.changes = target != source
        self._shrinks = (
            self.changes and target.width <= source.width and target.height <= source.height
        )
        width, height = (
            (target.height, target.width) if is_turned else (target.width, target.height)
        )
        self._target = width, height
        self.is_nearest = self.wanted.resample == "nearest"
        # The part of the pixels that the picture is: a fraction of its side is rarely whole.
        self._box: tuple[float, float, float, float] | None = None

    def draft(self, image: ImageFile) -> None:
        """Have a JPEG decoded at an eighth, a quarter or a half, where that is enough."""
        if self._shrinks and not self.is_nearest and image.format in ("JPEG", "MPO"):
            width, height = self._target
            drafted = image.draft(None, (GAP * width, GAP * height))
            self._box = drafted and tuple(map(float, drafted[1]))  # type: ignore[assignment]

    def reduced(self, image: Image.Image) -> Image.Image:
        """The means of blocks of pixels, where there are many more than Lanczos needs."""
        if not self._shrinks or self.is_nearest:
            return image
        blocks = [have // (GAP * side) for have, side in zip(image.size, self._target, strict=True)]
        if (factor := min(blocks)) < 2:
            return image
        left, top, right, bottom = self._box or (0, 0, *image.size)
        self._box = left / factor, top / factor, right / factor, bottom / factor
        return image.reduce(factor)

    def finished(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 `[H, W, …]` at the size that is wanted."""
        if not self._shrinks:
            return pixels
        method = RESAMPLE[self.wanted.resample]
        return np.asarray(Image.fromarray(pixels).resize(self._target, method, self._box))
