"""`StyleEngine`: owns the network, the compiled steps and the cached style targets."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.canvas import Size, canvas_identity, size_of
from nst_core.compiled.compilation import store_for
from nst_core.compiled.program_store import ProgramStore, limit_bytes
from nst_core.config import SETTINGS, StyleConfig
from nst_core.devices import batch_sizes, memory
from nst_core.devices.device import (
    CPU,
    GPU,
    choose_device,
    choose_precision,
    describe,
    device_lock,
    is_gpu,
    whole_memory,
)
from nst_core.engine import given
from nst_core.engine.batch import Batch
from nst_core.engine.checkpoints import FORMAT, Arrays, Checkpoints, Save, layout
from nst_core.engine.pictures import Pictures
from nst_core.engine.program import optimizer_for
from nst_core.engine.programs import Programs, pixels_of
from nst_core.errors import Diverged, InputTooSmall, OutOfMemory, PairError
from nst_core.identity import STEP_VERSION, counting, digest
from nst_core.network.loading import load_weights
from nst_core.network.weights import VggWeights
from nst_core.objective.regions import Regions
from nst_core.results import OnCompiling, OnSnapshot, Report, Style, StyleResult
from nst_core.setting_text import URI_SETTINGS

CAREFUL_LEARNING_RATE = 0.25


class StyleEngine:
    """Stylizes images with one network; keeps what a catalog shares.

    Make one for each network and keep it: TensorFlow frees neither the network of one that is gone
    (about 100 MB) nor the steps of other layers or other terms (about 40 MB each).

    Args:
        weights: `imagenet`, `procedural`, a local `.h5` path, or weights already loaded.
        pooling: `average`, `max` or `l2`.
        padding: `reflect` or `zero`.
        precision: `float32`, `bfloat16`, or `auto`.
        device: `auto`, `gpu`, `cpu`, or TensorFlow's name of one, such as `/GPU:1`.
        on_compiling: called before a batch waits for XLA, which compiles on GPUs.

    `batches` counts the batches that were optimised.

    Raises:
        WeightsError, DeviceError: what is asked for cannot be had.
        ConfigError: an argument is none of these, or the limit for compiled programs is no number.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | VggWeights = "imagenet",
        *,
        pooling: str = "average",
        padding: str = "reflect",
        precision: str = "auto",
        device: str = "auto",
        on_compiling: OnCompiling | None = None,
    ) -> None:
        # These arguments are settings, and may be what those may be.
        of_device = "auto" if device.startswith("/") else device
        StyleConfig(pooling=pooling, padding=padding, precision=precision, device=of_device)
        limit_bytes()
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.device_name = describe(self.device)
        if isinstance(weights, str | os.PathLike):
            weights = load_weights(os.fspath(weights))
        self.weights = weights
        self.programs = Programs(self.weights, pooling, padding, self.device, on_compiling)
        self.batches = 0

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return is_gpu(self.device)

    @property
    def style_passes(self) -> int:
        """The network passes that were spent on style targets."""
        return self.programs.style_passes

    @property
    def program_store(self) -> ProgramStore | None:
        """Where what XLA compiles for the device is kept; None: nowhere, or XLA compiles nothing.

        Raises:
            ConfigError: the limit of its size is no number.
        """
        return store_for(self.device) if self.on_gpu else None

    @classmethod
    def for_config(
        cls,
        config: StyleConfig,
        weights: str | VggWeights,
        device: str | None = None,
        on_compiling: OnCompiling | None = None,
    ) -> StyleEngine:
        """The engine that a configuration asks for; `weights` is where its weights lie here.

        `device`: on this one, by TensorFlow's name, instead of the configuration's.
        """
        return cls(
            weights,
            pooling=config.pooling,
            padding=config.padding,
            precision=config.precision,
            device=device or config.device,
            on_compiling=on_compiling,
        )

    def works(self) -> bool:
        """Whether the device still computes at all."""
        try:
            with tf.device(self.device):
                return float(tf.reduce_sum(tf.ones([8])).numpy()) == 8.0
        except tf.errors.OpError:
            return False

    def batch_size(self, config: StyleConfig, canvas: Size) -> int:
        """How many contents of a canvas `stylize_batch` is best given at once.

        One where images pass one by one: more gain nothing there. The answer is that of an idle
        device, for it may be asked while another batch is there, whose memory is free by then.
        """
        if not self.on_gpu or self.precision == "float32":
            return 1
        paying, whole = batch_sizes.paying(canvas), whole_memory(self.device)
        fitting = memory.fitting_batch(config, canvas, paying, self.precision, whole)
        most = self.programs.bounds(config, canvas, self.precision).most
        return batch_sizes.power_of_two(max(1, min(fitting, most or fitting)))

    def stylize(
        self,
        content: np.ndarray,
        styles: Sequence[Style],
        config: StyleConfig,
        *,
        init: np.ndarray | None = None,
        masks: Sequence[np.ndarray | None] | None = None,
        keep: np.ndarray | None = None,
        progress: Report | None = None,
        snapshots: OnSnapshot | None = None,
    ) -> StyleResult:
        """One content image in the style of one or several; see `stylize_batch`.

        Raises:
            PairError: the pair cannot be stylized.
            ValueError: as `stylize_batch`.
        """
        result = self.stylize_batch(
            [content],
            styles,
            config,
            inits=None if init is None else [init],
            masks=None if masks is None else [masks],
            keeps=[keep],
            progress=progress,
            snapshots=snapshots,
        )[0]
        if isinstance(result, PairError):
            raise result
        return result

    def stylize_batch(
        self,
        contents: Sequence[np.ndarray],
        styles: Sequence[Style] | Sequence[Sequence[Style]],
        config: StyleConfig,
        *,
        inits: Sequence[np.ndarray] | None = None,
        names: Sequence[str] | None = None,
        masks: Sequence[Sequence[np.ndarray | None]] | None = None,
        keeps: Sequence[np.ndarray | None] | None = None,
        progress: Report | None = None,
        snapshots: OnSnapshot | None = None,
        checkpoints: Sequence[Arrays | None] = (),
        save: Save | None = None,
    ) -> list[StyleResult | PairError]:
        """Several contents, each in its style; those of one canvas are optimised together.

        Args:
            contents: RGB `[H, W, 3]` (uint8 or float32, 0…255), of any sizes.
            styles: one or more for all contents, or as many lists of them as there are contents;
                several are mixed by their weights.
            config: the settings, with the engine's own `pooling` and `padding` (see `for_config`);
                `weights`, `precision` and `device` are the engine's, whatever stands there.
            inits: starts of the optimisation, one per content, where `config.init` names an
                image.
            names: of the contents, for errors.
            masks: for each content, for each style, where the style goes: `[H, W]` in 0…1 of any
                size, or None for everywhere. With any, the styles of that content are not mixed:
                each is compared with what is under its own mask, and the weights are shares.
            keeps: for each content where it stays as it is, `[H, W]` in 0…1 of any size (1: it
                stays), or None for nowhere.
            progress: called about once a second.
            snapshots: called with the images after every `config.snapshot_every` steps; one that
                has to be optimised again (diverged, out of memory) begins again with its first.
            checkpoints: for each content from where to go on, or None; one that was saved of
                other inputs or settings, or with another precision or device, is ignored.
            save: called with the contents' checkpoints every `config.checkpoint_seconds`.

        Returns:
            For each content its result, or the error of this pair alone: an image does not fit the
            network, a style is of one colour or transparent all over, …

        Raises:
            ValueError: what is given is no picture, style or mask of the shape and range above, or
                not one for each; or the settings are another network's.
        """
        given.check_network(config, self.programs.pooling, self.programs.padding)
        names = names or [f"content {index + 1}" for index in range(len(contents))]
        of_each = given.styles_of_each(styles, len(contents))
        given.check(config, contents, of_each, names, inits, masks, keeps)
        regions = Regions(
            list(masks) if masks else None, list(keeps) if keeps else None, config.resample
        )

        @functools.cache
        def identify(index: int) -> bytes:
            init = inits[index] if inits else None
            inputs = [contents[index], init, *regions.of(index), *regions.kind(index)]
            return self._identity(config, of_each[index], inputs)

        pictures = Pictures(
            list(contents), of_each, config, inits, list(names), regions, self.on_gpu
        )
        job = Batch(
            self.programs,
            pictures,
            config,
            places=list(range(len(contents))),
            snapshots=snapshots,
            checkpoints=Checkpoints(checkpoints, save, config.checkpoint_seconds, identify),
        )
        with device_lock(self.device), tf.device(self.device):
            self.programs.forget_bounds()
            return self._by_groups(job, progress)

    def _by_groups(self, job: Batch, progress: Report | None) -> list[StyleResult | PairError]:
        """The batch, in the parts that can be optimised together."""
        results: dict[int, StyleResult | PairError] = {}
        sound = []
        for index in range(len(job.places)):
            try:
                job.pictures.check(index)
                sound.append(index)
            except PairError as error:
                results[index] = error.with_traceback(None)
        for group in job.part(sound).groups():
            indices = [sound[place] for place in group]
            results.update(zip(indices, self._attempt(job.part(indices), progress), strict=True))
        return [results[index] for index in range(len(job.places))]

    def _attempt(self, job: Batch, progress: Report | None) -> list[StyleResult | PairError]:
        """The batch, in parts where it does not fit; what failed once more, carefully."""
        if job.was_retried:
            return [self._carefully(job, index, progress) for index in range(len(job.places))]
        size = job.size(self.precision)
        if size < len(job.places):
            return self._in_parts(job, size, progress)
        results = self._optimized(job, self.precision, progress)
        if isinstance(results, OutOfMemory) and size > 1:
            canvas = job.pictures.canvas
            self.programs.bound(job.config, canvas, self.precision, most=size // 2)
            return self._attempt(job, progress)
        if isinstance(results, InputTooSmall) and len(job.places) > 1:
            # A style of one of them has turned out to be none.
            return self._in_parts(job, 1, progress)
        if isinstance(results, PairError):
            return [results] * len(job.places)
        return [
            result if isinstance(result, StyleResult) else self._carefully(job, index, progress)
            for index, result in enumerate(results)
        ]

    def _in_parts(
        self, job: Batch, size: int, progress: Report | None
    ) -> list[StyleResult | PairError]:
        whole = range(len(job.places))
        parts = [whole[start : start + size] for start in whole[::size]]
        return [result for part in parts for result in self._attempt(job.part(part), progress)]

    def _optimized(
        self, job: Batch, precision: str, progress: Report | None
    ) -> list[StyleResult | None] | PairError:
        """`job.optimize`; an image that does not fit alone again, in ever smaller tiles.

        An error comes without its traceback, whose frames hold the batch's tensors.
        """
        try:
            results = job.optimize(precision, progress)
            self.batches += 1
            return results
        except (tf.errors.ResourceExhaustedError, MemoryError):
            pass  # Once this block is left, what the frames held is free again.
        except PairError as error:
            return error.with_traceback(None)
        if job.take_smaller_tiles(precision):
            return self._optimized(job, precision, progress)
        tiling = " or set tile to auto" if job.config.tile == "off" else ""
        return OutOfMemory(
            f"{job.pictures.names[0]} at {job.pictures.sizes[0]} px does not fit into the memory "
            f"of the device; lower image_size{tiling}."
        )

    def _carefully(
        self, job: Batch, index: int, progress: Report | None
    ) -> StyleResult | PairError:
        """One image again: alone, in float32, with smaller steps."""
        config = job.config.updated(
            {"learning_rate": job.config.learning_rate * CAREFUL_LEARNING_RATE}
        )
        again = dataclasses.replace(job.part([index]), config=config, retried=True)
        results = self._optimized(again, "float32", progress)
        if isinstance(results, PairError):
            return results
        if isinstance(results[0], StyleResult):
            return results[0]
        return Diverged(
            f"The loss of {job.pictures.names[index]} ran away or was no number, twice, the second "
            "time in float32 with a quarter of the learning rate; "
            "lower learning_rate, content_weight, style_weight or tv_weight."
        )

    def _identity(
        self, config: StyleConfig, styles: Sequence[Style], inputs: Sequence[Any]
    ) -> bytes:
        """What tells an image's checkpoints from those of other inputs, settings or arithmetic."""
        # Images that settings name are among the inputs; their names can be those of a neighbour.
        shared = counting({n: getattr(config, n) for n in SETTINGS if n not in URI_SETTINGS})
        # The canvas that it comes to here, whatever the setting is called.
        source = size_of(inputs[0])
        shared["canvas_multiple"] = canvas_identity(source, config, on_gpu=self.on_gpu)
        # Another device of the same kind goes on from them.
        kind = GPU if is_gpu(self.device) else CPU
        with tf.device(CPU):
            state = optimizer_for(config, self.precision).start(tf.zeros([1, 1, 1, 3]), 1)
        return digest(
            (FORMAT, STEP_VERSION, self.weights.sha256, self.precision, kind),
            [*shared.items()],
            config.init if config.init in URI_SETTINGS["init"] else "an image",
            layout(state),
            *(value for style in styles for value in (*pixels_of(style), style.weight)),
            *inputs,
        )
