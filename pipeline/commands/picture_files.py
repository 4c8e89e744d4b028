"""The pictures that globs, folders and names mean, without what lies beside pictures."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

from nst_core.errors import ConfigError
from nst_core.imaging import formats
from pipeline import storage
from pipeline.manifest.outputs import written_by_runs

_NO_PICTURE = f"no {formats.COMMON}"
_OUTPUT = "written by a run"


def find_pictures(named: Sequence[str]) -> tuple[list[str], list[str]]:
    """The URIs of all pictures that these absolute names mean, each once, and what was left out.

    A folder is the pictures right inside it. A picture is told by its extension, a local file of
    another by its first bytes. Below a wildcard, what a run has written is no picture to take.

    Returns:
        The URIs, and a sentence for each reason for which files were left out.

    Raises:
        ConfigError: one of them means no picture.
        StorageError: something cannot be listed or read.
    """
    found: dict[str, None] = {}
    left: dict[str, list[str]] = collections.defaultdict(list)
    for name in named:
        matches = storage.glob_uris(name) or storage.glob_uris(storage.join(name, "*"))
        if not matches:
            raise ConfigError(f"{name!r} matches no file; check the path, and quote the glob.")
        is_written = written_by_runs(name)
        taken = 0
        for uri in matches:
            if not _is_picture(uri):
                left[_NO_PICTURE].append(uri)
            elif is_written(uri):
                left[_OUTPUT].append(uri)
            else:
                found[uri] = None
                taken += 1
        if not taken:
            reasons = " ".join(_sentences(left))
            raise ConfigError(f"{name!r} matches no picture to take: {reasons}")
    return list(found), list(_sentences(left))


def _sentences(left: dict[str, list[str]]) -> Iterator[str]:
    for reason, uris in left.items():
        several = len(set(uris))
        what = "file is" if several == 1 else "files are"
        yield f"Left out: {several} {what} {reason}, such as {uris[0]}."


def _is_picture(uri: str) -> bool:
    if "__MACOSX" in uri.split("/"):
        return False
    if uri.lower().endswith(formats.EXTENSIONS):
        return True
    if storage.scheme(uri):
        return False
    # A text can have the mark of a rare format.
    found = formats.begins_as(storage.read_bytes(uri, first=formats.MARK_BYTES))
    return found is not None and found.common
