"""VGG19's geometry, without TensorFlow: the order of its layers, their strides and reach."""

from __future__ import annotations

from collections.abc import Iterable

CONV_LAYERS: tuple[str, ...] = tuple(
    f"block{block}_conv{conv}"
    for block, convs in enumerate((2, 2, 4, 4, 4), start=1)
    for conv in range(1, convs + 1)
)
# Four poolings: what starts at a multiple of this many px is cut alike by all of them.
ALIGNMENT = 16


def layers_to(deepest: Iterable[str]) -> tuple[str, ...]:
    """The convolutions from the first to the deepest of the given ones, in order."""
    return CONV_LAYERS[: 1 + max(CONV_LAYERS.index(name) for name in deepest)]


def block_of(name: str) -> int:
    """Which block a layer is in, from 1; between two blocks there is one pooling."""
    return int(name[len("block")])


def stride(name: str) -> int:
    """How many px of the image's side come to one position of the layer."""
    return 1 << (block_of(name) - 1)


def halo(layers: Iterable[str]) -> int:
    """How far beyond an aligned part of the image the layers' features of that part see, px.

    Each 3×3 convolution reaches one position further; rounded up to the alignment.
    """
    reach = sum(stride(name) for name in layers_to(layers))
    return -(-reach // ALIGNMENT) * ALIGNMENT
