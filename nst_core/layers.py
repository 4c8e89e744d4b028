"""VGG19's geometry, without TensorFlow: the order of its layers, their strides and reach."""

from __future__ import annotations

from collections.abc import Iterable

from nst_core.config import CONV_LAYERS

# Four poolings: what starts at a multiple of this many px is cut alike by all of them.
ALIGNMENT = 16


def layers_to(deepest: Iterable[str]) -> tuple[str, ...]:
    """The convolutions from the first to the deepest of the given ones, in order."""
    return CONV_LAYERS[: 1 + max(CONV_LAYERS.index(name) for name in deepest)]


def stride(name: str) -> int:
    """How many px of the image's side come to one position of the layer."""
    return int(2 ** (int(name[len("block")]) - 1))


def halo(layers: Iterable[str]) -> int:
    """How far beyond an aligned part of the image the layers' features of that part see, px.

    Each 3×3 convolution reaches one position further; rounded up to the alignment.
    """
    reach = sum(stride(name) for name in layers_to(layers))
    return -(-reach // ALIGNMENT) * ALIGNMENT
