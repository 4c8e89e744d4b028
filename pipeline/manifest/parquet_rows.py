"""The rows of a manifest in Parquet."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

from nst_core.errors import shown
from pipeline.manifest.columns import Row, Source, check_columns, columns_of, is_empty
from pipeline.manifest.header import Header
from pipeline.manifest.text import ROW_LIMIT, SHOWN_LIMIT
from pipeline.manifest.values import defect, plain

BATCH_ROWS = 1024  # rows held at once
# What Arrow raises for a cell that has no Python value; the last for a zone that nobody knows.
_NO_VALUE = (ValueError, OverflowError, NotImplementedError, KeyError)


class _Unreadable:
    """Stands for a cell that has no Python value."""


def parquet_rows(stream: BinaryIO, source: Source) -> Iterator[Row]:
    """The rows, read while they are asked for; see `rows.read_rows`."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(stream, page_checksum_verification=True)
        header = check_columns(table.schema_arrow.names, source)
        # A text that rows share is there once: of a file of a kilobyte, all take gigabytes.
        texts = [field.name for field in table.schema_arrow if _is_text(field.type)]
        table = parquet.ParquetFile(
            stream,
            metadata=table.metadata,
            page_checksum_verification=True,
            read_dictionary=texts,
        )
        numbers = itertools.count(1)
        for batch in table.iter_batches(BATCH_ROWS):
            for cells in zip(*map(_cells, batch.columns), strict=True):
                if not all(map(is_empty, cells)):
                    yield _row(next(numbers), header, cells)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise OSError(str(error)) from error


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return any(
        one(kind)
        for one in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    )


def _cells(column: Any) -> list[Any]:
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        # Not all: those of other batches are there too.
        used = column.indices.unique()
        if len(used) == len(column):
            return _cells(column.dictionary_decode())
        texts = dict(zip(used.to_pylist(), _cells(column.dictionary.take(used)), strict=True))
        return [*map(texts.__getitem__, column.indices.to_pylist())]
    coarser = _coarser(column.type)
    try:
        # Of nanoseconds Arrow makes pandas's objects where pandas is installed: a row must not
        # depend on that.
        return cast("list[Any]", (column.cast(coarser) if coarser else column).to_pylist())
    except _NO_VALUE:
        return [_cell(scalar, coarser) for scalar in column]


def _coarser(kind: Any) -> Any:
    """The Arrow type in microseconds for one of times in nanoseconds; None for any other."""
    import pyarrow

    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        return pyarrow.timestamp("us", kind.tz)
    if pyarrow.types.is_duration(kind) and kind.unit == "ns":
        return pyarrow.duration("us")
    return None


def _cell(scalar: Any, coarser: Any) -> Any:
    # Times beyond Python's range or resolution have a text all the same.
    as_python = (lambda: scalar.cast(coarser).as_py()) if coarser else scalar.as_py
    for read in (as_python, lambda: scalar.cast("string").as_py()):
        with contextlib.suppress(*_NO_VALUE):
            return read()
    return _Unreadable()


def _start(cell: Any) -> Any:
    cut = cell[:SHOWN_LIMIT] if isinstance(cell, str | bytes) else cell
    return "?" if isinstance(cut, _Unreadable) else plain(cut)


def _row(number: int, header: Header, cells: Sequence[Any]) -> Row:
    if sum(len(cell) for cell in cells if isinstance(cell, str | bytes)) > ROW_LIMIT:
        start = {name: _start(cell) for name, cell in zip(header.names, cells, strict=True)}
        too_long = f"is longer than {ROW_LIMIT} characters; shorten it"
        return Row(number, {"row": shown(start, SHOWN_LIMIT)}, too_long)
    problem = defect([*header.names, *cells])
    try:
        columns = columns_of(header, cells)
    except ValueError as error:
        columns, problem = dict(zip(header.names, cells, strict=True)), str(error)
    readable = {name: cell for name, cell in columns.items() if not isinstance(cell, _Unreadable)}
    for name in columns.keys() - readable.keys():
        problem = f"has a value that is not UTF-8 or not known to Python in {name}; mend it"
    if problem:
        return Row(number, {"row": shown(plain(readable), SHOWN_LIMIT)}, problem)
    return Row(number, columns)
