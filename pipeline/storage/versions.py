"""What tells one version of a file from another without reading it."""

from typing import NamedTuple


class Version(NamedTuple):
    """A file's size in bytes, and what changes whenever somebody writes the file.

    `mark`: a local file's time of modification (`modified:…`, ns since 1970), an object's
    generation on `gs://`, elsewhere what the filesystem has; empty where it has nothing.
    `crc32c`: of the content, in base64, where the storage knows it; else empty.
    """

    bytes: int
    mark: str
    crc32c: str = ""
