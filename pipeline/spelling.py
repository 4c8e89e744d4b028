"""Images as a manifest or a command line names them: what an image file may tell of its sources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline import storage
from pipeline.manifest_columns import Row


def names_in(row: Row, manifest_uri: str) -> dict[str, str]:
    """What the row of a manifest calls the files whose URIs are the keys."""
    return spelled(_texts(row), manifest_uri)


def spelled(texts: Iterable[str], base: str) -> dict[str, str]:
    """Names by the URIs that they mean beside the file `base`, where the two differ."""
    found = {storage.resolve(text, base): text for text in texts}
    return {uri: text for uri, text in found.items() if uri != text}


def name_of(uri: str, names: dict[str, str]) -> str:
    """A file's name for anybody to read: as it was given, but of a local path no folder.

    An absolute path tells who works where; a relative one, only how a catalog is arranged.
    """
    text = names.get(uri, uri)
    if storage.scheme(text) not in ("", "file") or not storage.local_path(text).startswith("/"):
        return text
    return text.rpartition("/")[2]


def _texts(row: Row) -> Iterator[str]:
    """Every text in the row's cells that may name an image."""
    yield from _strings(row.columns.get("content"))
    style = row.columns.get("style")
    if isinstance(style, str) and style.startswith("["):
        style = json.loads(style)
    for entry in style if isinstance(style, list) else [style]:
        if isinstance(entry, dict):
            yield from _strings(entry.get("uri"))
            yield from _strings(entry.get("mask"))
        else:
            yield from _strings(entry)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
