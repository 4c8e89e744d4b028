"""Local files by a pattern: `*`, `?` and `[…]` within a segment, `**` for any folders."""

import fnmatch
import functools
import logging
import os
from collections.abc import Callable, Iterator

from pipeline.storage.uris import escaped, local_path

_LOGGER = logging.getLogger("nst")


def matching_files(pattern: str) -> Iterator[str]:
    """Absolute paths of the files that match; a directory that exists is taken at its word.

    Below a `**` each real folder is looked at once, by the first of its names, though links may
    lead to it by others, or in a circle.
    """
    path = os.path.abspath(local_path(pattern))
    start = os.path.dirname(path)
    while not os.path.isdir(start):
        start = os.path.dirname(start)
    below = path.removeprefix(start).lstrip("/")
    segments = below.split("/")
    real = functools.cache(os.path.realpath) if "**" in segments else os.fspath
    seen = set()
    for found in _expanded(start, segments):
        folder, name = os.path.split(found)
        if (real(folder), name) not in seen:
            seen.add((real(folder), name))
            yield found


def _expanded(folder: str, segments: list[str]) -> Iterator[str]:
    first, *rest = segments
    if first == "**":
        for inner in _folders_below(folder):
            yield from _expanded(inner, rest or ["*"])
        return
    for entry in _entries(folder):
        if not _matches(entry.name, first):
            continue
        if not rest and _is(entry.is_file):
            yield entry.path
        elif rest and _is(entry.is_dir):
            yield from _expanded(entry.path, rest)


def _folders_below(folder: str) -> Iterator[str]:
    """The folder and all below it, each real one once, links after what they might lead to."""
    pending, links = [folder], list[str]()
    seen = set[str]()
    while pending or links:
        inner = pending.pop(0) if pending else links.pop(0)
        real = os.path.realpath(inner)
        if real in seen:
            continue
        seen.add(real)
        yield inner
        for entry in _entries(inner):
            if _matches(entry.name, "*") and _is(entry.is_dir):
                (links if entry.is_symlink() else pending).append(entry.path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing where it may not be listed, which is told."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError:
        _tell_of(folder)
    except OSError:
        pass  # It has gone meanwhile, or what it is on answers nothing.
    return []


@functools.lru_cache(maxsize=1000)
def _tell_of(folder: str) -> None:
    """Say once that what is in a folder is in no list."""
    _LOGGER.warning(
        "The folder %s may not be listed by this user; what is in it is left out.", escaped(folder)
    )


def _is(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind; a link in a circle, or to what nobody may see, is of none."""
    try:
        return kind()
    except OSError:
        return False


def _matches(name: str, pattern: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatch.fnmatchcase(name, pattern)
