"""What the system says about local files, as the storage's errors."""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.storage.errors import AccessDenied, NotFound, StorageError, Unreadable, missing

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM}
# Reads that fail for want of what the whole process shares.
_EVERYBODYS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_REASONS = [
    (
        {errno.ENOSPC, errno.EDQUOT},
        "disk full or quota used up: free space there or choose another output directory",
    ),
    (
        {*_DENIED, errno.EROFS},
        "no permission or a read-only filesystem: give this user write permission or choose "
        "another output directory",
    ),
    (
        {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY},
        "a file is in the way of a directory or a directory in the way of a file: move it away "
        "or choose another output directory",
    ),
    (
        {errno.ENAMETOOLONG},
        "the name is too long for this filesystem: choose a shorter output directory or id",
    ),
]


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what the system says about a read into this package's errors."""
    try:
        yield
    except ValueError as error:
        raise NotFound(f"{path!r} is not a file name ({error}): correct it.") from error
    except OSError as error:
        if error.errno in _ABSENT and (target := _target_of(path)):
            raise NotFound(
                f"{path} is a link to {target}, where no file is: put it there, or correct the "
                "link."
            ) from error
        if error.errno in _ABSENT:
            raise missing(path, os.path.isfile) from error
        if error.errno in _DENIED:
            raise AccessDenied(
                f"{path} may not be read by this user: grant read permission."
            ) from error
        if error.errno in _EVERYBODYS:
            raise StorageError(
                f"{path} cannot be read, {error.strerror}: raise this user's limits or let fewer "
                "workers run."
            ) from error
        # A bad sector (EIO), a file that a server has lost (ESTALE): others can still be read.
        raise Unreadable(
            f"{path} cannot be read, {error.strerror}: check the disk, or copy the file anew."
        ) from error


def _target_of(path: str) -> str | None:
    """What a symbolic link says, in letters that can be written anywhere; None for no link."""
    try:
        return os.fsencode(os.readlink(path)).decode("utf-8", "backslashreplace")
    except OSError:
        return None


@contextmanager
def changing(path: str, action: str = "written") -> Iterator[None]:
    """Turn what the system says about a write into a StorageError."""
    try:
        yield
    except ValueError as error:
        raise StorageError(
            f"{path!r} cannot be {action}, it is not a file name ({error}): choose another."
        ) from error
    except OSError as error:
        default = f"{error.strerror}: check the disk and run again"
        reason = next((text for codes, text in _REASONS if error.errno in codes), default)
        raise StorageError(f"{path} cannot be {action}, {reason}.") from error


class SourceFile(io.FileIO):
    """A file whose failed reads are this package's errors, also those inside a caller's `with`."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "r")
        self._path = path

    def readinto(self, buffer: Any, /) -> int | None:
        with reading(self._path):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with reading(self._path):
            return super().readall() or b""


class TargetFile(io.FileIO):
    """A file whose failed writes are StorageErrors, also those inside a caller's `with`."""

    def __init__(self, file: str | int, mode: str, final_path: str) -> None:
        super().__init__(file, mode)
        self._final_path = final_path

    def write(self, data: Any, /) -> int:
        with changing(self._final_path):
            return super().write(data)
