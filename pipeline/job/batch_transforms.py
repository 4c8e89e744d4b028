"""Tasks to batches of one canvas and configuration, as Beam transforms."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from pipeline import storage
from pipeline.console import events
from pipeline.job import planning
from pipeline.job.budget import Failures
from pipeline.job.elements import Chunk, at_the_end, ended_output
from pipeline.job.options import RunOptions
from pipeline.records.tasks import Batch, Outcome, Task
from pipeline.worker.inputs import Headers

HEADER_THREADS = 16
HEADERS_AT_ONCE = 256


class FormBatches(beam.PTransform):  # type: ignore[misc]
    """Tasks → `batches` of one canvas and configuration, and `ended` (failures)."""

    def __init__(self, options: RunOptions, failures: Failures) -> None:
        super().__init__()
        self.options = options
        self.failures = failures

    def expand(self, tasks: Any) -> Any:
        """PCollection[Chunk of Task] → `batches` [Batch] and `ended` [Chunk of Outcome]."""
        keyed = tasks | "ReadHeaders" >> beam.ParDo(
            KeyByCanvas(self.options, self.failures)
        ).with_outputs("full", "ended", main="rests")
        of_rests = (
            keyed.rests
            | beam.GroupByKey()
            | beam.FlatMap(_batches, self.options.batch_size).with_output_types(Batch)
        )
        # Batches of one key go to every worker, not only to the one that formed them.
        batches = (keyed.full, of_rests) | beam.Flatten() | beam.Reshuffle()
        return {"batches": batches, "ended": keyed.ended}


class KeyByCanvas(beam.DoFn):  # type: ignore[misc]
    """Reads the contents' headers, many at once: each is a round trip to the storage.

    Forms the batches that it can fill, so that only what is left of each key has to be grouped:
    a runner may want all of a group in memory, and a whole catalog can have one key.
    """

    def __init__(self, options: RunOptions, failures: Failures) -> None:
        self._options = options
        self._failures = failures

    def setup(self) -> None:
        """Start the threads."""
        storage.allow_private_hosts(self._options.allow_private_hosts)
        self._headers = Headers()
        self._threads = concurrent.futures.ThreadPoolExecutor(HEADER_THREADS)

    def start_bundle(self) -> None:
        """Begin with nothing waiting."""
        self._waiting: list[Task] = []
        self._rests: collections.defaultdict[str, Chunk] = collections.defaultdict(Chunk)

    def process(self, tasks: Chunk) -> Iterator[Any]:
        """Keep the tasks until there are many."""
        events.emit(events.PairsPlanned(len(tasks)))
        self._waiting += tasks
        if len(self._waiting) >= HEADERS_AT_ONCE:
            yield from self._formed()

    def finish_bundle(self) -> Iterator[Any]:
        """The last batches, and what is left of each key."""
        for tagged in self._formed():
            yield beam.pvalue.TaggedOutput(tagged.tag, at_the_end(tagged.value))
        yield from map(at_the_end, self._rests.items())

    def teardown(self) -> None:
        """Let the threads go."""
        self._threads.shutdown()

    def _formed(self) -> Iterator[Any]:
        tasks, self._waiting = iter(self._waiting), []
        while some := list(itertools.islice(tasks, HEADERS_AT_ONCE)):
            yield from self._keyed(some)

    def _keyed(self, tasks: Sequence[Task]) -> Iterator[Any]:
        key_of = functools.partial(planning.batch_key, headers=self._headers)
        keys = list(self._threads.map(key_of, tasks))
        ended = Chunk(key for key in keys if isinstance(key, Outcome))
        # Told before they are too many: a run that stops for that has them in its failures.
        output = [ended_output(ended, were_planned=True)] if ended else []
        for key in keys:
            self._failures.take("contents", key)
        for task, key in zip(tasks, keys, strict=True):
            if isinstance(key, Outcome):
                continue
            alike = self._rests[key]
            alike.append(task)
            if len(alike) == planning.most_in_a_batch(key, self._options.batch_size):
                full = planning.batch_of(key, self._rests.pop(key))
                yield beam.pvalue.TaggedOutput("full", full)
        yield from output


def _batches(keyed: tuple[str, Iterable[Chunk]], batch_size: int | None) -> Iterator[Batch]:
    key, rests = keyed
    return planning.batches(key, itertools.chain.from_iterable(rests), batch_size)
