"""The GPUs of Google Cloud that `--gpu` names: what belongs to each, and what pairs cost there.

Seconds are estimated from the operations of the steps and from what a chip does of its maker's
peak, which is measured on one card (docs/running.md has the table).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from nst_core.canvas import Size, scale_sizes
from nst_core.config import StyleConfig
from nst_core.devices.operations import PEAKS, pair_operations, step_settings
from nst_core.errors import ConfigError

# The share of the maker's peak that a pair's steps reach: on an H100 measured with `default` at
# 512 px in bfloat16, one image at a time (benchmarks/RESULTS.md); assumed of other chips' matrix
# units, and of the plain float32 of those that have none.
MATRIX_SHARE = 0.067
PLAIN_SHARE = 0.5
# From the start of a worker to its first compilation: image, driver, libraries.
START_MINUTES = 7.0
# XLA's compilation of the steps at one size: a first canvas of two scales took 44 s
# (benchmarks/RESULTS.md) and, another time, 58 s on an H100; half of the latter.
PROGRAM_SECONDS = 29.0
# Of a GPU's memory, what processes share; CUDA's own contexts take the rest.
SHARED_MEMORY = 0.85

# A configuration, a canvas, and how many pairs have them.
Work = tuple[StyleConfig, Size, int]


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as Google Cloud has it.

    Args:
        name: what `--gpu` takes.
        accelerator: Dataflow's name of its type.
        machine_type: the smallest machine that has one, with memory for the pictures.
        memory_gib: its own memory.
        chip: its name in `PEAKS`.
        bundles: batches at a time in a worker: one is optimised, the others are read and written.
    """

    name: str
    accelerator: str
    machine_type: str
    memory_gib: int
    chip: str
    bundles: int

    def precision(self, config: StyleConfig) -> str:
        """The arithmetic that `precision: auto` chooses there."""
        if config.precision != "auto":
            return config.precision
        return "bfloat16" if "bfloat16" in PEAKS[self.chip] else "float32"

    def seconds(self, config: StyleConfig, canvas: Size) -> float:
        """Estimated seconds of a pair's steps; reading and writing happen meanwhile."""
        peaks = PEAKS[self.chip]
        # Without matrix units for it, bfloat16 is computed as float32.
        peak = peaks.get(self.precision(config), peaks["float32"])
        share = MATRIX_SHARE if "bfloat16" in peaks else PLAIN_SHARE
        return pair_operations(config, canvas) / (peak * 1e12 * share)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a job will take: hours from its start to its end, and hours of GPUs that are paid."""

    hours: float
    gpu_hours: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("nvidia-tesla-t4", "nvidia-tesla-t4", "n1-standard-8", 16, "T4", 2),
        Gpu("nvidia-l4", "nvidia-l4", "g2-standard-8", 24, "L4", 2),
        Gpu("nvidia-a100", "nvidia-tesla-a100", "a2-highgpu-1g", 40, "A100", 3),
        Gpu("nvidia-a100-80gb", "nvidia-a100-80gb", "a2-ultragpu-1g", 80, "A100", 3),
        Gpu("nvidia-h100", "nvidia-h100-80gb", "a3-highgpu-1g", 80, "H100", 4),
    )
}
NAMES = tuple(GPUS)


def find(name: str) -> Gpu:
    """The GPU of this name, `--gpu`'s or Dataflow's own, or of an end or a part of it: `l4`.

    Raises:
        ConfigError: there is none, or several; with all names, or the nearest one.
    """
    by_name = {**{gpu.accelerator: gpu for gpu in GPUS.values()}, **GPUS}
    wanted = name.strip().lower().replace("_", "-")
    if wanted in by_name:
        return by_name[wanted]
    ending = [gpu for known, gpu in by_name.items() if f"-{known}".endswith(f"-{wanted}")]
    holding = [gpu for known, gpu in by_name.items() if f"-{wanted}-" in f"-{known}-"]
    meant = dict.fromkeys(gpu.name for gpu in ending or holding)
    if len(meant) == 1:
        return GPUS[next(iter(meant))]
    if meant:
        raise ConfigError(f"--gpu {name} may be {' or '.join(meant)}; give one of these.")
    near = difflib.get_close_matches(wanted, by_name, n=1)
    hint = f"did you mean {near[0]}? There are" if near else "give one of"
    raise ConfigError(f"--gpu {name} is not known; {hint} {', '.join(NAMES)}.")


def shapes(work: Iterable[Work], *, compiled: bool) -> dict[str, Any]:
    """The canvases of pairs and what is compiled for them, as a plan has it.

    A program is that of one size (a canvas, or a coarse scale of it) and of the settings that
    decide what is computed in a step; every worker compiles all of them.
    """
    canvases, programs, scales = set(), set(), 0
    for config, canvas, _ in work:
        canvases.add(canvas)
        scales = max(scales, len(config.scales))
        network = (config.weights, config.pooling, config.padding, config.precision)
        settings = (*network, config.keep != "none", *step_settings(config))
        programs |= {(settings, size) for size in scale_sizes(canvas, config)}
    count = len(programs) if compiled else 0
    return {
        "canvases": len(canvases),
        "scales": scales,
        "programs": count,
        "compile_seconds": count * PROGRAM_SECONDS,
    }


def plan(
    gpu: Gpu, workers: int, work: Sequence[Work], hour_price: float | None = None
) -> dict[str, Any]:
    """What pairs will cost, as a plan has it.

    Args:
        hour_price: of an hour of one GPU, in the currency of whoever asks; prices are in that,
            and None without it.
    """
    seconds = sum(count * gpu.seconds(config, canvas) for config, canvas, count in work)
    pairs = sum(count for _, _, count in work)
    found = cost(seconds, workers, shapes(work, compiled=True)["compile_seconds"])
    gpu_hours = found.gpu_hours if pairs else 0.0
    price = None if hour_price is None else hour_price * gpu_hours
    return {
        "gpu": gpu.name,
        "workers": workers,
        "seconds_per_pair": seconds / pairs if pairs else 0.0,
        "hours": found.hours if pairs else 0.0,
        "gpu_hours": gpu_hours,
        "price_per_gpu_hour": hour_price,
        "price": price,
        "price_per_pair": None if price is None or not pairs else price / pairs,
        "source": "estimated",
    }


def cost(seconds: float, workers: int, compile_seconds: float) -> Cost:
    """Of work of so many seconds on one GPU, shared evenly by workers that all start at once.

    `compile_seconds`: what each of them compiles before.
    """
    hours = START_MINUTES / 60 + (compile_seconds + seconds / workers) / 3600
    return Cost(hours, workers * hours)


def shared_accelerator(gpu: Gpu) -> str:
    """Dataflow's service option of workers whose processes share a GPU by NVIDIA's MPS."""
    parts = (f"type:{gpu.accelerator}", "count:1", "install-nvidia-driver", "use_nvidia_mps")
    return f"worker_accelerator={';'.join(parts)}"


def share_mib(gpu: Gpu, processes: int) -> int:
    """What each of so many processes on one GPU may take of its memory, MiB."""
    return int(SHARED_MEMORY * gpu.memory_gib * 1024 / processes)


def resource_hints(gpu: Gpu) -> dict[str, str]:
    """What the stage that stylizes asks Dataflow for; the other stages get ordinary workers."""
    parts = (f"type:{gpu.accelerator}", "count:1", f"machine_type:{gpu.machine_type}")
    return {
        "accelerator": ";".join((*parts, "install-nvidia-driver")),
        "max_active_bundles_per_worker": str(gpu.bundles),
    }
