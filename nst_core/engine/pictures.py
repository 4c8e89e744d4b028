"""The pictures of a batch on their way to the canvas, in the right colours, and back."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from nst_core.canvas import Size, canvas_size
from nst_core.config import StyleConfig
from nst_core.engine import initialization
from nst_core.imaging import colors, images, recoloring
from nst_core.objective.regions import Regions
from nst_core.results import Style


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Contents of one canvas, with what belongs to each, and the styles of all.

    Attributes:
        sizes: those at which the contents are stylized.
        inits: starts of the optimisation, one per content, where the settings name an image.
        names: of the contents, for errors.
    """

    contents: list[np.ndarray]
    styles: list[Style]
    config: StyleConfig
    sizes: list[Size]
    inits: Sequence[np.ndarray] | None
    names: list[str]
    regions: Regions

    def part(self, indices: Sequence[int]) -> Pictures:
        """The same for some of the contents."""
        return dataclasses.replace(
            self,
            contents=[self.contents[i] for i in indices],
            sizes=[self.sizes[i] for i in indices],
            inits=None if self.inits is None else [self.inits[i] for i in indices],
            names=[self.names[i] for i in indices],
            regions=self.regions.part(indices),
        )

    def check(self, index: int) -> None:
        """Whether the masks of a content leave something to do.

        Raises:
            InputTooSmall: they do not.
        """
        self.regions.check(index, self.sizes[index], self.names[index])

    @functools.cached_property
    def canvas(self) -> Size:
        """The one that all contents are padded to."""
        return canvas_size(self.sizes[0], self.config)

    def originals(self) -> np.ndarray:
        """The contents on the canvas, in the colours in which they enter: `[B, H, W, 3]`."""
        return self.on_canvas(self.contents, self._recolored)

    def on_canvas(
        self,
        pictures: Sequence[np.ndarray],
        change: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    ) -> np.ndarray:
        """Pictures at their contents' sizes, changed, padded to the canvas: `[B, H, W, 3]`."""
        return np.stack(
            [
                images.pad_reflect(
                    change(images.resize(picture, size.width, size.height, self.config.resample)),
                    self.canvas.height,
                    self.canvas.width,
                )
                for picture, size in zip(pictures, self.sizes, strict=True)
            ]
        )

    @functools.cached_property
    def masks_on_canvas(self) -> np.ndarray:
        """Where each style goes: `[B, H, W, S]` in 0…1."""
        return self.regions.of_styles(self.sizes, self.canvas)

    @functools.cached_property
    def kept_on_canvas(self) -> tuple[np.ndarray, np.ndarray]:
        """What stays of the contents, `[B, H, W, 1]` in 0…1, and the contents themselves."""
        return self.regions.kept(self.sizes, self.canvas), self.on_canvas(self.contents)

    def _recolored(self, content: np.ndarray) -> np.ndarray:
        if self.config.content_colors == "own" or self.config.recolors_style:
            return content
        return colors.with_colors(content, *self._palette)

    @functools.cached_property
    def recolored_styles(self) -> list[Style]:
        """The styles, in the colours of the content where these are to be preserved.

        Gatys et al. 2016: Preserving color in neural artistic style transfer (arXiv 1606.05897).
        """
        if not self.config.recolors_style:
            return self.styles
        return recoloring.in_colors_of(
            self.styles, self.contents[0], by=self.config.preserve_colors
        )

    @functools.cached_property
    def _palette(self) -> colors.Palette:
        """Mean and covariance of the styles' colours, mixed by their weights."""
        return recoloring.palette_of(self.recolored_styles)

    @functools.cached_property
    def _in_grey(self) -> list[bool]:
        """Which results have no colours."""
        keep = self.config.preserve_colors != "none"
        alike = keep or all(recoloring.is_grey(style.rgb, style.alpha) for style in self.styles)
        return [alike and recoloring.is_grey(content) for content in self.contents]

    def own(self, index: int) -> np.ndarray:
        """A content in its own colours at the size of its result."""
        size = self.sizes[index]
        return images.resize(self.contents[index], size.width, size.height, self.config.resample)

    def first_start(self, contents: np.ndarray) -> np.ndarray:
        """The first scale's start, the same for an image whatever batch it is in."""
        if self.inits is not None:
            given = self.on_canvas(self.inits)
            return initialization.shrunk(given, Size(contents.shape[2], contents.shape[1]))
        height, width = contents.shape[1:3]
        if self.config.init == "noise":
            noise = initialization.noise(height, width, self.config.seed)
        elif self.config.init == "style_statistics":
            noise = colors.colored_noise(height, width, self.config.seed, *self._palette)
        else:
            return contents
        return np.broadcast_to(noise, contents.shape).copy()

    def finer_start(
        self, contents: np.ndarray, coarse: np.ndarray, stylized: np.ndarray
    ) -> np.ndarray:
        """A scale's start from the coarser scale's contents and result."""
        if self.inits is not None or self.config.init != "content":
            return initialization.enlarged(stylized, *contents.shape[1:3])
        return initialization.finer(contents, coarse, stylized, clip_pixels=self.config.clip_pixels)

    def finished(self, x: np.ndarray, index: int) -> np.ndarray:
        """A content's result: without padding, within 0…255, with what is kept of the content."""
        size = self.sizes[index]
        if self.regions.keeps is not None:
            keep, originals = (one[index] for one in self.kept_on_canvas)
            x = keep * originals + (1 - keep) * x
        image: np.ndarray = np.clip(x[: size.height, : size.width], 0, 255)
        if self.config.preserve_colors == "luminance":
            image = colors.keep_colors(image, self.own(index))
        return colors.in_grey(image) if self._in_grey[index] else image

    def shares(self, index: int) -> list[float]:
        """The styles' weights in one content, times the part of it where each goes."""
        covered = self.regions.covered(index, len(self.styles))
        return [style.weight * part for style, part in zip(self.styles, covered, strict=True)]
