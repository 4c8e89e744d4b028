"""What is found out about a picture is found out once, and forgotten with the picture."""

from __future__ import annotations

import weakref

import numpy as np

from nst_core.imaging.remembered import once_per_picture


def test_the_same_arrays_are_looked_at_once_and_others_of_equal_pixels_again() -> None:
    seen: list[np.ndarray] = []

    @once_per_picture
    def total(rgb: np.ndarray, alpha: np.ndarray | None) -> float:
        seen.append(rgb)
        return float(rgb.sum() + (0 if alpha is None else alpha.sum()))

    rgb, alpha = np.ones((2, 2, 3)), np.ones((2, 2))
    assert [total(rgb, None), total(rgb, alpha), total(rgb, None), total(rgb, alpha)] == [
        12,
        16,
        12,
        16,
    ]
    assert len(seen) == 2
    total(rgb.copy(), None)
    assert len(seen) == 3


def test_an_array_in_the_place_of_one_that_is_gone_is_another() -> None:
    first = once_per_picture(lambda rgb, _: float(rgb[0]))
    for value in range(100):
        array = np.full(1000, value)
        assert first(array, None) == value
        del array


def test_a_picture_that_is_known_is_not_kept() -> None:
    def nothing(_rgb: np.ndarray, _alpha: np.ndarray | None) -> None:
        return None

    known = once_per_picture(nothing)
    rgb, alpha = np.ones(3), np.ones(1)
    known(rgb, alpha)
    watched = weakref.ref(rgb)
    del rgb
    assert watched() is None
