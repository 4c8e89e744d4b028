"""What a worker counts and measures, for the metrics of the job."""

from __future__ import annotations

import collections
from collections.abc import Iterator


class Tally:
    """Counts and measurements of any thread, kept until somebody takes them."""

    def __init__(self) -> None:
        self._entries: collections.deque[tuple[str, int, bool]] = collections.deque()

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self._entries.append((name, amount, False))

    def measure(self, name: str, value: int) -> None:
        """Add a value to a distribution."""
        self._entries.append((name, value, True))

    def take(self) -> Iterator[tuple[str, int, bool]]:
        """Name, amount, and whether it belongs to a distribution; each entry once."""
        while self._entries:
            yield self._entries.popleft()
