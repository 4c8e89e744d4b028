"""What has become of the runs of an output, as their own files tell; loads no runner."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import json
import shlex
from collections.abc import Mapping
from typing import Any

from nst_core.errors import shortened
from pipeline import processes, storage
from pipeline.records import records
from pipeline.records.tasks import counts_by_kind
from pipeline.runs import result_lines, run_file
from pipeline.runs.run_file import LAPSE

THREADS = 32
COUNTS = ("pairs", "to_do", "done", "skipped", "postponed", "failed", "left")
# A launched one is run by whoever launched it, and has no heartbeat.
ACTIVE = ("running", "launched")
# With pairs left, as far as anybody knows; an unknown one is an earlier version's.
ENDED_EARLY = ("stopped", "failed", "died", "unknown")
STATES = (*ACTIVE, "finished", *ENDED_EARLY)

_SUMMARY = "summary.json"
_FAILURES = "failures.csv"
# Any of these makes a folder a run's: exports can lie there too, of runs that were removed.
_OF_A_RUN = frozenset({run_file.NAME, _SUMMARY, "config.yaml"})
_MOST_BYTES = 4 * 2**20
_MOST_SHOWN = 500


@dataclasses.dataclass(frozen=True)
class RunState:
    """One run: its state, one of `STATES`, and what it has told; counts are None where unknown.

    `heard_at`: the time of its last heartbeat. `told`: its run.json, or what there is of one.
    `results`, `failures`: the URIs of these files of it, as far as they are there.
    """

    run: str
    state: str
    counts: Mapping[str, int | None]
    started_at: datetime.datetime | None
    heard_at: datetime.datetime | None
    told: Mapping[str, Any]
    results: tuple[str, ...] = ()
    failures: str | None = None

    def whole(self, name: str) -> str | None:
        """What it has told under a name, as it is; None where it is no text."""
        found = self.told.get(name)
        return found if isinstance(found, str) else None

    def text(self, name: str) -> str | None:
        """The same, fit to be shown: one line of some length."""
        found = self.whole(name)
        return None if found is None else shortened(" ".join(found.split()), _MOST_SHOWN)

    @property
    def command(self) -> str | None:
        """The command line that began it; None where a shell could not read what it has told."""
        found = self.whole("command")
        try:
            return found if found and shlex.split(found) else None
        except ValueError:
            return None

    @property
    def manifest(self) -> str:
        """The URI of its manifest; empty where it is not known."""
        found = self.told.get("manifest")
        uri = found.get("uri") if isinstance(found, dict) else found
        return uri if isinstance(uri, str) else ""

    @property
    def manifest_content(self) -> tuple[str, ...] | None:
        """What is the same for every copy of its manifest.

        None where the run has not told it, and where the command line has a part in its rows.
        """
        found = self.told.get("manifest")
        if not isinstance(found, dict) or "rows" in found:
            return None
        files = found.get("files")
        if not isinstance(files, list) or not files or found.get("count") != len(files):
            return None
        identities = [one.get("identity") for one in files if isinstance(one, dict)]
        texts = tuple(identity for identity in identities if isinstance(identity, str))
        return texts if len(texts) == len(files) else None

    @property
    def ended_at(self) -> datetime.datetime | None:
        """When it ended, or was last heard of."""
        return records.parse_time(self.told.get("ended_at")) or self.heard_at

    @property
    def pairs_per_hour(self) -> float | None:
        """Over the last ten minutes before its last heartbeat; of a finished one over all."""
        return _number(self.told.get("pairs_per_hour"))

    def seconds_to_go(self, now: datetime.datetime) -> float | None:
        """How long it will take yet, where it goes on as in the last ten minutes."""
        left, pace = self.counts["left"], self.pairs_per_hour
        if self.state != "running" or not left or not pace or self.heard_at is None:
            return None
        return max(0.0, 3600 * left / pace - (now - self.heard_at).total_seconds())


def read_runs(output: str, now: datetime.datetime, only: str | None = None) -> list[RunState]:
    """The runs of an output, or only one, the last begun last.

    Costs one listing of `O/runs`, and reads one or two small files of each run.

    Raises:
        StorageError: they cannot be listed or read.
    """
    folder = storage.join(output, "runs")
    files: dict[str, set[str]] = {}
    for uri in storage.list_uris(storage.join(folder, only) if only else folder):
        run, _, name = uri[len(folder) :].lstrip("/").partition("/")
        if name:
            files.setdefault(run, set()).add(name)
    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        futures = [
            threads.submit(_read, storage.join(folder, run), run, names, now)
            for run, names in files.items()
            if not _OF_A_RUN.isdisjoint(names)
        ]
        runs = [future.result() for future in futures]
    earliest = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return sorted(runs, key=lambda one: (one.started_at or earliest, one.run))


def _read(folder: str, run: str, names: set[str], now: datetime.datetime) -> RunState:
    told = told_in(folder, run_file.NAME) if run_file.NAME in names else {}
    state = told.get("state")
    is_over = state in ("finished", "stopped", "failed")
    if _SUMMARY in names and not is_over:
        # Of an earlier version, launched, or its last heartbeat was lost.
        told = {**told, **_of_summary(told_in(folder, _SUMMARY))}
        state = "finished"
    heard_at = records.parse_time(told.get("renewed_at"))
    if state == "running":
        process = told.get("process")
        is_gone = isinstance(process, str) and processes.has_ended(process)
        if is_gone or heard_at is None or now - heard_at > LAPSE:
            state = "died"
    counts = {name: _count(told.get(name)) for name in COUNTS}
    # One that could tell nothing may have a name that begins with its time.
    started_at = records.parse_time(told.get("started_at") or run.partition("-")[0])
    known = state if state in STATES else "unknown"
    results = sorted(filter(result_lines.NAME.fullmatch, names))
    return RunState(
        run=run,
        state=known,
        counts=counts,
        started_at=started_at,
        heard_at=heard_at,
        told=told,
        results=tuple(storage.join(folder, name) for name in results),
        failures=storage.join(folder, _FAILURES) if _FAILURES in names else None,
    )


def _of_summary(summary: dict[str, Any]) -> dict[str, Any]:
    """What a summary tells, under the names of run.json."""
    statuses = summary.get("statuses")
    statuses = statuses if isinstance(statuses, dict) else {}
    known = {name: count for name, count in statuses.items() if _count(count) is not None}
    names = ("manifest", "output", "started_at", "pairs", "pairs_per_hour", "reasons")
    return {
        **{name: summary[name] for name in names if name in summary},
        **counts_by_kind(known),
        "left": 0,
        "statuses": known,
        "ended_at": summary.get("finished_at"),
    }


def told_in(folder: str, name: str) -> dict[str, Any]:
    """What a file in a run's folder tells, a JSON object; nothing where it is none."""
    try:
        uri = storage.join(folder, name)
        found = json.loads(storage.read_bytes(uri, max_bytes=_MOST_BYTES))
    except (storage.NotFound, storage.TooLarge, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
