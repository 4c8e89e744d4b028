"""What runs have written among the files that a glob finds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from pipeline import storage

# Of a run, below its output; `runs/<run>/config.yaml` is its first file.
_FOLDERS = (
    *("images", "snapshots", "animations", "thumbnails", "source_thumbnails", "report"),
    *("losses", "runs"),
)


def written_by_runs(pattern: str) -> Callable[[str], bool]:
    """Tells of a file that `pattern` finds whether a run has written it into one of its folders.

    Not of those in a folder that the pattern itself names. Each output is looked at once.
    """
    entered = pattern.rstrip("/").split("/")
    is_output = functools.cache(_is_output)
    return lambda uri: any(map(is_output, _candidates(uri.split("/"), entered)))


def _candidates(parts: list[str], entered: list[str]) -> Iterator[str]:
    """The folders of which a file would be a run's output."""
    for index, part in enumerate(parts[:-1]):
        if part in _FOLDERS and parts[: index + 1] != entered[: index + 1]:
            yield "/".join(parts[:index]) or "/"


def _is_output(folder: str) -> bool:
    runs = storage.join(folder, "runs")
    return any(uri.endswith("/config.yaml") for uri in storage.list_uris(runs))
