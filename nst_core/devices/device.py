"""Which device and which arithmetic the optimisation runs on."""

from __future__ import annotations

import functools
import math
import os
import pathlib
import threading

import tensorflow as tf
from tensorflow.python.client import device_lib

from nst_core import host
from nst_core.compiled.compilation import gpu_details  # It sets XLA's flags, before any question.
from nst_core.errors import DeviceError

CPU = "/CPU:0"
GPU = "/GPU:0"
# TensorFlow reads it at its first operation, which may be somebody else's, before any engine.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# NVIDIA's first generation with bfloat16 matrix units.
AMPERE = (8, 0)

_locks: dict[str, threading.Lock] = {}


def devices(wanted: str) -> tuple[str, ...]:
    """TensorFlow's names of the devices for `auto` (all GPUs where there are any), `gpu` or `cpu`.

    GPU memory is taken as needed.

    Raises:
        DeviceError: a GPU is demanded and TensorFlow sees none.
    """
    if wanted == "cpu":
        return _devices_of("CPU")
    gpus = _devices_of("GPU")
    if not gpus and wanted == "gpu":
        raise DeviceError(
            "device is gpu, but TensorFlow sees none; install its CUDA libraries "
            "(tensorflow[and-cuda]) and a driver, or set device to auto or cpu."
        )
    return gpus or _devices_of("CPU")


def _devices_of(kind: str) -> tuple[str, ...]:
    # A device can be configured to be several; asking for these would start TensorFlow.
    count = sum(
        len(tf.config.get_logical_device_configuration(one) or [one])
        for one in tf.config.list_physical_devices(kind)
    )
    return tuple(f"/{kind}:{number}" for number in range(count))


def choose_device(wanted: str) -> str:
    """The first of `devices`, or the one of this name.

    Raises:
        DeviceError: as `devices`, or there is none of this name.
    """
    if not wanted.startswith("/"):
        return devices(wanted)[0]
    known = (*_devices_of("GPU"), *_devices_of("CPU"))
    if wanted not in known:
        raise DeviceError(
            f"device is {wanted}, but TensorFlow has {', '.join(known)} here; give one of these, "
            "or auto."
        )
    return wanted


def is_gpu(device: str) -> bool:
    """Whether TensorFlow's name is one of a GPU."""
    return device.startswith("/GPU")


def choose_precision(wanted: str, device: str) -> str:
    """`float32` or `bfloat16`; for `auto`, bfloat16 where the device computes in it."""
    if wanted != "auto":
        return wanted
    computes = _gpu_has_bfloat16(device) if is_gpu(device) else cpu_has_bfloat16()
    return "bfloat16" if computes else "float32"


def device_lock(device: str) -> threading.Lock:
    """One optimisation at a time per device: whoever optimises holds this."""
    return _locks.setdefault(device, threading.Lock())


def describe(device: str) -> str:
    """The device's name for a record, such as `NVIDIA L4`, `NVIDIA L4 (GPU:1)` or `cpu`."""
    name = str(gpu_details(device).get("device_name", "gpu")) if is_gpu(device) else "cpu"
    kind = device.strip("/").partition(":")[0]
    return f"{name} ({device.strip('/')})" if len(_devices_of(kind)) > 1 else name


def limit_gpu_memory(mib: int) -> None:
    """Let this process take at most so many MiB of each GPU: others share them.

    Before TensorFlow's first operation; the same limit again is none more.

    Raises:
        DeviceError: TensorFlow has begun with another limit, or with none.
    """
    limited = tf.config.LogicalDeviceConfiguration(memory_limit=mib)
    for gpu in tf.config.list_physical_devices("GPU"):
        if _limits_mib(gpu) == [mib]:
            continue
        try:
            tf.config.set_logical_device_configuration(gpu, [limited])
        except RuntimeError as error:
            raise DeviceError(
                f"This process cannot be held to {mib} MiB of its GPU, because TensorFlow has used "
                "it already; leave --use-nvidia-mps out."
            ) from error


def _limits_mib(gpu: tf.config.PhysicalDevice) -> list[int]:
    """What of a GPU this process may take at most, MiB; empty: all."""
    parts = tf.config.get_logical_device_configuration(gpu) or ()
    return [part.memory_limit for part in parts if part.memory_limit is not None]


def available_memory(device: str) -> float:
    """Bytes that an optimisation on the device can still take; infinite where none can tell."""
    if not is_gpu(device):
        return host.available_memory()
    in_use = tf.config.experimental.get_memory_info(device.strip("/"))["current"]
    return whole_memory(device) - float(in_use)


@functools.cache
def whole_memory(gpu: str) -> float:
    """Bytes that TensorFlow's allocator may take of a GPU, whatever of them is in use."""
    limits = [
        found.memory_limit
        for found in device_lib.list_local_devices()
        if found.name.endswith(gpu.strip("/"))
    ]
    # What was set here is not told by TensorFlow's list.
    gpus = tf.config.list_physical_devices("GPU")
    shares = [mib * 2.0**20 for one in gpus for mib in _limits_mib(one)]
    return min([*map(float, limits[:1]), *shares], default=math.inf)


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16 or AMX)."""
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _gpu_has_bfloat16(gpu: str) -> bool:
    return tuple(gpu_details(gpu).get("compute_capability", (0, 0))) >= AMPERE
