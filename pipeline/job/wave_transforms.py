"""One wave of a run whose workers are in this process: tasks from its memory, outcomes into it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from pipeline.job.elements import Chunk
from pipeline.records.tasks import Outcome, Task

TASKS_AT_ONCE = 8192

Taker = Callable[[Sequence[Outcome]], None]

# By run: a process can have several at once.
_waves: dict[str, tuple[Sequence[Task], Taker]] = {}
_taking = threading.Lock()


@contextlib.contextmanager
def handing_over(run: str, tasks: Sequence[Task], take: Taker) -> Iterator[None]:
    """In this block a pipeline's `TakeTasks` has these tasks, and its `GiveOutcomes` this taker."""
    _waves[run] = tasks, take
    try:
        yield
    finally:
        del _waves[run]


class TakeTasks(beam.PTransform):  # type: ignore[misc]
    """The tasks of the run's wave; Beam would write each of them to carry it here."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run = run

    def expand(self, begin: Any) -> Any:
        """PBegin → PCollection[Chunk of Task]."""
        return begin | beam.Impulse() | beam.FlatMap(_tasks, self.run).with_output_types(Chunk)


class GiveOutcomes(beam.PTransform):  # type: ignore[misc]
    """The outcomes of the run's wave to who takes them."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run = run

    def expand(self, outcomes: Any) -> Any:
        """PCollection[Chunk of Outcome] → PCollection of nothing."""
        return outcomes | beam.Map(_give, self.run)


def _tasks(_: bytes, run: str) -> Iterator[Chunk]:
    tasks, _take = _waves[run]
    for start in range(0, len(tasks), TASKS_AT_ONCE):
        yield Chunk(tasks[start : start + TASKS_AT_ONCE])


def _give(outcomes: Chunk, run: str) -> None:
    with _taking:
        _waves[run][1](outcomes)
