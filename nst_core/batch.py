"""One batch on its way through the scales: contents of a canvas, one style, one configuration."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from nst_core import colors, images, memory
from nst_core.canvas import Size, canvas_size, scale_sizes, size_of, style_size
from nst_core.config import StyleConfig
from nst_core.device import CPU, available_memory
from nst_core.errors import OutOfMemory
from nst_core.layers import ALIGNMENT, halo
from nst_core.objective import Targets, mixed
from nst_core.program import Course, Program, follow
from nst_core.results import LOG_COLUMNS, LossLog, Progress, Report, Style, StyleResult
from nst_core.tiles import LEAST_TILE, tiles_of

if TYPE_CHECKING:
    from nst_core.engine import StyleEngine

NOISE_DEVIATION = 40.0


@dataclasses.dataclass(frozen=True)
class Batch:
    """Contents of one canvas with one style and configuration, on their way through the scales.

    `largest_tile` bounds the tiles, px, once memory has run out.
    """

    engine: StyleEngine
    contents: list[np.ndarray]
    styles: list[Style]
    config: StyleConfig
    sizes: list[Size]
    inits: Sequence[np.ndarray] | None
    names: list[str]
    largest_tile: int | None = None

    def part(self, indices: Sequence[int]) -> Batch:
        """The same for some of the contents."""
        return dataclasses.replace(
            self,
            contents=[self.contents[i] for i in indices],
            sizes=[self.sizes[i] for i in indices],
            inits=None if self.inits is None else [self.inits[i] for i in indices],
            names=[self.names[i] for i in indices],
        )

    def fitting(self, precision: str) -> int:
        """How many of the contents to optimise at once: as many as fit, and at least one."""
        count = len(self.contents)
        if count == 1 or isinstance(self.config.tile, int):
            return 1
        canvas = canvas_size(self.sizes[0], self.config)
        available = available_memory(self.engine.device)
        return max(1, memory.fitting_batch(self.config, canvas, count, precision, available))

    def in_smaller_tiles(self, precision: str) -> Batch | None:
        """One content in tiles of at most half the side; None where they would be too small."""
        if len(self.contents) > 1 or self.config.tile == "off":
            return None
        canvas = canvas_size(self.sizes[0], self.config)
        side = self._tile(canvas, precision) or max(canvas.width, canvas.height)
        half = side // 2 // ALIGNMENT * ALIGNMENT
        return dataclasses.replace(self, largest_tile=half) if half >= LEAST_TILE else None

    def _tile(self, size: Size, precision: str) -> int | None:
        """The side of the tiles in which one image of this size passes; None: it passes whole."""
        if self.config.tile == "off":
            return None
        tile = self.config.tile if isinstance(self.config.tile, int) else None
        if self.config.tile == "auto":
            available = available_memory(self.engine.device)
            tile = memory.fitting_tile(self.config, size, precision, available)
        if self.largest_tile:
            tile = min(tile or self.largest_tile, self.largest_tile)
        return tile if tile and len(tiles_of(size, tile, halo(self.config.layers))) > 1 else None

    def _refuse_the_hopeless(self, canvas: Size, precision: str) -> None:
        """What is known not to fit fails here: a system without memory kills, and tells nobody.

        Raises:
            OutOfMemory: not even the smallest tiles fit, or the canvas is too large for none.
        """
        what = f"{self.names[0]} at {self.sizes[0]} px"
        if self.config.tile == "off" and canvas.width * canvas.height >= memory.MOST_PIXELS:
            raise OutOfMemory(
                f"{what} has more features than TensorFlow can count in one tensor; "
                "set tile to auto or lower image_size."
            )
        needed = memory.least(self.config, canvas, precision)
        available = available_memory(self.engine.device)
        if self.config.tile == "auto" and self.engine.device == CPU and needed > available:
            raise OutOfMemory(
                f"{what} needs about {needed / 2**30:.1f} GiB even in tiles, and "
                f"{available / 2**30:.1f} GiB are free; lower image_size."
            )

    def optimize(self, precision: str, progress: Report | None) -> list[StyleResult | None]:
        """All scales, coarse to fine; None for an image whose loss ran away.

        Raises:
            DeadlineExceeded: `deadline_seconds` per content have passed.
            OutOfMemory: by prediction; TensorFlow has errors of its own.
        """
        started = time.monotonic()
        allowed = self.config.deadline_seconds * len(self.contents)
        deadline = started + allowed if allowed else np.inf
        canvas = canvas_size(self.sizes[0], self.config)
        self._refuse_the_hopeless(canvas, precision)
        originals = self._on_canvas(self.contents, canvas, self._recolored)
        courses: list[tuple[float, Size, Course]] = []
        contents = originals
        for size, scale, steps in zip(
            scale_sizes(canvas, self.config),
            self.config.scales,
            self.config.steps_per_scale,
            strict=True,
        ):
            coarse, contents = contents, _shrunk(originals, size)
            if courses:
                start = self._finer_start(contents, coarse, courses[-1][2].images)
            else:
                start = self._first_start(contents, canvas)
            tile = self._tile(size, precision) if len(self.contents) == 1 else None
            program = self.engine.program(self.config, precision, tile)
            targets = self._targets(program, contents, scale, precision)
            report = self._reporter(progress, scale, len(courses))
            course = follow(program, start, targets, self.config, steps, deadline, report)
            courses.append((scale, size, course))
        self.engine.batches += 1
        seconds = (time.monotonic() - started) / len(self.contents)
        columns = program.objective.columns
        failed = np.any([course.failed for _, _, course in courses], axis=0)
        return [
            None
            if failed[index]
            else StyleResult(
                image=self._finished(courses[-1][2].images[index], index),
                losses=_log(columns, courses, index),
                seconds=seconds,
                canvas=canvas,
                precision=precision,
                device=self.engine.device,
                batch=len(self.contents),
                tile=tile,
                retried=False,
            )
            for index in range(len(self.contents))
        ]

    def _on_canvas(
        self,
        pictures: Sequence[np.ndarray],
        canvas: Size,
        change: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    ) -> np.ndarray:
        """Pictures at their contents' sizes, changed, padded to the canvas: `[B, H, W, 3]`."""
        return np.stack(
            [
                images.pad_reflect(
                    change(images.resize(picture, size.width, size.height, self.config.resample)),
                    canvas.height,
                    canvas.width,
                )
                for picture, size in zip(pictures, self.sizes, strict=True)
            ]
        )

    def _recolored(self, content: np.ndarray) -> np.ndarray:
        if self.config.content_colors == "own":
            return content
        return colors.with_colors(content, *self._palette)

    @functools.cached_property
    def _palette(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the styles' colours, mixed by their weights."""
        weights = [style.weight for style in self.styles]
        palettes = [colors.color_statistics(style.rgb) for style in self.styles]
        mean = np.average([mean for mean, _ in palettes], axis=0, weights=weights)
        # About the common mean: between several styles, their means differ too.
        spread = [covariance + np.outer(m - mean, m - mean) for m, covariance in palettes]
        return mean, np.average(spread, axis=0, weights=weights)

    def _targets(
        self, program: Program, contents: np.ndarray, scale: float, precision: str
    ) -> Targets:
        per_style = []
        for style in self.styles:
            own_size = size_of(style.rgb)
            size = style_size(own_size, self.sizes[0], self.config, scale, style.name)
            tile = self._tile(size, precision)
            per_style.append(self.engine.style_targets(style, size, self.config, precision, tile))
        weights = [style.weight for style in self.styles]
        return {
            "content": program.content_targets(contents),
            "style": mixed(per_style, weights),
        }

    def _reporter(
        self, progress: Report | None, scale: float, scales_done: int
    ) -> Callable[[int, np.ndarray], None]:
        counts = self.config.steps_per_scale
        before, whole = sum(counts[:scales_done]), sum(counts)

        def report(step: int, totals: np.ndarray) -> None:
            if progress:
                progress(Progress(before + step, whole, scale, tuple(map(float, totals))))

        return report

    def _finer_start(
        self, contents: np.ndarray, coarse: np.ndarray, stylized: np.ndarray
    ) -> np.ndarray:
        """A scale's start from the coarser scale's contents and result.

        Where that began with the content only its change is enlarged, so that the content's own
        detail stays sharp.
        """
        height, width = contents.shape[1:3]
        if self.inits is not None or self.config.init != "content":
            return _enlarged(stylized, height, width)
        start: np.ndarray = contents + _enlarged(stylized - coarse, height, width)
        return np.clip(start, 0, 255) if self.config.clip_pixels else start

    def _first_start(self, contents: np.ndarray, canvas: Size) -> np.ndarray:
        """The first scale's start, the same for an image whatever batch it is in."""
        if self.inits is not None:
            given = self._on_canvas(self.inits, canvas)
            return _shrunk(given, Size(contents.shape[2], contents.shape[1]))
        if self.config.init == "noise":
            generator = np.random.default_rng(self.config.seed)
            noise = generator.normal(127.5, NOISE_DEVIATION, size=contents.shape[1:])
            clipped = np.clip(noise, 0, 255).astype(np.float32)
            return np.broadcast_to(clipped, contents.shape).copy()
        return contents

    def _finished(self, x: np.ndarray, index: int) -> np.ndarray:
        size = self.sizes[index]
        image: np.ndarray = np.clip(x[: size.height, : size.width], 0, 255)
        if self.config.preserve_colors == "luminance":
            content = images.resize(
                self.contents[index], size.width, size.height, self.config.resample
            )
            image = colors.keep_colors(image, content)
        return image


def _shrunk(batch: np.ndarray, size: Size) -> np.ndarray:
    """A float32 batch `[B, H, W, 3]` at a smaller size; itself where it has that size."""
    if batch.shape[1:3] == (size.height, size.width):
        return batch
    return np.stack([images.resize(image, size.width, size.height, "lanczos") for image in batch])


def _enlarged(batch: np.ndarray, height: int, width: int) -> np.ndarray:
    """A float32 batch `[B, H, W, 3]` of any values at a larger size."""
    enlarged: np.ndarray = tf.image.resize(batch, [height, width], "bicubic").numpy()
    return enlarged


def _log(
    columns: tuple[str, ...], courses: list[tuple[float, Size, Course]], index: int
) -> LossLog:
    rows: list[tuple[float, ...]] = []
    before = 0.0
    for scale, size, course in courses:
        for step in range(course.steps[index]):
            rows.append(
                (
                    len(rows) + 1,
                    scale,
                    size.width,
                    size.height,
                    before + float(course.seconds[step]),
                    *map(float, course.terms[step, index]),
                )
            )
        before += float(course.seconds[-1])
    return LossLog((*LOG_COLUMNS, *columns), tuple(rows))
