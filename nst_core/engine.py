"""`StyleEngine`: owns the network, the compiled steps and the cached style targets."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core import colors, images
from nst_core.canvas import (
    LEAST_CANVAS,
    Size,
    canvas_size,
    content_size,
    scale_sizes,
    style_size,
)
from nst_core.config import StyleConfig
from nst_core.device import choose_device, choose_precision, describe, device_lock
from nst_core.errors import Diverged, OutOfMemory, PairError
from nst_core.objective import Objective, Targets, mixed
from nst_core.program import Course, Program, follow, optimizer_for
from nst_core.results import LOG_COLUMNS, LossLog, Progress, Style, StyleResult
from nst_core.vgg import Vgg19
from nst_core.weights import VggWeights, load_weights

STYLE_CACHE_ENTRIES = 256
NOISE_DEVIATION = 40.0
CAREFUL_LEARNING_RATE = 0.25

Report = Callable[[Progress], None]


class StyleEngine:
    """Stylizes images with one network; keeps what a catalog shares.

    Args:
        weights: `imagenet`, `procedural`, a local `.h5` path, or weights already loaded.
        pooling: `average` or `max`.
        padding: `reflect` or `zero`.
        precision: `float32`, `bfloat16`, or `auto`.
        device: `auto`, `gpu` or `cpu`.

    `style_passes` counts the network passes that were spent on style targets, `batches` the
    batches that were optimised.

    Raises:
        WeightsError, DeviceError: what is asked for cannot be had.
    """

    def __init__(
        self,
        weights: str | VggWeights = "imagenet",
        *,
        pooling: str = "average",
        padding: str = "reflect",
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.device_name = describe(self.device)
        self.pooling = pooling
        self.padding = padding
        self.weights = load_weights(weights) if isinstance(weights, str) else weights
        self.style_passes = 0
        self.batches = 0
        self._networks: dict[str, Vgg19] = {}
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._styles: collections.OrderedDict[tuple[Any, ...], Any] = collections.OrderedDict()

    @classmethod
    def for_config(cls, config: StyleConfig, weights: str | VggWeights) -> StyleEngine:
        """The engine that a configuration asks for; `weights` is where its weights lie here."""
        return cls(
            weights,
            pooling=config.pooling,
            padding=config.padding,
            precision=config.precision,
            device=config.device,
        )

    def stylize(
        self,
        content: np.ndarray,
        styles: Sequence[Style],
        config: StyleConfig,
        *,
        init: np.ndarray | None = None,
        progress: Report | None = None,
    ) -> StyleResult:
        """One content image in the style of one or several; see `stylize_batch`.

        Raises:
            PairError: the pair cannot be stylized.
        """
        inits = None if init is None else [init]
        result = self.stylize_batch([content], styles, config, inits=inits, progress=progress)[0]
        if isinstance(result, PairError):
            raise result
        return result

    def stylize_batch(
        self,
        contents: Sequence[np.ndarray],
        styles: Sequence[Style],
        config: StyleConfig,
        *,
        inits: Sequence[np.ndarray] | None = None,
        names: Sequence[str] | None = None,
        progress: Report | None = None,
    ) -> list[StyleResult | PairError]:
        """Several contents of one canvas in one style, optimised together.

        Args:
            contents: RGB `[H, W, 3]` (uint8 or float32, 0…255), of sizes that come to the same
                canvas under `config` (with `style_fit: stretch`, to the same size).
            styles: one or more; several are mixed by their weights.
            inits: starts of the optimisation, one per content, where `config.init` names an
                image.
            names: of the contents, for errors.
            progress: called about once a second.

        Returns:
            For each content its result, or the error of this pair alone.

        Raises:
            InputTooSmall, InputTooLarge: an image does not fit the network.
            ValueError: no contents, no styles, or contents of different canvases.
        """
        names = names or [f"content {index + 1}" for index in range(len(contents))]
        sizes = [
            content_size(_size(content), config, name)
            for content, name in zip(contents, names, strict=True)
        ]
        groups = sizes if config.style_fit == "stretch" else [canvas_size(s, config) for s in sizes]
        if len(set(groups)) != 1 or not styles:
            raise ValueError(
                f"A batch has contents of one canvas and at least one style, "
                f"not {sorted(map(str, set(groups)))} and {len(styles)} styles."
            )
        job = _Batch(self, list(contents), list(styles), config, sizes, inits, list(names))
        with device_lock(self.device), tf.device(self.device):
            return self._attempt(job, progress)

    def _attempt(self, job: _Batch, progress: Report | None) -> list[StyleResult | PairError]:
        """The batch; in halves where memory runs out; what failed once more, carefully."""
        results = self._optimized(job, self.precision, progress)
        if isinstance(results, OutOfMemory) and len(job.contents) > 1:
            middle = len(job.contents) // 2
            halves = [job.part(range(middle)), job.part(range(middle, len(job.contents)))]
            return [result for half in halves for result in self._attempt(half, progress)]
        if isinstance(results, PairError):
            return [results] * len(job.contents)
        return [
            result if isinstance(result, StyleResult) else self._carefully(job, index, progress)
            for index, result in enumerate(results)
        ]

    def _optimized(
        self, job: _Batch, precision: str, progress: Report | None
    ) -> list[StyleResult | None] | PairError:
        """`job.optimize`; an error without its traceback, whose frames hold the batch's tensors."""
        try:
            return job.optimize(precision, progress)
        except tf.errors.ResourceExhaustedError:
            return OutOfMemory(
                f"{job.names[0]} at {job.sizes[0]} px does not fit into the memory "
                "of the device; lower image_size."
            )
        except PairError as error:
            return error.with_traceback(None)

    def _carefully(
        self, job: _Batch, index: int, progress: Report | None
    ) -> StyleResult | PairError:
        """One image again: alone, in float32, with smaller steps."""
        config = job.config.updated(
            {"learning_rate": job.config.learning_rate * CAREFUL_LEARNING_RATE}
        )
        again = dataclasses.replace(job.part([index]), config=config)
        results = self._optimized(again, "float32", progress)
        if isinstance(results, PairError):
            return results
        if isinstance(results[0], StyleResult):
            return dataclasses.replace(results[0], retried=True)
        return Diverged(
            f"The loss of {job.names[index]} ran away or was no number, twice, the second time "
            "in float32 with a quarter of the learning rate; "
            "lower learning_rate, content_weight, style_weight or tv_weight."
        )

    def program(self, config: StyleConfig, precision: str) -> Program:
        """The compiled steps for a configuration, made once."""
        key = (
            precision,
            tuple(sorted(config.content_layers)),
            tuple(sorted(config.style_layers)),
            config.normalization,
            config.style_statistics,
            config.tv_weight > 0,
            config.optimizer,
            config.average_decay,
            config.clip_pixels,
        )
        if key not in self._programs:
            if precision not in self._networks:
                self._networks[precision] = Vgg19(
                    self.weights, self.pooling, self.padding, tf.as_dtype(precision)
                )
            objective = Objective(self._networks[precision], config)
            self._programs[key] = Program(
                objective, optimizer_for(config), xla=self.device.startswith("/GPU")
            )
        return self._programs[key]

    def style_targets(
        self, style: Style, size: Size, config: StyleConfig, precision: str
    ) -> dict[str, Any]:
        """A style's statistics at a size: from the cache, else by one pass of the network."""
        key = (
            _digest(style.rgb),
            size,
            config.resample,
            precision,
            tuple(sorted(config.style_layers)),
            config.style_statistics,
        )
        if key not in self._styles:
            resized = images.resize(style.rgb, size.width, size.height, config.resample)
            least = (max(size.height, LEAST_CANVAS), max(size.width, LEAST_CANVAS))
            padded = images.pad_reflect(resized, *least)
            self._styles[key] = self.program(config, precision).style_targets(padded[None])
            self.style_passes += 1
            while len(self._styles) > STYLE_CACHE_ENTRIES:
                self._styles.popitem(last=False)
        self._styles.move_to_end(key)
        return self._styles[key]  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Contents of one canvas with one style and configuration, on their way through the scales."""

    engine: StyleEngine
    contents: list[np.ndarray]
    styles: list[Style]
    config: StyleConfig
    sizes: list[Size]
    inits: Sequence[np.ndarray] | None
    names: list[str]

    def part(self, indices: Sequence[int]) -> _Batch:
        """The same for some of the contents."""
        return dataclasses.replace(
            self,
            contents=[self.contents[i] for i in indices],
            sizes=[self.sizes[i] for i in indices],
            inits=None if self.inits is None else [self.inits[i] for i in indices],
            names=[self.names[i] for i in indices],
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
        x = originals
        done = 0
        for size, scale, steps in zip(
            scale_sizes(canvas, self.config),
            self.config.scales,
            self.config.steps_per_scale,
            strict=True,
        ):
            contents = _resized(originals, size)
            targets = self._targets(program, contents, scale, precision)
            x = self._start(contents, canvas) if not courses else _resized(x, size)

            def report(
                step: int, totals: np.ndarray, done: int = done, scale: float = scale
            ) -> None:
                if progress:
                    whole = sum(self.config.steps_per_scale)
                    progress(Progress(done + step, whole, scale, tuple(map(float, totals))))

            course = follow(program, x, targets, self.config, steps, deadline, report)
            courses.append((scale, size, course))
            x = course.images
            done += steps
        self.engine.batches += 1
        seconds = (time.monotonic() - started) / len(self.contents)
        columns = program.objective.columns
        failed = np.any([course.failed for _, _, course in courses], axis=0)
        return [
            None
            if failed[index]
            else StyleResult(
                image=self._finished(x[index], index),
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
            self.engine.style_targets(
                style,
                style_size(_size(style.rgb), self.sizes[0], self.config, scale, style.name),
                self.config,
                precision,
            )
            for style in self.styles
        ]
        weights = [style.weight for style in self.styles]
        return {
            "content": program.content_targets(tf.constant(contents)),
            "style": mixed(per_style, weights),
        }

    def _start(self, contents: np.ndarray, canvas: Size) -> np.ndarray:
        """The first scale's start, the same for an image whatever batch it is in."""
        if self.inits is not None:
            given = self._on_canvas(self.inits, canvas)
            return _resized(given, Size(contents.shape[2], contents.shape[1]))
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


def _size(rgb: np.ndarray) -> Size:
    return Size(rgb.shape[1], rgb.shape[0])


def _digest(rgb: np.ndarray) -> bytes:
    digest = hashlib.blake2b(np.ascontiguousarray(rgb).tobytes(), digest_size=16)
    digest.update(repr((rgb.shape, rgb.dtype)).encode())
    return digest.digest()


def _resized(batch: np.ndarray, size: Size) -> np.ndarray:
    """A float32 batch `[B, H, W, 3]` at another size; itself where it has that size."""
    if batch.shape[1:3] == (size.height, size.width):
        return batch
    return np.stack([images.resize(image, size.width, size.height, "lanczos") for image in batch])


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
