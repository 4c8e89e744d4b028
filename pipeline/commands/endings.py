"""How a run ends, by itself or before: what it tells, and what it leaves behind."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from nst_core.errors import JobError
from pipeline import processes, storage
from pipeline.console import events, logs
from pipeline.console.verdict import verdict
from pipeline.console.watch import Tracker, log_stopped, log_summary
from pipeline.job.budget import BudgetError
from pipeline.job.options import RunOptions
from pipeline.manifest.rows import find_manifests
from pipeline.records.tasks import NO_FAILURES, counts_by_kind
from pipeline.runners.job_results import LostJobError
from pipeline.runners.shutdown import Ending
from pipeline.runs import lock, reports
from pipeline.runs.reports import Gatherer, Place
from pipeline.runs.retry import Allowed, retry_command
from pipeline.runs.run_file import RunFile


@dataclasses.dataclass
class LiveRun:
    """A run of this process, with what it takes to end it.

    `gatherer`: what has ended so far, where the workers are in this process. `result`: Beam's, of
    the job or its last wave, once there is one.
    """

    options: RunOptions
    place: Place
    tracker: Tracker
    run_file: RunFile
    gatherer: Gatherer | None = None
    log_format: logs.LogFormat = "text"
    locked: lock.Lock | None = None
    result: Any = None
    bytes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def finish(self) -> dict[str, Any]:
        """The summary of a run that has come to its end, completed; its run.json says so.

        Raises:
            JobError: there is none, though the runner says that the job has ended.
        """
        summary = read_summary(self.place)
        if self.bytes:
            summary = reports.complete(summary, {"bytes": dict(self.bytes)}, self.place)
        statuses = summary["statuses"]
        counts = {"pairs": summary["pairs"], **counts_by_kind(statuses), "left": 0}
        numbers = {name: summary.get(name) for name in ("pairs_per_hour", "reasons")}
        self.run_file.end("finished", statuses=statuses, oldest=None, **counts, **numbers)
        if self.log_format == "json":
            log_summary(summary)
        return summary

    def fail(self, error: BaseException) -> None:
        """What a run leaves behind whose job has failed, or bears no more failures."""
        is_stopped = isinstance(error, BudgetError | KeyboardInterrupt)
        sentence = str(error) or type(error).__name__
        with contextlib.suppress(JobError):
            self._look_elsewhere()
        if isinstance(error, LostJobError):
            # As one that was only launched: it writes its reports, and its summary says the end.
            self.run_file.end("launched", sentence)
            return
        self.run_file.end("stopped" if is_stopped else "failed", sentence)
        self._write_so_far()

    def stop(self, ending: Ending) -> None:
        """Stop all that works for the run, and say what was done."""
        if self.result is not None:
            # A runner elsewhere goes on where nobody asks it to stop; those of this machine do not.
            with contextlib.suppress(Exception):
                self.result.cancel()
        processes.kill_descendants()
        # What ends from here on is in none of the counts and lists, which so agree.
        events.listen(None)
        self.tracker.hide()
        statuses = self.statuses_so_far()
        if self.log_format == "json":
            log_stopped(self.place.run, statuses)
        else:
            title = f"Run {self.place.run}, stopped"
            _show_counts(plain_console(), title, statuses, "so far", self.options)
        self.run_file.end("stopped" if ending.is_asked_for else "failed", ending.sentence)
        self._write_so_far()

    def statuses_so_far(self) -> dict[str, int]:
        """How many pairs of each status a run has that ends before its end."""
        self._look_elsewhere()
        if self.tracker.is_elsewhere:
            return self.tracker.statuses_elsewhere
        return dict(sorted(self.tracker.statuses.items()))

    def _look_elsewhere(self) -> None:
        """Bring up to date what is known of workers in other processes. Raises StorageError."""
        if not storage.scheme(self.options.output):
            self.tracker.count_records()
        elif self.tracker.failures_elsewhere:
            # Counting takes long there; the last count has to do.
            self.tracker.failures_elsewhere.look()

    def tidy(self) -> None:
        """What a run that is stopped leaves to nobody: neither temporary files nor its lock."""
        storage.sweep(self.options.output, ending=True)
        self._forget_spills()
        if self.locked:
            self.locked.release()

    def _write_so_far(self) -> None:
        """The results and failures so far; what goes wrong with it is not what went wrong."""
        with contextlib.suppress(JobError):
            failures = self.place.uri("failures.csv")
            is_read = any(
                storage.is_same_file(one, failures) for one in find_manifests(self.options.manifest)
            )
            elsewhere = self.tracker.failures_elsewhere
            if self.gatherer:
                reports.write_so_far(self.gatherer, self.place, failures=not is_read)
            elif elsewhere and not is_read:
                # Of what is done the records tell.
                reports.write_failures_csv(elsewhere.lines, self.place)
        self._forget_spills()

    def _forget_spills(self) -> None:
        """Without their report they are of no use; a runner elsewhere may still be writing it."""
        if (self.options.runner or "DirectRunner").lower() == "directrunner":
            with contextlib.suppress(JobError):
                reports.remove_spills(self.place)


def read_summary(place: Place) -> dict[str, Any]:
    """The summary of the run, its last file.

    Raises:
        JobError: there is none, though the runner says that the job has ended.
    """
    uri = place.uri("summary.json")
    try:
        return dict(json.loads(storage.read_bytes(uri)))
    except storage.NotFound as error:
        raise JobError(
            f"The runner says that the job has ended, but it has not written {uri}; look into the "
            "runner's own log, and run the same command again."
        ) from error


def plain_console() -> Console:
    """Prints names and sentences as they are, though they may look like rich's markup or emoji."""
    return Console(markup=False, emoji=False, highlight=False)


def show(summary: dict[str, Any], options: RunOptions) -> None:
    """The closing table: how many of each status, where the images are, how to retry; a verdict."""
    console = plain_console()
    _show_counts(console, f"Run {summary['run']}", summary["statuses"], "all", options)
    if summary["statuses"].keys() - NO_FAILURES:
        failures = summary["failures"]
        allowed = Allowed(options.schemes, options.allow_options, options.allow_private_hosts)
        again = retry_command(failures, options.output, allowed)
        console.print(
            f"Reasons: {failures}\nMend the inputs, then retry just these: {again}", soft_wrap=True
        )
    if line := verdict(summary):
        console.print(line, soft_wrap=True)


def _show_counts(
    console: Console, title: str, statuses: dict[str, int], whole: str, options: RunOptions
) -> None:
    console.print(title)
    table = Table()
    table.add_column("status")
    table.add_column("pairs", justify="right")
    for status, count in statuses.items():
        table.add_row(status, str(count))
    table.add_row(whole, str(sum(statuses.values())), style="bold")
    console.print(table)
    images = storage.join(options.output, "images")
    console.print(f"Images: {images}", soft_wrap=True)
