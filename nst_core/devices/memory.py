"""How much memory an optimisation will take, and what follows for its tiles.

Without TensorFlow. The model and the measurements that it is fitted to: docs/memory.md.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.devices.tiles import extents, tiles_of
from nst_core.errors import OutOfMemory
from nst_core.layers import halo, layers_to, stride
from nst_core.network.weights import layer_shapes
from nst_core.optimizers import HISTORY

# Constants of the model, fitted so that it predicts no measurement too low (docs/memory.md).
# What no size changes, bytes, with some room.
BASE = 100 * 2**20
# How often the features of all layers are there at once.
FEATURES = {"float32": 1.65, "bfloat16": 2.85}
# How often the content's features are there, whole or in tiles.
TARGETS, TILED_TARGETS = 3.7, 1.45
# How many images (float32 RGB) are there, whole or in tiles; there `remembered` comes on top.
IMAGES = {"lbfgs": 43.0, "adam": 9.0}
TILED_IMAGES = {"lbfgs": 17.5, "adam": 12.5}

# How much of the memory a prediction may fill. The rest is for what the model does not know: other
# threads' pictures, the allocator's gaps.
SHARE = 0.85
# Interiors that are tried, px: smaller ones spend most of their work on halos.
SIDES = (2048, 1536, 1024, 768, 512, 384, 256, 192, 128)
# Small tiles save little where the optimiser's images are most of it, and take long.
HARDLY_MORE = 1.03

# TensorFlow counts a tensor's elements in 31 bits, and the first layers have 64 for each pixel.
MOST_PIXELS = 2**31 // 64


@functools.lru_cache
def channels_per_pixel(layers: tuple[str, ...]) -> float:
    """Features of these layers per pixel of the image."""
    shapes = layer_shapes()
    return sum(shapes[name][-1] / stride(name) ** 2 for name in layers)


class Parts(NamedTuple):
    """What an optimisation's memory is made of, bytes."""

    features: float  # of all layers to the deepest, of what passes the network at once
    targets: float  # the content's features
    image: float  # one float32 copy of every image


def parts(
    config: StyleConfig,
    size: Size,
    batch: int,
    precision: str,
    tile: int | None,
    *,
    one_by_one: bool = False,
) -> Parts:
    """The parts that `predicted` weighs."""
    whole = size.width * size.height * batch
    part = _passing(config, size, tile)
    at_once = part.width * part.height * (1 if tile or one_by_one else batch)
    itemsize = 4 if precision == "float32" else 2
    return Parts(
        itemsize * channels_per_pixel(layers_to(config.layers)) * at_once,
        4 * channels_per_pixel(tuple(config.content_layers)) * whole,
        4 * 3 * whole,
    )


def _passing(config: StyleConfig, size: Size, tile: int | None) -> Size:
    """What of an image passes the network at once: its largest tile with the halo, or all."""
    return extents(size, tile, halo(config.layers)) if tile else size


def predicted(
    config: StyleConfig,
    size: Size,
    batch: int,
    precision: str,
    tile: int | None,
    *,
    one_by_one: bool = False,
) -> float:
    """Bytes that the optimisation of `batch` images of `size` will take beside the network.

    Args:
        tile: side of the tiles' interiors, px; None for whole images.
        one_by_one: the batch's images pass the network one after the other, as on processors.
    """
    features, targets, image = parts(config, size, batch, precision, tile, one_by_one=one_by_one)
    kept, images = TARGETS, IMAGES[config.optimizer]
    if tile:
        kept, images = TILED_TARGETS, TILED_IMAGES[config.optimizer] + remembered(config)
    return BASE + FEATURES[precision] * features + kept * targets + images * image


def remembered(config: StyleConfig) -> int:
    """How many images the history of an optimisation in tiles has after all its steps."""
    return 2 * min(HISTORY, max(config.steps_per_scale)) if config.optimizer == "lbfgs" else 0


def fitting_batch(
    config: StyleConfig,
    size: Size,
    batch: int,
    precision: str,
    available: float,
    *,
    one_by_one: bool = False,
) -> int:
    """How many of `batch` whole images fit at once; 0 where not even one does."""

    def fits(count: int) -> bool:
        needed = predicted(config, size, count, precision, None, one_by_one=one_by_one)
        return _countable(size, 1 if one_by_one else count) and needed <= SHARE * available

    # Most batches fit whole.
    return next((count for count in range(batch, 0, -1) if fits(count)), 0)


def _countable(size: Size, batch: int = 1) -> bool:
    return size.width * size.height * batch < MOST_PIXELS


def fitting_tile(config: StyleConfig, size: Size, precision: str, available: float) -> int | None:
    """The side of the largest tiles with which one image fits; None where it fits whole.

    Where nothing fits, the largest that take hardly more than the least.
    """
    # Most images do: the tiles are counted only where it does not.
    if fitting_batch(config, size, 1, precision, available):
        return None
    counted: dict[int | None, float] = {}
    for side in (None, *SIDES):
        if _countable(_passing(config, size, side)):
            counted[side] = predicted(config, size, 1, precision, side)
    bound = max(SHARE * available, HARDLY_MORE * min(counted.values()))
    return next(side for side, needed in counted.items() if needed <= bound)


def tile_side(
    config: StyleConfig, size: Size, precision: str, available: float, largest: int | None = None
) -> int | None:
    """The side of the tiles in which one image passes the network; None: it passes whole.

    `largest`: above this, px, memory has run out.
    """
    side = config.tile if isinstance(config.tile, int) else None
    if config.tile == "auto":
        side = fitting_tile(config, size, precision, available)
    if largest:
        side = min(side or largest, largest)
    return side if side and len(tiles_of(size, side, halo(config.layers))) > 1 else None


def work(config: StyleConfig, size: Size, tile: int | None) -> float:
    """Pixels that pass the network in a step, those of a whole image counted once.

    In tiles there is a second forward pass, and a pass back costs two forward.
    """
    part = _passing(config, size, tile)
    if tile is None:
        return float(part.width * part.height)
    return 4 / 3 * part.width * part.height * len(tiles_of(size, tile, halo(config.layers)))


def least(config: StyleConfig, size: Size, precision: str) -> float:
    """Bytes that one image takes in the smallest tiles, or whole where that is less."""
    return min(predicted(config, size, 1, precision, side) for side in (None, SIDES[-1]))


def refuse_the_hopeless(
    config: StyleConfig, canvas: Size, precision: str, available: float, what: str
) -> None:
    """What is known not to fit fails here: a system without memory kills, and tells nobody.

    Args:
        available: bytes; infinite where the device says by itself what it has no memory for.
        what: named in the error.

    Raises:
        OutOfMemory: not even the smallest tiles fit, or the canvas is too large for none.
    """
    if config.tile == "off" and canvas.width * canvas.height >= MOST_PIXELS:
        raise OutOfMemory(
            f"{what} has more features than TensorFlow can count in one tensor; "
            "set tile to auto or lower image_size."
        )
    if config.tile != "auto" or available == math.inf:
        return
    if (needed := least(config, canvas, precision)) > available:
        raise OutOfMemory(
            f"{what} needs about {needed / 2**30:.1f} GiB even in tiles, and "
            f"{available / 2**30:.1f} GiB are free; lower image_size."
        )
