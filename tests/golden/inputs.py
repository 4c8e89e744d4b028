"""What the golden checkpoint belongs to: plain numbers, the same on every machine."""

from __future__ import annotations

import numpy as np

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from nst_core.network.weights import VggWeights, layer_shapes
from nst_core.results import Style

SETTINGS = {
    "image_size": 32,
    "scales": [1],
    "steps": 4,
    "optimizer": "adam",
    "checkpoint_seconds": 1e-9,
    "content_layers": {"block1_conv2": 1},
    "style_layers": {"block1_conv1": 1},
}


def interrupted() -> tuple[StyleEngine, np.ndarray, Style, StyleConfig]:
    """An engine whose weights are made of whole numbers, a content, a style, a configuration."""
    layers = {
        name: (
            (np.arange(np.prod(shape)) % 17 - 8).reshape(shape).astype(np.float32) / 256,
            np.zeros(shape[3], np.float32),
        )
        for name, shape in layer_shapes().items()
    }
    engine = StyleEngine(VggWeights("whole", "0" * 64, layers), precision="float32", device="cpu")
    y, x, channel = np.mgrid[:32, :32, :3]
    content = ((5 * x + 3 * y + 40 * channel) % 256).astype(np.uint8)
    style = ((7 * x * y + 90 * channel) % 256).astype(np.uint8)
    return engine, content, Style(style), StyleConfig().updated(SETTINGS)
