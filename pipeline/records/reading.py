"""Records read one after the other, however many there are: none of them is held."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from pipeline import storage
from pipeline.records import records

# On their way from a storage that is far away; those of a disk come one by one.
READING_THREADS = 32
_Taken = TypeVar("_Taken")


class RecordName(NamedTuple):
    """Of which pair a record is, and of which fingerprint, as its name tells."""

    id: str
    fingerprint: str


def record_names(output: str) -> Iterator[RecordName | None]:
    """The records of an output by their names; None for a file that has no record's name.

    Raises:
        StorageError: they cannot be listed.
    """
    folder = storage.join(output, "records")
    for uri in storage.list_uris(folder):
        named = records.parse_record_name(uri[len(folder) :].lstrip("/"))
        yield RecordName(*named) if named else None


def read_each(
    output: str,
    names: Iterable[RecordName | None],
    take: Callable[[dict[str, Any], RecordName], _Taken],
    *,
    threads: int | None = None,
) -> Iterator[tuple[RecordName | None, _Taken | None]]:
    """What `take` makes of each record, in the order of `names`.

    None where there is no record of this program, or where it has gone since it was listed.

    Args:
        take: called by several threads; its KeyError, TypeError, ValueError, AttributeError and
            `NotFound` say that it is no record.
        threads: default: one on a local disk, else `READING_THREADS`.

    Raises:
        StorageError: a record cannot be read; also what else `take` raises.
    """

    def read(name: RecordName | None) -> tuple[RecordName | None, _Taken | None]:
        if name is None:
            return None, None
        try:
            return name, take(records.parsed(storage.read_bytes(_uri(output, name))), name)
        except (storage.NotFound, KeyError, TypeError, ValueError, AttributeError):
            return name, None

    if threads is None:
        threads = READING_THREADS if storage.scheme(output) else 1
    if threads == 1:
        yield from map(read, names)
        return
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque[Any] = collections.deque()
        for name in names:
            waiting.append(pool.submit(read, name))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _uri(output: str, name: RecordName) -> str:
    return records.record_uri(output, name.id, name.fingerprint)
