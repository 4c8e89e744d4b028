"""The rows of a manifest in CSV, as any spreadsheet saves it."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pipeline.manifest.columns import (
    ManifestError,
    Row,
    Source,
    check_columns,
    columns_of,
    is_empty,
)
from pipeline.manifest.header import Header
from pipeline.manifest.text import ROW_LIMIT, Lines, RowLengthError, open_text
from pipeline.manifest.values import defect

DELIMITERS = (",", ";", "\t")
TABS = ("\t", ",", ";")  # the delimiters of a file that is called .tsv
# A first line that tells spreadsheets the delimiter, alone or padded as a row.
_SEP_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*\s*', re.IGNORECASE)


def csv_rows(
    stream: BinaryIO, source: Source, delimiters: Sequence[str] = DELIMITERS
) -> Iterator[Row]:
    """The rows, read while they are asked for; see `rows.read_rows`.

    Args:
        delimiters: those that it can have, the likeliest first.
    """
    with open_text(stream) as text:
        yield from _rows(Lines(text), source, delimiters)


def _records(lines: Lines, delimiter: str) -> Iterator[list[str]]:
    # The limit belongs to the whole process: only ever raised, so that no reader disturbs another.
    csv.field_size_limit(max(csv.field_size_limit(), ROW_LIMIT))
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _is_filled(cells: list[str]) -> bool:
    return not all(map(is_empty, cells))


def _delimiters(lines: Lines, usual: Sequence[str]) -> Sequence[str]:
    """Those that the manifest can have: the one that its first line names, or the usual ones."""
    lines.begin()
    try:
        first = next((line for line in lines if line.strip()), "")
    except RowLengthError:
        first = ""
    named = _SEP_LINE.fullmatch(first)
    if named:
        return (named[1],)
    lines.give_back(0)
    return usual


def _header(lines: Lines, source: Source, usual: Sequence[str]) -> tuple[Header, str]:
    """The columns, and the delimiter under which those that must be there are among them."""
    names: list[str] = []
    problem = ""
    for delimiter in _delimiters(lines, usual):
        lines.begin()
        try:
            found = next(filter(_is_filled, _records(lines, delimiter)), [])
        except (csv.Error, RowLengthError) as error:
            found, problem = [], str(error)
        if _is_header(found, source):
            return check_columns(found, source), delimiter
        names = max(names, found, key=len)
        lines.give_back(0)
    if names:
        check_columns(names, source)
    if problem:
        raise ManifestError(
            f"The header of the manifest {source.called} cannot be read ({problem}); "
            "begin it with a line such as content,style."
        )
    raise ManifestError(
        f"The manifest {source.called} is empty; begin it with a header line such as content,style."
    )


def _is_header(cells: Sequence[str], source: Source) -> bool:
    """Whether the columns that must be there are, if only twice."""
    try:
        return {*source.required} <= {*source.header(cells).names}
    except ValueError:
        return True


def _rows(lines: Lines, source: Source, usual: Sequence[str]) -> Iterator[Row]:
    header, delimiter = _header(lines, source, usual)
    records = _records(lines, delimiter)
    numbers = itertools.count(1)
    while True:
        lines.begin()
        try:
            cells = next(records, None)
        except (csv.Error, RowLengthError) as error:
            # A quote that is never closed swallows what follows: only its own line is lost.
            lines.give_back(1)
            is_long = isinstance(error, RowLengthError)
            problem = str(error) if is_long else f"is not CSV ({error}); mend its quotes"
            yield lines.unreadable(next(numbers), problem)
            continue
        if cells is None:
            return
        if _is_filled(cells):
            yield _row(next(numbers), cells, header, delimiter, lines)


def _row(number: int, cells: list[str], header: Header, delimiter: str, lines: Lines) -> Row:
    names = header.names
    if _is_filled(cells[len(names) :]):
        problem = (
            f"has {len(cells)} fields where the header has {len(names)}; "
            f"quote the fields that contain {delimiter!r}"
        )
        return lines.unreadable(number, problem)
    problem = defect(cells) or ""
    if problem:
        return lines.unreadable(number, problem)
    # Spreadsheets leave out a row's last empty cells, or add some.
    filled = [*cells, *itertools.repeat("", len(names) - len(cells))][: len(names)]
    try:
        return Row(number, columns_of(header, filled))
    except ValueError as error:
        return lines.unreadable(number, str(error))
