"""One batch on its way through the scales: contents of a canvas, one style, one configuration."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import tensorflow as tf

from nst_core import colors, images, memory, quality, recoloring, starts
from nst_core.canvas import Size, canvas_size, scale_sizes, size_of, style_size
from nst_core.checkpoints import Checkpoints, Interrupted
from nst_core.config import StyleConfig
from nst_core.device import CPU, GPU, available_memory
from nst_core.errors import OutOfMemory
from nst_core.layers import ALIGNMENT, halo
from nst_core.objective import Targets, mixed
from nst_core.program import Course, Leg, Program, follow, loss_log
from nst_core.regions import Regions
from nst_core.results import Progress, Quality, Report, Shoot, Snapshot, Style, StyleResult
from nst_core.snapshots import Camera
from nst_core.tiles import LEAST_TILE, tiles_of

if TYPE_CHECKING:
    from nst_core.engine import StyleEngine

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Contents of one canvas with one style and configuration, on their way through the scales.

    `retried` tells that this is the second, careful try. `largest_tile` bounds the tiles, px, once
    memory has run out.
    """

    engine: StyleEngine
    contents: list[np.ndarray]
    styles: list[Style]
    config: StyleConfig
    sizes: list[Size]
    inits: Sequence[np.ndarray] | None
    names: list[str]
    regions: Regions
    places: list[int]
    snapshots: Shoot | None
    checkpoints: Checkpoints
    retried: bool = False
    largest_tile: int | None = None

    def part(self, indices: Sequence[int]) -> Batch:
        """The same for some of the contents."""
        return dataclasses.replace(
            self,
            contents=[self.contents[i] for i in indices],
            sizes=[self.sizes[i] for i in indices],
            inits=None if self.inits is None else [self.inits[i] for i in indices],
            names=[self.names[i] for i in indices],
            places=[self.places[i] for i in indices],
            regions=self.regions.part(indices),
        )

    def groups(self) -> list[list[int]]:
        """Which contents can be optimised together, by their indices.

        Contents with masks have a style term of their own kind; where the style takes the
        content's colours, every content has a style of its own; and those that were interrupted
        go on from where they were.
        """
        groups: dict[Any, list[int]] = {}
        for index, place in enumerate(self.places):
            alone = index if self.config.recolors_style else None
            kind = (alone, self.regions.masked(index), self.checkpoints.position(place))
            groups.setdefault(kind, []).append(index)
        return list(groups.values())

    @property
    def was_retried(self) -> bool:
        """Whether the contents, of one group, were interrupted in their second try."""
        return self.checkpoints.interrupted(self.places, retried=True) is not None

    @property
    def interrupted(self) -> Interrupted | None:
        """Where the contents, of one group, go on in this try; None: they start."""
        return self.checkpoints.interrupted(self.places, self.retried)

    def fitting(self, precision: str) -> int:
        """How many of the contents to optimise at once: as many as fit, and at least one.

        GPUs compute a batch with other kernels than one image. In float32 images go one by one
        there, so that they come out the same in any batch; bfloat16 is for speed.
        """
        count = len(self.contents)
        on_gpu = self.engine.device == GPU
        if count == 1 or isinstance(self.config.tile, int) or (on_gpu and precision == "float32"):
            return 1
        canvas = canvas_size(self.sizes[0], self.config)
        available = available_memory(self.engine.device)
        fitting = memory.fitting_batch(
            self.config,
            canvas,
            count,
            precision,
            available,
            one_by_one=not on_gpu,
        )
        return max(1, fitting)

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
        available = available_memory(self.engine.device)
        tile = memory.tile_side(self.config, size, precision, available)
        if not self.largest_tile:
            return tile
        tile = min(tile or self.largest_tile, self.largest_tile)
        return tile if len(tiles_of(size, tile, halo(self.config.layers))) > 1 else None

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
        past = self.interrupted
        started = time.monotonic() - (past.seconds if past else 0.0)
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
            coarse, contents = contents, starts.shrunk(originals, size)
            if past and len(courses) < past.scale:
                courses.append((scale, size, past.course(len(courses))))
                continue
            tile = self._tile(size, precision) if len(self.contents) == 1 else None
            program = self.engine.program(
                self.config,
                precision,
                tile,
                regions=len(self.styles) if self.regions.masks else 0,
                keeps=self.regions.keeps is not None,
            )
            targets = self._targets(program, contents, scale, precision)
            done = [course for _, _, course in courses]
            start: np.ndarray | Leg
            if past and len(done) == past.scale:
                start = past.leg(program)
            elif done:
                start = self._finer_start(contents, coarse, done[-1].images)
            else:
                start = self._first_start(contents, canvas)
            report = self._reporter(progress, scale, len(done))
            camera = self._camera(originals, contents, done)
            save = self._saver(done, started)
            course = follow(
                program, start, targets, self.config, steps, deadline, report, camera, scale, save
            )
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
                losses=loss_log(columns, courses, index),
                seconds=seconds,
                canvas=canvas,
                precision=precision,
                device=self.engine.device,
                batch=len(self.contents),
                tile=tile,
                retried=self.retried,
                resumed_at_step=past.steps(index) if past else None,
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

    @functools.cached_property
    def _masks_on_canvas(self) -> np.ndarray:
        """Where each style goes: `[B, H, W, S]` in 0…1."""
        return self.regions.of_styles(self.sizes, canvas_size(self.sizes[0], self.config))

    @functools.cached_property
    def _kept_on_canvas(self) -> tuple[np.ndarray, np.ndarray]:
        """What stays of the contents, `[B, H, W, 1]` in 0…1, and the contents themselves."""
        canvas = canvas_size(self.sizes[0], self.config)
        return self.regions.kept(self.sizes, canvas), self._on_canvas(self.contents, canvas)

    def _recolored(self, content: np.ndarray) -> np.ndarray:
        if self.config.content_colors == "own" or self.config.recolors_style:
            return content
        return colors.with_colors(content, *self._palette)

    @functools.cached_property
    def _styles(self) -> list[Style]:
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
        return recoloring.palette_of(self._styles)

    @functools.cached_property
    def _in_grey(self) -> list[bool]:
        """Which results have no colours."""
        keep = self.config.preserve_colors != "none"
        alike = keep or all(recoloring.is_grey(style.rgb, style.alpha) for style in self.styles)
        return [alike and recoloring.is_grey(content) for content in self.contents]

    def _targets(
        self, program: Program, contents: np.ndarray, scale: float, precision: str
    ) -> Targets:
        per_style = self._of_styles(self.engine.style_targets, scale, precision)
        weights = [style.weight for style in self._styles]
        targets = {"content": program.content_targets(contents)}
        size = Size(contents.shape[2], contents.shape[1])
        if self.regions.masks is None:
            targets["style"] = program.objective.finished(mixed(per_style, weights))
        else:
            finished = [program.objective.finished(one) for one in per_style]
            targets["style"] = {
                name: tf.concat([one[name] for one in finished], axis=0) for name in finished[0]
            }
            masks = tf.constant(np.clip(starts.shrunk(self._masks_on_canvas, size), 0, 1))
            targets["regions"] = program.objective.regions(masks, weights)
        if self.regions.keeps is not None:
            keep, originals = self._kept_on_canvas
            targets["kept"] = {
                "share": tf.constant(np.clip(starts.shrunk(keep, size), 0, 1)),
                "content": tf.constant(starts.shrunk(originals, size)),
            }
        return targets

    def _qualities(
        self, program: Program, finished: list[np.ndarray], canvas: Size, precision: str
    ) -> list[Quality]:
        """What became of every content, by one more pass of the network over the batch."""
        on_canvas = [images.pad_reflect(image, canvas.height, canvas.width) for image in finished]
        found = program.gram_matrices(np.stack(on_canvas))
        per_style = self._of_styles(self.engine.style_grams, 1.0, precision)
        return [
            Quality(
                quality.gram_errors(
                    {name: gram[index] for name, gram in found.items()},
                    quality.mean_grams(per_style, self._shares(index)),
                ),
                quality.structural_similarity(image, self._own(index)),
            )
            for index, image in enumerate(finished)
        ]

    def _shares(self, index: int) -> list[float]:
        """The styles' weights in one content, times the part of it where each goes."""
        covered = self.regions.covered(index, len(self.styles))
        return [style.weight * part for style, part in zip(self.styles, covered, strict=True)]

    def _of_styles(self, measure: Callable[..., T], scale: float, precision: str) -> list[T]:
        """What the engine measures of every style at the size that it has in a scale."""
        found = []
        for style in self._styles:
            own_size = size_of(style.rgb)
            size = style_size(own_size, self.sizes[0], self.config, scale, style.name)
            tile = self._tile(size, precision)
            found.append(measure(style, size, self.config, precision, tile))
        return found

    def _own(self, index: int) -> np.ndarray:
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

    def _saver(self, done: list[Course], started: float) -> Callable[[Leg], None]:
        """Saves checkpoints in a scale behind those that are done."""

        def between(leg: Leg) -> None:
            spent = (time.monotonic() - started) / len(self.contents)
            self.checkpoints.between(self.places, done, leg, spent, self.retried)

        return between

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
        """A scale's start from the coarser scale's contents and result."""
        if self.inits is not None or self.config.init != "content":
            return starts.enlarged(stylized, *contents.shape[1:3])
        return starts.finer(contents, coarse, stylized, clip_pixels=self.config.clip_pixels)

    def _first_start(self, contents: np.ndarray, canvas: Size) -> np.ndarray:
        """The first scale's start, the same for an image whatever batch it is in."""
        if self.inits is not None:
            given = self._on_canvas(self.inits, canvas)
            return starts.shrunk(given, Size(contents.shape[2], contents.shape[1]))
        height, width = contents.shape[1:3]
        if self.config.init == "noise":
            noise = starts.noise(height, width, self.config.seed)
        elif self.config.init == "style_statistics":
            noise = colors.colored_noise(height, width, self.config.seed, *self._palette)
        else:
            return contents
        return np.broadcast_to(noise, contents.shape).copy()

    def _finished(self, x: np.ndarray, index: int) -> np.ndarray:
        size = self.sizes[index]
        if self.regions.keeps is not None:
            keep, originals = (one[index] for one in self._kept_on_canvas)
            x = keep * originals + (1 - keep) * x
        image: np.ndarray = np.clip(x[: size.height, : size.width], 0, 255)
        if self.config.preserve_colors == "luminance":
            image = colors.keep_colors(image, self._own(index))
        return colors.in_grey(image) if self._in_grey[index] else image
