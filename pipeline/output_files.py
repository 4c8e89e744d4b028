"""The files of an output by their names: whose each is, and which ids cannot be side by side."""

from __future__ import annotations

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping

from nst_core.config import StyleConfig
from nst_core.errors import DuplicateId
from nst_core.images import EXTENSIONS
from pipeline import records, storage
from pipeline.pairs import Task

# Folders of files whose names end with the fingerprint, and their extensions.
_MARKED = {"records": "json", "checkpoints": "npz"}
LISTED = (*_MARKED, "images", "snapshots", "animations")
KINDS = (*LISTED, "losses")

_IMAGE = "|".join(sorted(EXTENSIONS.values()))
# The beginning of an id that is the name of a file of another id, which is its first group.
_LIKE_A_FILE = re.compile(rf"(.+?)\.(?:{_IMAGE}|gif|csv|[0-9a-f]{{16}}\.(?:json|npz))/")
_SNAPSHOT = re.compile(rf"\d{{6,}}\.(?:{_IMAGE})")


@dataclasses.dataclass(frozen=True)
class Existing:
    """A file of an earlier run, and what there is of it in its folder besides its pair's id.

    Kinds `records` and `checkpoints` with the fingerprint, `images` and `animations` with the
    suffix, `snapshots` with the file's name.
    """

    kind: str
    mark: str

    def name(self, pair_id: str) -> str:
        """Its path below the output."""
        separator = "/" if self.kind == "snapshots" else "."
        extension = _MARKED.get(self.kind)
        return f"{self.kind}/{pair_id}{separator}{self.mark}" + (
            extension and f".{extension}" or ""
        )


def list_existing(output: str) -> Iterator[tuple[str, Existing]]:
    """Id and file of every file of a pair below the output, by listing, not by look-ups."""
    for folder in LISTED:
        root = storage.join(output, folder)
        for uri in storage.list_uris(root):
            if parsed := parse_name(folder, uri[len(root) :].lstrip("/")):
                yield parsed[0], Existing(folder, parsed[1])


def parse_name(kind: str, name: str) -> tuple[str, str] | None:
    """Id and mark (as `Existing` has it) of a file with this name below the folder of its kind."""
    if extension := _MARKED.get(kind):
        return records.parse_record_name(name, extension)
    pair_id, _, mark = name.rpartition("/" if kind == "snapshots" else ".")
    return pair_id, mark


def is_snapshot(file: Existing) -> bool:
    """Whether it has a name as this program gives to snapshots."""
    return file.kind == "snapshots" and _SNAPSHOT.fullmatch(file.mark) is not None


def looks_like_a_snapshot(pair_id: str) -> bool:
    """Whether a folder of the id has the name of a snapshot, and so may be another pair's file."""
    return any(map(_SNAPSHOT.fullmatch, pair_id.split("/")[1:-1]))


def written(task: Task) -> Iterator[str]:
    """The files that a task writes, as paths below the output; its snapshots as `is_written`."""
    for uri in (
        records.image_uri("", task.pair.id, task.config),
        records.losses_uri("", task.pair.id),
        records.record_uri("", task.pair.id, task.fingerprint),
        records.checkpoint_uri("", task.pair.id, task.fingerprint),
    ):
        yield uri
    if task.config.snapshot_every and task.config.animation != "none":
        yield records.snapshot_place("", task.pair.id).animation(task.config)


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
