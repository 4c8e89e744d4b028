"""When to look at an optimisation on its way: every so many steps of each image of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Tensor = Any


class SnapshotSchedule:
    """Takes the snapshots of one scale.

    Args:
        every: steps of an image between two of its snapshots, counted over all scales.
        before: the steps `[B]` that each image has taken in coarser scales.
        take: called with an image's index in the batch, its steps, and its pixels `[1, H, W, 3]`.
    """

    def __init__(
        self, every: int, before: np.ndarray, take: Callable[[int, int, Tensor], None]
    ) -> None:
        self.every = every
        self.before = before
        self.take = take

    def due_in(self, step: int, active: np.ndarray) -> int:
        """Steps from `step` of this scale to the next snapshot of an image that is active."""
        return int((self.every - (self.before[active] + step) % self.every).min())

    def due(self, step: int, active: np.ndarray) -> np.ndarray:
        """Indices of the active images of which a snapshot is due at `step` of this scale."""
        return np.flatnonzero(active & ((self.before + step) % self.every == 0))

    def take_due(self, step: int, due: np.ndarray, images: Tensor) -> None:
        """Take those that are due of the images `[B, H, W, 3]`."""
        for index in due:
            self.take(int(index), int(self.before[index] + step), images[index : index + 1])
