"""How many images are computed at once: as many as pay, in sizes that are compiled already.

Without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Collection

from nst_core.canvas import Size

# Pixels of a batch beyond which more images at once gain little. 8 images of 512 px fill a GPU at
# full size; in the steps at half that size they are as much work as 2, and 16 still gain.
PIXELS = 16 * 512 * 512
MOST_IMAGES = 64


def paying(canvas: Size) -> int:
    """How many images of a canvas pay at once on a GPU: a power of two."""
    return power_of_two(min(MOST_IMAGES, max(1, PIXELS // (canvas.width * canvas.height))))


def power_of_two(count: int) -> int:
    """The largest that is no more than `count`, which is at least 1."""
    return 1 << (count.bit_length() - 1)


def next_power_of_two(count: int) -> int:
    """The smallest power of two that is no less than `count`, which is at least 1."""
    return 1 << (count - 1).bit_length()


def size_for(count: int, most: int, compiled: Collection[int]) -> int:
    """The size of the batches in which `count` images are computed where every size is compiled.

    What is larger than that is cut into several; what is smaller is filled up with images whose
    results are dropped, which takes less than a compilation. Only where the sizes that are there
    are less than half of what could be computed at once is another one compiled.

    Args:
        most: as many as fit; a power of two.
        compiled: sizes for which programs are there.
    """
    count = min(count, most)
    there = [size for size in compiled if size <= most]
    if enough := [size for size in there if size >= count]:
        return min(enough)
    if there and 2 * max(there) >= count:
        return max(there)
    # A catalog comes to few sizes.
    return min(most, next_power_of_two(count))
