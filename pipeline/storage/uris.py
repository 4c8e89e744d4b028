"""Names: URIs and local paths, put together and taken apart, and the names of unfinished files."""

import functools
import os
import re
from urllib.parse import unquote
from uuid import uuid4

from pipeline import processes

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+[;,]", re.IGNORECASE)
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
_TEMPORARY_PREFIX = ".nst-tmp-"


def scheme(uri: str) -> str:
    """The scheme in lower case, such as "gs"; "" for a local path, with or without `file://`."""
    if ":" not in uri:  # As most are; every row asks several times.
        return ""
    match = _SCHEME.match(uri)
    if match is None:
        return "data" if _DATA.match(uri) else ""
    name = match[1].lower()
    return "" if name == "file" else name


def local_path(uri: str) -> str:
    """A local URI without its `file://`."""
    match = _SCHEME.match(uri)
    return uri[match.end() :] if match else uri


def split_root(uri: str) -> tuple[str, str]:
    """`gs://bucket/a/b` → (`gs://bucket`, `a/b`); not for local paths."""
    start = uri.index("://") + len("://")
    root, _, path = uri[start:].partition("/")
    return uri[:start] + root, path


def join(base: str, *parts: str) -> str:
    """Put `parts`, always relative, below `base` with one slash between."""
    for part in parts:
        below = part.lstrip("/")
        base = base.removesuffix("/") + "/" + below if base else below
    return base


@functools.lru_cache(maxsize=64)
def directory(uri: str) -> str:
    """The URI up to its last slash; a bucket is its own directory, and `.` that of a bare name."""
    if not scheme(uri):
        return os.path.dirname(local_path(uri)) or "."
    root, path = split_root(uri)
    head, _, _ = path.rpartition("/")
    return f"{root}/{head}" if head else root


def stem(uri: str) -> str:
    """The last segment without its extension: `cat.v2.jpg` → `cat.v2`, `pairs.csv.gz` → `pairs`.

    Of a URL that of its path, in plain letters: what asks for a size or a version is no name.
    """
    if scheme(uri) in ("https", "http"):
        # By hand: what is no URL gets its sentence where it is asked for.
        uri = unquote(re.split("[?#]", split_root(uri)[1], maxsplit=1)[0])
    name, extension = os.path.splitext(uri.rstrip("/").rpartition("/")[2])
    return os.path.splitext(name)[0] if extension.lower() in _COMPRESSIONS else name


def resolve(uri: str, base: str) -> str:
    """The absolute URI; a relative one is relative to the directory of the file `base`.

    Local paths come out normalised and without `file://`. Remote names are opaque: of them only
    a relative reference's leading `./` and `../` are resolved, the latter never above the bucket.
    """
    if uri.startswith("/"):
        return os.path.normpath(uri)
    if scheme(uri):
        return uri
    path = local_path(uri)
    if path.startswith("/"):
        return os.path.normpath(path)
    if not scheme(base):
        return os.path.abspath(os.path.join(directory(base), path))
    root, folder = split_root(directory(base))
    segments = folder.split("/") if folder else []
    while path.startswith(("./", "../")):
        step, _, path = path.partition("/")
        if step == "..":
            segments = segments[:-1]
    return "/".join([root, *segments, path])


def temporary_name(directory_uri: str) -> str:
    """A fresh name in a directory, for a file that is not listed and not yet final.

    It tells which process writes the file.
    """
    return join(directory_uri, f"{_TEMPORARY_PREFIX}{processes.own_name()}-{uuid4().hex}")


def temporary_writer(uri: str) -> str | None:
    """The process that writes a file of a temporary name; None for any other file."""
    name = uri.rpartition("/")[2] if _TEMPORARY_PREFIX in uri else ""
    if not name.startswith(_TEMPORARY_PREFIX):
        return None
    return name.removeprefix(_TEMPORARY_PREFIX).rpartition("-")[0]


def escaped(name: str) -> str:
    """A file's name in letters that can be written anywhere, also where it is not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()
