"""The pictures of a batch on their way to the canvas, in the right colours, and back.

From the canvas on they are tensors on the device: the host only sends the contents there, and
fetches the results.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.canvas import Size, canvas_size, content_size, size_of, style_size
from nst_core.compiled.graphs import graph
from nst_core.config import StyleConfig
from nst_core.engine import initialization
from nst_core.engine.program import IMAGES
from nst_core.imaging import colors, images, recoloring
from nst_core.imaging.foreseen import resized
from nst_core.objective.quality import luminance
from nst_core.objective.regions import Regions
from nst_core.results import Style

Tensor = Any

# What stays of the content, and so many px around it, is no part of what is compared with the
# style: what is next to it would have to make up for it, and came out as noise.
BORDER = 2


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Contents with what belongs to each; from `canvas` on, of one canvas.

    Attributes:
        styles: of each content.
        inits: starts of the optimisation, one per content, where the settings name an image.
        names: of the contents, for errors.
        on_gpu: as `canvas_size` has it.
    """

    contents: list[np.ndarray]
    styles: list[Sequence[Style]]
    config: StyleConfig
    inits: Sequence[np.ndarray] | None
    names: list[str]
    regions: Regions
    on_gpu: bool

    def part(self, indices: Sequence[int]) -> Pictures:
        """The same for some of the contents."""
        return dataclasses.replace(
            self,
            contents=[self.contents[i] for i in indices],
            styles=[self.styles[i] for i in indices],
            inits=None if self.inits is None else [self.inits[i] for i in indices],
            names=[self.names[i] for i in indices],
            regions=self.regions.part(indices),
        )

    def check(self, index: int) -> None:
        """Whether there is something to do, and something to do it with.

        Raises:
            InputTooSmall: content or style become too small, the masks leave nothing, or there is
                no style in a style.
            InputTooLarge: content or style become too large.
        """
        size = self._size(index)
        for style in self.styles[index]:
            recoloring.refuse_plain(style)
            style_size(style.original, size, self.config, 1.0, style.name)
        self.regions.check(index, size, self.names[index])

    @functools.cached_property
    def sizes(self) -> list[Size]:
        """Those at which the contents are stylized."""
        return [self._size(index) for index in range(len(self.contents))]

    @functools.cached_property
    def canvas(self) -> Size:
        """The one that all contents are padded to."""
        return self.canvas_of(0)

    def canvas_of(self, index: int) -> Size:
        """The one that a content is padded to."""
        return canvas_size(self.sizes[index], self.config, on_gpu=self.on_gpu)

    @property
    def own(self) -> Tensor:
        """The contents on the canvas in their own colours: `[B, H, W, 3]`."""
        return _widened(self.sent)

    def originals(self) -> Tensor:
        """The contents on the canvas, in the colours in which they enter: `[B, H, W, 3]`."""
        if not recoloring.recolors_content(self.config):
            return self.own
        changes = [
            colors.color_change(recoloring.statistics_of(content, None), palette)
            for content, palette in zip(self._fitted, self._palettes, strict=True)
        ]
        linear, offset = (np.stack(one) for one in zip(*changes, strict=True))
        return _recolored(self.sent, linear, offset)

    @functools.cached_property
    def masks_on_canvas(self) -> Tensor:
        """Where each style goes: `[B, H, W, S]` in 0…1."""
        return tf.constant(self.regions.of_styles(self.sizes, self.canvas), tf.float32)

    @functools.cached_property
    def kept_on_canvas(self) -> tuple[Tensor, Tensor]:
        """What stays of the contents, `[B, H, W, 1]` in 0…1, and the contents themselves."""
        keeps = tf.constant(self.regions.kept(self.sizes, self.canvas), tf.float32)
        return keeps, self.own

    @functools.cached_property
    def recolored_styles(self) -> list[Sequence[Style]]:
        """The styles of each content, in its colours where these are to be preserved.

        Gatys et al. 2016: Preserving color in neural artistic style transfer (arXiv 1606.05897).
        """
        if not self.config.recolors_style:
            return self.styles
        by = self.config.preserve_colors
        pairs = zip(self.styles, self.contents, strict=True)
        return [recoloring.in_colors_of(styles, content, by=by) for styles, content in pairs]

    def first_start(self, contents: Tensor) -> Tensor:
        """The first scale's start, the same for an image whatever batch it is in."""
        height, width = contents.shape[1:3]
        if self.inits is not None:
            given = _widened(self._on_canvas(self._resized(self.inits)))
            return initialization.shrunk(given, Size(width, height))
        if self.config.init == "noise":
            noise = initialization.noise(height, width, self.config.seed)
            return tf.broadcast_to(noise, contents.shape)
        if self.config.init == "style_statistics":
            size = height, width, self.config.seed
            return tf.constant([colors.colored_noise(*size, *one) for one in self._palettes])
        return contents

    def finer_start(self, contents: Tensor, coarse: Tensor, stylized: Tensor) -> Tensor:
        """A scale's start from the coarser scale's contents and result."""
        if self.inits is not None or self.config.init != "content":
            return initialization.enlarged(stylized, *contents.shape[1:3])
        return initialization.finer(contents, coarse, stylized, clip_pixels=self.config.clip_pixels)

    def finished(self, x: Tensor, part: slice = slice(None)) -> Tensor:
        """Results on the canvas `[B, H, W, 3]`: within 0…255, with what is kept of the content.

        `part`: of which contents they are.
        """
        if self.regions.keeps is not None:
            keep, originals = (one[part] for one in self.kept_on_canvas)
            x = keep * originals + (1 - keep) * x
        x = _within_range(x)
        if self.config.preserve_colors == "luminance":
            own = self.own[part]
            # In YCbCr equal chroma means equal differences of R, G and B from the luma.
            x = tf.clip_by_value(own + luminance(x) - luminance(own), 0.0, 255.0)
        if any(grey := self._in_grey[part]):
            x = tf.where(np.reshape(grey, [-1, 1, 1, 1]), luminance(x), x)
        return self._reflected(x, self.sizes[part])

    def cropped(self, on_canvas: Tensor, index: int) -> Tensor:
        """A content's part `[h, w, 3]` of its canvas `[H, W, 3]`, without padding."""
        size = self.sizes[index]
        return on_canvas[: size.height, : size.width]

    def shares(self, index: int) -> list[float]:
        """The styles' weights in one content, times the part of it where each goes."""
        styles = self.styles[index]
        covered = self.regions.covered(index, len(styles))
        return [style.weight * part for style, part in zip(styles, covered, strict=True)]

    def _size(self, index: int) -> Size:
        return content_size(size_of(self.contents[index]), self.config, self.names[index])

    @functools.cached_property
    def _fitted(self) -> list[np.ndarray]:
        """The contents at the sizes at which they are stylized, `[h, w, 3]`."""
        return self._resized(self.contents)

    @functools.cached_property
    def sent(self) -> Tensor:
        """`own`, as uint8 where all contents are."""
        return self._on_canvas(self._fitted)

    @functools.cached_property
    def _palettes(self) -> list[colors.Palette]:
        """Mean and covariance of the colours of each content's styles, mixed by their weights."""
        return [recoloring.palette_of(styles) for styles in self.recolored_styles]

    @functools.cached_property
    def _in_grey(self) -> list[bool]:
        """Which results have no colours."""

        def becomes_grey(content: np.ndarray, styles: Sequence[Style]) -> bool:
            alike = self.config.preserve_colors != "none" or all(
                recoloring.is_grey_style(style.rgb, style.alpha) for style in styles
            )
            return alike and recoloring.is_grey(content)

        return [becomes_grey(*one) for one in zip(self.contents, self.styles, strict=True)]

    def _resized(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Pictures at their contents' sizes, in the types that they have."""
        return [
            resized(picture, size, self.config.resample)
            for picture, size in zip(pictures, self.sizes, strict=True)
        ]

    def _on_canvas(self, fitted: Sequence[np.ndarray]) -> Tensor:
        """Pictures at their contents' sizes, padded by reflection: `[B, H, W, 3]`.

        Where all are uint8 they are sent, and kept, as uint8.
        """
        height, width = self.canvas.height, self.canvas.width
        padded = [images.pad_reflect(picture, height, width) for picture in fitted]
        whole = padded[0][None] if len(padded) == 1 else np.stack(padded)
        return tf.constant(whole if whole.dtype == np.uint8 else whole.astype(np.float32))

    def _reflected(self, whole: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Pictures of these sizes on the canvas `[B, H, W, 3]`, with their reflection around them.

        Where it is wider than the picture it reflects again and again.
        """
        if all(size == self.canvas for size in sizes):
            return whole
        rows = [_reflection(size.height, self.canvas.height) for size in sizes]
        columns = [_reflection(size.width, self.canvas.width) for size in sizes]
        whole = tf.gather(whole, np.stack(rows), axis=1, batch_dims=1)
        return tf.gather(whole, np.stack(columns), axis=2, batch_dims=1)


@graph(IMAGES)
def _widened(images: Tensor) -> Tensor:
    """Images, also of bytes, as float32."""
    return images


@graph(IMAGES)
def _within_range(images: Tensor) -> Tensor:
    return tf.clip_by_value(images, 0.0, 255.0)


@graph(IMAGES, tf.TensorSpec([None, 3, 3]), tf.TensorSpec([None, 3]))
def _recolored(images: Tensor, linear: Tensor, offset: Tensor) -> Tensor:
    """Images `[B, H, W, 3]` changed as `colors.color_change` has it, in 0…255."""
    # No matrix product: on GPUs those of float32 keep three digits.
    moved = [
        channel * linear[:, None, None, index]
        for index, channel in enumerate(tf.split(images, 3, axis=3))
    ]
    return tf.clip_by_value(tf.add_n(moved) + offset[:, None, None], 0.0, 255.0)


def _reflection(length: int, whole: int) -> np.ndarray:
    """Which of so many pixels of a line is at each place of a longer one that it is padded to."""
    return np.pad(np.arange(length, dtype=np.int32), (0, whole - length), mode="reflect")


def beside(kept: Tensor) -> Tensor:
    """Where the style goes, `[B, H, W, 1]` in 0…1, where so much of the content stays."""
    return 1 - tf.nn.max_pool2d(kept, 2 * BORDER + 1, 1, "SAME")
