"""The engine on this machine's GPU: seconds per pair with `default`, and what share of the chip.

TFLOP/s are the counted operations of the steps (convolutions and Gram matrices, forward and
backward) over the seconds of a whole batch from call to finished images. The peak is the maker's
for dense matrix units in that precision (float32 counts as TF32 where the chip has it); of other
chips, and of processors, it is the measured rate of a large matrix product. "First call" is what
the first batch of a shape took longer than the second: tracing, XLA's compilation, warm-up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.machine import MatrixProduct, has_gpu
from nst_core.canvas import Size
from nst_core.config import StyleConfig, preset
from nst_core.engine.operations import PEAKS, pair_operations
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import PairError
from nst_core.network.loading import load_weights
from nst_core.network.weights import VggWeights
from nst_core.results import Style


def peak(device: str, precision: str) -> tuple[float, str]:
    """TFLOP/s at the most, and whose number that is."""
    for name, by_precision in PEAKS.items():
        if re.search(rf"\b{name}\b", device) and precision in by_precision:
            return by_precision[precision], "maker"
    product = MatrixProduct(precision)
    seconds = min(product.seconds() for _ in range(5))
    return product.operations() / seconds / 1e12, "matrix product"


def measure(
    weights: VggWeights, precision: str, side: int, batches: Sequence[int], config: StyleConfig
) -> list[list[str]]:
    """Rows of one precision: the same engine with batches of several sizes."""
    config = config.updated({"image_size": side, "precision": precision})
    engine = StyleEngine.for_config(config, weights)
    most, source = peak(engine.device_name, precision)
    work = pair_operations(config, Size(side, side))
    generator = np.random.default_rng(0)
    style = Style(generator.integers(0, 256, (side, side, 3)).astype(np.uint8))
    rows = []
    for batch in batches:
        shape = (batch, side, side, 3)
        contents = list(generator.integers(0, 256, shape).astype(np.uint8))
        first, second = (_seconds(engine, contents, style, config) for _ in range(2))
        rate = batch * work / second / 1e12
        row = [engine.device_name, f"{side}", precision, f"{batch}", f"{second / batch:.2f}"]
        row += [f"{rate:.2f}", f"{rate / most:.0%} of {most:.3g} ({source})"]
        rows.append([*row, f"{max(0.0, first - second):.1f}"])
        print("  " + ", ".join(rows[-1]), flush=True)
    return rows


def _seconds(
    engine: StyleEngine, contents: list[np.ndarray], style: Style, config: StyleConfig
) -> float:
    started = time.perf_counter()
    for result in engine.stylize_batch(contents, [style], config):
        if isinstance(result, PairError):
            raise result
    return time.perf_counter() - started


def table() -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows; without a GPU the processor stands in, with small images."""
    config, weights = preset("default"), load_weights("procedural")
    header = ["device", "px", "precision", "batch", "s/pair", "TFLOP/s", "of the peak"]
    header.append("first call, s more")
    if has_gpu():
        # In float32 the engine takes a batch one by one.
        rows = measure(weights, "float32", 512, (1,), config)
        return header, rows + measure(weights, "bfloat16", 512, (1, 4, 16), config)
    print("TensorFlow sees no GPU: the processor stands in, with small images.", flush=True)
    few = config.updated({"steps": [8, 6]})
    return header, measure(weights, "float32", 128, (1, 2), few)
