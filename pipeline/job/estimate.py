"""What pairs will cost: a few steps of the real engine are measured, and scaled to the others."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from nst_core.canvas import Size, content_size, scale_sizes, size_of
from nst_core.config import StyleConfig
from nst_core.devices import batch_sizes, memory
from nst_core.results import Style, StyleResult
from pipeline.records import records
from pipeline.records.tasks import Task
from pipeline.worker.inputs import Inputs, read_inputs, read_styles
from pipeline.worker.output import encode_image, loss_csv, metadata_of

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine

STEPS = 4
# Larger contents are measured at this size, so that a plan takes seconds.
LONGEST_SIDE = 512


@dataclasses.dataclass(frozen=True)
class Sample:
    """What one image cost at full scale, and where.

    `work` is `memory.work` of a step, `image_bytes` are for each pixel, `loss_bytes` for each
    step; `available` and `one_by_one` are as in `nst_core.devices.memory`.
    """

    canvas: Size
    work: float
    step_seconds: float
    other_seconds: float
    image_bytes: float
    loss_bytes: float
    record_bytes: float
    precision: str
    device: str
    available: float
    one_by_one: bool

    def seconds(self, config: StyleConfig, canvas: Size) -> float:
        """What a pair will take, in proportion to the pixels that pass the network."""
        passing = sum(
            steps * memory.work(config, size, self._tile(config, size))
            for size, steps in zip(scale_sizes(canvas, config), config.steps_per_scale, strict=True)
        )
        whole = canvas.width * canvas.height / (self.canvas.width * self.canvas.height)
        return self.step_seconds * passing / self.work + self.other_seconds * whole

    def memory(self, config: StyleConfig, canvas: Size, batch: int) -> float:
        """Bytes that a batch will take, cut or in tiles where it does not fit; see the engine."""
        tile = self._tile(config, canvas)
        if tile is not None or isinstance(config.tile, int):
            return memory.predicted(config, canvas, 1, self.precision, tile)
        how = {"one_by_one": self.one_by_one}
        if not self.one_by_one:
            # Workers put several batches together.
            batch = batch_sizes.paying(canvas)
        fitting = memory.fitting_batch(config, canvas, batch, self.precision, self.available, **how)
        return memory.predicted(config, canvas, max(1, fitting), self.precision, None, **how)

    def written(self, config: StyleConfig, size: Size) -> float:
        """Bytes of the files of a pair whose image has this size, animations apart."""
        steps = sum(config.steps_per_scale)
        count = 1 + (steps // config.snapshot_every if config.snapshot_every else 0)
        image = self.image_bytes * size.width * size.height
        return count * image + steps * self.loss_bytes + self.record_bytes

    def to_dict(self) -> dict[str, Any]:
        """What was measured, as a plan has it."""
        return {
            "canvas": str(self.canvas),
            "steps": STEPS,
            "seconds_per_step": round(self.step_seconds, 4),
            "precision": self.precision,
            "device": self.device,
        }

    def _tile(self, config: StyleConfig, size: Size) -> int | None:
        return memory.tile_side(config, size, self.precision, self.available)


def measure(task: Task, output: str, engine: StyleEngine) -> Sample:
    """Time a few steps on the task's own images; nothing is written.

    Raises:
        PairError: the task's images cannot be used.
    """
    from nst_core.devices.device import available_memory, is_gpu

    inputs = read_inputs(task.pair, task.config)
    styles = read_styles(task.pair, task.config)
    # The first one traces the graph and measures the styles.
    _timed(engine, task, inputs, styles, 1)
    _, once = _timed(engine, task, inputs, styles, 1)
    result, seconds = _timed(engine, task, inputs, styles, 1 + STEPS)
    step = max(0.0, seconds - once) / STEPS
    size = size_of(result.image)
    files = {**records.place_of(task, output), "snapshots": [], "animation": None, "thumbnails": {}}
    times = {"read": 0.0, "optimize": round(seconds, 3), "write": 0.0}
    record = records.build_record(task, result, size, files, times, engine, "")
    sampled = _sampled(task.config, inputs, STEPS)
    image = encode_image(result.image, inputs, sampled, metadata_of(task))
    return Sample(
        canvas=result.canvas,
        work=memory.work(task.config, result.canvas, result.tile),
        step_seconds=step,
        other_seconds=max(0.0, once - step),
        image_bytes=len(image) / (size.width * size.height),
        loss_bytes=len(loss_csv(result.losses)) / result.steps,
        record_bytes=len(records.to_json(record)),
        precision=engine.precision,
        device=engine.device_name,
        available=available_memory(engine.device),
        one_by_one=not is_gpu(engine.device) or engine.precision == "float32",
    )


def _timed(
    engine: StyleEngine, task: Task, inputs: Inputs, styles: list[Style], steps: int
) -> tuple[StyleResult, float]:
    started = time.monotonic()
    config = _sampled(task.config, inputs, steps)
    result = engine.stylize(
        inputs.seen,
        styles,
        config,
        init=inputs.init,
        masks=inputs.masks,
        keep=inputs.keep,
    )
    return result, time.monotonic() - started


def _sampled(config: StyleConfig, inputs: Inputs, steps: int) -> StyleConfig:
    """The configuration with these steps at full scale, and nothing that ends or adds to them."""
    own = config.updated(
        {
            "scales": [1],
            "steps": steps,
            "tolerance": 0,
            "deadline_seconds": 0,
            "snapshot_every": 0,
            "animation": "none",
            "output_size": "canvas",
        }
    )
    size = content_size(size_of(inputs.picture.rgb), own, "")
    too_large = max(size.width, size.height) > LONGEST_SIDE
    return own.updated({"image_size": LONGEST_SIDE}) if too_large else own
