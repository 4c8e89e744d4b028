"""Which device and which arithmetic the optimisation runs on."""

from __future__ import annotations

import functools
import math
import os
import pathlib
import threading
from typing import Any

import tensorflow as tf
from tensorflow.python.client import device_lib

from nst_core import host
from nst_core.errors import DeviceError

CPU = "/CPU:0"
GPU = "/GPU:0"
# TensorFlow reads it at its first operation, which may be somebody else's, before any engine.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# NVIDIA's first generation with bfloat16 matrix units.
AMPERE = (8, 0)

_locks: dict[str, threading.Lock] = {CPU: threading.Lock(), GPU: threading.Lock()}


def choose_device(wanted: str) -> str:
    """The TensorFlow device for `auto`, `gpu` or `cpu`; GPU memory is then taken as needed.

    Raises:
        DeviceError: a GPU is demanded and TensorFlow sees none.
    """
    if wanted == "cpu":
        return CPU
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and wanted == "gpu":
        raise DeviceError(
            "device is gpu, but TensorFlow sees none; install its CUDA libraries "
            "(tensorflow[and-cuda]) and a driver, or set device to auto or cpu."
        )
    return GPU if gpus else CPU


def choose_precision(wanted: str, device: str) -> str:
    """`float32` or `bfloat16`; for `auto`, bfloat16 where the device computes in it."""
    if wanted != "auto":
        return wanted
    computes = _gpu_has_bfloat16() if device == GPU else cpu_has_bfloat16()
    return "bfloat16" if computes else "float32"


def device_lock(device: str) -> threading.Lock:
    """One optimisation at a time per device: whoever optimises holds this."""
    return _locks[device]


def describe(device: str) -> str:
    """The device's name for a record, such as `NVIDIA L4` or `cpu`."""
    if device == CPU:
        return "cpu"
    return str(_gpu_details().get("device_name", "gpu"))


def available_memory(device: str) -> float:
    """Bytes that an optimisation on the device can still take; infinite where none can tell."""
    if device == CPU:
        return host.available_memory()
    in_use = tf.config.experimental.get_memory_info(device.strip("/"))["current"]
    return _gpu_memory() - float(in_use)


@functools.cache
def _gpu_memory() -> float:
    """What TensorFlow's allocator may take of the first GPU, bytes."""
    limits = [
        found.memory_limit
        for found in device_lib.list_local_devices()
        if found.device_type == "GPU"
    ]
    return float(limits[0]) if limits else math.inf


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16 or AMX)."""
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _gpu_has_bfloat16() -> bool:
    return tuple(_gpu_details().get("compute_capability", (0, 0))) >= AMPERE


def _gpu_details() -> dict[str, Any]:
    gpus = tf.config.list_physical_devices("GPU")
    return dict(tf.config.experimental.get_device_details(gpus[0])) if gpus else {}
