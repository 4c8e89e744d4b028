"""What is found out about a picture once, for as long as its caller keeps it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Find = Callable[[np.ndarray, np.ndarray | None], T]


def once_per_picture(find: Find[T]) -> Find[T]:
    """`find(rgb, alpha)`, called once for every pair of arrays that is still there.

    Arrays are told apart by what they are, not by what they hold: none may be changed once it was
    looked at. A picture that many objects share (one `Style` with several weights) is one.
    """
    found: dict[tuple[int, int], T] = {}

    @functools.wraps(find)
    def remembering(rgb: np.ndarray, alpha: np.ndarray | None) -> T:
        key = id(rgb), id(alpha)
        if key not in found:
            value = find(rgb, alpha)
            for array in (rgb, alpha):
                if array is not None:
                    # Before its number can be another array's.
                    weakref.finalize(array, found.pop, key, None).atexit = False
            found[key] = value
        return found[key]

    return remembering
