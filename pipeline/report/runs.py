"""The runs of an output, by their summaries, and which of them were not tried again as a whole."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
from collections.abc import Sequence

from pipeline import storage
from pipeline.records.tasks import OK, POSTPONED, SKIPPED, counts_by_kind
from pipeline.runs import result_lines, run_file
from pipeline.runs.retry import allowed_in, retried_runs
from pipeline.runs.run_states import told_in

FINISHED = "finished"
_SUMMARY = "summary.json"
_RESULTS = re.compile(rf"/{result_lines.NAME.pattern}$")
_TELLING = re.compile(rf"/({re.escape(_SUMMARY)}|{re.escape(run_file.NAME)})$|{_RESULTS.pattern}")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run that has ended; `results`: the URIs of its results.

    `state`: `finished`, or `stopped` or `failed` before its own end.
    """

    name: str
    manifest: str
    started_at: str
    finished_at: str
    statuses: dict[str, int]
    failures: str
    results: tuple[str, ...]
    hours: float
    state: str

    @property
    def done(self) -> int:
        """Pairs that it made."""
        return self.statuses.get(OK, 0)

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return counts_by_kind(self.statuses)["failed"]

    @property
    def is_whole(self) -> bool:
        """Whether it came to its own end, and has left no row of its manifest for later."""
        return self.state == FINISHED and not self.statuses.get(POSTPONED)

    @property
    def ended(self) -> str:
        """When it ended, to the second."""
        ended = datetime.datetime.fromisoformat(self.finished_at)
        return ended.isoformat(sep=" ", timespec="seconds")

    @property
    def pairs_per_hour(self) -> float | None:
        """How many it made in an hour, from its begin to its end; None where it made none."""
        return self.done / self.hours if self.done and self.hours > 0 else None


def runs_of(output: str) -> list[Run]:
    """The runs that have ended, the last first: with a summary, or else by what they tell."""
    folder = storage.join(output, "runs")
    files: dict[str, list[str]] = {}
    for uri in storage.list_uris(folder):
        if _TELLING.search(uri):
            files.setdefault(storage.directory(uri), []).append(uri)
    found = []
    for run, uris in files.items():
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found.append(_run(run, uris))
    return sorted(found, key=lambda run: (run.finished_at, run.started_at, run.name), reverse=True)


def _run(folder: str, uris: Sequence[str]) -> Run:
    """Raises ValueError, KeyError, TypeError, AttributeError where nothing tells of its end."""
    accounts = {uri.rpartition("/")[2]: uri for uri in uris}
    has_summary = _SUMMARY in accounts
    told = json.loads(storage.read_bytes(accounts[_SUMMARY if has_summary else run_file.NAME]))
    if not has_summary:
        # Stopped before its end, or its process is gone.
        manifest, end = told["manifest"]["uri"], told["ended_at"]
        told = {**told, "manifest": manifest, "finished_at": end}
    statuses = {str(name): int(count) for name, count in told["statuses"].items()}
    started_at, finished_at = told["started_at"], told["finished_at"]
    begin, end = map(datetime.datetime.fromisoformat, (started_at, finished_at))
    return Run(
        name=folder.rpartition("/")[2],
        manifest=str(told.get("manifest", "")),
        started_at=started_at,
        finished_at=finished_at,
        statuses=statuses,
        failures=storage.join(folder, "failures.csv"),
        results=tuple(uri for uri in uris if _RESULTS.search(uri)),
        hours=max((end - begin).total_seconds(), 1) / 3600,
        state=FINISHED if has_summary else str(told["state"]),
    )


def allows_private_hosts(folder: str) -> bool:
    """Whether the run of this folder was told that URLs may lead to private hosts."""
    return allowed_in(told_in(folder, run_file.NAME)).private_hosts


def last_tries(runs: Sequence[Run]) -> list[Run]:
    """Those of the runs, which come last first, whose rows no later one has tried all again.

    That is a whole run of the same manifest, of that which a retry's failures came from, or of the
    failures of the run itself.
    """
    manifests = {run.name: run.manifest for run in runs}
    tried: set[str] = set()
    found = []
    for run in runs:
        # By their runs: an output can have been elsewhere, or named otherwise.
        names = [run.name, *retried_runs(run.name, manifests)]
        lists = [*(f"failures of {name}" for name in names), manifests[names[-1]]]
        if tried.isdisjoint(lists):
            found.append(run)
        if run.is_whole:
            tried.add(lists[1])
    return found


def without_failure(run: Run, ids: set[str]) -> set[str]:
    """Those of the ids that the run has done, or found done."""
    return {
        pair_id
        for uri in run.results
        for pair_id, status in result_lines.statuses_in(uri)
        if pair_id in ids and status in (OK, SKIPPED)
    }
