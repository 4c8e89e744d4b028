"""Read, write once, list: the same for local paths, `gs://`, Beam's filesystems and the web.

A reader never sees half a file under a final name. Local and `gs://` writes keep that promise
through a crash; the other schemes go through Beam's `FileSystems`, which can promise less (see
`beam`); to the web nothing is written. In a URI only the scheme and the slashes mean something:
`%`, `#`, `?` and spaces are ordinary characters, and nothing is ever decoded; on the web they mean
what they mean there.
"""

import functools
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from typing import BinaryIO, Protocol

from pipeline.storage import filesystems
from pipeline.storage.credentials import without_credentials
from pipeline.storage.errors import (
    ABOUT_ONE_FILE,
    AccessDenied,
    Damaged,
    NoFilesystem,
    NotFound,
    StorageError,
    TooLarge,
    Unreadable,
)
from pipeline.storage.uris import (
    directory,
    join,
    local_path,
    resolve,
    scheme,
    split_root,
    stem,
    temporary_name,
    temporary_writer,
)
from pipeline.storage.versions import Version

__all__ = [
    "ABOUT_ONE_FILE",
    "AccessDenied",
    "Damaged",
    "NoFilesystem",
    "NotFound",
    "StorageError",
    "TooLarge",
    "Unreadable",
    "Version",
    "allow_private_hosts",
    "check_scheme",
    "check_writable",
    "create_bytes",
    "delete",
    "directory",
    "exists",
    "glob_uris",
    "identity",
    "ignores_case",
    "is_glob",
    "is_same_file",
    "join",
    "link",
    "list_uris",
    "list_versions",
    "local_path",
    "open_binary",
    "open_writer",
    "read_bytes",
    "read_version",
    "real_uri",
    "resolve",
    "scheme",
    "size",
    "stem",
    "sweep",
    "temporary_name",
    "temporary_writer",
    "version",
    "without_credentials",
    "write_bytes",
]

_WILDCARD = re.compile(r"[*?\[]")


class _Backend(Protocol):
    """What the module of one kind of storage offers; arguments as in the functions below."""

    def read(self, uri: str, max_bytes: int | None, first: int | None, /) -> bytes: ...
    def stream(self, uri: str, /) -> BinaryIO: ...
    def exists(self, uri: str, /) -> bool: ...
    def remove(self, uri: str, /) -> None: ...
    def files(self, directory_uri: str, /) -> Iterator[str]: ...
    def write(self, uri: str, data: bytes, content_type: str, /) -> None: ...
    def create(self, uri: str, data: bytes, content_type: str, /) -> bool: ...
    def writer(self, uri: str, content_type: str, /) -> AbstractContextManager[BinaryIO]: ...
    def check_writable(self, directory_uri: str, /) -> None: ...
    def identity(self, uri: str, /) -> str: ...
    def size(self, uri: str, /) -> int: ...
    def read_version(self, uri: str, max_bytes: int, /) -> tuple[bytes, Version]: ...
    def version(self, uri: str, /) -> Version: ...


def _backend(uri: str) -> _Backend:
    kind = scheme(uri)
    if kind not in ("", "gs"):
        check_scheme(uri)
    return _backend_of(kind)


@functools.cache
def _backend_of(kind: str) -> _Backend:
    """The module for a scheme, imported on its first use: two of them take seconds."""
    if kind == "":
        from pipeline.storage import local

        return local
    if kind == "gs":
        from pipeline.storage import gcs

        return gcs
    if kind in filesystems.WEB:
        from pipeline.storage import web

        return web
    from pipeline.storage import beam

    return beam


def check_scheme(uri: str, *, writing: bool = False) -> None:
    """Refuse a URI of a scheme of which it is known, without Beam, that nothing here reads it.

    With `writing` also one of which it is known that nothing is written there.

    Raises:
        NoFilesystem: with what to do instead.
    """
    if reason := filesystems.missing_reason(uri, scheme(uri)):
        raise NoFilesystem(reason)
    if writing and scheme(uri) in filesystems.WEB:
        raise NoFilesystem(filesystems.unwritable_reason(uri))


def allow_private_hosts(allowed: bool) -> None:
    """Whether URLs may lead to addresses that only this machine reaches; in this process, not yet.

    Elsewhere a stage of the job says so where it begins.
    """
    from pipeline.storage.web_addresses import allow_private

    if allow_private(allowed):
        from pipeline.storage import web

        web.forget()


def read_bytes(uri: str, *, max_bytes: int | None = None, first: int | None = None) -> bytes:
    """The whole file, or its `first` bytes (all, where it has fewer).

    `max_bytes` bounds the size of the file, also where only its first bytes are read. From `gs://`
    a whole file is verified by its crc32c, also one that has no more than its `first` bytes if
    there is `max_bytes`. Raises TooLarge, NotFound, AccessDenied, Damaged, Unreadable,
    StorageError.
    """
    return _backend(uri).read(uri, max_bytes, first)


def read_version(uri: str, *, max_bytes: int) -> tuple[bytes, Version]:
    """The whole file, and which version of it that is; errors as of `read_bytes`."""
    return _backend(uri).read_version(uri, max_bytes)


def open_binary(uri: str) -> BinaryIO:
    """A seekable binary file for reading in a `with`, of any size at little memory.

    A remote file is first copied to the local temporary directory, so that it is whole and
    verified before its first byte is used. Raises NotFound, AccessDenied, Damaged, Unreadable,
    StorageError; a local file also while it is read.
    """
    return _backend(uri).stream(uri)


def exists(uri: str) -> bool:
    """Whether there is a file (not a directory). Raises AccessDenied, StorageError."""
    return _backend(uri).exists(uri)


def delete(uri: str) -> None:
    """Remove a file; a missing one is fine. Raises StorageError."""
    _backend(uri).remove(uri)


def list_uris(directory_uri: str) -> Iterator[str]:
    """Every file below a directory, recursively, as full URIs in no promised order.

    Streams; a missing directory has none; temporary files of unfinished writes are left out.
    Raises StorageError, also where only part of the tree may be listed.
    """
    for uri in _backend(directory_uri).files(directory_uri):
        if temporary_writer(uri) is None:
            yield uri


def is_glob(uri: str) -> bool:
    """Whether there are wildcards, as of `glob_uris`."""
    return _WILDCARD.search(uri) is not None


def glob_uris(pattern: str) -> list[str]:
    """The files that match, sorted: `*`, `?` and `[…]` within a segment, `**` for any directories.

    As in a shell, wildcards pass over names that start with a dot. Local `**` follows links, to
    each real folder once. A pattern that is the name of an existing file is that file.
    Raises AccessDenied, NoFilesystem, StorageError.
    """
    if exists(pattern):
        return [pattern if scheme(pattern) else os.path.abspath(local_path(pattern))]
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        return []
    if not scheme(pattern):
        from pipeline.storage import local_globs

        return sorted(local_globs.matching_files(pattern))
    root, path = split_root(pattern)
    if _WILDCARD.search(root):
        raise StorageError(
            f"{pattern} has a wildcard in the bucket's name, and buckets cannot be searched: "
            "write the bucket's name out."
        )
    start = directory(pattern[: wildcard.start()])
    segments = path.split("/")
    return sorted(
        uri for uri in list_uris(start) if _matches(split_root(uri)[1].split("/"), segments)
    )


def _matches(names: list[str], patterns: list[str]) -> bool:
    """Whether the segments of a path match those of a pattern."""
    if not patterns:
        return not names
    if patterns[0] == "**" and _matches(names, patterns[1:]):
        return True
    if not names or (names[0].startswith(".") and not patterns[0].startswith(".")):
        return False
    if patterns[0] == "**":
        return _matches(names[1:], patterns)
    return fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def write_bytes(uri: str, data: bytes, content_type: str) -> None:
    """Write a file whole, or replace one; readers see the old or the new. Raises StorageError."""
    _backend(uri).write(uri, data, content_type)


def create_bytes(uri: str, data: bytes, content_type: str) -> bool:
    """Write a file unless there is one; False if there is. Of several writers one wins.

    On `gs://` a writer that finds just its own bytes is told True: its first try may have landed
    unheard. Beam's filesystems, and local ones without hard links, check and then rename, so two
    writers at the same moment may both be told True; the file is whole all the same.
    Raises StorageError.
    """
    return _backend(uri).create(uri, data, content_type)


def link(source: str, target: str) -> bool:
    """Let a new local file be another name of a local one; False where the disk cannot.

    Raises NotFound, AccessDenied, Unreadable of the source, StorageError.
    """
    if scheme(source) or scheme(target):
        return False
    from pipeline.storage import local

    return local.link(local_path(source), local_path(target))


def open_writer(uri: str, content_type: str) -> AbstractContextManager[BinaryIO]:
    """A binary file for writing in a `with`; it gets its name on a clean exit, else it vanishes.

    Raises StorageError, from a `write` inside the `with` as well.
    """
    return _backend(uri).writer(uri, content_type)


def check_writable(directory_uri: str) -> None:
    """Raise StorageError unless files can be written below a directory; leaves no trace.

    On `gs://` also unless they can be read, listed and deleted.
    """
    _backend(directory_uri).check_writable(directory_uri)


def sweep(directory_uri: str, *, ending: bool = False) -> None:
    """Remove the temporary files that killed processes have left below a local directory.

    Those of processes of this machine that have ended, and those that nobody has written to for a
    day. With `ending` those of this process too, which then begins no other: it is about to end.
    Nothing is swept elsewhere: `gs://` needs no temporary files, and of Beam's filesystems they
    can be all that is left of a file. Raises StorageError.
    """
    if not scheme(directory_uri):
        from pipeline.storage import local

        local.sweep(directory_uri, ending=ending)


def identity(uri: str) -> str:
    """A short string that changes with the file's content.

    `sha256:…` for a local file, `crc32c:…:size` on `gs://`, elsewhere what the filesystem has.
    Raises NotFound, AccessDenied, Damaged, Unreadable, StorageError.
    """
    return _backend(uri).identity(uri)


def version(uri: str) -> Version:
    """Which version of a file there is. Raises NotFound, AccessDenied, Unreadable, StorageError."""
    return _backend(uri).version(uri)


def list_versions(directory_uri: str, most: int) -> dict[str, Version] | None:
    """The versions of the files right in a directory on `gs://`, by URI, with few requests.

    None where there are more than `most`, or where a listing has no versions: ask for each then.
    Raises StorageError.
    """
    if scheme(directory_uri) != "gs":
        return None
    from pipeline.storage import gcs

    return gcs.versions(directory_uri, most)


def size(uri: str) -> int:
    """Bytes of a file. Raises NotFound, AccessDenied, Unreadable, StorageError."""
    return _backend(uri).size(uri)


def real_uri(uri: str) -> str:
    """The URI of the file that this one leads to: a local path without symbolic links."""
    if scheme(uri):
        return uri
    from pipeline.storage import local

    return local.real_path(local_path(uri))


def is_same_file(uri: str, other: str) -> bool:
    """Whether two URIs lead to one file, by another spelling or link too."""
    if uri == other or scheme(uri) or scheme(other):
        return uri == other
    from pipeline.storage import local

    return local.is_same(local_path(uri), local_path(other))


def ignores_case(directory_uri: str) -> bool:
    """Whether names in a directory that differ in capitals alone are one name."""
    if scheme(directory_uri):
        return False
    from pipeline.storage import local

    return local.ignores_case(local_path(directory_uri))
