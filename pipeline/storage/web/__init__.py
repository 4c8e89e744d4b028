"""`https://` and `http://`: files that are read, and never written.

A file that was read is kept on disk (see `cache`), so that what plans and what works, runs and
their repetitions take it over the wire once; before it is used again its server is asked whether it
is still the same. Its version is its ETag, else the time of its last modification. Importing this
module imports aiohttp; `storage` does so at the first URL.
"""

from __future__ import annotations

import hashlib
import io
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, NoReturn

from pipeline.storage.credentials import without_credentials
from pipeline.storage.errors import (
    NoFilesystem,
    NotFound,
    TooLarge,
    Unreadable,
    refuse_too_large,
)
from pipeline.storage.filesystems import unwritable_reason
from pipeline.storage.versions import Version
from pipeline.storage.web import transfer
from pipeline.storage.web.cache import Kept, WebCache

# Of a file whose reader names no limit.
MOST_BYTES = 512 * 2**20

_made: WebCache | None = None
_lock = threading.Lock()
_reading: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()


def _cache() -> WebCache:
    global _made
    with _lock:
        _made = _made or WebCache()
        return _made


def forget() -> None:
    """Close this process's connections, and ask servers anew for whatever is kept."""
    global _made
    with _lock:
        _made = None
    transfer.forget_client()


def _kept(uri: str, max_bytes: int) -> Kept:
    """A file, from disk where it is still the same; of threads that want one, one asks."""
    cache = _cache()
    with _lock:
        reading = _reading.setdefault(uri, threading.Lock())
    with reading:
        kept = cache.get(uri)
        if kept is None or not cache.is_fresh(uri):
            target = io.BytesIO()
            etag, modified = (kept.etag, kept.modified) if kept else ("", "")
            answer = transfer.client().get(uri, target, max_bytes, etag, modified)
            if kept is None or not answer.is_same:
                kept = Kept(target.getvalue(), answer.etag, answer.modified)
                cache.put(uri, kept)
                return kept
            cache.confirm(uri)
        refuse_too_large(without_credentials(uri), len(kept.data), max_bytes)
        return kept


def _of_any_size(uri: str) -> Kept:
    try:
        return _kept(uri, MOST_BYTES)
    except TooLarge as error:
        raise Unreadable(
            f"{without_credentials(uri)} has more than {MOST_BYTES} bytes, the most that is read "
            "from the web: download the file and name its path."
        ) from error


def _mark(etag: str, modified: str) -> str:
    return f"etag:{etag}" if etag else f"modified:{modified}" if modified else ""


def _version(kept: Kept) -> Version:
    return Version(len(kept.data), _mark(kept.etag, kept.modified))


def read(uri: str, max_bytes: int | None, first: int | None) -> bytes:
    """See `storage.read_bytes`; the whole is read also where its first bytes are wanted."""
    data = (_of_any_size(uri) if max_bytes is None else _kept(uri, max_bytes)).data
    return data if first is None else data[:first]


def read_version(uri: str, max_bytes: int) -> tuple[bytes, Version]:
    """See `storage.read_version`."""
    kept = _kept(uri, max_bytes)
    return kept.data, _version(kept)


def version(uri: str) -> Version:
    """See `storage.version`; by one request without the bytes, unless the server tells too little.

    What is kept of another version is not used again.
    """
    answer = transfer.client().head(uri)
    mark = _mark(answer.etag, answer.modified)
    cache = _cache()
    if cache.is_fresh(uri):
        kept = cache.get(uri)
        if kept is None or not mark or mark != _mark(kept.etag, kept.modified):
            cache.expire(uri)
    if answer.length is None:
        return _version(_of_any_size(uri))
    return Version(answer.length, mark)


def stream(uri: str) -> BinaryIO:
    """See `storage.open_binary`; in memory."""
    return io.BytesIO(_of_any_size(uri).data)


def exists(uri: str) -> bool:
    """See `storage.exists`."""
    try:
        transfer.client().head(uri)
    except NotFound:
        return False
    return True


def identity(uri: str) -> str:
    """See `storage.identity`."""
    return "sha256:" + hashlib.sha256(_of_any_size(uri).data).hexdigest()


def size(uri: str) -> int:
    """See `storage.size`."""
    return version(uri).bytes


def _refuse_writing(uri: str) -> NoReturn:
    raise NoFilesystem(unwritable_reason(uri))


def files(directory_uri: str) -> Iterator[str]:
    """See `storage.list_uris`: there is no list of what a server has."""
    raise NoFilesystem(
        f"{without_credentials(directory_uri)} is on the web, where files cannot be listed: name "
        "each file by its whole URL."
    )


def remove(uri: str) -> None:
    """See `storage.delete`: nothing is changed on the web."""
    _refuse_writing(uri)


def write(uri: str, _data: bytes, _content_type: str) -> None:
    """See `storage.write_bytes`: nothing is written to the web."""
    _refuse_writing(uri)


def create(uri: str, _data: bytes, _content_type: str) -> bool:
    """See `storage.create_bytes`: nothing is written to the web."""
    _refuse_writing(uri)


def writer(uri: str, _content_type: str) -> AbstractContextManager[BinaryIO]:
    """See `storage.open_writer`: nothing is written to the web."""
    _refuse_writing(uri)


def check_writable(directory_uri: str) -> None:
    """See `storage.check_writable`: nothing is written to the web."""
    _refuse_writing(directory_uri)
