"""Floating-point operations of the optimisation, and what chips can do of them at the most."""

from __future__ import annotations

from typing import Any

from nst_core.canvas import Size, scale_sizes
from nst_core.config import StyleConfig
from nst_core.layers import layers_to, stride
from nst_core.network.weights import layer_shapes

# TFLOP/s without sparsity, by words of the device's name, as their maker states them; float32 is
# TF32 where the chip has it.
PEAKS = {
    "H200": {"bfloat16": 989.0, "float32": 495.0},
    "H100 PCIe": {"bfloat16": 756.0, "float32": 378.0},
    "H100 NVL": {"bfloat16": 835.0, "float32": 418.0},
    "H100": {"bfloat16": 989.0, "float32": 495.0},
    "A100": {"bfloat16": 312.0, "float32": 156.0},
    "L40S": {"bfloat16": 362.0, "float32": 183.0},
    "L40": {"bfloat16": 181.0, "float32": 90.5},
    "L4": {"bfloat16": 121.0, "float32": 60.0},
    "V100": {"float32": 15.7},
    "T4": {"float32": 8.1},
}


def step_settings(config: StyleConfig) -> tuple[Any, ...]:
    """Equal for configurations whose steps are the same operations, whatever the numbers in them.

    The network's own settings, tiles, masks and what is kept are not counted.
    """
    return (
        tuple(sorted(config.content_layers)),
        tuple(sorted(config.style_layers)),
        config.normalization,
        config.style_statistics,
        config.tv_weight > 0,
        config.tv_norm,
        config.normalize_gradients,
        config.optimizer,
        config.average_decay,
        config.betas,
        config.clip_pixels,
    )


def step_operations(config: StyleConfig, size: Size) -> float:
    """Floating-point operations of one step for an image of `size`.

    Convolutions forward and backward, and the Gram matrices with their gradient; pooling,
    activations and the optimiser are not counted.
    """
    total = 0.0
    for name in layers_to(config.layers):
        positions = (size.width // stride(name)) * (size.height // stride(name))
        height, width, inputs, outputs = layer_shapes()[name]
        total += 2 * 2 * height * width * inputs * outputs * positions
        if name in config.style_layers:
            total += 2 * 2 * outputs**2 * positions
    return total


def pair_operations(config: StyleConfig, canvas: Size) -> float:
    """Floating-point operations of the steps of one pair, over all its scales."""
    scales = zip(scale_sizes(canvas, config), config.steps_per_scale, strict=True)
    return sum(steps * step_operations(config, size) for size, steps in scales)
