"""The engine on this machine's GPU: seconds per pair with `default`, and where they go.

Every pair has a style of its own. A pair's milliseconds are those of a whole batch, from call to
finished images, over its images: of loss and gradient (measured alone, in the same loop with an
optimiser that does next to nothing), of the optimiser (what the loop takes longer), between the
calls of the loop (reading and preparing included), and finishing after the last one. TFLOP/s are
the counted operations of the steps (convolutions and Gram matrices, forward and backward) over the
seconds of a batch. The peak is the maker's for dense matrix units in that precision (float32 counts
as TF32 where the chip has it); the product is that of two large matrices in this run. "First call"
is what the first batch of a canvas took longer than the second: tracing and XLA's compilation, for
the first canvas, and for a further one.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import tensorflow as tf

from benchmarks.machine import MatrixProduct, has_gpu
from nst_core.canvas import Size, scale_sizes
from nst_core.config import StyleConfig, preset
from nst_core.devices.operations import PEAKS, pair_operations
from nst_core.engine.program import Program
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import PairError
from nst_core.network.loading import load_weights
from nst_core.network.weights import VggWeights
from nst_core.optimizers.loop import LONGEST_CALL, Optimizer, State
from nst_core.results import Style

BATCHES = (1, 8, 16, 32)
ROUNDS = 3


class Unmoved(Optimizer):
    """An optimiser that evaluates, and goes nowhere."""

    def start(self, x: Any, columns: int) -> State:
        """See `Optimizer.start`."""
        batch = tf.shape(x)[0]
        return {
            "x": x,
            "terms": tf.zeros([batch, columns]),
            "active": tf.ones([batch], tf.bool),
        }

    def step(self, state: State, evaluate: Any, _rate: Any, _stiffness_at: Any = None) -> State:
        """See `Optimizer.step`."""
        terms, gradient = evaluate(state["x"])
        # So little that nothing changes, and enough that the gradient is wanted.
        return {**state, "terms": terms, "x": state["x"] - 1e-30 * gradient}


class Call(NamedTuple):
    """One call of a program, on the clock, s."""

    program: Program
    targets: Any
    weights: Any
    state: State
    begin: float
    end: float


class Timed(NamedTuple):
    """One batch: on the clock, s, and its calls."""

    begin: float
    end: float
    calls: list[Call]

    @property
    def seconds(self) -> float:
        """From call to finished images."""
        return self.end - self.begin

    @property
    def in_calls(self) -> float:
        """In the loop of steps, s."""
        return sum(one.end - one.begin for one in self.calls)

    @property
    def finishing(self) -> float:
        """After the last call, s."""
        return self.end - self.calls[-1].end


def timed(engine: StyleEngine, contents: Any, styles: Any, config: StyleConfig) -> Timed:
    """One batch.

    Raises:
        PairError: one of its pairs has failed.
    """
    calls: list[Call] = []
    with _listening(calls):
        begin = time.perf_counter()
        for result in engine.stylize_batch(contents, styles, config):
            if isinstance(result, PairError):
                raise result
        return Timed(begin, time.perf_counter(), calls)


@contextlib.contextmanager
def _listening(calls: list[Call]) -> Iterator[None]:
    advance = Program.advance

    def note(self: Program, state: State, targets: Any, weights: Any, *rest: Any) -> Any:
        begin = time.perf_counter()
        found = advance(self, state, targets, weights, *rest)
        calls.append(Call(self, targets, weights, found[0], begin, time.perf_counter()))
        return found

    with mock.patch.object(Program, "advance", note):
        yield


def evaluation_seconds(call: Call) -> float:
    """Of one evaluation of loss and gradient for the images of a call, by the least of rounds."""
    alone = Program(call.program.objective, Unmoved(), xla=call.program.xla)
    state, found = alone.start(call.state["x"]), []
    for _ in range(1 + ROUNDS):
        begin = time.perf_counter()
        alone.advance(state, call.targets, call.weights, 1.0, LONGEST_CALL // 4)
        found.append((time.perf_counter() - begin) / (LONGEST_CALL // 4))
    return min(found)


def measure(
    weights: VggWeights, precision: str, side: int, batches: Sequence[int], config: StyleConfig
) -> list[list[str]]:
    """Rows of one precision: the same engine with batches of several sizes."""
    config = config.updated({"image_size": side, "precision": precision})
    engine = StyleEngine.for_config(config, weights)
    product = _product_rate(precision)
    generator = np.random.default_rng(0)

    def drawn(count: int, height: int) -> list[np.ndarray]:
        return list(generator.integers(0, 256, (count, height, side, 3)).astype(np.uint8))

    rows = []
    for batch in batches:
        styles = [[Style(rgb)] for rgb in drawn(batch, side)]
        contents = drawn(batch, side)
        first, *others = (timed(engine, contents, styles, config) for _ in range(1 + ROUNDS))
        best = min(others, key=lambda one: one.seconds)
        wide = drawn(batch, side * 3 // 4)
        second = [timed(engine, wide, styles, config).seconds for _ in range(2)]
        by_size = {one.state["x"].shape[1]: one for one in best.calls}
        evaluating = sum(
            steps * evaluation_seconds(by_size[size.height])
            for size, steps in zip(
                scale_sizes(Size(side, side), config), config.steps_per_scale, strict=True
            )
        )
        parts = (
            evaluating,
            best.in_calls - evaluating,
            best.seconds - best.in_calls - best.finishing,
            best.finishing,
        )
        rate = batch * pair_operations(config, Size(side, side)) / best.seconds / 1e12
        row = [engine.device_name, f"{side}", precision, f"{batch}", f"{best.seconds / batch:.3f}"]
        row += [f"{1000 * one / batch:.1f}" for one in parts]
        row += [f"{rate:.2f}", _of_the_peak(rate, engine.device_name, precision)]
        row += [f"{rate / product:.0%} of {product:.3g}"]
        firsts = first.seconds - best.seconds, second[0] - second[1]
        rows.append([*row, *(f"{max(0.0, one):.1f}" for one in firsts)])
        print("  " + ", ".join(rows[-1]), flush=True)
    return rows


def _of_the_peak(rate: float, device: str, precision: str) -> str:
    for name, by_precision in PEAKS.items():
        if re.search(rf"\b{name}\b", device) and precision in by_precision:
            return f"{rate / by_precision[precision]:.0%} of {by_precision[precision]:.3g}"
    return ""


def _product_rate(precision: str) -> float:
    """TFLOP/s of the product of two large matrices."""
    product = MatrixProduct(precision)
    return product.operations() / min(product.seconds() for _ in range(5)) / 1e12


def table() -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows; without a GPU the processor stands in, with small images."""
    config, weights = preset("default"), load_weights("procedural")
    header = ["device", "px", "precision", "batch", "s/pair", "ms: loss and gradient"]
    header += ["optimiser", "between calls", "finishing", "TFLOP/s", "of the maker's peak"]
    header += ["of a matrix product", "first call, s more", "of a further canvas"]
    if has_gpu():
        # The most important first: a card may be lent for minutes.
        rows = measure(weights, "bfloat16", 512, BATCHES, config)
        # In float32 the engine takes a batch one by one.
        return header, [*rows, *measure(weights, "float32", 512, (1,), config)]
    print("TensorFlow sees no GPU: the processor stands in, with small images.", flush=True)
    few = config.updated({"steps": [8, 6]})
    return header, measure(weights, "float32", 128, (1, 2), few)
