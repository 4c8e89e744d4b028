"""The pictures that globs, folders and names mean, without what lies beside pictures."""

from __future__ import annotations

import collections
import shlex
from collections.abc import Callable, Iterator, Sequence

from nst_core.errors import ConfigError, harmless
from nst_core.image_files import formats
from pipeline import storage
from pipeline.job.options import HERE
from pipeline.manifest.outputs import written_by_runs
from pipeline.manifest.values import defect
from pipeline.storage.uris import escaped

_NO_PICTURE = f"no {formats.COMMON}"
_OUTPUT = "written by a run"
_UNREADABLE = "not readable by this user"
_NOT_UTF8 = "not UTF-8 by name (rename it)"


def find_both(
    contents: Sequence[str], styles: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    """The contents, the styles, and the sentences of both; as of `find_pictures`."""
    found, left_out = find_pictures(contents)
    found_styles, more_left_out = find_pictures(styles)
    return found, found_styles, left_out + more_left_out


def find_pictures(named: Sequence[str]) -> tuple[list[str], list[str]]:
    """The URIs of all pictures that these names mean, each once, and what was left out.

    A folder is the pictures right inside it; those of its subfolders are left out, and told by
    their extension alone. A picture is told by its extension, a local file of another by its first
    bytes. Below a wildcard, what a run has written is no picture to take.

    Returns:
        The URIs, and a sentence for each reason for which files were left out.

    Raises:
        ConfigError: one of them means no picture.
        StorageError: something cannot be listed or read.
    """
    found: dict[str, None] = {}
    left: dict[str, list[str]] = collections.defaultdict(list)
    below: dict[str, list[str]] = {}
    for name in (storage.resolve(one, HERE) for one in named):
        is_written = written_by_runs(name)
        matches = storage.glob_uris(name)
        if not matches:
            matches = storage.glob_uris(storage.join(name, "*"))
            if deeper := list(_in_subfolders(name, matches, is_written)):
                below[name] = deeper
        if not matches and name not in below:
            raise ConfigError(f"{name!r} matches no file; check the path, and quote the glob.")
        taken = 0
        for uri in matches:
            if reason := _reason_against(uri, is_written):
                left[reason].append(uri)
            else:
                found[uri] = None
                taken += 1
        if not taken:
            reasons = " ".join(_sentences(left, below))
            raise ConfigError(f"{name!r} matches no picture to take: {reasons}")
    return list(found), list(_sentences(left, below))


def _in_subfolders(
    folder: str, inside: Sequence[str], is_written: Callable[[str], bool]
) -> Iterator[str]:
    for uri in {*storage.glob_uris(storage.join(folder, "**"))}.difference(inside):
        is_named = uri.lower().endswith(formats.EXTENSIONS) and _is_picture(uri)
        if is_named and not is_written(uri):
            yield uri


def _sentences(left: dict[str, list[str]], below: dict[str, list[str]]) -> Iterator[str]:
    for reason, uris in left.items():
        several = len(set(uris))
        what = "file is" if several == 1 else "files are"
        yield harmless(f"Left out: {several} {what} {reason}, such as {escaped(uris[0])}.")
    for folder, uris in below.items():
        what = "picture is" if len(uris) == 1 else "pictures are"
        everything = shlex.quote(storage.join(folder, "**"))
        yield harmless(
            f"Left out: {len(uris)} {what} in subfolders of {folder}, such as {min(uris)}; "
            f"{everything} takes those too."
        )


def _reason_against(uri: str, is_written: Callable[[str], bool]) -> str | None:
    """Why a file is no picture to take; None for one that is."""
    try:
        if not _is_picture(uri):
            return _NO_PICTURE
    except storage.ABOUT_ONE_FILE:
        # What it is nobody can see, and its name does not say that it is a picture.
        return _UNREADABLE
    if defect(uri):
        return _NOT_UTF8
    return _OUTPUT if is_written(uri) else None


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
