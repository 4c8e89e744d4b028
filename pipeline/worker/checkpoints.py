"""Checkpoints of pairs that take long: `O/checkpoints/<id>.<fingerprint>.npz`, until they are done.

A file is what `numpy.load` reads: the arrays of `nst_core.engine.checkpoints`, and as
`snapshot/<step>/<part>` the files of the snapshots that were taken so far.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from nst_core.errors import DeadlineExceeded, OutOfMemory
from pipeline import storage
from pipeline.records import records
from pipeline.records.fingerprints import former_fingerprints
from pipeline.records.tasks import OK, Outcome, Task
from pipeline.worker.snapshots import SnapshotFiles, Snapshots
from pipeline.worker.weights import weights_identity

# What a pair that failed can still go on from: once its deadline is raised, its tiles are smaller.
_OPEN_ENDS = (DeadlineExceeded.status, OutOfMemory.status)
_SNAPSHOT = "snapshot/"
# What a damaged one raises: a RuntimeError where a bit says that it is encrypted.
_DAMAGE = (
    *(ValueError, EOFError, OSError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)

# As `nst_core.engine.checkpoints` has it; importing that would import TensorFlow.
Arrays = Mapping[str, np.ndarray]

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FoundCheckpoint:
    """A file that a pair goes on from, and its arrays, read when they are asked for.

    `arrays`: None where the file is damaged.
    """

    file: BinaryIO
    arrays: Arrays | None


def find(task: Task, output: str) -> FoundCheckpoint | None:
    """The checkpoint of a task whose fingerprint is known, if there is one.

    The storage is asked, which takes its time: beside the device's work.
    """
    if not task.config.checkpoint_seconds:
        return None
    uri = records.checkpoint_uri(output, task.pair.id, task.fingerprint)
    file = _opened(uri) or _of_former_name(task, output)
    if file is None:
        return None
    found = FoundCheckpoint(file, _whole(file))
    if found.arrays is None:
        _LOGGER.warning("%s is damaged; the pair starts from its beginning.", uri)
    return found


def _of_former_name(task: Task, output: str) -> BinaryIO | None:
    """A checkpoint that an earlier version named by the URIs of the images."""
    if not task.stale_checkpoints:
        return None
    weights = weights_identity(task.config.weights)
    for mark in former_fingerprints(task.pair, task.config, weights):
        uri = records.checkpoint_uri(output, task.pair.id, mark)
        if uri in task.stale_checkpoints and (file := _opened(uri)):
            return file
    return None


class Checkpoints:
    """Those of one batch: found before it, saved on its way, removed with each pair's end.

    Args:
        tasks: of the batch.
        output: the output folder's URI.
        snapshots: those of the batch; what checkpoints hold of them is put there.
        found: for each task, as `find` has it; held until the batch has ended.

    `arrays`: for each task those to go on from, or None.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        output: str,
        snapshots: Snapshots,
        found: Sequence[FoundCheckpoint | None],
    ) -> None:
        self._tasks = tasks
        self._snapshots = snapshots
        self._uris = [records.checkpoint_uri(output, t.pair.id, t.fingerprint) for t in tasks]
        self._found = found
        self._there = {index for index, one in enumerate(found) if one}
        self.arrays = [one.arrays if one else None for one in found]

    def __enter__(self) -> Checkpoints:
        for kept, arrays in zip(self._snapshots.files, self.arrays, strict=True):
            if kept and arrays is not None:
                _restore(kept, arrays)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._found:
            if one:
                one.file.close()

    def save(self, content: int, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
        """Write one, or replace it. See `StyleEngine.stylize_batch`."""
        # Those that wait to be encoded belong to it.
        self._snapshots.settle()
        kept = _kept(self._snapshots.files[content])
        uri = self._uris[content]
        try:
            with (
                storage.open_writer(uri, "application/zip") as file,
                zipfile.ZipFile(file, "w") as archive,
            ):
                for name, array in itertools.chain(arrays, kept):
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        except storage.StorageError as error:
            # The work itself is not in danger, and can be done before there is room again.
            _LOGGER.warning("%s The pair goes on without a new checkpoint.", error)
        else:
            self._there.add(content)

    def end(self, index: int, outcome: Outcome) -> None:
        """Remove what a pair that has ended needs no more."""
        if outcome.status in _OPEN_ENDS:
            return
        if index in self._there:
            storage.delete(self._uris[index])
        if outcome.status == OK:
            for uri in self._tasks[index].stale_checkpoints:
                storage.delete(uri)


def _opened(uri: str) -> BinaryIO | None:
    try:
        return storage.open_binary(uri)
    except storage.ABOUT_ONE_FILE:
        return None


def _kept(kept: SnapshotFiles | None) -> Iterator[tuple[str, np.ndarray]]:
    """The snapshots so far, one after the other, by name."""
    for step, parts in kept.parts() if kept else ():
        for number, part in enumerate(parts):
            yield f"{_SNAPSHOT}{step}/{number}", np.frombuffer(part, np.uint8)


def _restore(kept: SnapshotFiles, arrays: Arrays) -> None:
    names = (name for name in arrays if name.startswith(_SNAPSHOT))
    for step, parts in itertools.groupby(names, key=lambda name: int(name.split("/")[1])):
        kept.restore(step, [arrays[name].tobytes() for name in parts])


def _whole(file: BinaryIO) -> Arrays | None:
    """The arrays in a file, which are read when they are asked for; None where it is damaged."""
    try:
        found = np.load(file, allow_pickle=False)
        # Every byte is checked here, not in the middle of the work.
        damaged = found.zip.testzip() is not None
    except _DAMAGE:
        return None
    return None if damaged else found


def remove_done(output: str) -> None:
    """Remove checkpoints whose record is there: the run that wrote it was killed before."""
    folder = storage.join(output, "checkpoints")
    for uri in storage.list_uris(folder):
        named = records.parse_record_name(uri[len(folder) :].lstrip("/"), "npz")
        if named and storage.exists(records.record_uri(output, *named)):
            storage.delete(uri)
