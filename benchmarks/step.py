"""Seconds per optimisation step, and its GFLOP/s beside the machine's matrix products."""

from __future__ import annotations

import statistics
import time

import numpy as np
import tensorflow as tf

from benchmarks.machine import MatrixProduct
from nst_core.config import StyleConfig
from nst_core.engine import StyleEngine
from nst_core.layers import layers_to
from nst_core.weights import layer_shapes

SIZES = (128, 256, 512)
ROUNDS = 5
SECONDS_PER_ROUND = 1.0


def operations(config: StyleConfig, side: int) -> float:
    """Floating-point operations of one step for a square image of `side` px.

    Convolutions forward and backward, and the Gram matrices with their gradient; pooling,
    activations and the optimiser are not counted.
    """
    total = 0.0
    block = "block1"
    for name in layers_to({*config.content_layers, *config.style_layers}):
        if not name.startswith(block):
            side //= 2
            block = name.partition("_")[0]
        height, width, inputs, outputs = layer_shapes()[name]
        total += 2 * 2 * height * width * inputs * outputs * side**2
        if name in config.style_layers:
            total += 2 * 2 * outputs**2 * side**2
    return total


def measure(precision: str, side: int, padding: str) -> list[str]:
    """One row of the table: medians of rounds that alternate with matrix products."""
    config = StyleConfig(weights="procedural", precision=precision, padding=padding)
    engine = StyleEngine.for_config(config, config.weights)
    program = engine.program(config, precision)
    generator = np.random.default_rng(0)
    image = tf.constant(generator.uniform(0, 255, (1, side, side, 3)), tf.float32)
    targets = {
        "content": program.content_targets(image),
        "style": program.style_targets(tf.reverse(image, [1])),
    }
    weights = program.objective.weights(config)
    state, _ = program.advance(program.start(image), targets, weights, config.learning_rate, 2)
    product = MatrixProduct(precision)
    per_step, per_product = [], []
    count = 2
    for _ in range(ROUNDS):
        started = time.perf_counter()
        state, _ = program.advance(state, targets, weights, config.learning_rate, count)
        per_step.append((time.perf_counter() - started) / count)
        per_product.append(min(product.seconds() for _ in range(3)))
        count = max(2, min(64, round(SECONDS_PER_ROUND / per_step[-1])))
    seconds = statistics.median(per_step)
    rate = operations(config, side) / seconds / 1e9
    reference = product.operations() / statistics.median(per_product) / 1e9
    return [
        f"{side}",
        precision,
        padding,
        f"{seconds:.4f}",
        f"{rate:.0f}",
        f"{reference:.0f}",
        f"{rate / reference:.2f}",
    ]


def table() -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    header = ["px", "precision", "padding", "s/step", "GFLOP/s", "matrix product", "ratio"]
    rows = [
        measure(precision, side, padding)
        for padding in ("reflect", "zero")
        for precision in ("float32", "bfloat16")
        for side in SIZES
    ]
    return header, rows
