"""Rows and files to what is to do, as Beam transforms."""

from __future__ import annotations

import collections
import functools
import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from pipeline import storage
from pipeline.job import planning
from pipeline.job.budget import Failures
from pipeline.job.checking import InputsMode, RecordCheck
from pipeline.job.elements import Chunk, parted, split
from pipeline.job.options import RunOptions
from pipeline.job.resolving import Families, id_of, settled
from pipeline.manifest.columns import Row
from pipeline.manifest.reading import Reading
from pipeline.manifest.rows import find_manifests, read_rows
from pipeline.records.output_files import Existing, family_of, list_existing, list_readings
from pipeline.records.tasks import RowNumber
from pipeline.worker import versions

READ_AT_ONCE = 8192  # rows or files in one list
BUCKETS = 256  # of ids: all rows and files of a family of ids are in one


# What is read there, "rows" or "files", and where; numbered, since places are spread by number.
_Place = tuple[str, str]
_Keyed = tuple[int, _Place]


class ReadCatalog(beam.PTransform):  # type: ignore[misc]
    """The rows of the manifests, each with its manifest, and the output's files, in any order.

    In one collection: to bring two together, Beam would carry every element once more.
    """

    def __init__(self, options: RunOptions) -> None:
        super().__init__()
        self.options = options

    def expand(self, begin: Any) -> Any:
        """PBegin → PCollection[Chunk], each of manifest with Row or of id with Existing."""
        options = self.options
        places = [("rows", manifest) for manifest in find_manifests(options.manifest)]
        places.append(("files", options.output))
        return (
            begin
            | beam.Impulse()
            | beam.ParDo(GivePlaces(places, versions.here())).with_output_types(_Keyed)
            | "Distribute" >> beam.GroupByKey()
            | "Read" >> beam.FlatMap(_read_all, options.reading).with_output_types(Chunk)
        )


class GivePlaces(beam.DoFn):  # type: ignore[misc]
    """Numbered places: a worker's first step, in a stage of its own, which checks versions.

    Not `Create`: this stage is to hold nothing but what every Python can read, and a lambda, which
    `Create` and `Reshuffle` are made of, ends another Python's process without a word.
    """

    def __init__(self, places: Sequence[_Place], submitter: versions.Versions) -> None:
        self._places = places
        self._submitter = submitter

    def setup(self) -> None:
        """Refuse a job of other versions; raises JobError."""
        versions.check_worker(self._submitter)

    def process(self, _: bytes) -> Iterator[_Keyed]:
        """All places."""
        yield from enumerate(self._places)


class PlanPairs(beam.PTransform):  # type: ignore[misc]
    """Rows and files → `todo` (tasks) and `ended` (outcomes of rows that need no work)."""

    def __init__(self, options: RunOptions, failures: Failures) -> None:
        super().__init__()
        self.options = options
        self.failures = failures

    def expand(self, catalog: Any) -> Any:
        """`ReadCatalog`'s → `todo` [Chunk of Task], `ended`, some [Chunk of Outcome]."""
        options = self.options
        planned = catalog | "PlanRows" >> split(_plan, options, self.failures)
        resolved = (
            planned.todo
            | "ByBucket" >> beam.FlatMap(_by_bucket).with_output_types(tuple[int, Chunk])
            | beam.GroupByKey()
            | "ResolveIds" >> split(_resolve, options, self.failures)
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
        """PCollection[Chunk of Task] → `todo`, the same, and `ended` [Chunk of Outcome]."""
        numbers = (
            tasks
            | beam.FlatMap(lambda several: [task.number for task in several])
            | beam.combiners.Top.Smallest(self.limit)
        )
        return tasks | "Postpone" >> split(_within, beam.pvalue.AsSingleton(numbers))


def _read_all(keyed: tuple[int, Iterable[_Place]], reading: Reading) -> Iterator[Chunk]:
    _, places = keyed
    return itertools.chain.from_iterable(_read(place, reading) for place in places)


def _read(place: _Place, reading: Reading) -> Iterator[Chunk]:
    kind, uri = place
    entries: Iterator[tuple[str, Row | Existing]] = (
        ((uri, row) for row in read_rows(uri, reading)) if kind == "rows" else list_existing(uri)
    )
    while some := Chunk(itertools.islice(entries, READ_AT_ONCE)):
        yield some


def _by_bucket(values: Chunk) -> Iterable[tuple[int, Chunk]]:
    buckets: collections.defaultdict[int, Chunk] = collections.defaultdict(Chunk)
    for value in values:
        name, entry = value if isinstance(value, tuple) else (id_of(value), value)
        buckets[zlib.crc32(family_of(name).encode()) % BUCKETS].append((name, entry))
    return buckets.items()


def _resolve(
    entry: tuple[int, Iterable[Chunk]], options: RunOptions, failures: Failures
) -> Iterator[Any]:
    storage.allow_private_hosts(options.allow_private_hosts)
    families = Families()
    for name, value in itertools.chain.from_iterable(entry[1]):
        families.add(name, value)
    check = _check_of(options.output, options.inputs, failures.run)
    todo, ended = settled(families, options.on_existing, check, failures)
    yield from parted(Chunk(todo), Chunk(ended))


@functools.lru_cache(maxsize=1)
def _check_of(output: str, mode: InputsMode, _run: str) -> RecordCheck:
    """One for all buckets of a run in a process: images are shared by many pairs."""
    return RecordCheck(output, mode)


def _within(tasks: Chunk, first: list[RowNumber]) -> Iterator[Any]:
    """Those tasks that are among the first, by their numbers in order, and the others' outcomes."""
    todo = Chunk(task for task in tasks if task.number <= first[-1])
    ended = Chunk(planning.postponed(task) for task in tasks if task.number > first[-1])
    yield from parted(todo, ended)


def _plan(entries: Chunk, options: RunOptions, failures: Failures) -> Iterator[Any]:
    storage.allow_private_hosts(options.allow_private_hosts)
    planned, ended = Chunk(), Chunk()
    for entry in entries:
        if isinstance(entry[1], Existing):
            planned.append(entry)
            continue
        row = planning.plan_row(entry[1], entry[0], options)
        failures.take("rows", row)
        # Failures with an id are resolved like tasks: they may be the first of their id.
        if id_of(row) is not None:
            planned.append(row)
            planned += list_readings(row, options.output)
        else:
            ended.append(row)
    yield from parted(planned, ended)
