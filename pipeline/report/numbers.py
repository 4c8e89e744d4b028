"""Numbers over all pairs of a report: how far each is from its like, and histograms."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

LEAST_GROUP = 5  # pairs that can tell what is usual
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
MOST = 999.0
BINS = 36


def deviations(groups: np.ndarray, badness: Sequence[np.ndarray]) -> np.ndarray:
    """How far each pair is from what is usual in its group, on the bad side; float64 `[N]`.

    In standard deviations as the median of the absolute deviations tells them, of whichever
    measure is worst; below 0 where all are better than the median. NaN in groups of fewer than
    `LEAST_GROUP` pairs.

    Args:
        groups: int `[N]`.
        badness: measures, each `[N]`, larger for worse; NaN where there is none.
    """
    found = np.full(len(groups), np.nan)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        if len(members) < LEAST_GROUP:
            continue
        scores = [_scores(measure[members]) for measure in badness]
        found[members] = np.minimum(np.fmax.reduce(scores), MOST)
    return found


def result_deviations(
    groups: np.ndarray, totals: np.ndarray, gram_errors: np.ndarray, ssims: np.ndarray
) -> np.ndarray:
    """`deviations` of results by their losses (logarithms), Gram errors and SSIM, each `[N]`."""
    logarithms = np.log10(np.where(totals > 0, totals, np.nan))
    return deviations(groups, [logarithms, gram_errors, -ssims])


def _scores(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)]
    if len(known) < LEAST_GROUP:
        return np.full(len(values), np.nan)
    median = np.median(known)
    spread = MAD_TO_DEVIATION * np.median(np.abs(known - median)) or np.std(known)
    return (values - median) / spread if spread > 0 else np.where(np.isfinite(values), 0.0, np.nan)


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bin of a histogram: from where to where, how many, and its height, 0…1."""

    start: float
    end: float
    count: int
    height: float


def histogram(values: np.ndarray, *, logarithmic: bool = False) -> list[Bar]:
    """The finite values in `BINS` bins of one width, or of one ratio; empty where none are."""
    known = values[np.isfinite(values)]
    if logarithmic:
        known = np.log10(known[known > 0])
    if not len(known):
        return []
    low, high = float(known.min()), float(known.max())
    if math.isclose(low, high):
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(known, BINS, (low, high))
    bounds = 10.0**edges if logarithmic else edges
    most = int(counts.max())
    return [
        Bar(float(start), float(end), int(count), int(count) / most)
        for start, end, count in zip(bounds[:-1], bounds[1:], counts, strict=True)
    ]
