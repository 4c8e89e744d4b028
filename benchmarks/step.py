"""Seconds per optimisation step, and its GFLOP/s beside the machine's matrix products."""

from __future__ import annotations

import statistics
import time

import numpy as np
import tensorflow as tf

from benchmarks.machine import MatrixProduct
from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.devices.operations import step_operations
from nst_core.engine.style_engine import StyleEngine

SIZES = (128, 256, 512)
ROUNDS = 5
SECONDS_PER_ROUND = 1.0


def measure(precision: str, side: int, padding: str) -> list[str]:
    """One row of the table: medians of rounds that alternate with matrix products."""
    config = StyleConfig(weights="procedural", precision=precision, padding=padding)
    engine = StyleEngine.for_config(config, config.weights)
    program = engine.programs.compiled(config, precision)
    generator = np.random.default_rng(0)
    image = tf.constant(generator.uniform(0, 255, (1, side, side, 3)), tf.float32)
    targets = {
        "content": program.content_targets(image),
        "style": program.objective.finished(program.style_targets(tf.reverse(image, [1]))),
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
    rate = step_operations(config, Size(side, side)) / seconds / 1e9
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
