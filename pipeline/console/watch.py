"""For a person watching: a progress bar in a terminal, log lines elsewhere."""

from __future__ import annotations

import collections
import contextlib
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from nst_core.errors import JobError
from pipeline import storage
from pipeline.console import events, logs
from pipeline.console.verdict import duration, verdict
from pipeline.records.tasks import NO_FAILURES, OK, SKIPPED, counts_by_kind
from pipeline.runs.failures_so_far import FailuresSoFar
from pipeline.runs.reports import Place

SECONDS_PER_LINE = 15.0
# The last line of the traceback of an error that is this program's own; Beam logs those of other
# processes with their line breaks escaped.
JOB_ERROR = re.compile(r"(?:\b|(?<=\\n))(?:nst_core|pipeline)\.[\w.]*Error: (?P<sentence>[^\n]+)")
# Beam's loggers for workers whose connection breaks.
LOST_WORKER = (
    "apache_beam.runners.worker.data_plane",
    "apache_beam.runners.portability.fn_api_runner.worker_handlers",
)

_LOGGER = logging.getLogger("nst")


class Show(Protocol):
    """Shows where the run is: in a terminal always, as a line when it is time or `at_once`."""

    def __call__(self, *, at_once: bool = False) -> None: ...


def is_not_said_again(record: logging.LogRecord) -> bool:
    """Whether to log what Beam says: not a `JobError`, which the command says at its end.

    Nor that a worker process has been lost, which `runners.shutdown` tells.
    """
    text = logging.Formatter().format(record)
    return record.name not in LOST_WORKER and JOB_ERROR.search(text) is None


def is_of_no_pair(record: logging.LogRecord) -> bool:
    """Whether to log: not what is logged for every pair, since results and failures.csv have it."""
    return not hasattr(record, "pair")


class Tracker:
    """Counts of this run so far, and where its current optimisation is.

    Args:
        place: of the run, where the workers may be in other processes.
    """

    def __init__(self, place: Place | None = None) -> None:
        self._lock = threading.Lock()
        self.failures_elsewhere = FailuresSoFar(place) if place else None
        self._records_before: int | None = None
        # Takes away what stands in the terminal.
        self.hide: Callable[[], None] = lambda: None
        self.pairs: int | None = None
        self.to_do: int | None = None
        self.planned = self.waiting = 0
        self._statuses: collections.Counter[str] = collections.Counter()
        self.ended_of_planned = self._ended_of_begun = 0
        # By the first pair of each batch that is optimised: its pairs × the share of its steps.
        self._under_way: dict[str, float] = {}
        self._furthest = 0.0
        self.done_elsewhere: int | None = None
        self.current = ""
        self.started = self.last_end = time.monotonic()

    def take(self, event: events.Event) -> None:
        """Count one event."""
        with self._lock:
            if isinstance(event, events.PairsPlanned):
                if not self.planned:
                    # A catalog of which nearly all is done takes minutes before.
                    self.started = self.last_end = time.monotonic()
                self.planned += event.count
                self.waiting = max(0, self.waiting - event.count)
            elif isinstance(event, events.PairsWaiting):
                self.waiting = event.count
            elif isinstance(event, events.CatalogPlanned):
                self.pairs, self.to_do = event.pairs, event.to_do
            elif isinstance(event, events.Compilation):
                self.current = str(event.programs)
            elif isinstance(event, events.Steps):
                now = event.progress
                self._under_way[event.pair_id] = len(now.totals) * now.step / now.steps
                loss = sum(now.totals) / len(now.totals)
                self.current = f"{event.pair_id} step {now.step}/{now.steps} loss {loss:.4g}"
            elif isinstance(event, events.PairEnded):
                self._statuses[event.status] += 1
                self._under_way.pop(event.outcome.id or "", None)
                if event.was_planned:
                    self.ended_of_planned += 1
                if event.was_begun:
                    self._ended_of_begun += 1
                    self.last_end = time.monotonic()

    @property
    def statuses(self) -> collections.Counter[str]:
        """How many pairs have ended with each status, at this moment: others go on to end."""
        with self._lock:
            return self._statuses.copy()

    @property
    def done(self) -> int:
        """Pairs that this run has done."""
        return self.statuses[OK]

    @property
    def skipped(self) -> int:
        """Pairs that were done before."""
        return self.statuses[SKIPPED]

    @property
    def failed(self) -> int:
        """Pairs that could not be done."""
        return counts_by_kind(self.statuses)["failed"]

    @property
    def has_events(self) -> bool:
        """Whether this process's workers have told anything."""
        return bool(self.planned or self._statuses)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the workers are in other processes, as far as is known."""
        return self.failures_elsewhere is not None and not self.has_events

    def count_records(self) -> None:
        """Count what workers in other processes have done since the first call, if there are any.

        And what has failed there.

        Raises:
            StorageError: the records, or the run's own files, cannot be listed.
        """
        if self.failures_elsewhere is None:
            return
        records = storage.join(self.failures_elsewhere.place.output, "records")
        count = sum(1 for _ in storage.list_uris(records))
        if self._records_before is None:
            self._records_before = count
        self.done_elsewhere = count - self._records_before
        self.failures_elsewhere.look()

    @property
    def statuses_elsewhere(self) -> dict[str, int]:
        """What has ended in other processes, as far as is known."""
        failed = self.failures_elsewhere.statuses if self.failures_elsewhere else {}
        done = {OK: self.done_elsewhere} if self.done_elsewhere else {}
        return {**done, **failed}

    @property
    def left(self) -> int:
        """Pairs that are planned and have not ended, and those that wait for others to end.

        A job of Beam's plans some after others; how many there are is foreseen beside it.
        """
        with self._lock:
            found = self.planned - self.ended_of_planned + self.waiting
        if self.failures_elsewhere is None or self.to_do is None:
            return found
        return max(found, self.to_do - self.done - self.failed)

    @property
    def advance(self) -> float:
        """How many pairs' work is done, parts of pairs included; never less than before."""
        with self._lock:
            now = self.ended_of_planned + sum(self._under_way.values())
        self._furthest = max(self._furthest, min(now, self.planned + self.waiting))
        return self._furthest

    def counts(self) -> str:
        """One line for the bar and the log."""
        if self.done_elsewhere is not None and self.is_elsewhere:
            failed = counts_by_kind(self.statuses_elsewhere)["failed"]
            return f"{self.done_elsewhere} done, {failed} failed in other processes"
        return f"{self.done} done, {self.failed} failed, {self.skipped} skipped, {self.left} left"

    def estimate(self) -> str:
        """When the pairs that are left will have ended, if they take as long as those before.

        Pairs of a batch end together, so the time since the last end is time of the next ones.
        Nothing where that has passed already.
        """
        if not (self._ended_of_begun and self.left):
            return ""
        each = (self.last_end - self.started) / self._ended_of_begun
        seconds = each * self.left - (time.monotonic() - self.last_end)
        return f"about {duration(seconds)} left" if seconds > 0 else ""

    def line(self) -> str:
        """The counts, the estimate and the current optimisation."""
        return "; ".join(filter(None, (self.counts(), self.estimate(), self.current)))


@contextlib.contextmanager
def watching(
    *,
    verbose: bool,
    elsewhere: Place | None,
    log_format: logs.LogFormat = "text",
    others: Sequence[events.Listener] = (),
) -> Iterator[Tracker]:
    """Show how the run goes until the block ends; set logging up for it.

    Events of this process tell it. Where the workers are in others, the records and failures that
    appear are counted instead.

    Args:
        elsewhere: the run's place, where workers may be in other processes.
        others: who is to hear of the events too.
    """
    tracker = Tracker(elsewhere)
    console = Console(stderr=True)
    has_bar = sys.stderr.isatty() and log_format == "text"
    shown = _bar(tracker, console) if has_bar else _lines(tracker)
    ended = threading.Event()
    with _logging(console, verbose=verbose, log_format=log_format), shown as show:

        def take(event: events.Event) -> None:
            tracker.take(event)
            for other in others:
                other(event)
            # Nothing else happens for a while.
            show(at_once=isinstance(event, events.Compilation))

        if elsewhere is not None:
            arguments = (tracker, ended, show)
            threading.Thread(target=_count_records, args=arguments, daemon=True).start()
        events.listen(take)
        try:
            yield tracker
        finally:
            events.listen(None)
            ended.set()


def _count_records(tracker: Tracker, ended: threading.Event, show: Show) -> None:
    while not tracker.has_events:
        # A count that fails is no reason to disturb the run, which meets the same storage itself;
        # the next one may not.
        with contextlib.suppress(JobError):
            tracker.count_records()
            show()
        if ended.wait(SECONDS_PER_LINE):
            break


@contextlib.contextmanager
def _bar(tracker: Tracker, console: Console) -> Iterator[Show]:
    columns = (
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[estimate]}", style="cyan"),
        TextColumn("{task.fields[current]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("planning", total=None, estimate="", current="")
        tracker.hide = bar.stop

        def show(*, at_once: bool = False) -> None:  # noqa: ARG001 (always)
            bar.update(
                task,
                total=tracker.planned + tracker.waiting or None,
                completed=tracker.advance,
                description=tracker.counts(),
                estimate=tracker.estimate(),
                current=tracker.current,
            )

        yield show


@contextlib.contextmanager
def _lines(tracker: Tracker) -> Iterator[Show]:
    last = time.monotonic()

    def show(*, at_once: bool = False) -> None:
        nonlocal last
        if at_once or time.monotonic() - last >= SECONDS_PER_LINE:
            last = time.monotonic()
            _LOGGER.info("%s", tracker.line())

    yield show


def log_stopped(run: str, statuses: dict[str, int]) -> None:
    """What a run that was stopped has done, as an entry of the log."""
    summary = {"run": run, "statuses": statuses}
    message = f"Run {run} was stopped: {_counts(statuses)}"
    _LOGGER.warning(message, extra={"summary": summary})


def _counts(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in statuses.items()) or "no pairs"


def log_summary(summary: dict[str, Any]) -> None:
    """How the run ended, as an entry of the log."""
    failed = summary["statuses"].keys() - NO_FAILURES
    reasons = f"; reasons: {summary['failures']}" if failed else ""
    level = logging.WARNING if failed else logging.INFO
    said = "; ".join(filter(None, (_counts(summary["statuses"]), verdict(summary))))
    message = f"Run {summary['run']} ended: {said}{reasons}"
    _LOGGER.log(level, message, extra={"summary": summary})


def _handler(console: Console, *, verbose: bool, log_format: logs.LogFormat) -> logging.Handler:
    if log_format == "json":
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(logs.JsonFormatter())
    elif console.is_terminal:
        handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logs.TextFormatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logs.TextFormatter("%(asctime)s %(message)s"))
    if not verbose:
        handler.addFilter(is_not_said_again)
        if log_format == "text":
            handler.addFilter(is_of_no_pair)
    return handler


@contextlib.contextmanager
def _logging(console: Console, *, verbose: bool, log_format: logs.LogFormat) -> Iterator[None]:
    """Warnings (with `verbose`, everything of note) to stderr, above the bar."""
    root = logging.getLogger()
    handler = _handler(console, verbose=verbose, log_format=log_format)
    logging.captureWarnings(log_format == "json")
    own_before, before = _LOGGER.level, root.level
    _LOGGER.setLevel(logging.INFO)
    root.addHandler(handler)
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    beam = logging.getLogger("apache_beam")
    beam_before = beam.level
    # Beam warns of much that is not the user's concern, and its workers' own lines pass there.
    beam.setLevel(logging.INFO if verbose else logging.ERROR)
    if not verbose:
        # At the process's very end, long past this, it warns that it ends the job server.
        logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)
    try:
        yield
    finally:
        beam.setLevel(beam_before)
        root.setLevel(before)
        _LOGGER.setLevel(own_before)
        root.removeHandler(handler)
        logging.captureWarnings(False)
