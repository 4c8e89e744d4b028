"""`gs://`: google-cloud-storage, checksummed both ways, retried with backoff.

An upload appears under its name only when it is whole, so no temporary object is needed. What
fails is tried again from its start, the library's own retries are off: it would go on where a
download broke off, and nothing verifies one that came in parts.
Importing this module imports google-cloud-storage; `storage` does so at the first `gs://` URI.
"""

import io
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import google_crc32c
import requests
from google.api_core import exceptions as api_exceptions
from google.api_core.retry import Retry
from google.cloud import storage as google_storage

from pipeline.storage import gcs_faults
from pipeline.storage.errors import (
    NotFound,
    missing,
    refuse_too_large,
)
from pipeline.storage.gcs_faults import (
    InvalidNameError,
    ReplacedError,
    changing,
    reading,
    split,
)
from pipeline.storage.local import spool
from pipeline.storage.uris import temporary_name
from pipeline.storage.versions import Version

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*[a-z0-9]")
_READ_AT_ONCE = 1 << 20
# As many as threads use at once, or the others are closed after each use, with a warning.
_CONNECTIONS = 64
_clients: dict[int, Any] = {}
# For traces that nobody has asked for, the library asks for the bucket beside each object that is
# not there, as no record is before its pair is done; and accounts of objects alone may not.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


def client() -> Any:
    """This process's client; a fork makes its own, since sockets cannot be shared."""
    process = os.getpid()
    found = _clients.get(process)
    if found is None:
        # Only buckets need a project. With STORAGE_EMULATOR_HOST the library looks for no account.
        made = google_storage.Client(project=None)
        for scheme in ("https://", "http://"):
            made._http.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS))
        found = _clients.setdefault(process, made)
        for other in _clients.keys() - {process}:
            _clients.pop(other, None)
    return found


def forget_client() -> None:
    """Close this process's connections; the next use opens new ones."""
    found = _clients.pop(os.getpid(), None)
    if found is not None:
        found.close()


def _bucket(uri: str) -> Any:
    """The bucket of a URI, without asking for it. Raises InvalidNameError."""
    name, _ = split(uri)
    if not _BUCKET_NAME.fullmatch(name):
        raise InvalidNameError(f"{name!r} is not a bucket's name")
    return client().bucket(name)


def _blob(uri: str, generation: int | None = None) -> Any:
    """The object of a URI, without asking for it. Raises InvalidNameError."""
    _, name = split(uri)
    if not name or name.endswith("/"):
        raise InvalidNameError("it names a directory, not a file")
    return _bucket(uri).blob(name, generation=generation)


def _find(uri: str, retry: Retry | None) -> Any:
    """The object with its metadata, or None."""
    return _bucket(uri).get_blob(_blob(uri).name, retry=retry, timeout=gcs_faults.TIMEOUT_SECONDS)


def _stored(uri: str, retry: Retry | None) -> Any:
    """The object with its metadata. Raises NotFound."""
    found = _find(uri, retry)
    if found is None:
        raise missing(uri)
    return found


def _crc32c(data: bytes) -> str:
    """The checksum as Cloud Storage writes it."""
    return _encoded(google_crc32c.value(data))


def _encoded(checksum: int) -> str:
    return b64encode(checksum.to_bytes(4, "big")).decode("ascii")


def _download(uri: str, target: BinaryIO, max_bytes: int | None, first: int | None) -> Any:
    """Copy an object, or its first bytes, to `target`: of one generation, and verified if whole.

    The object with its metadata, where it was asked for these: with `max_bytes`.
    """
    target.seek(0)
    target.truncate()
    stored, generation, end = None, None, first
    if max_bytes is not None:
        stored = _stored(uri, None)
        refuse_too_large(uri, stored.size, max_bytes)
        generation = stored.generation
        # Only a whole object can be verified.
        end = None if first is not None and first >= stored.size else first
    try:
        _blob(uri, generation).download_to_file(
            target,
            end=None if end is None else end - 1,
            checksum="crc32c" if end is None else None,
            retry=None,
            timeout=gcs_faults.TIMEOUT_SECONDS,
        )
    except api_exceptions.NotFound as error:
        if generation is None:
            raise
        raise ReplacedError(f"{uri} was replaced while it was read") from error
    return stored


def read(uri: str, max_bytes: int | None, first: int | None) -> bytes:
    """See `storage.read_bytes`."""
    target = io.BytesIO()
    with reading(uri):
        try:
            # Cloud Storage has no empty ranges.
            gcs_faults.RETRY(_download)(
                uri, target, max_bytes, None if first is None else max(first, 1)
            )
        except api_exceptions.RequestRangeNotSatisfiable:
            return b""
    data = target.getvalue()
    # An object stored with a content encoding is larger than its metadata say.
    refuse_too_large(uri, len(data), max_bytes)
    return data if first is None else data[:first]


def read_version(uri: str, max_bytes: int) -> tuple[bytes, Version]:
    """See `storage.read_version`."""
    target = io.BytesIO()
    with reading(uri):
        stored = gcs_faults.RETRY(_download)(uri, target, max_bytes, None)
    data = target.getvalue()
    refuse_too_large(uri, len(data), max_bytes)
    return data, _version(stored)


def version(uri: str) -> Version:
    """See `storage.version`."""
    with reading(uri):
        return _version(_stored(uri, gcs_faults.RETRY))


def versions(directory_uri: str, most: int) -> dict[str, Version] | None:
    """See `storage.list_versions`."""
    bucket, prefix = _inside(directory_uri)
    found: dict[str, Version] = {}
    fields = "items(name,size,generation,crc32c),prefixes,nextPageToken"
    with changing(directory_uri, "listed"):
        for blob in _objects(directory_uri, prefix, fields, delimiter="/"):
            if len(found) == most:
                return None
            found[f"gs://{bucket}/{blob.name}"] = _version(blob)
    return found


def _version(stored: Any) -> Version:
    return Version(int(stored.size), f"generation:{stored.generation}", stored.crc32c or "")


def stream(uri: str) -> BinaryIO:
    """See `storage.open_binary`."""
    file = spool()
    try:
        with reading(uri):
            gcs_faults.RETRY(_download)(uri, file, None, None)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def exists(uri: str) -> bool:
    """See `storage.exists`."""
    try:
        with reading(uri):
            return bool(
                _blob(uri).exists(retry=gcs_faults.RETRY, timeout=gcs_faults.TIMEOUT_SECONDS)
            )
    except NotFound:
        return False


def remove(uri: str) -> None:
    """See `storage.delete`."""
    with changing(uri, "deleted"):
        _delete(uri)


def _delete(uri: str) -> None:
    """Delete an object that may be missing: also an earlier try may have done it unheard."""
    with suppress(api_exceptions.NotFound):
        _blob(uri).delete(retry=gcs_faults.RETRY, timeout=gcs_faults.TIMEOUT_SECONDS)


def files(directory_uri: str) -> Iterator[str]:
    """See `storage.list_uris`."""
    bucket, prefix = _inside(directory_uri)
    with changing(directory_uri, "listed"):
        for blob in _objects(directory_uri, prefix):
            # Consoles make "directories" by creating an empty object of that name.
            if not blob.name.endswith("/"):
                yield f"gs://{bucket}/{blob.name}"


def _inside(directory_uri: str) -> tuple[str, str]:
    """The bucket of a directory, and what the names of the objects in it begin with."""
    bucket, path = split(directory_uri)
    return bucket, path.rstrip("/") + "/" if path else ""


def _objects(
    uri: str, prefix: str, fields: str = "items(name),nextPageToken", delimiter: str | None = None
) -> Iterator[Any]:
    """The objects in a URI's bucket whose names begin with `prefix`."""
    yield from client().list_blobs(
        _bucket(uri),
        prefix=prefix,
        delimiter=delimiter,
        fields=fields,
        retry=gcs_faults.RETRY,
        timeout=gcs_faults.TIMEOUT_SECONDS,
    )


def _upload(uri: str, source: BinaryIO, content_type: str, generation: int | None = None) -> None:
    """Store what is in `source`, from its start, if the object has this generation (0: none)."""
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    checksum = 0
    while piece := source.read(_READ_AT_ONCE):
        checksum = google_crc32c.extend(checksum, piece)
    # The service compares before the object appears; of large ones only with the checksum given.
    gcs_faults.RETRY(_blob(uri).upload_from_file)(
        source,
        rewind=True,
        size=size,
        content_type=content_type,
        checksum="crc32c",
        crc32c_checksum_value=_encoded(checksum),
        if_generation_match=generation,
        retry=None,
        timeout=gcs_faults.TIMEOUT_SECONDS,
    )


def write(uri: str, data: bytes, content_type: str) -> None:
    """See `storage.write_bytes`."""
    with changing(uri):
        _upload(uri, io.BytesIO(data), content_type)


def create(uri: str, data: bytes, content_type: str) -> bool:
    """See `storage.create_bytes`."""
    with changing(uri):
        try:
            _upload(uri, io.BytesIO(data), content_type, generation=0)
        except api_exceptions.PreconditionFailed:
            # Either another writer was first, or our own request landed and its answer was lost.
            found = _find(uri, gcs_faults.RETRY)
            return found is not None and found.crc32c == _crc32c(data) and found.size == len(data)
    return True


@contextmanager
def writer(uri: str, content_type: str) -> Iterator[BinaryIO]:
    """See `storage.open_writer`."""
    with spool() as file:
        yield file
        with changing(uri):
            _upload(uri, file, content_type)


def check_writable(directory_uri: str) -> None:
    """See `storage.check_writable`."""
    probe = temporary_name(directory_uri)
    with changing(directory_uri):
        _upload(probe, io.BytesIO(b"probe"), "application/octet-stream")
    try:
        # What is written is also looked for and read, by this run or the next.
        with changing(directory_uri, "read back after a trial write"):
            gcs_faults.RETRY(_download)(probe, io.BytesIO(), None, None)
        with changing(directory_uri, "listed"):
            next(_objects(directory_uri, split(probe)[1]), None)
    finally:
        # Whoever may not delete may not replace either.
        with changing(directory_uri, "cleaned up after a trial write"):
            _delete(probe)


def identity(uri: str) -> str:
    """See `storage.identity`."""
    with reading(uri):
        stored = _stored(uri, gcs_faults.RETRY)
    if stored.crc32c and stored.size is not None:
        return f"crc32c:{stored.crc32c}:{stored.size}"
    data = read(uri, None, None)
    return f"crc32c:{_crc32c(data)}:{len(data)}"


def size(uri: str) -> int:
    """See `storage.size`."""
    with reading(uri):
        return int(_stored(uri, gcs_faults.RETRY).size)
