"""What becomes of rows whose files have one place: of one id, and of ids whose files would meet."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from nst_core.errors import DuplicateId, JobError, ManifestInvalid
from pipeline import storage
from pipeline.job.budget import Failures
from pipeline.job.checking import RecordCheck
from pipeline.records import records
from pipeline.records.output_files import (
    Claims,
    Earlier,
    Existing,
    Reading,
    family_of,
    replaced_by,
    written_by,
)
from pipeline.records.tasks import (
    SKIPPED,
    Outcome,
    RowNumber,
    Task,
    failed_pair,
    finished_pair,
    sources,
)

OnExisting = Literal["skip", "redo", "error"]

CHECKED_AT_ONCE = 4096  # families of ids


@dataclasses.dataclass(slots=True)
class _Family:
    """What there is of ids that may need one path; nearly always of one id."""

    rows: dict[str, list[Task | Outcome]]
    files: dict[str, list[Existing]]
    readings: list[Reading]
    earlier: dict[str, Earlier]

    @property
    def is_of_several_ids(self) -> bool:
        """Whether some of its ids, of which rows have one or more, may need one path."""
        ids = self.rows.keys()
        return len(ids) > 1 or not self.files.keys() <= ids >= self.earlier.keys()


class Families:
    """Rows, the output's files and what rows read of them, brought together by their ids.

    `tasks`: the numbers of the rows that were tasks when they were added.
    """

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}
        self.tasks: set[RowNumber] = set()

    def add(self, pair_id: str, entry: Task | Outcome | Existing | Reading | Earlier) -> None:
        """Keep an entry of this id."""
        name = family_of(pair_id)
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = _Family({}, {}, [], {})
        if isinstance(entry, Reading):
            family.readings.append(entry)
        elif isinstance(entry, Existing):
            family.files.setdefault(pair_id, []).append(entry)
        elif isinstance(entry, Earlier):
            family.earlier[pair_id] = entry
        else:
            family.rows.setdefault(pair_id, []).append(entry)
            if isinstance(entry, Task):
                self.tasks.add(entry.number)

    def resolve(self, on_existing: OnExisting, check: RecordCheck) -> Iterator[Task | Outcome]:
        """What becomes of every row: a task to do in the output that is checked, or an outcome.

        Raises:
            JobError: with `on_existing` `error`, something of an id is already there; trouble with
                a storage.
        """
        # What has files but no row is of another catalog in the same output.
        families = (family for family in self._families.values() if family.rows)
        while some := list(itertools.islice(families, CHECKED_AT_ONCE)):
            if on_existing == "skip":
                check.prepare([*_recorded(some)])
            yield from self._resolve(some, on_existing, check)

    def _resolve(
        self, families: Iterable[_Family], on_existing: OnExisting, check: RecordCheck
    ) -> Iterator[Task | Outcome]:
        for family in families:
            if family.is_of_several_ids:
                family.rows = _kept_apart(family, check.output)
            for pair_id, those in family.rows.items():
                if earlier := family.earlier.get(pair_id):
                    yield from (_duplicate(row, earlier.number) for row in those)
                    continue
                existing = family.files.get(pair_id, ())
                for row in resolve_id(those, existing, on_existing, check):
                    yield _sparing_inputs(row, family.readings, check.output)

    def firsts(self, names: Iterable[str]) -> Iterator[tuple[str, Earlier]]:
        """Id and first row of every id that is new here in the families of these names.

        To be asked once everything is resolved: what later rows of these families have to know.
        """
        for name in names:
            family = self._families[name]
            for pair_id, those in family.rows.items():
                if pair_id not in family.earlier:
                    first = min(those, key=lambda row: row.number)
                    paths = tuple(written_by(first)) if isinstance(first, Task) else ()
                    yield pair_id, Earlier(first.number, paths)


def _recorded(families: Iterable[_Family]) -> Iterator[tuple[Task, str]]:
    """The tasks of which there is one record, which may vouch for their images, with its mark."""
    for family in families:
        for pair_id, rows in family.rows.items():
            marks = [one.mark for one in family.files.get(pair_id, ()) if one.kind == "records"]
            first = min(rows, key=lambda row: row.number)
            if len(marks) == 1 and isinstance(first, Task):
                yield first, marks[0]


def settled(
    families: Families, on_existing: OnExisting, check: RecordCheck, failures: Failures
) -> tuple[list[Task], list[Outcome]]:
    """What is to do, and the outcomes of the other rows; failures that show only here are counted.

    Raises:
        JobError: as of `Families.resolve`, or the run bears no more failures.
    """
    todo: list[Task] = []
    ended: list[Outcome] = []
    for row in families.resolve(on_existing, check):
        if row.number in families.tasks:  # Else it has failed, and been counted, before.
            failures.take("ids", row)
        if isinstance(row, Task):
            todo.append(row)
        else:
            ended.append(row)
    return todo, ended


def _kept_apart(family: _Family, output: str) -> dict[str, list[Task | Outcome]]:
    """The rows by their ids; those whose files would meet an earlier id's have failed."""
    claims = Claims(ignores_case=storage.ignores_case(output))
    for pair_id, existing in family.files.items():
        claims.add(pair_id, records.losses_uri("", pair_id))
        for file in existing:
            claims.add(pair_id, file.path(pair_id))
    numbers: dict[str, RowNumber] = {}
    for pair_id, earlier in sorted(family.earlier.items(), key=lambda item: item[1].number):
        numbers[pair_id] = earlier.number
        for path in earlier.paths:
            claims.add(pair_id, path)
    apart = {
        pair_id: sorted(those, key=lambda row: row.number) for pair_id, those in family.rows.items()
    }
    for pair_id, those in sorted(apart.items(), key=lambda item: item[1][0].number):
        first = those[0]
        if isinstance(first, Outcome) or pair_id in family.earlier:
            continue
        paths = list(written_by(first))
        met = next(filter(None, (claims.against(pair_id, path) for path in paths)), None)
        if met:
            those[0] = _beside(first, *met, numbers.get(met[0]), output)
            continue
        numbers[pair_id] = first.number
        for path in paths:
            claims.add(pair_id, path)
    return apart


def _beside(task: Task, other: str, path: str, row: RowNumber | None, output: str) -> Outcome:
    whose = f"row {row.row} with the id {other!r}" if row else f"{other!r}, of an earlier run,"
    error = DuplicateId(
        f"Row {task.number.row} has the id {task.pair.id!r}, whose files cannot lie beside "
        f"{storage.join(output, path)}, which {whose} has; give it another id."
    )
    return failed_pair(task.number, task.pair, error)


def _sparing_inputs(
    row: Task | Outcome, readings: Sequence[Reading], output: str
) -> Task | Outcome:
    """The row; where it is a task that would write over the input of a row, its failure."""
    if isinstance(row, Outcome) or not readings:
        return row
    replaced = set(replaced_by(row, output))
    for reading in sorted(readings, key=lambda one: one.number):
        if reading.path in replaced:
            itself = reading.number == row.number
            error = ManifestInvalid(
                f"Row {row.number.row} with the id {row.pair.id!r} would write over {reading.uri}, "
                + ("which it reads" if itself else f"which row {reading.number.row} reads")
                + "; choose another output or id"
                + ("." if itself else ", or read it in a run of its own.")
            )
            return failed_pair(row.number, row.pair, error)
    return row


def resolve_id(
    rows: Iterable[Task | Outcome],
    existing: Sequence[Existing],
    on_existing: OnExisting,
    check: RecordCheck,
) -> Iterator[Task | Outcome]:
    """What becomes of the rows with one id: the first is done or skipped, the others fail.

    The first counts also where it has failed already: once mended, it is done under this id.

    Raises:
        JobError: with `on_existing` `error`, something of this id is already there.
    """
    first, *later = sorted(rows, key=_turn)
    yield from (_duplicate(other, first.number) for other in later)
    if isinstance(first, Outcome):
        yield first
    else:
        yield _resolved(first, existing, on_existing, check)


def _resolved(
    task: Task, existing: Sequence[Existing], on_existing: OnExisting, check: RecordCheck
) -> Task | Outcome:
    """The task, with the files that it makes stale, or its outcome where it is not to be done."""
    output = check.output
    there: collections.defaultdict[str, set[str]] = collections.defaultdict(set)
    for file in existing:
        there[file.kind].add(storage.join(output, file.path(task.pair.id)))
    # What was interrupted is no result.
    if on_existing == "error" and there.keys() - {"checkpoints"}:
        raise JobError(
            f"{task.pair.id!r} already has a result in {output}; "
            "choose another output, or --on-existing skip or redo."
        )
    marks = {file.mark for file in existing if file.kind == "records"}
    if task.pair.was_duplicate and (other := _another(task, marks, output)):
        return other
    moving = there["snapshots"] | there["animations"]
    place = records.snapshot_place(output, task.pair.id)
    is_whole = records.image_uri(output, task.pair.id, task.config) in there["images"] and (
        task.config.animation == "none" or place.animation(task.config) in moving
    )
    changed = None
    # Two records of one image: runs with other settings met here, and one of them is wrong.
    if on_existing == "skip" and is_whole and len(marks) == 1:
        verdict = check.verdict(task, *marks)
        # What is marked redo is done again once: then its result is another one.
        redone = task.pair.redo_of and task.pair.redo_of != verdict.result
        is_done = verdict.done and moving.issuperset(
            storage.join(place.folder, name) for name in verdict.snapshots
        )
        if is_done and (redone or not task.pair.redo):
            details = {**records.place_of(task, output, *marks), **verdict.summary}
            return finished_pair(task.number, task.pair, SKIPPED, details)
        changed = verdict.changed
    return dataclasses.replace(
        task,
        stale_records=tuple(sorted(there["records"])),
        stale_snapshots=tuple(sorted(moving)),
        stale_checkpoints=tuple(sorted(there["checkpoints"])),
        changed=changed,
    )


def _turn(row: Task | Outcome) -> tuple[bool, RowNumber]:
    """Sorts rows of one id: in failures.csv a duplicate may stand before the row that has it."""
    return isinstance(row, Task) and row.pair.was_duplicate, row.number


def _another(task: Task, marks: Iterable[str], output: str) -> Outcome | None:
    """The failure of a row from failures.csv that had another row's id, where it still has.

    That other row was done, and would be overwritten.
    """
    for mark in sorted(marks):
        record = records.read_record(records.record_uri(output, task.pair.id, mark)) or {}
        done = record.get("sources")
        if isinstance(done, dict) and done != sources(task.pair):
            error = DuplicateId(
                f"Row {task.number.row} has the id {task.pair.id!r}, under which "
                f"{done.get('content')} has been done; give it an id of its own."
            )
            return failed_pair(task.number, task.pair, error)
    return None


def id_of(row: Task | Outcome) -> str | None:
    """The id of a row; None where it never became a pair."""
    return row.id if isinstance(row, Outcome) else row.pair.id


def _duplicate(row: Task | Outcome, first: RowNumber) -> Outcome:
    pair_id = id_of(row)
    elsewhere = "" if row.number.manifest == first.manifest else f" of {first.manifest}"
    error = DuplicateId(
        f"Row {row.number.row} has the id {pair_id!r} of row {first.row}{elsewhere}; "
        "give it an id of its own."
    )
    if isinstance(row, Outcome):
        return dataclasses.replace(row, status=error.status, error=str(error))
    return failed_pair(row.number, row.pair, error)
