"""Links of the report's pages: relative, so that they hold wherever the output is opened from."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

from nst_core.image_files import formats
from pipeline import storage
from pipeline.storage.uris import split_root

FOLDER = "report"
_SOURCE_THUMBNAIL = re.compile(r"source_thumbnails/[0-9a-f]{16}\.webp")


def below(path: str) -> str:
    """The link from the report's first page to a path below the output."""
    return "../" + quote(path)


def source_link(uri: str, output: str) -> str | None:
    """The link to an input; None where it lies neither on this disk nor in the output's bucket.

    Always relative: what a manifest names can neither leave its storage nor be a script. Nor what
    a browser would run, such as SVG and HTML, with the rights of the site that has the report.
    """
    extension = os.path.splitext(uri)[1].lower()
    if extension and extension not in formats.EXTENSIONS:
        return None
    if storage.scheme(uri) != storage.scheme(output):
        return None
    if storage.scheme(uri):
        root, path = split_root(uri)
        other, folder = split_root(output)
        if root != other:
            return None
        steps = len([*filter(None, folder.split("/")), FOLDER])
        return "../" * steps + quote(path)
    start = os.path.join(storage.local_path(output), FOLDER)
    relative = os.path.relpath(storage.local_path(uri), start).replace(os.sep, "/")
    return quote(relative.encode("utf-8", "surrogateescape"))


def source_thumbnail(path: Any) -> str | None:
    """The link to the thumbnail of a content or style that a record names; None for none."""
    is_one = isinstance(path, str) and _SOURCE_THUMBNAIL.fullmatch(path)
    return below(path) if is_one else None
