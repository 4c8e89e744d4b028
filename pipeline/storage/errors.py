"""What can go wrong with a storage, or with one file of it."""

from collections.abc import Callable

from nst_core.errors import JobError
from pipeline.storage.hints import hint


class StorageError(JobError):
    """Trouble with the storage that is not one pair's.

    Those below are about one file: a caller who reads it for one pair makes them that pair's.
    """


class NotFound(StorageError):
    """A read of what is not there, or is not a file."""


class NoFilesystem(NotFound):
    """A URI of a scheme that nothing here can read or write."""


class TooLarge(StorageError):
    """A file has more bytes than the reader allows."""


class AccessDenied(StorageError):
    """A file may not be read by this process."""


class Damaged(StorageError):
    """A file's bytes do not have its checksum, however often they are read."""


class Unreadable(StorageError):
    """The system fails to read a file that is there and may be read: a bad sector, a lost mount."""


# A read that fails for what is about this file, not about all.
ABOUT_ONE_FILE = (NotFound, AccessDenied, Damaged, Unreadable)


def missing(uri: str, exists: Callable[[str], bool] = lambda _: False) -> NotFound:
    """The error for a file that is not there; `exists` tells whether another name is meant."""
    return NotFound(
        f"{uri} does not exist: correct the URI or put the file there{hint(uri, exists)}."
    )


def refuse_too_large(uri: str, size: int, max_bytes: int | None) -> None:
    """Raise `TooLarge` for a file of `size` bytes over the limit."""
    if max_bytes is not None and size > max_bytes:
        raise TooLarge(
            f"{uri} has {size} bytes, over the limit of {max_bytes}: "
            "make the file smaller or raise max_bytes."
        )
