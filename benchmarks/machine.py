"""What the numbers were measured on, and its own rate of matrix products."""

from __future__ import annotations

import datetime
import os
import pathlib
import platform
import time

import numpy as np
import tensorflow as tf

PRODUCT_SIZE = 4096


def description() -> str:
    """Processor, cores, memory, versions, day."""
    cpu = platform.processor() or platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    extras = [name for name in ("avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = len(tf.config.list_physical_devices("GPU"))
    return (
        f"{cpu} ({', '.join(extras) or 'no AVX-512'}), {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{gpus} GPUs; Python {platform.python_version()}, TensorFlow {tf.__version__}; "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    )


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


class MatrixProduct:
    """A square matrix product in one precision, to be timed between other measurements."""

    def __init__(self, precision: str) -> None:
        generator = np.random.default_rng(0)
        shape = (PRODUCT_SIZE, PRODUCT_SIZE)
        self._matrix = tf.cast(tf.constant(generator.normal(size=shape), tf.float32), precision)
        self._product = tf.function(lambda: tf.matmul(self._matrix, self._matrix))
        self.seconds()

    def seconds(self) -> float:
        """One product's wall time."""
        started = time.perf_counter()
        tf.reduce_sum(self._product()[:1, :1]).numpy()
        return time.perf_counter() - started

    @staticmethod
    def operations() -> float:
        """Floating-point operations of one product."""
        return 2.0 * PRODUCT_SIZE**3
