"""Quantiles of any count of numbers, in little memory and in any order."""

from __future__ import annotations

import collections
import math
from typing import Any

# Of a quantile, relative to its value.
ACCURACY = 0.001
_LOG_BASE = math.log((1 + ACCURACY) / (1 - ACCURACY))
_PERCENTS = (5, 50, 95)


class Quantiles:
    """Counts numbers in bins of equal ratio (DDSketch: Masson, Rim and Lee, 2019).

    Quantiles are right within 0.1 % of their value, least, greatest and sum exactly; two of them
    merge to what one would have of all.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.greatest = -math.inf
        # By sign and bin: negative numbers have bins of their own, zero has one.
        self._bins: collections.Counter[tuple[int, int]] = collections.Counter()

    def add(self, value: float) -> None:
        """Count a number; what is none (infinite, not a number) is left out."""
        value = float(value)
        if not math.isfinite(value):
            return
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.greatest = max(self.greatest, value)
        sign = (value > 0) - (value < 0)
        self._bins[sign, math.ceil(math.log(abs(value)) / _LOG_BASE) if sign else 0] += 1

    def merge(self, other: Quantiles) -> None:
        """Count what another one has counted."""
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.greatest = max(self.greatest, other.greatest)
        self._bins.update(other._bins)

    def quantile(self, share: float) -> float:
        """The number below which this share (0 to 1) lies: the lower of two in the middle.

        Raises:
            ValueError: nothing was counted.
        """
        if not self.count:
            raise ValueError("There is no quantile of no numbers.")
        rank = math.floor(share * (self.count - 1))
        if rank in (0, self.count - 1):
            return self.greatest if rank else self.least
        for sign, bin_ in sorted(self._bins, key=lambda key: (key[0], key[0] * key[1])):
            rank -= self._bins[sign, bin_]
            if rank < 0:
                break
        return sign * 2 * math.exp(bin_ * _LOG_BASE) / (1 + math.exp(_LOG_BASE))

    def to_dict(self) -> dict[str, Any]:
        """`mean`, `least`, `p5`, `p50`, `p95` and `greatest`; nothing where nothing was counted."""
        if not self.count:
            return {}
        percentiles = {f"p{percent}": self.quantile(percent / 100) for percent in _PERCENTS}
        found = {"least": self.least, **percentiles, "greatest": self.greatest}
        return {name: _short(value) for name, value in {"mean": self.mean, **found}.items()}

    @property
    def mean(self) -> float:
        """The arithmetic mean; at least one number was counted."""
        return self.total / self.count


def _short(value: float) -> float:
    """With four digits that count: more are not known."""
    return float(f"{value:.4g}")
