"""What a run says of itself while it lives: `O/runs/<run>/run.json`, with a heartbeat.

`nst status` reads it, from any machine. It is of no use to the run itself, and no trouble with it
stops or delays one.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import os
import socket
from collections.abc import Callable
from typing import Any, Literal

from nst_core.errors import JobError
from pipeline import processes, storage
from pipeline.manifest.rows import find_manifests
from pipeline.records import records, shapes
from pipeline.runs.renewing import Renewing
from pipeline.runs.reports import Place

NAME = "run.json"
SECONDS = 60.0
# On a disk it costs a thousandth of a second, and somebody may be watching.
LOCAL_SECONDS = 10.0
# Whoever has not heard of a run for so long takes it for dead.
LAPSE = datetime.timedelta(minutes=3)
# A run that ends waits so long for its last heartbeat.
PATIENCE = 10.0
MOST_MANIFESTS = 20

State = Literal["running", "launched", "finished", "stopped", "failed"]

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass
class About:
    """What does not change while a run lives.

    `marks`: its pairs are of other manifests, marked in the report. `command`: the command line as
    it was given; `next`: with which a person goes on from an end.
    `row_settings`: those that rows may change; None for all.
    `job`: on Dataflow its id and its page in the console. `rows`: where the manifest's rows
    are, if it is not called so.
    """

    command: str
    manifest: str
    schemes: tuple[str, ...]
    runner: str | None
    started_at: str
    job: dict[str, str] | None = None
    rows: str | None = None
    private_hosts: bool = False
    row_settings: tuple[str, ...] | None = None
    marks: bool = False


class RunFile:
    """The run's own account of itself, written at its start, every minute, and at its end.

    Args:
        count: the counts of this moment, see `Pulse`.
    """

    def __init__(self, place: Place, about: About, count: Callable[[], dict[str, Any]]) -> None:
        self._place = place
        self.about = about
        self._count = count
        self._manifest: dict[str, Any] = {"uri": about.manifest}
        self._state: State = "running"
        self._end: dict[str, Any] = {}
        self._renewing: Renewing | None = None

    def begin(self) -> None:
        """Write it, and go on writing it on a thread of its own until `end`."""
        seconds = SECONDS if storage.scheme(self._place.output) else LOCAL_SECONDS
        self._renewing = Renewing(
            self._renew, seconds, "The heartbeat", first=self._first, last=self._last
        )

    def name_job(self, job: dict[str, str] | None) -> None:
        """Say which job of the runner's it is, at once: this process may not live long."""
        self.about.job = job
        if job and self._renewing:
            self._renewing.renew_soon()

    def end(self, state: State, sentence: str | None = None, **more: Any) -> None:
        """Say how the run has ended; the first end counts, and where it has not begun, none does.

        Args:
            sentence: why, where that is not the end of its work.
            more: replaces counts.
        """
        renewing = self._renewing
        if renewing is None or renewing.is_ended:
            return
        self._end = {"ended_at": records.now(), "sentence": sentence, **more}
        self._state = state
        if not renewing.end(PATIENCE):
            _LOGGER.warning("The last heartbeat could not be written within %.0f s.", PATIENCE)

    def _first(self) -> None:
        self._manifest = _named(self.about.manifest, self.about.rows)
        self._write()
        self._manifest = manifest_details(self.about.manifest, self.about.rows)
        self._write()

    def _last(self) -> None:
        try:
            self._write()
        except JobError:
            # A run that fails says itself what is wrong.
            if self._state == "finished":
                raise

    def _renew(self) -> bool:
        self._write()
        return True

    def _write(self) -> None:
        # The state before the counts: they are then not older than it.
        state, end = self._state, self._end
        about = dataclasses.asdict(self.about)
        del about["rows"]
        content = {
            "schema_version": shapes.RUN_VERSION,
            "run": self._place.run,
            "state": state,
            **about,
            "manifest": self._manifest,
            "output": self._place.output,
            "directory": os.getcwd(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": processes.own_name(),
            "versions": records.versions(),
            "renewed_at": records.now(),
            **self._count(),
            **end,
        }
        uri = self._place.uri(NAME)
        storage.write_bytes(uri, records.to_json(content), "application/json")


def manifest_details(uri: str, rows: str | None = None) -> dict[str, Any]:
    """The manifest's URI, the count of its files, and of the first of them size and checksum.

    `rows`: where they are, if `uri` is only what the manifest is called.
    """
    found = _named(uri, rows)
    try:
        manifests = find_manifests(rows or uri)
        found["count"] = len(manifests)
        found["files"] = [
            {"uri": one, "bytes": storage.size(one), "identity": storage.identity(one)}
            for one in manifests[:MOST_MANIFESTS]
        ]
    except JobError as error:
        # The run meets it too, and says so.
        found["trouble"] = str(error)
    return found


def _named(uri: str, rows: str | None) -> dict[str, Any]:
    """What the manifest is called, and where its rows are, if that is elsewhere."""
    return {"uri": uri} if rows in (None, uri) else {"uri": uri, "rows": rows}
