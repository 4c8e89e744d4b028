"""Compiles two small functions side by side in this process, and prints what came of it as JSON.

Its argument is what XLA has measured meanwhile, as far as the store is concerned: a file's name; or
`devices`: then two devices compile one function.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.compiled import compilation, memory_files
from nst_core.compiled.graphs import Graph

MATRIX = tf.TensorSpec([None, None], tf.float32)
COUNT = tf.TensorSpec([], tf.int32)


def powers(x: Any, count: Any) -> Any:
    """A loop, with a condition and a body of its own, as an optimisation is one."""
    start = (tf.constant(0), x)
    return tf.while_loop(lambda i, _: i < count, lambda i, y: (i + 1, y @ x), start)[1]


def at_once(work: Callable[[int], None], *numbers: int) -> None:
    """Call it with each number, in a thread of its own."""
    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def two_devices() -> None:
    """Both are at the same time where one could be in the other's way."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    both = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, both)
    put = memory_files.put

    def slowly(*given: Any) -> None:
        put(*given)
        time.sleep(0.5)

    memory_files.put = slowly
    found: dict[int, float] = {}

    def compile_on(device: int) -> None:
        with tf.device(f"/CPU:{device}"):
            graph = Graph(powers, MATRIX, COUNT, xla=True)
            found[device] = float(tf.linalg.trace(graph(2 * np.eye(4), 3)))

    at_once(compile_on, 0, 1)
    store = compilation.store_for("/CPU:1")
    assert store is compilation.store_for("/CPU:0") is not None
    left = [*memory_files.take(compilation.PROGRAMS, "nst_")]
    written = sorted(store.take_new())
    print(json.dumps({"found": [found[0], found[1]], "written": written, "left": left}))


def main(measured: str = "") -> None:
    if measured == "devices":
        two_devices()
        return
    # However much was traced and compiled before, by whatever number of functions.
    for _ in range(int(np.random.default_rng().integers(3))):
        tf.function(lambda x: x + 1, jit_compile=True)(tf.ones(2))
    graph = Graph(powers, MATRIX, COUNT, xla=True)
    found: dict[int, float] = {}
    must = [graph.must_compile(np.eye(size), 0) for size in (4, 6)]

    def compile_for(size: int) -> None:
        for _ in range(2):
            found[size] = float(tf.linalg.trace(graph(2 * np.eye(size), 3)))

    if measured:
        tf.io.gfile.makedirs(compilation.TUNING)
        with tf.io.gfile.GFile(f"{compilation.TUNING}/{measured}", "w") as file:
            file.write("fast")
    at_once(compile_for, 4, 6)
    store = compilation.store_for("/CPU:0")
    answer = {
        "found": [found[4], found[6]],
        "must_compile": must,
        "written": sorted(store.take_new()) if store else [],
        "folder": str(store.folder) if store else None,
        "left": [*memory_files.take(compilation.PROGRAMS, "nst_")],
        "tuning": memory_files.written(compilation.TUNING),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
