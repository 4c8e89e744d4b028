"""The least work for an engine, and what to look at in its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import PairError
from nst_core.network.vgg import Vgg19
from nst_core.network.weights import VggWeights
from nst_core.results import StyleResult

Draw = Callable[[int, int, int], np.ndarray]
# Small and shallow: what is tested here does not depend on depth.
QUICK = StyleConfig().updated(
    {
        "weights": "procedural",
        # With zero padding TensorFlow's convolutions have the same bits in every batch, whatever
        # the count of threads; with reflect padding, only where there are few.
        "padding": "zero",
        "image_size": 64,
        "scales": [1],
        "steps": 20,
        "content_colors": "own",
        "content_layers": {"block2_conv2": 1},
        "style_layers": {"block1_conv1": 1, "block2_conv1": 1},
    }
)
HAS_GPU = bool(tf.config.list_physical_devices("GPU"))


_networks: dict[tuple[Any, ...], tuple[VggWeights, Vgg19]] = {}


def shared_network(weights: VggWeights, *kind: Any) -> Vgg19:
    """The network of these weights, made once.

    TensorFlow never forgets a gradient that was defined, so a network whose gradient was traced
    stays for as long as the process: 160 MB each.
    """
    key = (id(weights), *kind)
    if key not in _networks:
        _networks[key] = weights, Vgg19(weights, *kind)
    return _networks[key][1]


def quick(**changes: Any) -> StyleConfig:
    return QUICK.updated(changes)


def new_engine(weights: VggWeights, precision: str = "float32") -> StyleEngine:
    return StyleEngine(weights, padding=QUICK.padding, precision=precision, device="cpu")


def pictures(results: Sequence[StyleResult | PairError]) -> list[np.ndarray]:
    for result in results:
        if isinstance(result, PairError):
            raise result
    return [result.image for result in results if isinstance(result, StyleResult)]


def totals(result: StyleResult) -> np.ndarray:
    return np.array([result.losses.terms(i)["total"] for i in range(result.steps)])


def out_of_memory(*_: Any) -> Any:
    raise tf.errors.ResourceExhaustedError(None, None, "no memory left")


def assert_one_sentence(error: object, *parts: str) -> None:
    message = str(error)
    assert "\n" not in message
    assert message.endswith(".")
    for part in parts:
        assert part in message
