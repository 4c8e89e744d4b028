"""The rows of a manifest (CSV, JSON Lines, Parquet), read as a stream."""

import contextlib
import dataclasses
import functools
import gzip
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

from nst_core.errors import shown
from pipeline import storage
from pipeline.manifest.columns import (
    ManifestError,
    Row,
    Source,
    bare_sentence,
    bare_settings,
    is_empty,
    missing_sentence,
    untaken_sentence,
)
from pipeline.manifest.csv_rows import TABS, csv_rows
from pipeline.manifest.ids import styled_id
from pipeline.manifest.json_rows import json_rows
from pipeline.manifest.other_kinds import START_BYTES, kind_by_name, kind_by_start
from pipeline.manifest.outputs import written_by_runs
from pipeline.manifest.parquet_rows import parquet_rows
from pipeline.manifest.reading import AS_IT_IS, METADATA, Reading, is_metadata, relative
from pipeline.manifest.text import DAMAGE, foreign_bytes
from pipeline.manifest.values import MARK, MARKS, defect
from pipeline.storage.filesystems import only_images_reason

KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
EXTENSIONS = ".csv, .tsv, .jsonl or .ndjson (each also with .gz), or .parquet"
LOOKED_AT = 100  # rows, until one can be read


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
        if name.startswith("/dev/"):
            raise ManifestError(
                f"The manifest {uri} is what a command prints, which can be read only once; "
                "give --manifest - and let it be standard input, by COMMAND | nst …"
            )
        raise ManifestError(
            f"The extension of the manifest {uri} is not known; name it {EXTENSIONS}, or give a "
            f"folder that has {METADATA[0]}; without any, --contents and --styles name pictures."
        )
    return kind, packed


def is_tabbed(uri: str) -> bool:
    """Whether a manifest's extension says that tabs are between its values."""
    return uri.lower().removesuffix(".gz").endswith(".tsv")


def find_manifests(pattern: str) -> list[str]:
    """The manifests that `pattern` names now, in their order: a URI, a glob of URIs, or a folder.

    Of a folder it is what it says of its images, see `METADATA`. Loss logs and failures are tables
    too: below a wildcard, what a run has written is no manifest.

    Raises:
        ManifestError: a glob matches nothing or what is not UTF-8, or its files cannot be listed; a
            URL of the web.
    """
    if reason := only_images_reason(pattern):
        raise ManifestError(f"The manifest {reason}")
    try:
        if not storage.is_glob(pattern):
            return [_in_folder(pattern) or pattern]
        matches = storage.glob_uris(pattern)
        is_written = written_by_runs(pattern)
        found = [uri for uri in matches if not is_written(uri)]
    except storage.AccessDenied as error:
        raise ManifestError(f"The manifests cannot be found: {error}") from error
    if not matches:
        raise ManifestError(
            f"The manifest {pattern} matches no file; correct the glob, and quote it."
        )
    if not found:
        raise ManifestError(
            f"The manifest {pattern} matches only what runs have written (such as {matches[0]}); "
            "name a manifest, or let the glob name the folder of that run."
        )
    if foreign := next((uri for uri in found if defect(uri)), None):
        raise ManifestError(f"The name of the manifest {shown(foreign)} is not UTF-8; rename it.")
    return found


def _in_folder(uri: str) -> str | None:
    """The file that speaks of a folder's images; None where this can be no such folder."""
    with contextlib.suppress(ManifestError):
        manifest_kind(uri)
        return None
    names = (storage.join(uri, name) for name in METADATA)
    return next(filter(storage.exists, names), None)


def check_manifests(pattern: str, reading: Reading = AS_IT_IS) -> list[str]:
    """Find what is wrong with the manifests that `pattern` names, before any work.

    What is no error, as sentences, once for all of them: that there are no rows, which were read as
    Windows-1252, and which columns have the names of settings without being any.

    Raises:
        ManifestError: as of `find_manifests`; one is missing, has an unknown extension, no usable
            header, is of an encoding that is not read, or is damaged at its start.
    """
    bare: dict[str, str] = {}
    untaken: dict[str, None] = {}
    notes = list(reading.notes)
    is_filled = False
    for manifest in find_manifests(pattern):
        notes += encoding_notes(manifest, reading)
        columns = _first_columns(manifest, reading)
        is_filled |= columns is not None
        bare |= bare_settings(columns or {})
        untaken |= dict.fromkeys(_untaken(columns or {}, source_of(manifest, reading)))
    notes += [bare_sentence(name, setting) for name, setting in bare.items()]
    notes += map(untaken_sentence, untaken)
    if not is_filled:
        called = reading.name or pattern
        notes.append(f"The manifest {called} has no rows, so there is nothing to do.")
    return notes


def has_marks(pattern: str, reading: Reading = AS_IT_IS) -> bool:
    """Whether each of the first rows has a mark: they are then rows of other manifests."""
    with contextlib.suppress(ManifestError):
        several = (
            itertools.islice(read_rows(manifest, reading), LOOKED_AT)
            for manifest in find_manifests(pattern)
        )
        said = (row.columns.get(MARK) for row in itertools.chain.from_iterable(several))
        first = next(said, None)
        return all(str(one).strip().casefold() in MARKS for one in itertools.chain([first], said))
    return False


def _untaken(columns: dict[str, Any], source: Source) -> Iterator[str]:
    if not source.reading.columns:
        header = source.header(tuple(columns))
        yield from (name for name in header.untaken if name.casefold() not in columns)


def _first_columns(uri: str, reading: Reading) -> dict[str, Any] | None:
    """The columns of the first row that can be read; None where there are no rows."""
    rows: Iterator[Row] = itertools.islice(_plain_rows(uri, reading), LOOKED_AT)
    first = next(rows, None)
    if first is None:
        return None
    if manifest_kind(uri)[0] == "jsonl" and reading.columns:
        rows = iter([first, *rows])
        first = _with_columns(rows, source_of(uri, reading))
    readable = itertools.chain([first], rows)
    return next((row.columns for row in readable if row.problem is None), {})


def _with_columns(rows: Iterable[Row], source: Source) -> Row:
    """The first of rows, which as JSON have no header: each column that is named is in one."""
    several = list(rows)
    there = dict.fromkeys(name for row in several for name in row.columns if not row.problem)
    for name, own in source.reading.columns:
        if there and name not in there:
            raise ManifestError(missing_sentence(own, list(there), source.called))
    return next((row for row in several if row.problem is None), several[0])


def encoding_notes(uri: str, reading: Reading = AS_IT_IS) -> list[str]:
    """That a text is read as Windows-1252, as sentences.

    Raises:
        ManifestError: it is none either, or no text at all.
    """
    if other := kind_by_name(uri):
        raise ManifestError(f"The manifest {uri} is {other}.")
    kind = manifest_kind(uri)[0]
    if kind == "parquet":
        return []
    called = source_of(uri, reading).called
    foreign, start = None, b""
    with _opened(uri) as stream, contextlib.suppress(*DAMAGE):
        start = stream.read(START_BYTES)
    if other := kind_by_start(start, is_json=kind == "jsonl"):
        raise ManifestError(f"The manifest {called} is {other}.")
    # What is damaged is told with its row, by who reads the rows.
    with _opened(uri) as stream, contextlib.suppress(*DAMAGE):
        foreign = foreign_bytes(stream)
    if foreign is None:
        return []
    if foreign.missing:
        byte, line = foreign.missing
        raise ManifestError(
            f"The manifest {called} is neither UTF-8 nor Windows-1252, which has no byte {byte} as "
            f"there is on line {line}; save the file as UTF-8 (in Excel: CSV UTF-8)."
        )
    return [
        f"The manifest {called} is not UTF-8 and is read as Windows-1252, as Excel saves it: line "
        f"{foreign.line} as {shown(foreign.seen)}; if that is wrong, save the file as UTF-8 (in "
        "Excel: CSV UTF-8)."
    ]


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[BinaryIO]:
    packed = manifest_kind(uri)[1]
    try:
        with storage.open_binary(uri) as stream:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if packed else stream
    except storage.ABOUT_ONE_FILE as error:
        raise ManifestError(f"The manifest cannot be read: {error}") from error


def source_of(uri: str, reading: Reading) -> Source:
    """What is said of the manifest at `uri`."""
    return Source(reading.name or uri, reading, is_metadata(uri))


def read_rows(uri: str, reading: Reading = AS_IT_IS) -> Iterator[Row]:
    """The rows of the manifest at `uri`, read while they are asked for.

    With `reading.styles` a row without a style is as many as these, and rows are counted so.

    Raises:
        ManifestError: at the first row, when the file is no manifest; later, when it is damaged.
    """
    rows = _plain_rows(uri, reading)
    return _styled(rows, uri, reading) if reading.styles else rows


def _styled(rows: Iterable[Row], uri: str, reading: Reading) -> Iterator[Row]:
    styles = [relative(style, reading.base or uri) for style in reading.styles]
    numbers = itertools.count(1)
    for row in rows:
        if row.problem or not is_empty(row.columns.get("style")):
            yield dataclasses.replace(row, number=next(numbers))
            continue
        for style in styles:
            columns = {**row.columns, "style": style}
            if len(styles) > 1 and not is_empty(own := columns.get("id")):
                # Else all of them would have the one id of the row.
                columns["id"] = styled_id(own, style)
            yield Row(next(numbers), columns)


def _plain_rows(uri: str, reading: Reading) -> Iterator[Row]:
    source = source_of(uri, reading)
    reader = _READERS[manifest_kind(uri)[0]]
    if is_tabbed(uri):
        reader = functools.partial(csv_rows, delimiters=TABS)
    reached = 0
    try:
        with _opened(uri) as stream:
            for row in reader(stream, source):
                reached = row.number
                yield row
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise ManifestError(
            f"The manifest {source.called} is damaged or cut off after row {reached} ({reason}); "
            "write it anew."
        ) from error


_READERS: dict[str, Callable[[BinaryIO, Source], Iterator[Row]]] = {
    "csv": csv_rows,
    "jsonl": json_rows,
    "parquet": parquet_rows,
}
