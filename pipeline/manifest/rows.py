"""The rows of a manifest (CSV, JSON Lines, Parquet), read as a stream."""

import contextlib
import functools
import gzip
import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from pipeline import storage
from pipeline.manifest.columns import ManifestError, Row, bare_sentence, bare_settings
from pipeline.manifest.csv_rows import csv_rows
from pipeline.manifest.json_rows import json_rows
from pipeline.manifest.parquet_rows import parquet_rows
from pipeline.manifest.text import foreign_bytes
from pipeline.storage.filesystems import only_images_reason

KINDS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
LOOKED_AT = 100  # rows, until one can be read
# What bytes that are not whole raise; UTF-16 that is cut off is no text.
_DAMAGE = (OSError, EOFError, zlib.error, UnicodeDecodeError)


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
        ManifestError: a glob matches nothing, or its files cannot be listed; a URL of the web.
    """
    if reason := only_images_reason(pattern):
        raise ManifestError(f"The manifest {reason}")
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


def check_manifests(pattern: str) -> list[str]:
    """Find what is wrong with the manifests that `pattern` names, before any work.

    What is no error, as sentences, once for all of them: that there are no rows, and which columns
    have the names of settings without being any.

    Raises:
        ManifestError: as of `find_manifests` and `check_header`.
    """
    bare: dict[str, str] = {}
    is_filled = False
    for manifest in find_manifests(pattern):
        columns = check_header(manifest)
        is_filled |= columns is not None
        bare |= bare_settings(columns or {})
    notes = [bare_sentence(name, setting) for name, setting in bare.items()]
    if not is_filled:
        notes.append(f"The manifest {pattern} has no rows, so there is nothing to do.")
    return notes


def check_header(uri: str) -> dict[str, Any] | None:
    """The columns of the first row that can be read; None where there are no rows.

    Looks whether all of a text is UTF-8, and else at the first rows alone.

    Raises:
        ManifestError: it is missing, has an unknown extension, no usable header, is of an
            encoding that is not read, or is damaged.
    """
    _check_encoding(uri)
    found: dict[str, Any] | None = None
    for row in itertools.islice(read_rows(uri), LOOKED_AT):
        if row.problem is None:
            return row.columns
        found = {}
    return found


def _check_encoding(uri: str) -> None:
    if manifest_kind(uri)[0] == "parquet":
        return
    problem = None
    # What is damaged is told with its row, by who reads the rows.
    with _opened(uri) as stream, contextlib.suppress(*_DAMAGE):
        problem = foreign_bytes(stream)
    if problem:
        raise ManifestError(f"The manifest {uri} {problem}.")


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[BinaryIO]:
    packed = manifest_kind(uri)[1]
    try:
        with storage.open_binary(uri) as stream:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if packed else stream
    except storage.ABOUT_ONE_FILE as error:
        raise ManifestError(f"The manifest cannot be read: {error}") from error


def read_rows(uri: str) -> Iterator[Row]:
    """The rows of the manifest at `uri`, read while they are asked for.

    Raises:
        ManifestError: at the first row, when the file is no manifest; later, when it is damaged.
    """
    reached = 0
    try:
        with _opened(uri) as stream:
            for row in _READERS[manifest_kind(uri)[0]](stream, uri):
                reached = row.number
                yield row
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise ManifestError(
            f"The manifest {uri} is damaged or cut off after row {reached} ({reason}); "
            "write it anew."
        ) from error


_READERS: dict[str, Callable[[BinaryIO, str], Iterator[Row]]] = {
    "csv": csv_rows,
    "jsonl": json_rows,
    "parquet": parquet_rows,
}
