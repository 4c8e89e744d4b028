"""The pictures that globs, folders and names mean, without what lies beside pictures."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator, Sequence

from nst_core.errors import ConfigError
from nst_core.imaging import formats
from pipeline import storage

# Below them a run writes pictures of its own; `runs/<run>/config.yaml` is its first file.
_OUTPUT_FOLDERS = ("images", "snapshots", "animations", "thumbnails", "source_thumbnails", "report")
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
    is_output = functools.cache(_is_output)
    for name in named:
        matches = storage.glob_uris(name) or storage.glob_uris(storage.join(name, "*"))
        if not matches:
            raise ConfigError(f"{name!r} matches no file; check the path, and quote the glob.")
        taken = 0
        for uri in matches:
            if not _is_picture(uri):
                left[_NO_PICTURE].append(uri)
            elif any(map(is_output, _output_candidates(uri, name))):
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


def _output_candidates(uri: str, name: str) -> Iterator[str]:
    """The folders of which `uri` would be a run's output; not those that `name` itself enters."""
    parts = uri.split("/")
    entered = name.rstrip("/").split("/")
    for index, part in enumerate(parts[:-1]):
        if part in _OUTPUT_FOLDERS and parts[: index + 1] != entered[: index + 1]:
            yield "/".join(parts[:index])


def _is_output(folder: str) -> bool:
    runs = storage.join(folder, "runs")
    return any(uri.endswith("/config.yaml") for uri in storage.list_uris(runs))
