"""Local files: written under a temporary name in the same directory, synced, renamed."""

import errno
import functools
import hashlib
import io
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import BinaryIO, cast

from pipeline import processes
from pipeline.storage.errors import NotFound, StorageError, refuse_too_large
from pipeline.storage.hints import other_spelling
from pipeline.storage.local_errors import SourceFile, TargetFile, changing, reading
from pipeline.storage.uris import local_path, temporary_name, temporary_writer
from pipeline.storage.versions import Version

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_LINK_HERE = {*_NO_HARD_LINKS, errno.EXDEV}
_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_OPENING_TRIES = 3
_STALE_SECONDS = 24 * 3600.0

# Held by a thread that opens a temporary file; for ever once this process is about to end.
_opening = threading.Lock()


class _AlreadyThereError(Exception):
    """The final name of a file to be created is taken."""


def spool() -> BinaryIO:
    """A nameless temporary file, for a remote file on its way in or out."""
    folder = tempfile.gettempdir()
    with changing(folder):
        descriptor, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)
    return io.BufferedRandom(TargetFile(descriptor, "r+", folder))


def _check_file(path: str) -> os.stat_result:
    """The file's metadata; a directory is not a file, and a pipe would block its reader."""
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise NotFound(f"{path} is a directory, not a file: name a file.")
    if not stat.S_ISREG(found.st_mode):
        raise NotFound(f"{path} is a device or a pipe, not a file: name a file.")
    return found


def read(uri: str, max_bytes: int | None, first: int | None) -> bytes:
    """See `storage.read_bytes`."""
    path = local_path(uri)
    file, status = _opened(path)
    with file:
        refuse_too_large(path, status.st_size, max_bytes)
        return _content(file, path, max_bytes) if first is None else file.read(first)


def read_version(uri: str, max_bytes: int) -> tuple[bytes, Version]:
    """See `storage.read_version`."""
    with stream(uri) as file:
        found = _version(os.fstat(file.fileno()))
        refuse_too_large(local_path(uri), found.bytes, max_bytes)
        return _content(file, local_path(uri), max_bytes), found


def _content(file: BinaryIO, path: str, max_bytes: int | None) -> bytes:
    """All of a file; not more than `max_bytes`, though it grows, or tells no size (as in /proc)."""
    if max_bytes is None:
        return file.read()
    size = os.fstat(file.fileno()).st_size
    data = file.read(size + 1)
    if len(data) > size:
        data += file.read(max(0, max_bytes - size))
        refuse_too_large(path, len(data), max_bytes)
    return data


def version(uri: str) -> Version:
    """See `storage.version`."""
    path = local_path(uri)
    with reading(path):
        return _version(_found(path)[1])


def _version(status: os.stat_result) -> Version:
    return Version(status.st_size, f"modified:{status.st_mtime_ns}")


def _found(path: str) -> tuple[str, os.stat_result]:
    """The path of a file, or the other spelling under which there is one, and its metadata."""
    try:
        return path, _check_file(path)
    except FileNotFoundError:
        found = other_spelling(path, os.path.lexists)
        if found is None:
            raise
        return found, _check_file(found)


def stream(uri: str) -> io.BufferedReader:
    """See `storage.open_binary`."""
    return _opened(local_path(uri))[0]


def _opened(path: str) -> tuple[io.BufferedReader, os.stat_result]:
    """A file, under whichever spelling there is one, and its metadata."""
    with reading(path):
        found, status = _found(path)
        return io.BufferedReader(SourceFile(found)), status


def exists(uri: str) -> bool:
    """See `storage.exists`."""
    path = local_path(uri)
    try:
        with reading(path):
            _check_file(path)
    except NotFound:
        return False
    return True


def remove(uri: str) -> None:
    """See `storage.delete`."""
    path = local_path(uri)
    with changing(path, "deleted"):
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return


def files(directory_uri: str) -> Iterator[str]:
    """See `storage.list_uris`. Directories that are symbolic links are not entered."""
    pending = [os.path.abspath(local_path(directory_uri))]
    while pending:
        folder = pending.pop()
        with changing(folder, "listed"):
            try:
                entries = os.scandir(folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            with entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file():
                        yield entry.path


def _sync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut, where its filesystem can."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def _make_directories(path: str, made: list[str]) -> None:
    """Make a directory and its parents; those that were not there are added to `made`."""
    wanted = []
    while path and not os.path.lexists(path):
        wanted.append(path)
        path = os.path.dirname(path)
    for folder in reversed(wanted):
        try:
            os.mkdir(folder)
        except FileExistsError:
            continue
        made.append(folder)
        _sync_directory(os.path.dirname(folder) or ".")


def _open_temporary(final_path: str, made: list[str]) -> TargetFile:
    """A new file beside `final_path`, with the permissions that the umask gives."""
    folder = os.path.dirname(final_path)
    for attempt in range(_OPENING_TRIES):
        try:
            with _opening:
                return TargetFile(temporary_name(folder or "."), "x", final_path)
        except FileNotFoundError:
            # Also where another process that checks whether it may write has just removed it.
            if attempt == _OPENING_TRIES - 1:
                raise
            _make_directories(folder, made)
    raise AssertionError("unreachable")


@contextmanager
def _published(path: str, publish: Callable[[str, str], None]) -> Iterator[BinaryIO]:
    """A temporary file that `publish(temporary, path)` names on a clean exit; else it vanishes."""
    with changing(path):
        raw = _open_temporary(path, [])
    temporary = cast(str, raw.name)
    file = io.BufferedWriter(raw)
    try:
        yield file
        with changing(path):
            file.flush()
            os.fsync(raw.fileno())
            file.close()
            publish(temporary, path)
            _sync_directory(os.path.dirname(path) or ".")
    finally:
        # Where a write has failed, closing tries it once more, and fails again.
        with suppress(OSError, StorageError):
            file.close()
        with suppress(OSError):
            os.unlink(temporary)


def _link(temporary: str, path: str) -> None:
    """Give a file its name only if nothing has that name."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise _AlreadyThereError from error
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # O_EXCL on the final name would let one writer win, but show it empty until it is written,
        # and leave it so after a crash: a whole file matters more than a single winner.
        if os.path.lexists(path):
            raise _AlreadyThereError from error
        os.replace(temporary, path)


def link(source: str, target: str) -> bool:
    """See `storage.link`; of a symbolic link, the file that it leads to."""
    with reading(source):
        _check_file(source)
    with changing(target):
        _make_directories(os.path.dirname(target), [])
        try:
            os.link(os.path.realpath(source), target)
        except OSError as error:
            if error.errno not in _NO_LINK_HERE:
                raise
            return False
        _sync_directory(os.path.dirname(target) or ".")
    return True


def write(uri: str, data: bytes, content_type: str) -> None:
    """See `storage.write_bytes`."""
    with writer(uri, content_type) as file:
        file.write(data)


def create(uri: str, data: bytes, _content_type: str) -> bool:
    """See `storage.create_bytes`."""
    path = local_path(uri)
    try:
        with _published(path, _link) as file:
            file.write(data)
    except _AlreadyThereError:
        return False
    return True


def writer(uri: str, _content_type: str) -> AbstractContextManager[BinaryIO]:
    """See `storage.open_writer`."""
    return _published(local_path(uri), os.replace)


def check_writable(directory_uri: str) -> None:
    """See `storage.check_writable`."""
    folder = local_path(directory_uri).rstrip("/") or "/"
    made: list[str] = []
    try:
        with changing(folder):
            probe = _open_temporary(os.path.join(folder, "probe"), made)
            try:
                with probe:
                    probe.write(bytes(4096))
                    os.fsync(probe.fileno())
            finally:
                os.unlink(cast(str, probe.name))
    finally:
        for path in reversed(made):
            # Another process may have put its files there by now.
            with suppress(OSError):
                os.rmdir(path)


def sweep(directory_uri: str, *, ending: bool) -> None:
    """See `storage.sweep`."""
    if ending:
        _opening.acquire()
    for path in files(directory_uri):
        writer_name = temporary_writer(path)
        # Others sweep too, and what belongs to another user is theirs to remove.
        with suppress(OSError, StorageError):
            if writer_name is not None and (
                (ending and writer_name == processes.own_name())
                or processes.has_ended(writer_name)
                or time.time() - os.stat(path).st_mtime > _STALE_SECONDS
            ):
                os.unlink(path)


def identity(uri: str) -> str:
    """See `storage.identity`."""
    with stream(uri) as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def size(uri: str) -> int:
    """See `storage.size`."""
    path = local_path(uri)
    with reading(path):
        return _check_file(path).st_size


@functools.lru_cache(maxsize=4096)
def real_path(path: str) -> str:
    """The path without symbolic links, whether there is a file or not."""
    folder, name = os.path.split(path)
    found = os.path.join(_real_folder(folder), name)
    # Most files are no links, and each part of a path costs a call of the system.
    return os.path.realpath(found) if os.path.islink(found) else found


@functools.lru_cache(maxsize=4096)
def _real_folder(path: str) -> str:
    with suppress(ValueError):  # No file name, which is told once it is read.
        return os.path.realpath(path)
    return path


def is_same(path: str, other: str) -> bool:
    """See `storage.is_same_file`."""
    with suppress(OSError, ValueError):
        return os.path.samefile(path, other)
    return real_path(path) == real_path(other)


@functools.lru_cache(maxsize=16)
def ignores_case(folder: str) -> bool:
    """See `storage.ignores_case`; by the names of the folder itself or of the next above it."""
    path = os.path.abspath(folder)
    while path != "/":
        parent, name = os.path.split(path)
        if name.swapcase() != name and os.path.exists(path):
            return is_same(path, os.path.join(parent, name.swapcase()))
        path = parent
    return False
