"""Whether the loss of an optimisation has run away, from its totals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Steps of Adam that are too long swing; what ends so far above the best total has not come back.
RUNAWAY_FACTOR = 2.0


def diverged(terms: np.ndarray, plain: Callable[[], np.ndarray]) -> np.ndarray:
    """Images whose last terms are no numbers, or whose loss ran away: `[B]` bool.

    A loss has run away if its last total is far above the best one, the first included, and above
    that of a picture of plain grey: nothing of content or style is left then. Where a content is
    in the style already, the first total is next to nothing, and any step is far above it; plain
    grey is far above both.

    Args:
        terms: `[S, B, T]` after each step, the total first.
        plain: gives the totals `[B]` of plain grey; called only where they decide.
    """
    totals = terms[:, :, 0]
    broken: np.ndarray = ~np.isfinite(terms[-1]).all(axis=1)
    best = np.where(np.isfinite(totals), totals, np.inf).min(axis=0)
    risen = ~broken & (np.where(broken, 0, totals[-1]) > RUNAWAY_FACTOR * best)
    if not risen.any():
        return broken
    found: np.ndarray = broken | (risen & (totals[-1] > plain()))
    return found
