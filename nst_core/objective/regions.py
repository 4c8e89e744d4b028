"""Where styles go in the contents of a batch, and what stays of these: masks of any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from nst_core.canvas import Size
from nst_core.errors import InputTooSmall
from nst_core.imaging import images

# The least that a mask covers, and that what is kept leaves over, px.
LEAST_REGION = 1.0

Mask = np.ndarray


@dataclasses.dataclass(frozen=True)
class Regions:
    """The masks of a batch, `[H, W]` in 0…1.

    Args:
        masks: for each content, for each style, where it goes; None for everywhere. None where
            no content has any.
        keeps: for each content where it stays as it is; None for nowhere. None where no content
            has any.
        resample: filter of every resize.
    """

    masks: list[Sequence[Mask | None]] | None
    keeps: list[Mask | None] | None
    resample: str

    def part(self, indices: Sequence[int]) -> Regions:
        """The same for some of the contents; without masks where none of them has any."""
        masks = [self.masks[i] for i in indices] if self.masks else []
        keeps = [self.keeps[i] for i in indices] if self.keeps else []
        return dataclasses.replace(
            self,
            masks=masks if any(map(_any_given, masks)) else None,
            keeps=keeps if _any_given(keeps) else None,
        )

    def of(self, index: int) -> list[Mask | None]:
        """The masks of one content, and last where it stays as it is."""
        keep = self.keeps[index] if self.keeps else None
        return [*(self.masks[index] if self.masks else ()), keep]

    def kind(self, index: int) -> tuple[str, ...]:
        """What tells checkpoints of one content from those of a version that did otherwise."""
        is_kept = self.keeps is not None and self.keeps[index] is not None
        return ("beside",) if is_kept and not self.masked(index) else ()

    def masked(self, index: int) -> bool:
        """Whether a style of this content has a mask."""
        return self.masks is not None and _any_given(self.masks[index])

    def check(self, index: int, size: Size, name: str) -> None:
        """Whether masks and keep of one content leave something to do.

        Raises:
            InputTooSmall: a mask covers nothing, or what is kept covers everything.
        """
        for number, mask in enumerate(self.masks[index] if self.masks else (), start=1):
            # Not "less than": a mask of no numbers covers nothing either.
            if mask is not None and not self._resized(mask, size).sum() >= LEAST_REGION:
                raise InputTooSmall(
                    f"The mask of style {number} for {name} covers less than {LEAST_REGION} px at "
                    f"{size} px, so that the style has nowhere to go; "
                    "enlarge the mask or leave the style out."
                )
        keep = self.keeps[index] if self.keeps else None
        if keep is not None and not (1 - self._resized(keep, size)).sum() >= LEAST_REGION:
            raise InputTooSmall(
                f"What is kept of {name} leaves less than {LEAST_REGION} px at {size} px to "
                "stylize; keep less."
            )

    def of_styles(self, sizes: Sequence[Size], canvas: Size) -> np.ndarray:
        """Where each style goes: `[B, H, W, S]` in 0…1."""
        by_style = zip(*self.masks or (), strict=True)
        return np.concatenate([self._padded(one, sizes, canvas) for one in by_style], axis=3)

    def kept(self, sizes: Sequence[Size], canvas: Size) -> np.ndarray:
        """What stays of the contents: `[B, H, W, 1]` in 0…1."""
        keeps = [np.zeros((1, 1)) if keep is None else keep for keep in self.keeps or ()]
        return self._padded(keeps, sizes, canvas)

    def covered(self, index: int, styles: int) -> list[float]:
        """The part of one content where each style goes."""
        masks = self.masks[index] if self.masks else [None] * styles
        return [1.0 if mask is None else float(mask.mean()) for mask in masks]

    def _padded(
        self, regions: Sequence[Mask | None], sizes: Sequence[Size], canvas: Size
    ) -> np.ndarray:
        """One region of each content, None for everywhere: `[B, H, W, 1]` in 0…1."""
        return np.stack(
            [
                images.pad_reflect(
                    self._resized(np.ones((1, 1)) if region is None else region, size)[:, :, None],
                    canvas.height,
                    canvas.width,
                )
                for region, size in zip(regions, sizes, strict=True)
            ]
        )

    def _resized(self, region: Mask, size: Size) -> Mask:
        """A region at another size, in 0…1."""
        wide = region.astype(np.float32)
        resized = images.resize(wide, size.width, size.height, self.resample)
        clipped: np.ndarray = np.clip(resized, 0, 1)
        return clipped


def _any_given(regions: Sequence[Mask | None]) -> bool:
    return any(region is not None for region in regions)
