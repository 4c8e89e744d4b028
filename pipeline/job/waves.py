"""A run in this process: the manifest in waves, so that memory holds one, whatever its size.

First the output is listed and the whole manifest is read, once, into an index on disk: only then is
it known which ids are there twice, and which files no row may write over. Then each wave of rows is
planned by the functions of the job, and what of it is to be done goes through a pipeline.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nst_core.errors import JobError
from pipeline.console import events
from pipeline.job import planning
from pipeline.job.budget import Failures
from pipeline.job.checking import RecordCheck
from pipeline.job.elements import tell
from pipeline.job.options import RunOptions
from pipeline.job.resolving import Families, id_of, settled
from pipeline.records.index import Index
from pipeline.records.output_files import list_existing, list_readings
from pipeline.records.tasks import Outcome, RowNumber, Task
from pipeline.runs.reports import Gatherer, Place, write_reports

# At about 8 KB for each pair in work, 160 MB. What each pipeline costs, a tenth of a second and the
# batches that its last pairs leave unfilled, is little among so many.
WAVE_ROWS = 20_000
READ_AT_ONCE = 8192  # rows on their way into the index
BYTES_IN_MEMORY = 32 * 1024 * 1024  # of the lines of all shards; a million rows have 700 MB

Planned = Task | Outcome
Do = Callable[[Sequence[Task], Callable[[Sequence[Outcome]], None]], None]


def new_gatherer(place: Place) -> Gatherer:
    """What gathers the outcomes of a run."""
    return Gatherer(place, BYTES_IN_MEMORY // place.shards)


def run(
    options: RunOptions, place: Place, about: dict[str, Any], gatherer: Gatherer, do: Do
) -> None:
    """The whole run, to its summary.

    Args:
        gatherer: empty.
        do: does tasks, and gives their outcomes to its second argument.

    Raises:
        JobError: trouble that is not one pair's.
    """
    untold: dict[RowNumber, Outcome] = {}
    failures = dataclasses.replace(options.failures_of(place.run), counted=untold)
    with Index() as index:
        try:
            for todo, ended in waves(options, failures, index):
                for outcome in ended:
                    untold.pop(outcome.number, None)
                tell(ended)
                gatherer.take(ended)
                if todo:
                    do(todo, gatherer.take)
                del todo, ended  # Before the next ones are planned.
        except Exception:
            # They count against `max_failures` from when they are seen, and their wave never comes.
            for outcome in untold.values():
                tell([outcome], were_planned=outcome.id is not None)
            raise
    write_reports(gatherer, place, about)


def waves(
    options: RunOptions, failures: Failures, index: Index
) -> Iterator[tuple[list[Task], list[Outcome]]]:
    """What is to do, and the outcomes of the rows that need no work, of one wave after the other.

    Raises:
        JobError: the first wave cannot be planned, the manifest has changed since it was read, or
            one of its ids has a result that `on_existing` does not allow.
    """
    first = scan(options, failures, index)
    check = RecordCheck(options.output, options.inputs)
    is_one = index.rows <= WAVE_ROWS
    if options.on_existing == "error" and not is_one and index.has_results():
        # Before any work: the first wave is not to be done if a later one is refused.
        for rows in _cut([], options, index):
            _settled(rows, options, check, Failures(failures.run, None), index)
        index.forget_earlier()
    waiting = [] if is_one else _likely(options, index)
    cut = _cut(first, options, index)
    del first
    limit = options.limit
    for number, rows in enumerate(cut, start=1):
        todo, ended = _settled(rows, options, check, failures, index)
        del rows
        if limit is not None:
            ended += map(planning.postponed, todo[limit:])
            del todo[limit:]
            limit -= len(todo)
        likely = sum(waiting[number:])
        likely = likely if limit is None else min(likely, limit)
        if number == 1:
            events.emit(events.CatalogPlanned(index.rows, len(todo) + likely))
        events.emit(events.PairsWaiting(len(todo) + likely))
        yield todo, ended
        del todo, ended


def scan(options: RunOptions, failures: Failures, index: Index) -> list[Planned]:
    """Put the whole catalog into the index; the rows of the first wave, planned.

    Raises:
        JobError: a manifest is damaged, the output cannot be listed, or the run bears no more
            failures.
    """
    first: list[Planned] = []
    for some in _filled(options, index):
        failures.take("rows", *some)
        first += some[: max(0, WAVE_ROWS - len(first))]
        index.add_readings(
            reading
            for row in some
            if id_of(row) is not None
            for reading in list_readings(row, options.output)
        )
        events.emit(events.PairsWaiting(index.rows))
    index.complete()
    return first


def foresee(options: RunOptions, is_over: Callable[[], bool]) -> None:
    """Tell whoever watches how many pairs workers elsewhere have to do: likely, see `_likely`.

    Args:
        is_over: whether nobody wants to know any more.

    Raises:
        JobError: as of `scan`.
    """
    with Index() as index:
        for _ in _filled(options, index):
            if is_over():
                return
        index.complete()
        likely = sum(_likely(options, index))
        likely = likely if options.limit is None else min(likely, options.limit)
        events.emit(events.CatalogPlanned(index.rows, likely))


def _filled(options: RunOptions, index: Index) -> Iterator[list[Planned]]:
    """The rows of the manifest, planned, some at a time; the index has them and the files."""
    index.add_files(list_existing(options.output))
    rows = planning.rows_of(options)
    planned = (planning.plan_row(row, manifest, options) for manifest, row in rows)
    while some := list(itertools.islice(planned, READ_AT_ONCE)):
        index.add_rows([id_of(row) for row in some])
        yield some


def _likely(options: RunOptions, index: Index) -> list[int]:
    """How many pairs of each wave are likely to be done, for who watches."""
    if options.on_existing == "redo":
        starts = range(0, index.rows, WAVE_ROWS)
        return [min(WAVE_ROWS, index.rows - start) for start in starts]
    return index.without_record(WAVE_ROWS)


def _cut(first: list[Planned], options: RunOptions, index: Index) -> Iterator[list[Planned]]:
    """The rows of the manifest in waves, planned; those of the first may be there already."""
    later = itertools.islice(planning.rows_of(options), len(first), None)
    for start in range(0, index.rows, WAVE_ROWS):
        count = min(WAVE_ROWS, index.rows - start)
        rows, first = first, []
        some = itertools.islice(later, count - len(rows))
        rows += (planning.plan_row(row, manifest, options) for manifest, row in some)
        if len(rows) < count or not index.holds(start, [id_of(row) for row in rows]):
            raise JobError(
                f"The manifest {options.manifest_name} has changed since the run began; leave it "
                "as it is while a run works on it, and run the same command again."
            )
        yield rows
        del rows


def _settled(
    rows: Sequence[Planned],
    options: RunOptions,
    check: RecordCheck,
    failures: Failures,
    index: Index,
) -> tuple[list[Task], list[Outcome]]:
    """What is to do of a wave, and the outcomes of its other rows, in the manifest's order."""
    named = [(name, row) for row in rows if (name := id_of(row)) is not None]
    ended = [row for row in rows if isinstance(row, Outcome) and row.id is None]
    names = [name for name, _ in named]
    families = Families()
    for name, entry in itertools.chain(index.of(names), named):
        families.add(name, entry)
    todo, others = settled(families, options.on_existing, check, failures)
    index.add_earlier(families.firsts(index.several(names)))
    ended += others
    for several in (todo, ended):
        several.sort(key=lambda row: row.number)
    return todo, ended
