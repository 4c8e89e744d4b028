"""The runs of an output, by their summaries, and which of them were not tried again as a whole."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline import storage
from pipeline.records.retry import retried_run
from pipeline.records.tasks import NO_FAILURES, OK, POSTPONED, SKIPPED

_RESULTS = re.compile(r"/results-\d+-of-\d+\.(jsonl|parquet)$")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run that came to its end; `results`: the URIs of its results."""

    name: str
    manifest: str
    started_at: str
    finished_at: str
    statuses: dict[str, int]
    failures: str
    results: tuple[str, ...]
    hours: float

    @property
    def done(self) -> int:
        """Pairs that it made."""
        return self.statuses.get(OK, 0)

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return sum(count for status, count in self.statuses.items() if status not in NO_FAILURES)

    @property
    def is_whole(self) -> bool:
        """Whether it has left no row of its manifest for later."""
        return not self.statuses.get(POSTPONED)

    @property
    def pairs_per_hour(self) -> float | None:
        """How many it made in an hour, from its begin to its end; None where it made none."""
        return self.done / self.hours if self.done and self.hours > 0 else None


def runs_of(output: str) -> list[Run]:
    """The runs that have a summary, the last first."""
    folder = storage.join(output, "runs")
    summaries: list[str] = []
    results: dict[str, list[str]] = {}
    for uri in storage.list_uris(folder):
        if uri.endswith("/summary.json"):
            summaries.append(uri)
        elif _RESULTS.search(uri):
            results.setdefault(storage.directory(uri), []).append(uri)
    found = []
    for uri in summaries:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            those = tuple(results.get(storage.directory(uri), ()))
            found.append(_run(uri, json.loads(storage.read_bytes(uri)), those))
    return sorted(found, key=lambda run: (run.finished_at, run.started_at, run.name), reverse=True)


def _run(uri: str, summary: dict[str, Any], results: tuple[str, ...]) -> Run:
    begin, end = (
        datetime.datetime.fromisoformat(summary[f"{name}_at"]) for name in ("started", "finished")
    )
    folder = storage.directory(uri)
    return Run(
        name=folder.rpartition("/")[2],
        manifest=str(summary.get("manifest", "")),
        started_at=summary["started_at"],
        finished_at=summary["finished_at"],
        statuses={str(name): int(count) for name, count in summary["statuses"].items()},
        failures=storage.join(folder, "failures.csv"),
        results=results,
        hours=max((end - begin).total_seconds(), 1) / 3600,
    )


def last_tries(runs: Sequence[Run]) -> list[Run]:
    """Those of the runs, which come last first, whose rows no later one has tried all again.

    That is a whole run of the same manifest, of that which a retry's failures came from, or of the
    failures of the run itself.
    """
    by_name = {run.name: run for run in runs}
    tried: set[str] = set()
    found = []
    for run in runs:
        lists = [f"failures of {run.name}", *_lists(run, by_name)]
        if tried.isdisjoint(lists):
            found.append(run)
        if run.is_whole:
            tried.add(lists[1])
    return found


def _lists(run: Run, by_name: Mapping[str, Run]) -> Iterator[str]:
    """What the run has worked on, and where that is what failed in another, what that has, …"""
    seen: set[str] = set()
    one: Run | None = run
    while one and one.name not in seen:
        seen.add(one.name)
        manifest, name = one.manifest, retried_run(one.manifest)
        one = by_name.get(name) if name else None
        # By its run: an output can have been elsewhere, or named otherwise.
        yield f"failures of {one.name}" if one else manifest


def without_failure(run: Run, ids: set[str]) -> set[str]:
    """Those of the ids that the run has done, or found done."""
    found = set()
    for uri in run.results:
        # What cannot be read tells nothing.
        with contextlib.suppress(ValueError, *storage.ABOUT_ONE_FILE):
            for line in _lines(uri):
                if line["id"] in ids and line["status"] in (OK, SKIPPED):
                    found.add(line["id"])
    return found


def _lines(uri: str) -> Iterator[dict[str, Any]]:
    """At least `id` and `status` of each line of the results."""
    with storage.open_binary(uri) as stream:
        if not uri.endswith(".parquet"):
            yield from map(json.loads, stream)
            return
        from pyarrow import parquet

        for batch in parquet.ParquetFile(stream).iter_batches(columns=["id", "status"]):
            yield from batch.to_pylist()
