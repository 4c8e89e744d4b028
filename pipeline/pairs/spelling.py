"""Images as a manifest or a command line names them: what an image file may tell of its sources."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline import storage
from pipeline.manifest.columns import Row
from pipeline.pairs.parsing import Pair, as_named


def names_in(row: Row, pair: Pair) -> dict[str, str]:
    """What the row of a manifest calls the images of its pair, by their URIs, where it differs."""
    content, styles = as_named(row, pair.styles)
    names = {pair.content: content}
    for style, named in zip(pair.styles, styles, strict=True):
        names[style.uri] = named.uri
        if style.mask and named.mask:
            names[style.mask] = named.mask
    return {uri: text for uri, text in names.items() if uri != text}


def spelled(texts: Iterable[str], base: str) -> dict[str, str]:
    """Names by the URIs that they mean beside the file `base`, where the two differ."""
    found = {storage.resolve(text, base): text for text in texts}
    return {uri: text for uri, text in found.items() if uri != text}


def name_of(uri: str, names: dict[str, str]) -> str:
    """A file's name for anybody to read: as it was given, but of a local path no folder.

    An absolute path tells who works where; a relative one, only how a catalog is arranged.
    """
    text = storage.without_credentials(names.get(uri, uri))
    if storage.scheme(text) not in ("", "file") or not storage.local_path(text).startswith("/"):
        return text
    return text.rpartition("/")[2]
