"""The stages as Beam transforms: they only wire; the logic is in plain functions elsewhere.

Rows, files, tasks and outcomes travel several at a time: what Beam does for every element costs
more than what a pair that is done already needs.
"""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import itertools
import logging
import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from nst_core.config import StyleConfig
from pipeline import planning, progress
from pipeline.budget import Failures
from pipeline.dataflow import resource_hints
from pipeline.engines import Engines
from pipeline.gpus import Gpu
from pipeline.inputs import Headers
from pipeline.manifest import Row, find_manifests, read_rows
from pipeline.options import RunOptions
from pipeline.output_files import Existing, family_of, list_existing, list_readings
from pipeline.pairs import Batch, Outcome, RowNumber, Task
from pipeline.resolving import Families, OnExisting, id_of
from pipeline.work import Studio

NAMESPACE = "nst"
HEADER_THREADS = 16
HEADERS_AT_ONCE = 256
READ_AT_ONCE = 8192  # rows or files in one list
BUCKETS = 256  # of ids: all rows and files of a family of ids are in one

_LOGGER = logging.getLogger(__name__)


class Several(list[Any]):
    """Rows, files, tasks or outcomes that travel as one element."""


class SeveralCoder(beam.coders.Coder):  # type: ignore[misc]
    """One pickle, in which what they share is there once; Beam's own coder would write each."""

    def encode(self, value: Several) -> bytes:
        """As bytes."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Several:
        """From bytes."""
        found: Several = pickle.loads(encoded)
        return found

    def estimate_size(self, value: Several) -> int:
        """Bytes, about: Beam asks often, and would encode to find out."""
        return 1024 * len(value)

    def is_deterministic(self) -> bool:
        """No: nothing is grouped by these."""
        return False


beam.coders.registry.register_coder(Several, SeveralCoder)


def counts_of(outcomes: Iterable[Outcome]) -> Iterable[tuple[str, int]]:
    """How many there are of each status."""
    return collections.Counter(outcome.status for outcome in outcomes).items()


def at_the_end(value: Any) -> WindowedValue:
    """A value as `finish_bundle` has to give it."""
    window = beam.transforms.window.GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])


class ReadCatalog(beam.PTransform):  # type: ignore[misc]
    """The rows of the manifests, each with its manifest, and the output's files, in any order.

    In one collection: to bring two together, Beam would carry every element once more.
    """

    def __init__(self, manifest: str, output: str) -> None:
        super().__init__()
        self.manifest = manifest
        self.output = output

    def expand(self, begin: Any) -> Any:
        """PBegin → PCollection[Several], each of manifest with Row or of id with Existing."""
        places = [("rows", manifest) for manifest in find_manifests(self.manifest)]
        places.append(("files", self.output))
        return begin | beam.Create(places) | beam.FlatMap(_read).with_output_types(Several)


class PlanPairs(beam.PTransform):  # type: ignore[misc]
    """Rows and files → `todo` (tasks) and `ended` (outcomes of rows that need no work)."""

    def __init__(self, options: RunOptions, failures: Failures) -> None:
        super().__init__()
        self.options = options
        self.failures = failures

    def expand(self, catalog: Any) -> Any:
        """`ReadCatalog`'s → `todo` [Several of Task], `ended`, some [Several of Outcome]."""
        options = self.options
        arguments = options.output, options.config, options.schemes, self.failures
        planned = catalog | "PlanRows" >> _split(_plan, *arguments)
        resolved = (
            planned.todo
            | "ByBucket" >> beam.FlatMap(_by_bucket).with_output_types(tuple[int, Several])
            | beam.GroupByKey()
            | "ResolveIds" >> _split(_resolve, options.output, options.on_existing, self.failures)
        )
        todo, ended = resolved.todo, [planned.ended, resolved.ended]
        if options.limit is not None:
            within = todo | TakeFirst(options.limit)
            todo, ended = within.todo, [*ended, within.ended]
        return {"todo": todo, "ended": ended}


class TakeFirst(beam.PTransform):  # type: ignore[misc]
    """Tasks → `todo`, so many that are the first of the manifest, and `ended`, the others."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def expand(self, tasks: Any) -> Any:
        """PCollection[Several of Task] → `todo`, the same, and `ended` [Several of Outcome]."""
        numbers = (
            tasks
            | beam.FlatMap(lambda several: [task.number for task in several])
            | beam.combiners.Top.Smallest(self.limit)
        )
        return tasks | "Postpone" >> _split(_within, beam.pvalue.AsSingleton(numbers))


class FormBatches(beam.PTransform):  # type: ignore[misc]
    """Tasks → `batches` of one canvas, style set and configuration, and `ended` (failures)."""

    def __init__(self, batch_size: int, failures: Failures) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.failures = failures

    def expand(self, tasks: Any) -> Any:
        """PCollection[Several of Task] → `batches` [Batch] and `ended` [Several of Outcome]."""
        keyed = tasks | "ReadHeaders" >> beam.ParDo(
            KeyByCanvas(self.batch_size, self.failures)
        ).with_outputs("full", "ended", main="rests")
        of_rests = (
            keyed.rests
            | beam.GroupByKey()
            | beam.FlatMap(_batches, self.batch_size).with_output_types(Batch)
        )
        # Batches of one key go to every worker, not only to the one that formed them.
        batches = (keyed.full, of_rests) | beam.Flatten() | beam.Reshuffle()
        return {"batches": batches, "ended": keyed.ended}


class KeyByCanvas(beam.DoFn):  # type: ignore[misc]
    """Reads the contents' headers, many at once: each is a round trip to the storage.

    Forms the batches that it can fill, so that only what is left of each key has to be grouped:
    a runner may want all of a group in memory, and a whole catalog can have one key.
    """

    def __init__(self, batch_size: int, failures: Failures) -> None:
        self._batch_size = batch_size
        self._failures = failures

    def setup(self) -> None:
        """Start the threads."""
        self._headers = Headers()
        self._threads = concurrent.futures.ThreadPoolExecutor(HEADER_THREADS)

    def start_bundle(self) -> None:
        """Begin with nothing waiting."""
        self._waiting: list[Task] = []
        self._rests: collections.defaultdict[str, Several] = collections.defaultdict(Several)

    def process(self, tasks: Several) -> Iterator[Any]:
        """Keep the tasks until there are many."""
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
        tasks, self._waiting = self._waiting, []
        keys = self._threads.map(
            functools.partial(planning.batch_key, headers=self._headers), tasks
        )
        ended = Several()
        for task, key in zip(tasks, keys, strict=True):
            self._failures.take("contents", key if isinstance(key, Outcome) else None)
            if isinstance(key, Outcome):
                ended.append(key)
                continue
            progress.emit(progress.PairPlanned())
            alike = self._rests[key]
            alike.append(task)
            if len(alike) == planning.most_in_a_batch(key, self._batch_size):
                yield beam.pvalue.TaggedOutput("full", Batch(tuple(self._rests.pop(key))))
        if ended:
            yield _ended(ended)


class Stylize(beam.PTransform):  # type: ignore[misc]
    """Batches → outcomes, with the images, loss logs and records written."""

    def __init__(self, output: str, run: str, gpu: Gpu | None, failures: Failures) -> None:
        super().__init__()
        self.output = output
        self.run = run
        self.gpu = gpu
        self.failures = failures

    def expand(self, batches: Any) -> Any:
        """PCollection[Batch] → PCollection[Several of Outcome]."""
        do = StylizeBatches(self.output, self.run, self.failures)
        stylize = beam.ParDo(do).with_output_types(Several)
        if self.gpu:
            stylize = stylize.with_resource_hints(**resource_hints(self.gpu))
        return batches | stylize


class StylizeBatches(beam.DoFn):  # type: ignore[misc]
    """One `Studio` per instance; the networks are shared by all instances of a process."""

    def __init__(self, output: str, run: str, failures: Failures) -> None:
        self._output = output
        self._run = run
        self._failures = failures
        self._shared = Shared()

    def setup(self) -> None:
        """Take hold of the process's engines; none is loaded yet."""
        self._engines = self._shared.acquire(Engines)
        self._studio = Studio(self._output, self._run, self._engines.engine_for)

    def process(self, batch: Batch) -> Iterator[Several]:
        """The outcomes of the batch's tasks."""
        loaded = self._engines.loaded
        outcomes = Several()
        for outcome in self._studio.process(batch):
            _log(outcome)
            outcomes.append(outcome)
        # After the whole batch: what is done of it stays done.
        self._failures.take("pairs", *outcomes)
        yield outcomes
        self._studio.tally.count("networks_loaded", self._engines.loaded - loaded)
        for name, amount, is_distribution in self._studio.tally.take():
            if is_distribution:
                Metrics.distribution(NAMESPACE, name).update(amount)
            else:
                Metrics.counter(NAMESPACE, name).inc(amount)

    def teardown(self) -> None:
        """Let the threads go."""
        self._studio.close()


def _batches(keyed: tuple[str, Iterable[Several]], batch_size: int) -> Iterator[Batch]:
    key, rests = keyed
    return planning.batches(key, itertools.chain.from_iterable(rests), batch_size)


def _read(place: tuple[str, str]) -> Iterator[Several]:
    kind, uri = place
    entries: Iterator[tuple[str, Row | Existing]] = (
        ((uri, row) for row in read_rows(uri)) if kind == "rows" else list_existing(uri)
    )
    while some := Several(itertools.islice(entries, READ_AT_ONCE)):
        yield some


def _by_bucket(values: Several) -> Iterable[tuple[int, Several]]:
    buckets: collections.defaultdict[int, Several] = collections.defaultdict(Several)
    for value in values:
        name, entry = value if isinstance(value, tuple) else (id_of(value), value)
        buckets[zlib.crc32(family_of(name).encode()) % BUCKETS].append((name, entry))
    return buckets.items()


def _resolve(
    entry: tuple[int, Iterable[Several]],
    output: str,
    on_existing: OnExisting,
    failures: Failures,
) -> Iterator[Any]:
    families, tasks = Families(), set()
    for name, value in itertools.chain.from_iterable(entry[1]):
        families.add(name, value)
        if isinstance(value, Task):
            tasks.add(value.number)
    todo, ended = Several(), Several()
    for row in families.resolve(output, on_existing):
        if row.number in tasks:  # Else it has failed, and been counted, before.
            failures.take("ids", row if isinstance(row, Outcome) else None)
        (todo if isinstance(row, Task) else ended).append(row)
    yield from _parted(todo, ended)


def _within(tasks: Several, first: list[RowNumber]) -> Iterator[Any]:
    """Those tasks that are among the first, by their numbers in order, and the others' outcomes."""
    todo = Several(task for task in tasks if task.number <= first[-1])
    ended = Several(planning.postponed(task) for task in tasks if task.number > first[-1])
    yield from _parted(todo, ended)


def _log(outcome: Outcome) -> None:
    level = logging.WARNING if outcome.failed else logging.INFO
    said = outcome.error or outcome.status
    _LOGGER.log(level, "%s: %s", outcome.id, said, extra={"pair": outcome.id or ""})


def _split(function: Any, *arguments: Any) -> Any:
    """A FlatMap whose tasks go to `todo` and whose outcomes go to `ended`."""
    return beam.FlatMap(function, *arguments).with_outputs("ended", main="todo")


def _parted(todo: Several, ended: Several) -> Iterator[Any]:
    """What goes on, and the outcomes of what does not; neither where there is none."""
    if todo:
        yield todo
    if ended:
        yield _ended(ended)


def _ended(outcomes: Several) -> Any:
    """Outcomes on their way to the reports, told and counted."""
    for outcome in outcomes:
        progress.emit(progress.PairEnded(outcome.status, False))
        _log(outcome)
    for status, count in counts_of(outcomes):
        Metrics.counter(NAMESPACE, f"pairs_{status}").inc(count)
    return beam.pvalue.TaggedOutput("ended", outcomes)


def _plan(
    entries: Several,
    output: str,
    config: StyleConfig,
    schemes: Sequence[str],
    failures: Failures,
) -> Iterator[Any]:
    planned, ended = Several(), Several()
    for entry in entries:
        if isinstance(entry[1], Existing):
            planned.append(entry)
            continue
        row = planning.plan_row(entry[1], entry[0], config, schemes)
        failures.take("rows", row if isinstance(row, Outcome) else None)
        # Failures with an id are resolved like tasks: they may be the first of their id.
        if id_of(row) is not None:
            planned.append(row)
            planned += list_readings(row, output)
        else:
            ended.append(row)
    yield from _parted(planned, ended)
