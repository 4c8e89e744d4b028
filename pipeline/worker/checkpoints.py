"""Checkpoints of pairs that take long: `O/checkpoints/<id>.<fingerprint>.npz`, until they are done.

A file is what `numpy.load` reads: the arrays of `nst_core.engine.checkpoints`, and as
`snapshot/<step>/<part>` the files of the snapshots that were taken so far.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import zipfile
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

# As `nst_core.engine.checkpoints` has it; importing that would import TensorFlow.
Arrays = Mapping[str, np.ndarray]

_LOGGER = logging.getLogger(__name__)


class Checkpoints:
    """Those of one batch: found before it, saved on its way, removed with each pair's end.

    `found`: for each task the arrays to go on from, read when they are asked for, or None.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        output: str,
        snapshots: Snapshots,
        threads: concurrent.futures.ThreadPoolExecutor,
    ) -> None:
        self._tasks = tasks
        self._snapshots = snapshots
        self._threads = threads
        self._output = output
        self._uris = [records.checkpoint_uri(output, t.pair.id, t.fingerprint) for t in tasks]
        self._there: set[int] = set()
        self._files: list[BinaryIO] = []
        self.found: list[Arrays | None] = []

    def __enter__(self) -> Checkpoints:
        self.found = list(self._threads.map(self._find, range(len(self._tasks))))
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def _find(self, index: int) -> Arrays | None:
        if not self._tasks[index].config.checkpoint_seconds:
            return None
        file = _opened(self._uris[index]) or self._of_former_name(self._tasks[index])
        if file is None:
            return None
        self._files.append(file)
        self._there.add(index)
        arrays = _whole(file)
        if arrays is None:
            _LOGGER.warning("%s is damaged; the pair starts from its beginning.", self._uris[index])
        elif kept := self._snapshots.files[index]:
            _restore(kept, arrays)
        return arrays

    def _of_former_name(self, task: Task) -> BinaryIO | None:
        """A checkpoint that an earlier version named by the URIs of the images."""
        if not task.stale_checkpoints:
            return None
        weights = weights_identity(task.config.weights)
        for mark in former_fingerprints(task.pair, task.config, weights):
            uri = records.checkpoint_uri(self._output, task.pair.id, mark)
            if uri in task.stale_checkpoints and (file := _opened(uri)):
                return file
        return None

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
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, AttributeError, NotImplementedError):
        return None
    return None if damaged else found


def remove_done(output: str) -> None:
    """Remove checkpoints whose record is there: the run that wrote it was killed before."""
    folder = storage.join(output, "checkpoints")
    for uri in storage.list_uris(folder):
        named = records.parse_record_name(uri[len(folder) :].lstrip("/"), "npz")
        if named and storage.exists(records.record_uri(output, *named)):
            storage.delete(uri)
