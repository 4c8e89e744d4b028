"""Failures of workers in other processes while their run goes on, in small files of its folder.

All outcomes meet at a run's end, for its reports. Whoever watches before, or has to make do with
what there is because the run is stopped, has these; the reports remove them.
"""

from __future__ import annotations

import collections
import contextlib
import json
import threading
import time
from collections.abc import Iterable

from nst_core.errors import JobError
from pipeline import storage
from pipeline.records.tasks import Outcome, RowNumber
from pipeline.runs import reports
from pipeline.runs.reasons import Reasons
from pipeline.runs.reports import Place

PREFIX = f"{reports.SPILLED}failed-"
# A process writes a file at most so often; a run that is stopped may lack its last ones.
SECONDS = 10.0

_lock = threading.Lock()
_waiting: collections.defaultdict[Place, bytearray] = collections.defaultdict(bytearray)
_written: dict[Place, float] = {}


def note(place: Place, failed: Iterable[Outcome], *, at_once: bool = False) -> None:
    """Write these failures, and those that wait, where it is time; called again later, it may be.

    Trouble with the storage is none of the run's: its reports meet it too.
    """
    with _lock:
        lines = _waiting[place]
        for outcome in failed:
            lines += reports.failure_line(outcome)
        is_time = time.monotonic() - _written.get(place, -SECONDS) >= SECONDS
        if not lines or not (at_once or is_time):
            return
        _written[place] = time.monotonic()
        _waiting[place] = bytearray()
    with contextlib.suppress(JobError):
        reports.spill(bytes(lines), place, PREFIX)


class FailuresSoFar:
    """Those that have appeared; of a row whose work was begun anew, the same one counts once."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._read: set[str] = set()
        self._lock = threading.Lock()
        self.lines: dict[bytes, None] = {}
        self.statuses: collections.Counter[str] = collections.Counter()
        self._reasons = Reasons()

    def look(self) -> None:
        """Read the files that are new. Raises StorageError."""
        with self._lock:
            for uri in storage.list_uris(self.place.uri("")):
                if uri not in self._read and uri.rpartition("/")[2].startswith(PREFIX):
                    with contextlib.suppress(storage.NotFound):  # The reports are there now.
                        self._add(storage.read_bytes(uri))
                    self._read.add(uri)

    def _add(self, block: bytes) -> None:
        for line in block.splitlines(keepends=True):
            if line not in self.lines:
                self.lines[line] = None
                row = json.loads(line)
                status, error = row.pop("status"), row.pop("error")
                self.statuses[status] += 1
                name = row.get("id")
                self._reasons.add(Outcome(RowNumber("", 0), name, status, error, row, {}, {}))

    @property
    def reasons(self) -> list[dict[str, object]]:
        """As of `Reasons.commonest`."""
        with self._lock:
            return self._reasons.commonest()
