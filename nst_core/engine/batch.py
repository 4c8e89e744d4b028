"""One batch on its way through the scales: contents of one configuration, each with its styles."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.canvas import Size, scale_sizes, style_size
from nst_core.compiled.compilation import side_by_side
from nst_core.config import StyleConfig
from nst_core.devices import batch_sizes, memory
from nst_core.devices.device import available_memory
from nst_core.devices.tiles import LEAST_TILE
from nst_core.engine import initialization
from nst_core.engine.checkpoints import Checkpoints, Interrupted
from nst_core.engine.pictures import Pictures, beside
from nst_core.engine.program import Program, filled, stacked
from nst_core.engine.programs import Bounds, Programs
from nst_core.engine.scale import Deadline, ScaleResult, ScaleState, loss_log, optimize_scale
from nst_core.engine.snapshots import SnapshotSchedule
from nst_core.layers import ALIGNMENT
from nst_core.objective.objective import Targets
from nst_core.objective.style_term import mixed
from nst_core.results import (
    Compiling,
    OnSnapshot,
    Progress,
    Quality,
    Report,
    Snapshot,
    Style,
    StyleResult,
)

Tensor = Any
# A scale: its size, the fraction that it is, the side of its tiles.
Scale = tuple[Size, float, int | None]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Contents of one configuration, each with its styles, on their way through the scales.

    `places` are the contents' indices among those that the engine was given. `retried` tells that
    this is the second, careful try.
    """

    programs: Programs
    pictures: Pictures
    config: StyleConfig
    places: list[int]
    snapshots: OnSnapshot | None
    checkpoints: Checkpoints
    retried: bool = False

    def part(self, indices: Sequence[int]) -> Batch:
        """The same for some of the contents."""
        return dataclasses.replace(
            self,
            pictures=self.pictures.part(indices),
            places=[self.places[i] for i in indices],
        )

    def groups(self) -> list[list[int]]:
        """Which contents can be optimised together, by their indices.

        Those of one canvas; those with masks have a style term of their own kind for each number
        of styles; and those that were interrupted go on from where they were.
        """
        groups: dict[Any, list[int]] = {}
        for index, place in enumerate(self.places):
            masked = self.pictures.regions.masked(index) and len(self.pictures.styles[index])
            kind = (self.pictures.canvas_of(index), masked, self.checkpoints.position(place))
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

    def size(self, precision: str) -> int:
        """How many images to compute at once: more than the contents where they are filled up.

        GPUs compute a batch with other kernels than one image. In float32 images go one by one
        there, so that they come out the same in any batch; bfloat16 is for speed.
        """
        program, count, canvas = self._program(precision), len(self.places), self.pictures.canvas
        if isinstance(self.config.tile, int) or (program.xla and precision == "float32"):
            return 1
        wanted = batch_sizes.paying(canvas) if program.xla else count
        fitting = memory.fitting_batch(
            self.config, canvas, wanted, precision, self.available, one_by_one=not program.xla
        )
        most = max(1, min(fitting, self.bounds(precision).most or fitting))
        if not program.xla:
            return most
        compiled = program.batch_sizes(canvas)
        return batch_sizes.size_for(count, batch_sizes.power_of_two(most), compiled)

    def bounds(self, precision: str) -> Bounds:
        """See `Programs.bounds`."""
        return self.programs.bounds(self.config, self.pictures.canvas, precision)

    def take_smaller_tiles(self, precision: str) -> bool:
        """Bound the tiles of one content to half the side; False where they would be too small."""
        if self.size(precision) > 1 or self.config.tile == "off":
            return False
        canvas = self.pictures.canvas
        side = self._tile(canvas, precision) or max(canvas.width, canvas.height)
        half = side // 2 // ALIGNMENT * ALIGNMENT
        if half >= LEAST_TILE:
            self.programs.bound(self.config, canvas, precision, largest_tile=half)
        return half >= LEAST_TILE

    def _tile(self, size: Size, precision: str) -> int | None:
        """The side of the tiles in which one image of this size passes; None: it passes whole."""
        largest = self.bounds(precision).largest_tile
        return memory.tile_side(self.config, size, precision, self.available, largest)

    def optimize(self, precision: str, progress: Report | None) -> list[StyleResult | None]:
        """All scales, coarse to fine; None for an image whose loss ran away.

        Raises:
            DeadlineExceeded: `deadline_seconds` per content have passed.
            OutOfMemory: by prediction; TensorFlow has errors of its own.
        """
        past = self.interrupted
        started = time.monotonic() - (past.seconds if past else 0.0)
        deadline = Deadline(started + (self.config.deadline_seconds * len(self.places) or np.inf))
        canvas = self.pictures.canvas
        what = f"{self.pictures.names[0]} at {self.pictures.sizes[0]} px"
        available = np.inf if self.programs.on_gpu else self.available
        memory.refuse_the_hopeless(self.config, canvas, precision, available, what)
        at_once = self.size(precision)
        originals = self.pictures.originals()
        sizes = scale_sizes(canvas, self.config)
        alone = len(self.places) == 1
        tiles = [self._tile(size, precision) if alone else None for size in sizes]
        scales = [*zip(sizes, self.config.scales, tiles, strict=True)]
        self._compile(originals, precision, scales[past.scale if past else 0 :], at_once)
        done: list[ScaleResult] = []
        contents = originals
        for (size, scale, tile), steps in zip(scales, self.config.steps_per_scale, strict=True):
            coarse, contents = contents, initialization.shrunk(originals, size)
            if past and len(done) < past.scale:
                done.append(past.result(len(done)))
                continue
            program = self._program(precision, tile)
            targets = filled(self._targets(program, contents, scale, precision), at_once)
            result = optimize_scale(
                program,
                # No name for it here: what it holds is to be free once the scale is done.
                self._reached(program, contents, coarse, done).filled(at_once),
                targets,
                self.config,
                steps,
                deadline,
                self._reporter(progress, scale, len(done)),
                self._schedule(originals, contents, done),
                scale,
                self._saver(done, started),
                len(self.places),
            )
            done.append(result)
        return self._results(done, precision, tiles[-1], started)

    def _reached(
        self, program: Program, contents: Tensor, coarse: Tensor, done: Sequence[ScaleResult]
    ) -> ScaleState:
        """Where the scale behind those that are done was interrupted, else where it starts.

        `contents` have the size of this scale, `coarse` are those of the one before.
        """
        past = self.interrupted
        if past and len(done) == past.scale:
            return past.state(program)
        steps = self.config.steps_per_scale[len(done)]
        if not done:
            return ScaleState.from_images(program, self.pictures.first_start(contents), steps)
        start = self.pictures.finer_start(contents, coarse, done[-1].images)
        return ScaleState.from_images(program, start, steps, done[-1].carried)

    def _results(
        self, done: Sequence[ScaleResult], precision: str, tile: int | None, started: float
    ) -> list[StyleResult | None]:
        """What has become of each content once all scales are done; `tile`: of the last."""
        past, canvas = self.interrupted, self.pictures.canvas
        program = self._program(precision, tile)
        finished = self.pictures.finished(done[-1].images)
        qualities = self._qualities(program, finished, precision)
        # Not a copy, as `numpy()` makes: its new pages took 75 ms of some batches.
        pictures = np.asarray(finished)
        seconds = (time.monotonic() - started) / len(self.places)
        scales = [*zip(self.config.scales, scale_sizes(canvas, self.config), done, strict=True)]
        failed = np.any([result.failed for result in done], axis=0)
        return [
            None
            if failed[index]
            else StyleResult(
                image=self.pictures.cropped(pictures[index], index),
                quality=qualities[index],
                losses=loss_log(program.objective.columns, scales, index),
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

    def _program(self, precision: str, tile: int | None = None) -> Program:
        masks, keeps = self.pictures.regions.masks, self.pictures.regions.keeps
        return self.programs.compiled(
            self.config,
            precision,
            tile,
            regions=len(self.pictures.styles[0]) if masks else int(keeps is not None),
            keeps=keeps is not None,
        )

    def _compile(
        self, originals: Tensor, precision: str, coming: Sequence[Scale], at_once: int
    ) -> None:
        """Begin to compile all programs that the coming scales lack, where XLA compiles them.

        The first is left to the steps that wait for it.
        """
        begun = []
        for index, (size, scale, tile) in enumerate(coming):
            program = self._program(precision, tile)
            if program.has_compiled((at_once, size.height, size.width, 3)):
                continue
            contents = initialization.shrunk(originals, size)
            targets = filled(self._targets(program, contents, scale, precision), at_once)
            weights = program.objective.weights(self.config, scale)
            begun.append((index, program.ahead(filled(contents, at_once), targets, weights)))
        if not begun:
            return
        count = sum(one.must_compile for _, one in begun)
        if count and self.programs.on_compiling:
            self.programs.on_compiling(Compiling(self.pictures.canvas, count))
        # A compiled program is found by calling it, which takes its memory for a moment.
        needed = memory.predicted(self.config, self.pictures.canvas, at_once, precision, None)
        if 2 * needed < self.available:
            side_by_side([one.call for index, one in begun if index])

    def _targets(self, program: Program, contents: Tensor, scale: float, precision: str) -> Targets:
        masked = self.pictures.regions.masks is not None
        weights = [[style.weight for style in styles] for styles in self.pictures.styles]
        # What is compared where: with masks each style under its own, else all of them mixed.
        aims: dict[Any, dict[str, tuple[Tensor, ...]]] = {}
        of_images = []
        for found, weighted in zip(self._of_styles(scale, precision), weights, strict=True):
            alike = (*map(id, found), *weighted)
            if alike not in aims:
                compared = found if masked else [mixed(found, weighted)]
                aims[alike] = program.objective.finished(*compared)
            of_images.append(aims[alike])
        targets: Targets = {
            "content": program.content_targets(contents),
            "style": stacked(of_images),
        }
        size = Size(contents.shape[2], contents.shape[1])
        if masked:
            masks = initialization.shrunk(self.pictures.masks_on_canvas, size)
            masks = tf.clip_by_value(masks, 0.0, 1.0)
            targets["regions"] = program.objective.regions(masks, weights)
        if self.pictures.regions.keeps is not None:
            keep, originals = self.pictures.kept_on_canvas
            share = tf.clip_by_value(initialization.shrunk(keep, size), 0.0, 1.0)
            targets["kept"] = {"share": share, "content": initialization.shrunk(originals, size)}
            if not masked:
                targets["regions"] = program.objective.regions(beside(share), [[1]] * len(weights))
        return targets

    def _qualities(self, program: Program, finished: Tensor, precision: str) -> list[Quality]:
        """What became of every content, by one more pass of the network over the batch.

        `finished`: the results on the canvas, `[B, H, W, 3]`.
        """
        of_styles = self._of_styles(1.0, precision)
        most = max(map(len, of_styles))
        shares = np.zeros((len(of_styles), most))
        for index, found in enumerate(of_styles):
            shares[index, : len(found)] = self.pictures.shares(index)
        # Images with fewer styles than others have one more often, with no share.
        even = [one for found in of_styles for one in (*found, *found[:1] * (most - len(found)))]
        errors = program.gram_errors(program.style_targets(finished), stacked(even), shares)
        similar = program.similarities(finished, self.pictures.sent, self.pictures.sizes)
        layers = program.objective.style_layers
        return [
            Quality(dict(zip(layers, row, strict=True)), ssim)
            for row, ssim in zip(errors.numpy().tolist(), similar.numpy().tolist(), strict=True)
        ]

    def _of_styles(self, scale: float, precision: str) -> list[list[dict[str, Tensor]]]:
        """The statistics of each content's styles at the sizes that they have in a scale."""

        def statistics(style: Style, content: Size) -> dict[str, Tensor]:
            size = style_size(style.original, content, self.config, scale, style.name)
            tile = functools.partial(self._tile, size, precision)
            return self.programs.style_targets(style, size, self.config, precision, tile)

        return [
            [statistics(style, size) for style in styles]
            for styles, size in zip(
                self.pictures.recolored_styles, self.pictures.sizes, strict=True
            )
        ]

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
