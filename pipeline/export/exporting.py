"""Results, one after the other, from an output into a format; what has gone is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from pipeline import storage
from pipeline.export.results import Result, result_of
from pipeline.records.reading import READING_THREADS, RecordName, read_each

# With images in memory, which wait for their turn.
HOLDING_THREADS = 8
NAMED = 5  # of the pairs that are left out
_Taken = TypeVar("_Taken")


class Format(Protocol[_Taken]):
    """A context in which an export is made; it leaves nothing that looks whole after an error."""

    made: str

    def take(self, result: Result, /) -> _Taken:
        """What is to be had of one result, in any thread, with an error about its files."""
        ...

    def add(self, result: Result, taken: _Taken, /) -> None:
        """What was taken of the next result, in the order of all."""
        ...


@dataclasses.dataclass
class Exported:
    """How many results were exported, and the ids of those that were left out.

    Args:
        gone: their image or loss log is gone or cannot be read.
        unreadable: their record is none of this program's, or a file of theirs is damaged.
    """

    pairs: int = 0
    gone: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """What was left out, for a person."""
        found = []
        if self.gone:
            found.append(
                f"{_named(self.gone)}: the image or loss log is gone or cannot be read; nst run "
                "does a pair again whose image is gone, with --on-existing redo any."
            )
        if self.unreadable:
            found.append(f"{_named(self.unreadable)}: the record, image or loss log is damaged.")
        return found


def export(
    names: Sequence[RecordName],
    output: str,
    target: Format[Any],
    *,
    is_remote: bool,
    holds_images: bool,
    told: Callable[[int], None],
) -> Exported:
    """Put the results of these names into a format, which is entered already.

    Args:
        is_remote: output or destination are far away, so that many are on their way at once.
        holds_images: what is taken of a result has its image.
        told: hears how many there are so far.

    Raises:
        StorageError: something cannot be read or written that is not one result's alone.
    """
    done = Exported()
    threads = HOLDING_THREADS if holds_images else READING_THREADS

    def take(record: dict[str, Any], name: RecordName) -> tuple[Result, Any] | storage.StorageError:
        result = result_of(record, name, output)
        try:
            return result, target.take(result)
        except storage.ABOUT_ONE_FILE as error:
            return error

    for name, found in read_each(output, names, take, threads=threads if is_remote else 1):
        if found is None:
            done.unreadable.append(name.id if name else "?")
        elif isinstance(found, storage.StorageError):
            done.gone.append(name.id if name else "?")
        else:
            target.add(*found)
            done.pairs += 1
            told(done.pairs)
    return done


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    verb = "is" if len(ids) == 1 else "are"
    return f"{len(ids)} {verb} left out ({', '.join(ids[:NAMED])}{more})"
