"""For a person watching: a progress bar in a terminal, log lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline import progress
from pipeline.pairs import OK, SKIPPED

SECONDS_PER_LINE = 15.0

_LOGGER = logging.getLogger("nst")


class Tracker:
    """Counts of this run so far, and where its current optimisation is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.planned = 0
        self.done = 0
        self.failed = 0
        self.skipped = 0
        self.ended_of_planned = 0
        self.current = ""
        self.started = time.monotonic()

    def take(self, event: progress.Event) -> None:
        """Count one event."""
        with self._lock:
            if isinstance(event, progress.PairPlanned):
                self.planned += 1
            elif isinstance(event, progress.Steps):
                now = event.progress
                loss = sum(now.totals) / len(now.totals)
                self.current = f"{event.pair_id} step {now.step}/{now.steps} loss {loss:.4g}"
            else:
                self.done += event.status == OK
                self.skipped += event.status == SKIPPED
                self.failed += event.status not in (OK, SKIPPED)
                self.ended_of_planned += event.was_planned

    @property
    def left(self) -> int:
        """Pairs that are planned and have not ended."""
        return self.planned - self.ended_of_planned

    def counts(self) -> str:
        """One line for the bar and the log."""
        return f"{self.done} done, {self.failed} failed, {self.skipped} skipped, {self.left} left"

    def line(self) -> str:
        """The counts, the estimate and the current optimisation."""
        parts = [self.counts()]
        if self.ended_of_planned and self.left:
            elapsed = time.monotonic() - self.started
            minutes = elapsed / self.ended_of_planned * self.left / 60
            parts.append(f"about {minutes:.1f} min left")
        return "; ".join([*parts, self.current] if self.current else parts)


@contextlib.contextmanager
def watching(*, verbose: bool) -> Iterator[None]:
    """Show the events of this process until the block ends; set logging up for it."""
    tracker = Tracker()
    console = Console(stderr=True)
    shown = _bar(tracker, console) if sys.stderr.isatty() else _lines(tracker)
    with _logging(console, verbose=verbose), shown:
        try:
            yield
        finally:
            progress.listen(None)


@contextlib.contextmanager
def _bar(tracker: Tracker, console: Console) -> Iterator[None]:
    columns = (
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[current]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("planning", total=None, current="")

        def show(event: progress.Event) -> None:
            tracker.take(event)
            bar.update(
                task,
                total=tracker.planned or None,
                completed=tracker.ended_of_planned,
                description=tracker.counts(),
                current=tracker.current,
            )

        progress.listen(show)
        yield


@contextlib.contextmanager
def _lines(tracker: Tracker) -> Iterator[None]:
    last = time.monotonic()

    def show(event: progress.Event) -> None:
        nonlocal last
        tracker.take(event)
        if time.monotonic() - last >= SECONDS_PER_LINE:
            last = time.monotonic()
            _LOGGER.warning("%s", tracker.line())

    progress.listen(show)
    yield


@contextlib.contextmanager
def _logging(console: Console, *, verbose: bool) -> Iterator[None]:
    """Warnings (with `verbose`, everything of note) to stderr, above the bar."""
    root = logging.getLogger()
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
