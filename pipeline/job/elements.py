"""What travels between the stages: rows, files, tasks, outcomes, several at a time."""

from __future__ import annotations

import collections
import logging
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.console import events
from pipeline.records.tasks import Outcome
from pipeline.storage import without_credentials

NAMESPACE = "nst"
_LOGGER = logging.getLogger(__name__)


class Chunk(list[Any]):
    """Rows, files, tasks or outcomes that travel as one element."""


class ChunkCoder(beam.coders.Coder):  # type: ignore[misc]
    """One pickle, in which what they share is there once; Beam's own coder would write each."""

    def encode(self, value: Chunk) -> bytes:
        """As bytes."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Chunk:
        """From bytes."""
        found: Chunk = pickle.loads(encoded)
        return found

    def estimate_size(self, value: Chunk) -> int:
        """Bytes, about: Beam asks often, and would encode to find out."""
        return 1024 * len(value)

    def is_deterministic(self) -> bool:
        """No: nothing is grouped by these."""
        return False


beam.coders.registry.register_coder(Chunk, ChunkCoder)


def at_the_end(value: Any) -> WindowedValue:
    """A value as `finish_bundle` has to give it."""
    window = beam.transforms.window.GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])


def log_outcome(outcome: Outcome) -> None:
    """Say how a row has ended: a failure as a warning."""
    level = logging.WARNING if outcome.failed else logging.INFO
    said = without_credentials(outcome.error or outcome.status)
    _LOGGER.log(level, "%s: %s", outcome.id, said, extra={"pair": outcome.id or ""})


def split(function: Any, *arguments: Any) -> Any:
    """A FlatMap whose tasks go to `todo` and whose outcomes go to `ended`."""
    return beam.FlatMap(function, *arguments).with_outputs("ended", main="todo")


def parted(todo: Chunk, ended: Chunk) -> Iterator[Any]:
    """What goes on, and the outcomes of what does not; neither where there is none."""
    if todo:
        yield todo
    if ended:
        yield ended_output(ended)


def tell(outcomes: Iterable[Outcome], *, were_planned: bool = False) -> None:
    """Tell whoever watches of rows that needed no work, were none, or could not be begun with."""
    for outcome in outcomes:
        events.emit(events.PairEnded(outcome, were_planned))
        log_outcome(outcome)


def ended_output(outcomes: Chunk, *, were_planned: bool = False) -> Any:
    """Outcomes on their way to the reports, told and counted."""
    tell(outcomes, were_planned=were_planned)
    counts = collections.Counter(outcome.status for outcome in outcomes)
    for status, count in counts.items():
        Metrics.counter(NAMESPACE, f"pairs_{status}").inc(count)
    return beam.pvalue.TaggedOutput("ended", outcomes)
