"""One batch on its way through the scales: contents of a canvas, one style, one configuration."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from nst_core import colors, images, quality
from nst_core.canvas import Size, canvas_size, scale_sizes, size_of, style_size
from nst_core.config import StyleConfig
from nst_core.objective import Targets, mixed
from nst_core.program import Course, Program, follow
from nst_core.results import (
    LOG_COLUMNS,
    LossLog,
    Progress,
    Quality,
    Report,
    Shoot,
    Snapshot,
    Style,
    StyleResult,
)
from nst_core.snapshots import Camera

if TYPE_CHECKING:
    from nst_core.engine import StyleEngine

NOISE_DEVIATION = 40.0


@dataclasses.dataclass(frozen=True)
class Batch:
    """Contents of one canvas with one style and configuration, on their way through the scales."""

    engine: StyleEngine
    contents: list[np.ndarray]
    styles: list[Style]
    config: StyleConfig
    sizes: list[Size]
    inits: Sequence[np.ndarray] | None
    names: list[str]
    places: list[int]
    snapshots: Shoot | None

    def part(self, indices: Sequence[int]) -> Batch:
        """The same for some of the contents."""
        return dataclasses.replace(
            self,
            contents=[self.contents[i] for i in indices],
            sizes=[self.sizes[i] for i in indices],
            inits=None if self.inits is None else [self.inits[i] for i in indices],
            names=[self.names[i] for i in indices],
            places=[self.places[i] for i in indices],
        )

    def optimize(self, precision: str, progress: Report | None) -> list[StyleResult | None]:
        """All scales, coarse to fine; None for an image whose loss ran away.

        Raises:
            DeadlineExceeded: `deadline_seconds` per content have passed.
        """
        started = time.monotonic()
        allowed = self.config.deadline_seconds * len(self.contents)
        deadline = started + allowed if allowed else np.inf
        program = self.engine.program(self.config, precision)
        canvas = canvas_size(self.sizes[0], self.config)
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
            targets = self._targets(program, contents, scale, precision)
            report = self._reporter(progress, scale, len(courses))
            camera = self._camera(originals, contents, [done for _, _, done in courses])
            course = follow(program, start, targets, self.config, steps, deadline, report, camera)
            courses.append((scale, size, course))
        last = courses[-1][2].images
        finished = [self._finished(x, index) for index, x in enumerate(last)]
        qualities = self._qualities(program, finished, canvas, precision)
        self.engine.batches += 1
        seconds = (time.monotonic() - started) / len(self.contents)
        columns = program.objective.columns
        failed = np.any([course.failed for _, _, course in courses], axis=0)
        return [
            None
            if failed[index]
            else StyleResult(
                image=finished[index],
                quality=qualities[index],
                losses=_log(columns, courses, index),
                seconds=seconds,
                canvas=canvas,
                precision=precision,
                device=self.engine.device,
                batch=len(self.contents),
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
        per_style = [
            self.engine.style_targets(style, self._style_size(style, scale), self.config, precision)
            for style in self.styles
        ]
        weights = [style.weight for style in self.styles]
        return {
            "content": program.content_targets(tf.constant(contents)),
            "style": mixed(per_style, weights),
        }

    def _qualities(
        self, program: Program, finished: list[np.ndarray], canvas: Size, precision: str
    ) -> list[Quality]:
        """What became of every content, by one more pass of the network over the batch."""
        on_canvas = [images.pad_reflect(image, canvas.height, canvas.width) for image in finished]
        found = program.gram_matrices(tf.constant(np.stack(on_canvas)))
        per_style = [
            self.engine.style_grams(style, self._style_size(style, 1.0), self.config, precision)
            for style in self.styles
        ]
        target = quality.mean_grams(per_style, [style.weight for style in self.styles])
        return [
            Quality(
                quality.gram_errors({name: gram[index] for name, gram in found.items()}, target),
                quality.structural_similarity(image, self._resized(index)),
            )
            for index, image in enumerate(finished)
        ]

    def _style_size(self, style: Style, scale: float) -> Size:
        return style_size(size_of(style.rgb), self.sizes[0], self.config, scale, style.name)

    def _resized(self, index: int) -> np.ndarray:
        """A content in its own colours at the size of its result."""
        size = self.sizes[index]
        return images.resize(self.contents[index], size.width, size.height, self.config.resample)

    def _reporter(
        self, progress: Report | None, scale: float, scales_done: int
    ) -> Callable[[int, np.ndarray], None]:
        counts = self.config.steps_per_scale
        before, whole = sum(counts[:scales_done]), sum(counts)

        def report(step: int, totals: np.ndarray) -> None:
            if progress:
                progress(Progress(before + step, whole, scale, tuple(map(float, totals))))

        return report

    def _camera(
        self, originals: np.ndarray, contents: np.ndarray, done: list[Course]
    ) -> Camera | None:
        """For a scale of these contents, behind the coarser ones that are done."""
        snapshots = self.snapshots
        if snapshots is None or not self.config.snapshot_every:
            return None

        def shoot(index: int, step: int, x: np.ndarray) -> None:
            if not np.isfinite(x).all():
                return
            if x.shape != originals[index].shape:
                part = slice(index, index + 1)
                x = self._finer_start(originals[part], contents[part], x[None])[0]
            snapshots(Snapshot(self.places[index], step, self._finished(x, index)))

        before = np.sum([np.zeros(len(contents), int), *(one.steps for one in done)], axis=0)
        return Camera(self.config.snapshot_every, before, shoot)

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
            image = colors.keep_colors(image, self._resized(index))
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
