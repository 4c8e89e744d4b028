"""What the host does in `stylize_batch` while a card waits: its processor ms per 512 px image.

`default`, with a network of constants and an optimiser that stands still in place of the device's
work; all else is real. "NumPy and Python" is the processor time of the whole process outside of
compiled graphs, at 512 px. "Calls of graphs" is that inside of them at 32 px, where there is next
to nothing to compute: binding tensors, TensorFlow's executor, small kernels. What graphs compute
at 512 px is the device's work, and so is the memory of the optimiser's history; that of other
images, which the processor here takes and frees in place of the card, is counted all the same.
Medians of batches on warm graphs, in a process with one thread for TensorFlow and one for BLAS:
others spin while they wait. "Many styles" has a new style for every image; otherwise the
engine has seen it before. What is found out about pictures where they are read, on other threads,
is known before (`nst_core.imaging.foreseen`), and no part of these numbers.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from nst_core.compiled.graphs import Graph
from nst_core.config import preset
from nst_core.engine import batch
from nst_core.engine.batch import Batch
from nst_core.engine.pictures import Pictures
from nst_core.engine.program import Program
from nst_core.engine.style_engine import StyleEngine
from nst_core.imaging.foreseen import look_at
from nst_core.network.loading import load_weights
from nst_core.network.vgg import Vgg19
from nst_core.optimizers import history, loop
from nst_core.results import Style, StyleResult

SIDE, LEAST_SIDE = 512, 32
ROUNDS = 15
CHANNELS = 4
THREADS = ("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS", "OPENBLAS_NUM_THREADS")
# Of the case: contents in a batch, whether each of them has a style of its own.
CASES = {
    "1 content, 1 style": (1, False),
    "8 contents, 1 style": (8, False),
    "1 content, many styles": (1, True),
    "8 contents, many styles": (8, True),
}
PARTS = {
    "pictures": (Pictures, ("originals", "first_start", "finer_start", "finished")),
    "targets": (Batch, ("_targets",)),
    "steps": (Program, ("start", "advance")),
    "quality": (Batch, ("_qualities",)),
}
REST = "the rest"


class Stopwatch:
    """Processor seconds of this process by part, in and out of graphs."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, bool], float] = collections.defaultdict(float)
        self._now = REST, False
        self._since = time.process_time()

    def switch(self, now: tuple[str, bool]) -> tuple[str, bool]:
        """What follows belongs to this; returns what it was before."""
        before, since = self._now, self._since
        self._now, self._since = now, time.process_time()
        self.spent[before] += self._since - since
        return before

    def of_part(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as a part."""
        return self._timed(lambda: (part, False), function)

    def of_graph(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as a graph of the part that calls it."""
        return self._timed(lambda: (self._now[0], True), function)

    def _timed(
        self, now: Callable[[], tuple[str, bool]], function: Callable[..., Any]
    ) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            before = self.switch(now())
            try:
                return function(*arguments, **options)
            finally:
                self.switch(before)

        return timed


def _features(_: Vgg19, x: Any, layers: Any) -> dict[str, Any]:
    return {name: tf.ones([tf.shape(x)[0], 2, 2, CHANNELS]) for name in layers}


def _still(
    _: Program, state: loop.State, _targets: Any, _weights: Any, _rate: Any, count: Any
) -> tuple[loop.State, Any]:
    """The state as it was, and a log of losses that fall."""
    terms = tf.where(tf.math.is_inf(state["terms"]), 1e6, state["terms"])
    falling = tf.range(1.0, loop.LONGEST_CALL + 1)[:, None, None]
    return {**state, "terms": terms - tf.cast(count, tf.float32)}, terms[None] - falling


@contextlib.contextmanager
def _watched(watch: Stopwatch) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        replaced: list[tuple[Any, str, Any]] = [
            (Vgg19, "features", _features),
            (Program, "_graph", _still),
            (history, "start", lambda _: {}),
            # A card's is asked for in TensorFlow, not in the system's files.
            (batch, "available_memory", lambda _: math.inf),
        ]
        replaced.append((Graph, "__call__", watch.of_graph(Graph.__call__)))
        for part, (owner, names) in PARTS.items():
            replaced += [(owner, name, watch.of_part(part, getattr(owner, name))) for name in names]
        for owner, name, stand_in in replaced:
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        yield


def measure(side: int, contents: int, *, new_styles: bool) -> dict[tuple[str, bool], float]:
    """Processor ms per image, by part, out of graphs and in them."""
    config = preset("default").updated({"weights": "procedural", "image_size": side})
    generator = np.random.default_rng(0)

    def picture() -> np.ndarray:
        return generator.integers(0, 256, (side, side, 3)).astype(np.uint8)

    watch, rounds = Stopwatch(), []
    with _watched(watch):
        engine = StyleEngine.for_config(config, load_weights("procedural"))
        given = [picture() for _ in range(contents)]
        styles = [[Style(picture())]] * contents
        for number in range(-2, ROUNDS):
            if new_styles:
                styles = [[Style(picture())] for _ in given]
            for content, own in zip(given, styles, strict=True):
                look_at(content, own, config)
            watch.switch((REST, False))
            watch.spent.clear()
            results = engine.stylize_batch(given, styles, config)
            watch.switch((REST, False))
            assert all(isinstance(one, StyleResult) and not one.retried for one in results)
            if number >= 0:
                rounds.append(dict(watch.spent))
    found = {key for one in rounds for key in one}
    return {
        key: 1000 * statistics.median(one.get(key, 0.0) for one in rounds) / contents
        for key in found
    }


def table() -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    header = ["", "part", "NumPy and Python, ms", "calls of graphs, ms", "together, ms"]
    command = [sys.executable, "-m", "benchmarks.host"]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return header, json.loads(done.stdout)


def _rows() -> list[list[str]]:
    rows = []
    for name, (contents, new_styles) in CASES.items():
        large = measure(SIDE, contents, new_styles=new_styles)
        small = measure(LEAST_SIDE, contents, new_styles=new_styles)
        parts = {
            part: (large.get((part, False), 0.0), small.get((part, True), 0.0))
            for part in (*PARTS, REST)
        }
        outside, inside = map(sum, zip(*parts.values(), strict=True))
        for part, numbers in {**parts, "all": (outside, inside)}.items():
            rows.append([name, part, *(f"{one:.2f}" for one in (*numbers, sum(numbers)))])
    return rows


if __name__ == "__main__":
    print(json.dumps(_rows()))
