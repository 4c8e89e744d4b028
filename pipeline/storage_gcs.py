"""`gs://`: google-cloud-storage, checksummed both ways, retried with backoff.

An upload appears under its name only when it is whole, so no temporary object is needed.
Importing this module imports google-cloud-storage; `storage` does so at the first `gs://` URI.
"""

import io
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import google_crc32c
from google.api_core import exceptions as api_exceptions
from google.auth import exceptions as auth_exceptions
from google.cloud import storage as google_storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from pipeline.storage import (
    AccessDenied,
    NotFound,
    StorageError,
    missing,
    refuse_too_large,
    split_root,
    temporary_name,
)
from pipeline.storage_local import spool

# Given explicitly to every call: uploads are idempotent here, since the same bytes are sent again.
RETRY = DEFAULT_RETRY.with_timeout(180.0)
_TIMEOUT_SECONDS = 60.0
_DOWNLOAD_TRIES = 3
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*[a-z0-9]")
_FAULTS = (
    api_exceptions.GoogleAPIError,
    auth_exceptions.GoogleAuthError,
    InvalidResponse,
    DataCorruption,
    OSError,
)
_clients: dict[int, Any] = {}


class _NameError(Exception):
    """A URI names no object."""


def client() -> Any:
    """This process's client; a fork makes its own, since sockets cannot be shared."""
    process = os.getpid()
    found = _clients.get(process)
    if found is None:
        # Only buckets need a project. With STORAGE_EMULATOR_HOST the library looks for no account.
        found = _clients.setdefault(process, google_storage.Client(project=None))
        for other in _clients.keys() - {process}:
            _clients.pop(other, None)
    return found


def forget_client() -> None:
    """Close this process's connections; the next use opens new ones."""
    found = _clients.pop(os.getpid(), None)
    if found is not None:
        found.close()


def _split(uri: str) -> tuple[str, str]:
    """The bucket's name and what follows it."""
    root, name = split_root(uri)
    return root.partition("://")[2], name


def _bucket(uri: str) -> Any:
    """The bucket of a URI, without asking for it. Raises _NameError."""
    name, _ = _split(uri)
    if not _BUCKET_NAME.fullmatch(name):
        raise _NameError(f"{name!r} is not a bucket's name")
    return client().bucket(name)


def _blob(uri: str, generation: int | None = None) -> Any:
    """The object of a URI, without asking for it. Raises _NameError."""
    _, name = _split(uri)
    if not name or name.endswith("/"):
        raise _NameError("it names a directory, not a file")
    return _bucket(uri).blob(name, generation=generation)


def _stored(uri: str) -> Any:
    """The object with its metadata. Raises NotFound."""
    found = _bucket(uri).get_blob(_blob(uri).name, retry=RETRY, timeout=_TIMEOUT_SECONDS)
    if found is None:
        raise missing(uri)
    return found


def _crc32c(data: bytes) -> str:
    """The checksum as Cloud Storage writes it."""
    return b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode("ascii")


def _reason(error: Exception) -> str:
    """What the service said, on one line."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def _trouble(uri: str, error: Exception, action: str) -> StorageError:
    """The StorageError for a fault that is not the object's own."""
    bucket, _ = _split(uri)
    code = getattr(error, "code", None)
    if isinstance(error, auth_exceptions.DefaultCredentialsError | auth_exceptions.RefreshError):
        text = (
            "there are no Google credentials that work: run `gcloud auth application-default "
            "login`, or set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file"
        )
    elif isinstance(error, _NameError):
        text = f"{error}: correct the URI"
    elif code == 404:
        text = f"bucket {bucket} does not exist: create it or correct the URI"
    elif code in (401, 403):
        text = (
            f"no permission ({_reason(error)}): grant this account roles/storage.objectUser on "
            f"bucket {bucket}"
        )
    else:
        text = (
            f"Cloud Storage failed in spite of retries ({_reason(error)}): check the network and "
            "run the same command again"
        )
    return StorageError(f"{uri} cannot be {action}, {text}.")


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turn what the service says about a read into this package's errors."""
    try:
        yield
    except _NameError as error:
        raise NotFound(f"{uri} cannot be read, {error}: correct the URI.") from error
    except _FAULTS as error:
        code = getattr(error, "code", None)
        if code in (401, 403):
            raise AccessDenied(
                f"{uri} may not be read by this account ({_reason(error)}): "
                "grant it roles/storage.objectViewer."
            ) from error
        if code == 404:
            raise missing(uri) from error
        # 400 and 414: a name that the service does not take, which no object can have.
        if code in (400, 414):
            raise NotFound(f"{uri} cannot be read ({_reason(error)}): correct the URI.") from error
        raise _trouble(uri, error, "read") from error


@contextmanager
def _changing(uri: str, action: str = "written") -> Iterator[None]:
    """Turn what the service says about a write or a listing into a StorageError."""
    try:
        yield
    except (_NameError, *_FAULTS) as error:
        raise _trouble(uri, error, action) from error


def _download(uri: str, target: BinaryIO, max_bytes: int | None, first: int | None) -> None:
    """Copy an object, or its first bytes, to `target`: of one generation, and verified if whole."""
    for attempt in range(_DOWNLOAD_TRIES):
        generation = None
        if max_bytes is not None:
            stored = _stored(uri)
            refuse_too_large(uri, stored.size, max_bytes)
            generation = stored.generation
        try:
            _blob(uri, generation).download_to_file(
                target,
                end=None if first is None else first - 1,
                checksum="crc32c" if first is None else None,
                retry=RETRY,
                timeout=_TIMEOUT_SECONDS,
            )
            return
        except (api_exceptions.NotFound, DataCorruption) as error:
            # Replaced since its size was asked for, or damaged on the way: again from the start.
            absent = generation is None and isinstance(error, api_exceptions.NotFound)
            if absent or attempt == _DOWNLOAD_TRIES - 1:
                raise
            target.seek(0)
            target.truncate()


def read(uri: str, max_bytes: int | None, first: int | None) -> bytes:
    """See `storage.read_bytes`."""
    target = io.BytesIO()
    with _reading(uri):
        try:
            # Cloud Storage has no empty ranges.
            _download(uri, target, max_bytes, None if first is None else max(first, 1))
        except api_exceptions.RequestRangeNotSatisfiable:
            return b""
    data = target.getvalue()
    # An object stored with a content encoding is larger than its metadata say.
    refuse_too_large(uri, len(data), max_bytes)
    return data if first is None else data[:first]


def stream(uri: str) -> BinaryIO:
    """See `storage.open_binary`."""
    file = spool()
    try:
        with _reading(uri):
            _download(uri, file, None, None)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def exists(uri: str) -> bool:
    """See `storage.exists`."""
    try:
        with _reading(uri):
            return bool(_blob(uri).exists(retry=RETRY, timeout=_TIMEOUT_SECONDS))
    except NotFound:
        return False


def remove(uri: str) -> None:
    """See `storage.delete`."""
    with _changing(uri, "deleted"):
        try:
            _blob(uri).delete(retry=RETRY, timeout=_TIMEOUT_SECONDS)
        except api_exceptions.NotFound:
            return


def files(directory_uri: str) -> Iterator[str]:
    """See `storage.list_uris`."""
    bucket, path = _split(directory_uri)
    prefix = path.rstrip("/") + "/" if path else ""
    with _changing(directory_uri, "listed"):
        for blob in client().list_blobs(
            _bucket(directory_uri),
            prefix=prefix,
            fields="items(name),nextPageToken",
            retry=RETRY,
            timeout=_TIMEOUT_SECONDS,
        ):
            # Consoles make "directories" by creating an empty object of that name.
            if not blob.name.endswith("/"):
                yield f"gs://{bucket}/{blob.name}"


def _upload(uri: str, source: BinaryIO, content_type: str, generation: int | None = None) -> None:
    """Store what is in `source`, from its start, if the object has this generation (0: none)."""
    size = source.seek(0, os.SEEK_END)
    _blob(uri).upload_from_file(
        source,
        rewind=True,
        size=size,
        content_type=content_type,
        checksum="crc32c",
        if_generation_match=generation,
        retry=RETRY,
        timeout=_TIMEOUT_SECONDS,
    )


def write(uri: str, data: bytes, content_type: str) -> None:
    """See `storage.write_bytes`."""
    with _changing(uri):
        _upload(uri, io.BytesIO(data), content_type)


def create(uri: str, data: bytes, content_type: str) -> bool:
    """See `storage.create_bytes`."""
    with _changing(uri):
        try:
            _upload(uri, io.BytesIO(data), content_type, generation=0)
        except api_exceptions.PreconditionFailed:
            # Either another writer was first, or our own request landed and its answer was lost.
            found = _bucket(uri).get_blob(_blob(uri).name, retry=RETRY, timeout=_TIMEOUT_SECONDS)
            return found is not None and found.crc32c == _crc32c(data) and found.size == len(data)
    return True


@contextmanager
def writer(uri: str, content_type: str) -> Iterator[BinaryIO]:
    """See `storage.open_writer`."""
    with spool() as file:
        yield file
        with _changing(uri):
            _upload(uri, file, content_type)


def check_writable(directory_uri: str) -> None:
    """See `storage.check_writable`."""
    probe = temporary_name(directory_uri)
    with _changing(directory_uri):
        _upload(probe, io.BytesIO(), "application/octet-stream")
    # Whoever may not delete may not replace either.
    with _changing(directory_uri, "cleaned up after a trial write"):
        _blob(probe).delete(retry=RETRY, timeout=_TIMEOUT_SECONDS)


def identity(uri: str) -> str:
    """See `storage.identity`."""
    with _reading(uri):
        stored = _stored(uri)
    if stored.crc32c and stored.size is not None:
        return f"crc32c:{stored.crc32c}:{stored.size}"
    data = read(uri, None, None)
    return f"crc32c:{_crc32c(data)}:{len(data)}"
