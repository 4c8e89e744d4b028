"""The rows of a manifest (CSV, JSON Lines, Parquet), read as a stream."""

import contextlib
import csv
import dataclasses
import functools
import gzip
import io
import itertools
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, TextIO, cast

from nst_core.errors import JobError
from pipeline import storage
from pipeline.manifest_values import defect, json_value, repeated, shown

ROW_LIMIT = 1 << 20  # characters in one row of CSV or JSON Lines
SHOWN_LIMIT = 1000  # characters kept of a row that cannot be read
BATCH_ROWS = 1024  # rows of Parquet held at once
DELIMITERS = (",", ";", "\t")
KINDS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class ManifestError(JobError):
    """The manifest as a whole cannot be read or written."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row as read; `number` counts from 1, without the header.

    `problem` says why the row cannot be read at all, as a phrase that follows "Row 7"; `columns`
    then holds only `row`, the start of its text: half a row, fed back, could pass for another.
    """

    number: int
    columns: dict[str, Any]
    problem: str | None = None


@functools.lru_cache(maxsize=64)
def manifest_kind(uri: str) -> tuple[str, bool]:
    """`csv`, `jsonl` or `parquet`, and whether gzip is around it.

    Raises:
        ManifestError: the extension is not known.
    """
    name = uri.lower()
    packed = name.endswith(".gz")
    name = name.removesuffix(".gz")
    kind = next((KINDS[ending] for ending in KINDS if name.endswith(ending)), None)
    if kind is None or (packed and kind == "parquet"):
        raise ManifestError(
            f"The extension of the manifest {uri} is not known; name it .csv, .jsonl or .ndjson "
            "(each also with .gz), or .parquet."
        )
    return kind, packed


def find_manifests(pattern: str) -> list[str]:
    """The manifests that `pattern`, a URI or a glob of URIs, names now, in their order.

    Raises:
        ManifestError: a glob matches nothing, or its files cannot be listed.
    """
    if not storage.is_glob(pattern):
        return [pattern]
    try:
        found = storage.glob_uris(pattern)
    except storage.AccessDenied as error:
        raise ManifestError(f"The manifests cannot be found: {error}") from error
    if not found:
        raise ManifestError(
            f"The manifest {pattern} matches no file; correct the glob, and quote it."
        )
    return found


def read_rows(uri: str) -> Iterator[Row]:
    """The rows of the manifest at `uri`, read while they are asked for.

    Raises:
        ManifestError: at the first row, when the file is no manifest; later, when it is damaged.
    """
    kind, packed = manifest_kind(uri)
    reached = 0
    try:
        with storage.open_binary(uri) as stream:
            unpacked = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if packed else stream
            for row in _READERS[kind](unpacked, uri):
                reached = row.number
                yield row
    except storage.ABOUT_ONE_FILE as error:
        raise ManifestError(f"The manifest cannot be read: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())[:200]
        raise ManifestError(
            f"The manifest {uri} is damaged or cut off after row {reached} ({reason}); "
            "write it anew."
        ) from error


def check_header(uri: str) -> None:
    """Reads no further than the first row, to learn whether `uri` is a manifest.

    Raises:
        ManifestError: it is missing, has an unknown extension, no usable header, or is damaged.
    """
    for _ in read_rows(uri):
        break


def _check_names(names: Sequence[str], uri: str) -> None:
    """What every header must have, in CSV and Parquet alike."""
    problem = defect(names)
    if problem:
        raise ManifestError(f"The header of the manifest {uri} {problem}.")
    twice = repeated(names)
    if twice is not None:
        raise ManifestError(
            f"The header of the manifest {uri} has {shown(twice)} twice; rename one of the columns."
        )
    missing = [name for name in ("content", "style") if name not in names]
    if missing:
        raise ManifestError(
            f"The header of the manifest {uri} has the columns {shown(list(names))} but not "
            f"{' and '.join(missing)}; name the columns of the images content and style."
        )


def _text(stream: BinaryIO) -> TextIO:
    # What is not UTF-8 becomes surrogates, which `defect` finds in the row they belong to.
    return io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")


class _RowLengthError(ValueError):
    """A row is over the limit; the message is a phrase that follows "Row 7"."""


class _Lines:
    """The lines of a text; those of the present row can be given back, to be read again."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._again = deque([self._read().removeprefix("\ufeff")])
        self._taken: list[str] = []
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self._taken.append(line)
        self._size += len(line)
        if self._size > ROW_LIMIT:
            raise _RowLengthError(f"is longer than {ROW_LIMIT} characters; shorten it")
        return line

    def _read(self) -> str:
        """The next line; of one over the limit, its start."""
        line = self._text.readline(ROW_LIMIT + 1)
        rest = line if len(line) > ROW_LIMIT else ""
        while rest and not rest.endswith(("\r", "\n")):
            rest = self._text.readline(ROW_LIMIT)
        return line

    def begin(self) -> None:
        """A row begins with the next line."""
        self._taken.clear()
        self._size = 0

    def give_back(self, kept: int) -> None:
        """All but the first `kept` lines of the present row will be read again."""
        self._again.extendleft(reversed(self._taken[kept:]))
        del self._taken[kept:]

    def unreadable(self, number: int, problem: str) -> Row:
        """The present row, with the start of its text."""
        text = "".join(self._taken).rstrip("\r\n")[:SHOWN_LIMIT]
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return Row(number, {"row": text}, problem)


def _csv_records(lines: _Lines, delimiter: str) -> Iterator[list[str]]:
    # The limit belongs to the whole process: only ever raised, so that no reader disturbs another.
    csv.field_size_limit(max(csv.field_size_limit(), ROW_LIMIT))
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _is_filled(cells: list[str]) -> bool:
    return len(cells) > 1 or any(cell.strip() for cell in cells)


def _csv_header(lines: _Lines, uri: str) -> tuple[list[str], str]:
    """The columns' names, and the delimiter under which both that must be there are among them."""
    names: list[str] = []
    problem = ""
    for delimiter in DELIMITERS:
        lines.begin()
        try:
            found = next(filter(_is_filled, _csv_records(lines, delimiter)), [])
        except (csv.Error, _RowLengthError) as error:
            found, problem = [], str(error)
        if {"content", "style"} <= set(found):
            _check_names(found, uri)
            return found, delimiter
        names = max(names, found, key=len)
        lines.give_back(0)
    if names:
        _check_names(names, uri)
    if problem:
        raise ManifestError(
            f"The header of the manifest {uri} cannot be read ({problem}); "
            "begin it with a line such as content,style."
        )
    raise ManifestError(
        f"The manifest {uri} is empty; begin it with a header line such as content,style."
    )


def _csv_rows(stream: BinaryIO, uri: str) -> Iterator[Row]:
    with _text(stream) as text:
        yield from _csv_rows_of(_Lines(text), uri)


def _csv_rows_of(lines: _Lines, uri: str) -> Iterator[Row]:
    names, delimiter = _csv_header(lines, uri)
    records = _csv_records(lines, delimiter)
    numbers = itertools.count(1)
    while True:
        lines.begin()
        try:
            cells = next(records, None)
        except (csv.Error, _RowLengthError) as error:
            # A quote that is never closed swallows what follows: only its own line is lost.
            lines.give_back(1)
            is_long = isinstance(error, _RowLengthError)
            problem = str(error) if is_long else f"is not CSV ({error}); mend its quotes"
            yield lines.unreadable(next(numbers), problem)
            continue
        if cells is None:
            return
        if _is_filled(cells):
            yield _csv_row(next(numbers), cells, names, delimiter, lines)


def _csv_row(number: int, cells: list[str], names: list[str], delimiter: str, lines: _Lines) -> Row:
    if len(cells) != len(names):
        problem = (
            f"has {len(cells)} fields where the header has {len(names)}; "
            f"quote the fields that contain {delimiter!r}"
        )
        return lines.unreadable(number, problem)
    problem = defect(cells) or ""
    if problem:
        return lines.unreadable(number, problem)
    return Row(number, dict(zip(names, cells, strict=True)))


def _json_rows(stream: BinaryIO, uri: str) -> Iterator[Row]:
    with _text(stream) as text:
        yield from _json_rows_of(_Lines(text), uri)


def _json_rows_of(lines: _Lines, uri: str) -> Iterator[Row]:
    number = 0
    while True:
        lines.begin()
        try:
            line = next(lines, None)
            if line is None:
                break
            if line.isspace():
                continue
            row = Row(number + 1, _json_object(line))
        except ValueError as error:
            row = lines.unreadable(number + 1, str(error))
        number = row.number
        yield row
    if number == 0:
        raise ManifestError(
            f"The manifest {uri} is empty; write one JSON object with content and style per line."
        )


def _json_object(line: str) -> dict[str, Any]:
    """The object on one line; ValueError: what is wrong, as a phrase that follows "Row 7"."""
    problem = defect(line)
    if problem:
        raise ValueError(problem)
    value = json_value(line)
    if not isinstance(value, dict):
        raise ValueError('is JSON but no object; write {"content": …, "style": …}')
    return value


class _Unreadable:
    """Stands for a cell that has no Python value."""


def _parquet_rows(stream: BinaryIO, uri: str) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(stream, page_checksum_verification=True)
        names = table.schema_arrow.names
        _check_names(names, uri)
        numbers = itertools.count(1)
        for batch in table.iter_batches(BATCH_ROWS):
            for cells in zip(*map(_parquet_cells, batch.columns), strict=True):
                yield _parquet_row(next(numbers), dict(zip(names, cells, strict=True)))
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise OSError(str(error)) from error


def _parquet_cells(column: Any) -> list[Any]:
    coarser = _coarser(column.type)
    try:
        # Of nanoseconds Arrow makes pandas's objects where pandas is installed: a row must not
        # depend on that.
        return cast("list[Any]", (column.cast(coarser) if coarser else column).to_pylist())
    except (ValueError, OverflowError):
        return [_parquet_cell(scalar, coarser) for scalar in column]


def _coarser(kind: Any) -> Any:
    """The Arrow type in microseconds for one of times in nanoseconds; None for any other."""
    import pyarrow

    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        return pyarrow.timestamp("us", kind.tz)
    if pyarrow.types.is_duration(kind) and kind.unit == "ns":
        return pyarrow.duration("us")
    return None


def _parquet_cell(scalar: Any, coarser: Any) -> Any:
    # Times beyond Python's range or resolution have a text all the same.
    as_python = (lambda: scalar.cast(coarser).as_py()) if coarser else scalar.as_py
    for read in (as_python, lambda: scalar.cast("string").as_py()):
        with contextlib.suppress(ValueError, OverflowError, NotImplementedError):
            return read()
    return _Unreadable()


def _parquet_row(number: int, columns: dict[str, Any]) -> Row:
    readable = {
        name: value for name, value in columns.items() if not isinstance(value, _Unreadable)
    }
    problem = defect(columns)
    for name in columns.keys() - readable.keys():
        problem = f"has a value that is not UTF-8 or not known to Python in {name}; mend it"
    if problem:
        return Row(number, {"row": shown(readable, SHOWN_LIMIT)}, problem)
    return Row(number, columns)


_READERS: dict[str, Callable[[BinaryIO, str], Iterator[Row]]] = {
    "csv": _csv_rows,
    "jsonl": _json_rows,
    "parquet": _parquet_rows,
}
