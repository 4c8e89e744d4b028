"""What is found out about a picture once, for as long as its caller keeps it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

T = TypeVar("T")
P = ParamSpec("P")
Find = Callable[Concatenate[np.ndarray, np.ndarray | None, P], T]


def once_per_picture(find: Find[P, T]) -> Find[P, T]:
    """`find(rgb, alpha, …)`, called once for every pair of arrays that is still there.

    Arrays are told apart by what they are, not by what they hold: none may be changed once it was
    looked at. A picture that many objects share (one `Style` with several weights) is one. What
    is found must not be one of the arrays, or hold it: they would be there for ever.
    """
    found: dict[tuple[Any, ...], T] = {}

    @functools.wraps(find)
    def remembering(
        rgb: np.ndarray, alpha: np.ndarray | None, /, *more: P.args, **options: P.kwargs
    ) -> T:
        key = id(rgb), id(alpha), *more, *options.values()
        if key not in found:
            value = find(rgb, alpha, *more, **options)
            for array in (rgb, alpha):
                if array is not None:
                    # Before its number can be another array's.
                    weakref.finalize(array, found.pop, key, None).atexit = False
            found[key] = value
        return found[key]

    return remembering
