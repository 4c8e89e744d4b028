"""One batch on its way through the scales: contents of a canvas, one style, one configuration."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.canvas import Size, scale_sizes, style_size
from nst_core.config import StyleConfig
from nst_core.engine import initialization, memory
from nst_core.engine.checkpoints import Checkpoints, Interrupted
from nst_core.engine.compilation import side_by_side
from nst_core.engine.device import CPU, GPU, available_memory
from nst_core.engine.pictures import Pictures
from nst_core.engine.program import Program
from nst_core.engine.programs import Programs
from nst_core.engine.scale import ScaleResult, ScaleState, loss_log, optimize_scale
from nst_core.engine.snapshots import SnapshotSchedule
from nst_core.engine.tiles import LEAST_TILE, tiles_of
from nst_core.errors import OutOfMemory
from nst_core.layers import ALIGNMENT, halo
from nst_core.objective.objective import Targets
from nst_core.objective.style_term import mixed
from nst_core.results import Compiling, OnSnapshot, Progress, Quality, Report, Snapshot, StyleResult

Tensor = Any


@dataclasses.dataclass(frozen=True)
class Batch:
    """Contents of one canvas with one style and configuration, on their way through the scales.

    `places` are the contents' indices among those that the engine was given. `retried` tells that
    this is the second, careful try. `largest_tile` bounds the tiles, px, once memory has run out.
    """

    programs: Programs
    pictures: Pictures
    config: StyleConfig
    places: list[int]
    snapshots: OnSnapshot | None
    checkpoints: Checkpoints
    retried: bool = False
    largest_tile: int | None = None

    def part(self, indices: Sequence[int]) -> Batch:
        """The same for some of the contents."""
        return dataclasses.replace(
            self,
            pictures=self.pictures.part(indices),
            places=[self.places[i] for i in indices],
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
            kind = (alone, self.pictures.regions.masked(index), self.checkpoints.position(place))
            groups.setdefault(kind, []).append(index)
        return list(groups.values())

    @functools.cached_property
    def available(self) -> float:
        """Bytes that the device can still give, before any of the batch is there."""
        return available_memory(self.programs.device)

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
        count = len(self.places)
        on_gpu = self.programs.device == GPU
        if count == 1 or isinstance(self.config.tile, int) or (on_gpu and precision == "float32"):
            return 1
        canvas = self.pictures.canvas
        fitting = memory.fitting_batch(
            self.config,
            canvas,
            count,
            precision,
            self.available,
            one_by_one=not on_gpu,
        )
        return max(1, fitting)

    def in_smaller_tiles(self, precision: str) -> Batch | None:
        """One content in tiles of at most half the side; None where they would be too small."""
        if len(self.places) > 1 or self.config.tile == "off":
            return None
        canvas = self.pictures.canvas
        side = self._tile(canvas, precision) or max(canvas.width, canvas.height)
        half = side // 2 // ALIGNMENT * ALIGNMENT
        return dataclasses.replace(self, largest_tile=half) if half >= LEAST_TILE else None

    def _tile(self, size: Size, precision: str) -> int | None:
        """The side of the tiles in which one image of this size passes; None: it passes whole."""
        tile = memory.tile_side(self.config, size, precision, self.available)
        if not self.largest_tile:
            return tile
        tile = min(tile or self.largest_tile, self.largest_tile)
        return tile if len(tiles_of(size, tile, halo(self.config.layers))) > 1 else None

    def _refuse_the_hopeless(self, canvas: Size, precision: str) -> None:
        """What is known not to fit fails here: a system without memory kills, and tells nobody.

        Raises:
            OutOfMemory: not even the smallest tiles fit, or the canvas is too large for none.
        """
        what = f"{self.pictures.names[0]} at {self.pictures.sizes[0]} px"
        if self.config.tile == "off" and canvas.width * canvas.height >= memory.MOST_PIXELS:
            raise OutOfMemory(
                f"{what} has more features than TensorFlow can count in one tensor; "
                "set tile to auto or lower image_size."
            )
        if self.config.tile != "auto" or self.programs.device != CPU:
            return
        needed = memory.least(self.config, canvas, precision)
        if needed > self.available:
            raise OutOfMemory(
                f"{what} needs about {needed / 2**30:.1f} GiB even in tiles, and "
                f"{self.available / 2**30:.1f} GiB are free; lower image_size."
            )

    def optimize(self, precision: str, progress: Report | None) -> list[StyleResult | None]:
        """All scales, coarse to fine; None for an image whose loss ran away.

        Raises:
            DeadlineExceeded: `deadline_seconds` per content have passed.
            OutOfMemory: by prediction; TensorFlow has errors of its own.
        """
        past = self.interrupted
        started = time.monotonic() - (past.seconds if past else 0.0)
        allowed = self.config.deadline_seconds * len(self.places)
        deadline = started + allowed if allowed else np.inf
        canvas = self.pictures.canvas
        self._refuse_the_hopeless(canvas, precision)
        originals = self.pictures.originals()
        results: list[tuple[float, Size, ScaleResult]] = []
        self._compile(originals, precision, past.scale if past else 0)
        contents = originals
        for size, scale, steps in zip(
            scale_sizes(canvas, self.config),
            self.config.scales,
            self.config.steps_per_scale,
            strict=True,
        ):
            coarse, contents = contents, initialization.shrunk(originals, size)
            if past and len(results) < past.scale:
                results.append((scale, size, past.result(len(results))))
                continue
            tile = self._tile_of(size, precision)
            program = self._program(tile, precision)
            targets = self._targets(program, contents, scale, precision)
            done = [result for _, _, result in results]
            if past and len(done) == past.scale:
                start = past.state(program)
            elif done:
                start = self.pictures.finer_start(contents, coarse, done[-1].images)
            else:
                start = self.pictures.first_start(contents)
            report = self._reporter(progress, scale, len(done))
            schedule = self._schedule(originals, contents, done)
            save = self._saver(done, started)
            result = optimize_scale(
                program, start, targets, self.config, steps, deadline, report, schedule, scale, save
            )
            results.append((scale, size, result))
        last = results[-1][2].images
        finished = self.pictures.finished(last)
        qualities = self._qualities(program, finished, precision)
        pictures = finished.numpy()
        seconds = (time.monotonic() - started) / len(self.places)
        columns = program.objective.columns
        failed = np.any([result.failed for _, _, result in results], axis=0)
        return [
            None
            if failed[index]
            else StyleResult(
                image=self.pictures.cropped(pictures[index], index),
                quality=qualities[index],
                losses=loss_log(columns, results, index),
                seconds=seconds,
                canvas=canvas,
                precision=precision,
                device=self.programs.device,
                batch=len(self.places),
                tile=tile,
                retried=self.retried,
                resumed_at_step=past.steps(index) if past else None,
            )
            for index in range(len(self.places))
        ]

    def _tile_of(self, size: Size, precision: str) -> int | None:
        return self._tile(size, precision) if len(self.places) == 1 else None

    def _program(self, tile: int | None, precision: str) -> Program:
        return self.programs.compiled(
            self.config,
            precision,
            tile,
            regions=len(self.pictures.styles) if self.pictures.regions.masks else 0,
            keeps=self.pictures.regions.keeps is not None,
        )

    def _compile(self, originals: Tensor, precision: str, scales_done: int) -> None:
        """Begin to compile all programs that the scales lack, where XLA compiles them.

        The first is left to the steps that wait for it.
        """
        begun = []
        sizes = scale_sizes(self.pictures.canvas, self.config)
        coming = list(zip(sizes, self.config.scales, strict=True))[scales_done:]
        for index, (size, scale) in enumerate(coming):
            program = self._program(self._tile_of(size, precision), precision)
            if program.has_compiled((len(self.places), size.height, size.width, 3)):
                continue
            contents = initialization.shrunk(originals, size)
            targets = self._targets(program, contents, scale, precision)
            weights = program.objective.weights(self.config, scale)
            begun.append((index, program.ahead(contents, targets, weights)))
        count = sum(one.must_compile for _, one in begun)
        if count and self.programs.on_compiling:
            self.programs.on_compiling(Compiling(sizes[-1], count))
        # A compiled program is found by calling it, which takes its memory for a moment.
        needed = memory.predicted(self.config, sizes[-1], len(self.places), precision, None)
        if 2 * needed < self.available:
            side_by_side([one.call for index, one in begun if index])

    def _targets(self, program: Program, contents: Tensor, scale: float, precision: str) -> Targets:
        per_style = self._of_styles(scale, precision)
        weights = [style.weight for style in self.pictures.recolored_styles]
        targets = {"content": program.content_targets(contents)}
        size = Size(contents.shape[2], contents.shape[1])
        if self.pictures.regions.masks is None:
            targets["style"] = program.objective.finished(mixed(per_style, weights))
        else:
            finished = [program.objective.finished(one) for one in per_style]
            targets["style"] = {
                name: tf.concat([one[name] for one in finished], axis=0) for name in finished[0]
            }
            masks = initialization.shrunk(self.pictures.masks_on_canvas, size)
            masks = tf.clip_by_value(masks, 0.0, 1.0)
            targets["regions"] = program.objective.regions(masks, weights)
        if self.pictures.regions.keeps is not None:
            keep, originals = self.pictures.kept_on_canvas
            targets["kept"] = {
                "share": tf.clip_by_value(initialization.shrunk(keep, size), 0.0, 1.0),
                "content": initialization.shrunk(originals, size),
            }
        return targets

    def _qualities(self, program: Program, finished: Tensor, precision: str) -> list[Quality]:
        """What became of every content, by one more pass of the network over the batch.

        `finished`: the results on the canvas, `[B, H, W, 3]`.
        """
        per_style = self._of_styles(1.0, precision)
        styles = per_style[0]
        if len(per_style) > 1:
            styles = {name: tf.concat([one[name] for one in per_style], 0) for name in styles}
        shares = np.array([self.pictures.shares(i) for i in range(len(self.places))])
        errors = program.gram_errors(program.style_targets(finished), styles, shares)
        similar = program.similarities(finished, self.pictures.own, self.pictures.sizes)
        layers = program.objective.style_layers
        return [
            Quality(dict(zip(layers, row, strict=True)), ssim)
            for row, ssim in zip(errors.numpy().tolist(), similar.numpy().tolist(), strict=True)
        ]

    def _of_styles(self, scale: float, precision: str) -> list[dict[str, Tensor]]:
        """The statistics of every style at the size that it has in a scale."""
        found = []
        for style in self.pictures.recolored_styles:
            size = style_size(
                style.original, self.pictures.sizes[0], self.config, scale, style.name
            )
            tile = functools.partial(self._tile, size, precision)
            found.append(self.programs.style_targets(style, size, self.config, precision, tile))
        return found

    def _reporter(
        self, progress: Report | None, scale: float, scales_done: int
    ) -> Callable[[int, np.ndarray], None]:
        counts = self.config.steps_per_scale
        before, whole = sum(counts[:scales_done]), sum(counts)

        def report(step: int, totals: np.ndarray) -> None:
            if progress:
                progress(Progress(before + step, whole, scale, tuple(map(float, totals))))

        return report

    def _saver(self, done: list[ScaleResult], started: float) -> Callable[[ScaleState], None]:
        """Saves checkpoints in a scale behind those that are done."""

        def between(reached: ScaleState) -> None:
            spent = (time.monotonic() - started) / len(self.places)
            self.checkpoints.between(self.places, done, reached, spent, self.retried)

        return between

    def _schedule(
        self, originals: Tensor, contents: Tensor, done: list[ScaleResult]
    ) -> SnapshotSchedule | None:
        """For a scale of these contents, behind the coarser ones that are done."""
        snapshots = self.snapshots
        if snapshots is None or not self.config.snapshot_every:
            return None

        def take(index: int, step: int, x: Tensor) -> None:
            part = slice(index, index + 1)
            if not tf.reduce_all(tf.math.is_finite(x)):
                return
            if contents.shape != originals.shape:
                x = self.pictures.finer_start(originals[part], contents[part], x)
            image = self.pictures.finished(x, part)[0].numpy()
            snapshots(Snapshot(self.places[index], step, self.pictures.cropped(image, index)))

        before = np.sum([np.zeros(len(self.places), int), *(one.steps for one in done)], axis=0)
        return SnapshotSchedule(self.config.snapshot_every, before, take)
