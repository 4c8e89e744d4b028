"""The stages as Beam transforms: they only wire; the logic is in plain functions elsewhere."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from nst_core.config import StyleConfig
from pipeline import planning, progress, reports
from pipeline.dataflow import resource_hints
from pipeline.engines import Engines
from pipeline.gpus import Gpu
from pipeline.manifest import Row, find_manifests, read_rows
from pipeline.pairs import Batch, Outcome, Task
from pipeline.planning import Existing, OnExisting
from pipeline.reports import Place
from pipeline.work import Studio

NAMESPACE = "nst"
HEADER_THREADS = 16
HEADERS_AT_ONCE = 256

_LOGGER = logging.getLogger(__name__)


class ReadManifest(beam.PTransform):  # type: ignore[misc]
    """The rows of the manifests, each with its manifest, in any order, spread over the workers."""

    def __init__(self, manifest: str) -> None:
        super().__init__()
        self.manifest = manifest

    def expand(self, begin: Any) -> Any:
        """PBegin → PCollection[tuple[str, Row]]."""
        manifests = begin | beam.Create(find_manifests(self.manifest))
        return manifests | beam.FlatMap(_rows).with_output_types(tuple[str, Row])


class PlanPairs(beam.PTransform):  # type: ignore[misc]
    """Rows → `todo` (tasks) and `ended` (outcomes of rows that need no work)."""

    def __init__(self, output: str, config: StyleConfig, on_existing: OnExisting) -> None:
        super().__init__()
        self.output = output
        self.config = config
        self.on_existing = on_existing

    def expand(self, rows: Any) -> Any:
        """PCollection[tuple[str, Row]] → dict of PCollections `todo` [Task], `ended` [Outcome]."""
        planned = rows | "PlanRow" >> _split(_plan, self.config)
        existing = (
            rows.pipeline
            | "Output" >> beam.Create([self.output])
            | "ListExisting"
            >> beam.FlatMap(planning.list_existing).with_output_types(tuple[str, Existing])
        )
        keyed = planned.todo | "ById" >> beam.Map(_by_id).with_output_types(tuple[str, Any])
        resolved = (
            {"rows": keyed, "existing": existing}
            | beam.CoGroupByKey()
            | "ResolveId" >> _split(_resolve, self.output, self.on_existing)
        )
        ended = (planned.ended, resolved.ended) | beam.Flatten()
        return {"todo": resolved.todo, "ended": ended | beam.Map(_tell_ended)}


class FormBatches(beam.PTransform):  # type: ignore[misc]
    """Tasks → `batches` of one canvas, style set and configuration, and `ended` (failures)."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def expand(self, tasks: Any) -> Any:
        """PCollection[Task] → dict of PCollections `batches` [Batch], `ended` [Outcome]."""
        keyed = tasks | "ReadHeaders" >> beam.ParDo(KeyByCanvas()).with_outputs(
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

    def setup(self) -> None:
        """Start the threads."""
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
        for task, key in zip(tasks, self._threads.map(planning.batch_key, tasks), strict=True):
            if isinstance(key, Outcome):
                yield beam.pvalue.TaggedOutput("ended", _tell_ended(key))
            else:
                progress.emit(progress.PairPlanned())
                yield key, task


class Stylize(beam.PTransform):  # type: ignore[misc]
    """Batches → outcomes, with the images, loss logs and records written."""

    def __init__(self, output: str, run: str, gpu: Gpu | None) -> None:
        super().__init__()
        self.output = output
        self.run = run
        self.gpu = gpu

    def expand(self, batches: Any) -> Any:
        """PCollection[Batch] → PCollection[Outcome]."""
        stylize = beam.ParDo(StylizeBatches(self.output, self.run)).with_output_types(Outcome)
        if self.gpu:
            stylize = stylize.with_resource_hints(**resource_hints(self.gpu))
        return batches | stylize


class StylizeBatches(beam.DoFn):  # type: ignore[misc]
    """One `Studio` per instance; the networks are shared by all instances of a process."""

    def __init__(self, output: str, run: str) -> None:
        self._output = output
        self._run = run
        self._shared = Shared()

    def setup(self) -> None:
        """Take hold of the process's engines; none is loaded yet."""
        self._engines = self._shared.acquire(Engines)
        self._studio = Studio(self._output, self._run, self._engines.engine_for)

    def process(self, batch: Batch) -> Iterator[Outcome]:
        """The outcomes of the batch's tasks."""
        loaded = self._engines.loaded
        for outcome in self._studio.process(batch):
            _log(outcome)
            yield outcome
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
            | beam.Map(_by_shard, self.place.shards).with_output_types(tuple[int, Outcome])
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


def _write_results(shard: tuple[int, Iterable[Outcome]], place: Place) -> str:
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


def _by_shard(outcome: Outcome, shards: int) -> tuple[int, Outcome]:
    return reports.shard_of(outcome, shards), outcome


def _by_id(row: Task | Outcome) -> tuple[str | None, Task | Outcome]:
    return row.id if isinstance(row, Outcome) else row.pair.id, row


def _resolve(
    entry: tuple[str, dict[str, Any]], output: str, on_existing: OnExisting
) -> Iterator[Any]:
    found = entry[1]
    rows = list(found["rows"])
    if rows:  # Otherwise a file of another catalog in the same output.
        resolved = planning.resolve_id(rows, found["existing"], output, on_existing)
        yield from map(_tagged, resolved)


def _tell_ended(outcome: Outcome) -> Outcome:
    progress.emit(progress.PairEnded(outcome.status, False))
    Metrics.counter(NAMESPACE, f"pairs_{outcome.status}").inc()
    _log(outcome)
    return outcome


def _log(outcome: Outcome) -> None:
    level = logging.WARNING if outcome.failed else logging.INFO
    said = outcome.error or outcome.status
    _LOGGER.log(level, "%s: %s", outcome.id, said, extra={"pair": outcome.id or ""})


def _split(function: Any, *arguments: Any) -> Any:
    """A FlatMap whose tasks go to `todo` and whose outcomes go to `ended`."""
    return beam.FlatMap(function, *arguments).with_outputs("ended", main="todo")


def _tagged(value: Task | Outcome) -> Any:
    return beam.pvalue.TaggedOutput("ended", value) if isinstance(value, Outcome) else value


def _rows(manifest: str) -> Iterator[tuple[str, Row]]:
    return ((manifest, row) for row in read_rows(manifest))


def _plan(entry: tuple[str, Row], config: StyleConfig) -> Iterator[Any]:
    manifest, row = entry
    planned = planning.plan_row(row, manifest, config)
    # Failures with an id are resolved like tasks: they may be the first of their id.
    has_id = isinstance(planned, Task) or planned.id is not None
    yield planned if has_id else beam.pvalue.TaggedOutput("ended", planned)
