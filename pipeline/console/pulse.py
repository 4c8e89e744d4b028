"""How a run goes, as its heartbeat says it: counts, pace, the pair longest in work, reasons."""

from __future__ import annotations

import collections
import datetime
import threading
import time
from collections.abc import Callable
from typing import Any

from pipeline.console import events
from pipeline.console.watch import Tracker
from pipeline.records.tasks import OK, counts_by_kind
from pipeline.runs.reasons import Reasons

# The pace is that of the last ten minutes.
WINDOW_SECONDS = 600.0


class Pace:
    """Pairs per hour over the last minutes, from counts at some moments.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """The work begins only now."""
        self._samples = collections.deque([(self._clock(), 0)])

    def per_hour(self, done: int) -> float | None:
        """With so many done now; None where no time has passed."""
        now = self._clock()
        self._samples.append((now, done))
        # The last one that is older stays: it is where the window begins.
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.popleft()
        started, before = self._samples[0]
        return 3600 * (done - before) / (now - started) if now > started else None


class Pulse:
    """Hears of events what the tracker does not keep, and tells the counts of a moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[str, float] = {}
        self._has_begun = False
        self._reasons = Reasons()
        self._pace = Pace()

    def take(self, event: events.Event) -> None:
        """Take note of an event."""
        if isinstance(event, events.PairBegun):
            with self._lock:
                if not self._has_begun:
                    # Before, what is done already was looked through, which can take minutes.
                    self._pace.begin()
                self._has_begun = True
                self._begun[event.pair_id] = time.time()
        elif isinstance(event, events.PairEnded):
            with self._lock:
                self._begun.pop(event.outcome.id or "", None)
                if event.outcome.failed:
                    self._reasons.add(event.outcome)

    def counts(self, tracker: Tracker) -> dict[str, Any]:
        """What there is to say now.

        `pairs`: rows of the manifest; `to_do`: those that had no result (likely, of a large
        manifest). Both None until they are known. With workers in other processes `done` is the
        count of records that have appeared, `failed` of the failures that they have noted.
        """
        if tracker.is_elsewhere:
            found = _elsewhere(tracker)
        else:
            statuses = dict(tracker.statuses)
            found = {"pairs": tracker.pairs, "to_do": tracker.to_do, **counts_by_kind(statuses)}
            found["left"] = None if tracker.pairs is None else tracker.left
            found["statuses"] = statuses
        with self._lock:
            pace = self._pace.per_hour(found["done"])
            oldest = min(self._begun.items(), key=lambda item: item[1], default=None)
            reasons = self._reasons.commonest()
        if tracker.is_elsewhere and tracker.failures_elsewhere:
            reasons = tracker.failures_elsewhere.reasons
        found["pairs_per_hour"] = None if pace is None else round(pace, 1)
        found["oldest"] = oldest and {"id": oldest[0], "since": _moment(oldest[1])}
        return {**found, "reasons": reasons}


def _elsewhere(tracker: Tracker) -> dict[str, Any]:
    pairs, to_do = tracker.pairs, tracker.to_do
    statuses = {OK: 0, **tracker.statuses_elsewhere}
    counts = counts_by_kind(statuses)
    return {
        "pairs": pairs,
        "to_do": to_do,
        **counts,
        "skipped": None if pairs is None or to_do is None else pairs - to_do,
        "postponed": None,
        "left": None if to_do is None else max(0, to_do - counts["done"] - counts["failed"]),
        "statuses": statuses,
    }


def _moment(seconds: float) -> str:
    found = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return found.isoformat(timespec="seconds")
