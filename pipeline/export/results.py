"""What is exported: the results of an output, each with its record and its files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline import storage
from pipeline.records import records
from pipeline.records.reading import RecordName, read_each, record_names


@dataclasses.dataclass(frozen=True)
class Result:
    """A pair that has a result: its record, and the URIs of its image and its loss log."""

    id: str
    fingerprint: str
    record: Mapping[str, Any]
    extension: str
    image: str
    losses: str


def result_of(record: Mapping[str, Any], name: RecordName, output: str) -> Result:
    """The result that a record is about, below this output, wherever that was when it was made.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no record of this program.
    """
    extension = records.image_extension(record)
    return Result(
        id=name.id,
        fingerprint=name.fingerprint,
        record=record,
        extension=extension,
        image=storage.join(output, "images", f"{name.id}.{extension}"),
        losses=records.losses_uri(output, name.id),
    )


def list_results(output: str) -> list[RecordName]:
    """The name of one record for each pair that has a result, sorted by id.

    Of several, which runs that met have left, the one that was finished last: the image is its.

    Raises:
        StorageError: the records cannot be listed or read.
    """
    names = sorted(filter(None, record_names(output)))
    return list(_last_of_each(output, names))


def _last_of_each(output: str, names: Iterable[RecordName]) -> Iterator[RecordName]:
    for _, group in itertools.groupby(names, key=lambda name: name.id):
        several = list(group)
        if len(several) > 1:
            times = dict(read_each(output, several, lambda record, _: str(record["finished_at"])))
            several.sort(key=lambda name: times[name] or "", reverse=True)
        yield several[0]
