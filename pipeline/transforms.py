"""The stages as Beam transforms: they only wire; the logic is in plain functions elsewhere."""

from __future__ import annotations

import concurrent.futures
import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from nst_core.config import StyleConfig
from pipeline import planning, progress, reports, result_lines
from pipeline.budget import Failures
from pipeline.dataflow import resource_hints
from pipeline.engines import Engines
from pipeline.gpus import Gpu
from pipeline.inputs import Headers
from pipeline.manifest import Row, find_manifests, read_rows
from pipeline.options import RunOptions
from pipeline.pairs import PACKED_TASK, Batch, Outcome, RowNumber, Task
from pipeline.planning import Existing, OnExisting
from pipeline.reports import Place
from pipeline.work import Studio

NAMESPACE = "nst"
HEADER_THREADS = 16
HEADERS_AT_ONCE = 256

_LOGGER = logging.getLogger(__name__)


class ReadCatalog(beam.PTransform):  # type: ignore[misc]
    """The rows of the manifests, each with its manifest, and the output's files, in any order.

    In one collection: to bring two together, Beam would carry every element once more.
    """

    def __init__(self, manifest: str, output: str) -> None:
        super().__init__()
        self.manifest = manifest
        self.output = output

    def expand(self, begin: Any) -> Any:
        """PBegin → PCollection of manifest with Row, and of id with Existing."""
        places = [("rows", manifest) for manifest in find_manifests(self.manifest)]
        places.append(("files", self.output))
        return begin | beam.Create(places) | beam.FlatMap(_read).with_output_types(Any)


class PlanPairs(beam.PTransform):  # type: ignore[misc]
    """Rows and files → `todo` (tasks) and `ended` (outcomes of rows that need no work)."""

    def __init__(self, options: RunOptions, failures: Failures) -> None:
        super().__init__()
        self.options = options
        self.failures = failures

    def expand(self, catalog: Any) -> Any:
        """What `ReadCatalog` gives → `todo`, a PCollection[Task], `ended`, several of [Outcome]."""
        options = self.options
        arguments = options.config, options.schemes, self.failures
        planned = catalog | "PlanRow" >> _split(_plan, *arguments)
        resolved = (
            planned.todo
            | "ById" >> beam.Map(_by_id).with_output_types(tuple[str, Any])
            | beam.GroupByKey()
            | "ResolveId" >> _split(_resolve, options.output, options.on_existing, self.failures)
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
        """PCollection[Task] → tagged PCollections `todo` [Task], `ended` [Outcome]."""
        numbers = (
            tasks | beam.Map(lambda task: task.number) | beam.combiners.Top.Smallest(self.limit)
        )
        return tasks | "Postpone" >> _split(_within, beam.pvalue.AsSingleton(numbers))


class FormBatches(beam.PTransform):  # type: ignore[misc]
    """Tasks → `batches` of one canvas, style set and configuration, and `ended` (failures)."""

    def __init__(self, batch_size: int, failures: Failures) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.failures = failures

    def expand(self, tasks: Any) -> Any:
        """PCollection[Task] → dict of PCollections `batches` [Batch], `ended` [Outcome]."""
        keyed = tasks | "ReadHeaders" >> beam.ParDo(KeyByCanvas(self.failures)).with_outputs(
            "ended", main="todo"
        )
        batches = (
            keyed.todo
            | beam.GroupByKey()
            | beam.FlatMap(_batches, self.batch_size).with_output_types(Batch)
            # Batches of one key go to every worker, not only to the one that formed them.
            | beam.Reshuffle()
        )
        return {"batches": batches, "ended": keyed.ended}


class KeyByCanvas(beam.DoFn):  # type: ignore[misc]
    """Reads the contents' headers, many at once: each is a round trip to the storage."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures

    def setup(self) -> None:
        """Start the threads."""
        self._headers = Headers()
        self._threads = concurrent.futures.ThreadPoolExecutor(HEADER_THREADS)

    def start_bundle(self) -> None:
        """Begin with nothing waiting."""
        self._waiting: list[Task] = []

    def process(self, task: Task) -> Iterator[Any]:
        """Keep the task until there are many."""
        self._waiting.append(task)
        if len(self._waiting) >= HEADERS_AT_ONCE:
            yield from self._keyed()

    def finish_bundle(self) -> Iterator[Any]:
        """The rest."""
        window = beam.transforms.window.GlobalWindow()
        for value in self._keyed():
            if isinstance(value, beam.pvalue.TaggedOutput):
                windowed = WindowedValue(value.value, window.max_timestamp(), [window])
                yield beam.pvalue.TaggedOutput(value.tag, windowed)
            else:
                yield WindowedValue(value, window.max_timestamp(), [window])

    def teardown(self) -> None:
        """Let the threads go."""
        self._threads.shutdown()

    def _keyed(self) -> Iterator[Any]:
        tasks, self._waiting = self._waiting, []
        keys = self._threads.map(
            functools.partial(planning.batch_key, headers=self._headers), tasks
        )
        for task, key in zip(tasks, keys, strict=True):
            self._failures.take("contents", key if isinstance(key, Outcome) else None)
            if isinstance(key, Outcome):
                yield _ended(key)
            else:
                progress.emit(progress.PairPlanned())
                yield key, task


class Stylize(beam.PTransform):  # type: ignore[misc]
    """Batches → outcomes, with the images, loss logs and records written."""

    def __init__(self, output: str, run: str, gpu: Gpu | None, failures: Failures) -> None:
        super().__init__()
        self.output = output
        self.run = run
        self.gpu = gpu
        self.failures = failures

    def expand(self, batches: Any) -> Any:
        """PCollection[Batch] → PCollection[Outcome]."""
        do = StylizeBatches(self.output, self.run, self.failures)
        stylize = beam.ParDo(do).with_output_types(Outcome)
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

    def process(self, batch: Batch) -> Iterator[Outcome]:
        """The outcomes of the batch's tasks."""
        loaded = self._engines.loaded
        outcomes = []
        for outcome in self._studio.process(batch):
            _log(outcome)
            outcomes.append(outcome)
        # After the whole batch: what is done of it stays done.
        self._failures.take("pairs", *outcomes)
        yield from outcomes
        self._studio.tally.count("networks_loaded", self._engines.loaded - loaded)
        for name, amount, is_distribution in self._studio.tally.take():
            if is_distribution:
                Metrics.distribution(NAMESPACE, name).update(amount)
            else:
                Metrics.counter(NAMESPACE, name).inc(amount)

    def teardown(self) -> None:
        """Let the threads go."""
        self._studio.close()


class WriteReports(beam.PTransform):  # type: ignore[misc]
    """Outcomes → results, failures.csv, and last the summary."""

    def __init__(self, place: Place, about: dict[str, Any]) -> None:
        super().__init__()
        self.place = place
        self.about = about

    def expand(self, outcomes: Any) -> Any:
        """PCollection[Outcome] → PCollection with the one summary."""
        written = (
            outcomes
            | beam.Map(_by_shard, self.place.shards).with_output_types(tuple[int, bytes])
            | beam.GroupByKey()
            | beam.Map(_write_results, self.place)
        )
        once = outcomes.pipeline | beam.Create([None])
        failed = outcomes | beam.Filter(lambda outcome: outcome.failed)
        failures = once | "WriteFailures" >> beam.Map(
            lambda _, failed, place: reports.write_failures_csv(failed, place),
            beam.pvalue.AsIter(failed),
            self.place,
        )
        counts = (
            outcomes
            | beam.Map(lambda outcome: outcome.status)
            | beam.combiners.Count.PerElement()
            | beam.combiners.ToDict()
        )
        return once | "WriteSummary" >> beam.Map(
            _write_summary,
            beam.pvalue.AsSingleton(counts),
            beam.pvalue.AsIter(written),
            beam.pvalue.AsIter(failures),
            self.place,
            self.about,
        )


def _write_results(shard: tuple[int, Iterable[bytes]], place: Place) -> str:
    return reports.write_results(*shard, place)


def _write_summary(
    _: None,
    counts: dict[str, int],
    written: Iterable[str],
    failures: Iterable[str],
    place: Place,
    about: dict[str, Any],
) -> dict[str, Any]:
    list(failures)  # Not used, but awaited: the summary is the last file.
    return reports.write_summary(counts, written, place, about)


def _batches(keyed: tuple[str, Iterable[Task]], batch_size: int) -> Iterator[Batch]:
    return planning.batches(*keyed, batch_size)


def _by_shard(outcome: Outcome, shards: int) -> tuple[int, bytes]:
    return reports.shard_of(outcome, shards), result_lines.line_of(outcome)


def _read(place: tuple[str, str]) -> Iterator[tuple[str, Row | Existing]]:
    kind, uri = place
    if kind == "rows":
        yield from ((uri, row) for row in read_rows(uri))
    else:
        yield from planning.list_existing(uri)


def _by_id(value: Task | Outcome | tuple[str, Existing]) -> tuple[str | None, Any]:
    """By id: a task or a file as plain values, a failure as it is."""
    if isinstance(value, tuple):
        return value[0], (value[1].kind, value[1].mark)
    return planning.id_of(value), value.packed() if isinstance(value, Task) else value


def _resolve(
    entry: tuple[str, Iterable[Any]], output: str, on_existing: OnExisting, failures: Failures
) -> Iterator[Any]:
    rows: list[Task | Outcome] = []
    files = []
    for value in entry[1]:
        if isinstance(value, Outcome):
            rows.append(value)
        elif value[0] == PACKED_TASK:
            rows.append(Task.unpacked(value))
        else:
            files.append(Existing(*value))
    if rows:  # Otherwise a file of another catalog in the same output.
        tasks = {row.number for row in rows if isinstance(row, Task)}
        for row in planning.resolve_id(rows, files, output, on_existing):
            if row.number in tasks:  # Else it has failed, and been counted, before.
                failures.take("ids", row if isinstance(row, Outcome) else None)
            yield _tagged(row)


def _within(task: Task, first: list[RowNumber]) -> Iterator[Any]:
    """Whether the task is among the first, by their numbers in order."""
    yield task if task.number <= first[-1] else _tagged(planning.postponed(task))


def _log(outcome: Outcome) -> None:
    level = logging.WARNING if outcome.failed else logging.INFO
    said = outcome.error or outcome.status
    _LOGGER.log(level, "%s: %s", outcome.id, said, extra={"pair": outcome.id or ""})


def _split(function: Any, *arguments: Any) -> Any:
    """A FlatMap whose tasks go to `todo` and whose outcomes go to `ended`."""
    return beam.FlatMap(function, *arguments).with_outputs("ended", main="todo")


def _tagged(value: Task | Outcome) -> Any:
    return _ended(value) if isinstance(value, Outcome) else value


def _ended(outcome: Outcome) -> Any:
    """An outcome on its way to the reports, told and counted."""
    progress.emit(progress.PairEnded(outcome.status, False))
    _counter(f"pairs_{outcome.status}").inc()
    _log(outcome)
    return beam.pvalue.TaggedOutput("ended", outcome)


@functools.cache
def _counter(name: str) -> Any:
    return Metrics.counter(NAMESPACE, name)


def _plan(
    entry: tuple[str, Row | Existing],
    config: StyleConfig,
    schemes: Sequence[str],
    failures: Failures,
) -> Iterator[Any]:
    manifest, row = entry
    if isinstance(row, Existing):
        yield entry
        return
    planned = planning.plan_row(row, manifest, config, schemes)
    failures.take("rows", planned if isinstance(planned, Outcome) else None)
    # Failures with an id are resolved like tasks: they may be the first of their id.
    if isinstance(planned, Task) or planned.id is not None:
        yield planned
    else:
        yield _ended(planned)
