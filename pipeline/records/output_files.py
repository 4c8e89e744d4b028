"""The files of an output by their names: whose each is, and which ids cannot be side by side."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from nst_core.imaging.encoding import EXTENSIONS
from nst_core.setting_text import names_file
from pipeline import storage
from pipeline.records import records
from pipeline.records.fingerprints import roles_of
from pipeline.records.tasks import Outcome, RowNumber, Task

# Folders of files whose names end with the fingerprint, and their extensions.
_MARKED = {"records": "json", "checkpoints": "npz"}
_LISTED = (*_MARKED, "images", "snapshots", "animations")
KINDS = (*_LISTED, "losses", "thumbnails")

_IMAGE = "|".join(sorted(EXTENSIONS.values()))
# The beginning of an id that is the name of a file of another id, which is its first group.
_LIKE_A_FILE = re.compile(
    rf"(.+?)(?:\.(?:{_IMAGE}|gif|csv|[0-9a-f]{{16}}\.(?:json|npz))/"
    # A snapshot, with whose name an id may also end: its own snapshots need a folder of that name.
    rf"|/\d{{6,}}\.(?:{_IMAGE})(?:/|$))"
)
_SNAPSHOT = re.compile(rf"\d{{6,}}\.(?:{_IMAGE})")


class Existing(NamedTuple):
    """A file of an earlier run, and what there is of it in its folder besides its pair's id.

    Kinds `records` and `checkpoints` with the fingerprint, `images` and `animations` with the
    suffix, `snapshots` with the file's name.
    """

    kind: str
    mark: str

    def path(self, pair_id: str) -> str:
        """Where it lies below the output."""
        separator = "/" if self.kind == "snapshots" else "."
        ending = f".{_MARKED[self.kind]}" if self.kind in _MARKED else ""
        return f"{self.kind}/{pair_id}{separator}{self.mark}{ending}"


class Reading(NamedTuple):
    """That a row reads a file which has the name of a pair's: `path` is that below the output."""

    path: str
    uri: str
    number: RowNumber


class Earlier(NamedTuple):
    """The first row of an id, in an earlier wave, and the files that it may write (failed: none).

    `paths` are those below the output.
    """

    number: RowNumber
    paths: tuple[str, ...]


def list_existing(output: str) -> Iterator[tuple[str, Existing]]:
    """Id and file of every file of a pair below the output, by listing, not by look-ups."""
    for folder in _LISTED:
        root = storage.join(output, folder)
        for uri in storage.list_uris(root):
            if parsed := _parse(folder, uri[len(root) :].lstrip("/")):
                yield parsed[0], Existing(folder, parsed[1])


def _parse(kind: str, name: str) -> tuple[str, str] | None:
    """Id and mark (as `Existing` has it) of a file with this name in the folder of its kind."""
    if extension := _MARKED.get(kind):
        return records.parse_record_name(name, extension)
    separators = {"snapshots": "/", "thumbnails": "@"}
    pair_id, _, mark = name.rpartition(separators.get(kind, "."))
    return pair_id, mark


def list_readings(row: Task | Outcome, output: str) -> Iterator[tuple[str, Reading]]:
    """The inputs of a row that lie where this output has the files of an id, with that id.

    By links too: an input counts as the file that it leads to.
    """
    roots = _real_roots(output)
    places = tuple(roots)
    for uri in (row.number.manifest, *inputs_of(row)):
        real = storage.real_uri(uri)
        if not real.startswith(places):
            continue
        root = next(filter(real.startswith, roots))
        kind, path = roots[root], real[len(root) :]
        if parsed := _parse(kind, path):
            yield parsed[0], Reading(f"{kind}/{path}", uri, row.number)


def inputs_of(row: Task | Outcome) -> Iterator[str]:
    """The URIs of the files that a row reads."""
    if isinstance(row, Outcome):
        yield row.details["content"]
        for named in row.details["styles"]:
            yield named["uri"]
            if named.get("mask"):
                yield named["mask"]
        return
    yield from (uri for _, uri in roles_of(row.pair, row.config))
    if names_file(row.config.weights, "weights"):
        yield row.config.weights


@functools.lru_cache(maxsize=16)
def _real_roots(output: str) -> dict[str, str]:
    """The kinds of files by the real places of their folders."""
    return {storage.real_uri(storage.join(output, kind, "")): kind for kind in KINDS}


def written_by(task: Task) -> Iterator[str]:
    """The files that a task writes, as paths below the output.

    Without its record and checkpoint, whose names nobody can know before: they have a hash.
    """
    pair_id, config = task.pair.id, task.config
    yield records.image_uri("", pair_id, config)
    yield records.losses_uri("", pair_id)
    yield records.thumbnail_uri("", pair_id)
    if config.snapshot_every:
        place = records.snapshot_place("", pair_id)
        steps = sum(config.steps_per_scale)
        for step in range(config.snapshot_every, steps, config.snapshot_every):
            yield place.snapshot(step, config)
        yield place.snapshot(steps, config)
        if config.animation != "none":
            yield place.animation(config)


def replaced_by(task: Task, output: str) -> Iterator[str]:
    """The files that a task may replace or remove, as paths below the output."""
    yield from written_by(task)
    for uri in (*task.stale_records, *task.stale_snapshots, *task.stale_checkpoints):
        yield uri[len(storage.join(output, "")) :]
    if task.stale_records:
        for extension in EXTENSIONS.values():
            yield f"images/{task.pair.id}.{extension}"


def fold(name: str) -> str:
    """Equal for names that a disk may take for one, where it ignores case."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name.casefold())


def family_of(pair_id: str) -> str:
    """Equal for ids that may need one path: `a` has the file `a.png`, `a.png/b` such a folder.

    Nearly always a family is one id: only few names look like a folder and a file.
    """
    folded = fold(pair_id)
    found = _LIKE_A_FILE.match(folded) if "/" in folded and "." in folded else None
    return found[1] if found else folded


class Claims:
    """Which id has which paths of an output, to find out whose would meet.

    Args:
        ignores_case: whether the output's disk takes `A` and `a` for one name.
    """

    def __init__(self, *, ignores_case: bool) -> None:
        self._name = fold if ignores_case else str
        self._files: dict[str, tuple[str, str]] = {}
        self._folders: dict[str, tuple[str, str]] = {}

    def add(self, pair_id: str, path: str) -> None:
        """Take note that an id has the file of this path."""
        self._files.setdefault(self._name(path), (pair_id, path))
        for folder in _folders(self._name(path)):
            self._folders.setdefault(folder, (pair_id, path))

    def against(self, pair_id: str, path: str) -> tuple[str, str] | None:
        """Another id, and that path of it beside which this one cannot be."""
        name = self._name(path)
        found = (self._files.get(folder) for folder in (name, *_folders(name)))
        for claim in itertools.chain(found, [self._folders.get(name)]):
            if claim and claim[0] != pair_id:
                return claim
        return None


def _folders(path: str) -> Iterator[str]:
    """Every folder that the path is in."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
