"""Intermediate images: encoded as they come, kept on disk until their pair is finished."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nst_core.imaging import animation, encoding, images
from nst_core.imaging.transparency import onto_white
from nst_core.results import Snapshot, StyleResult
from pipeline import storage
from pipeline.records.records import SnapshotPlace
from pipeline.records.tasks import Task
from pipeline.storage import local
from pipeline.worker.inputs import Inputs
from pipeline.worker.output import encode_image, metadata_of

# Images that wait to be encoded; the optimisation waits while there are more.
WAITING = 4

# Frames of one animation at a time are in memory.
_ANIMATION = threading.Lock()


class SnapshotFiles:
    """The snapshots of one pair, as encoded files, and small ones for its animation.

    They lie in a file without a name, so that a pair that fails or is killed leaves nothing.
    """

    def __init__(self, task: Task, inputs: Inputs) -> None:
        self.task = task
        self.inputs = inputs
        self.last_step = 0
        self._lock = threading.Lock()
        self._file = local.spool()
        self._places: dict[int, list[tuple[int, int]]] = {}

    def steps_of(self, result: StyleResult) -> list[int]:
        """After how many steps there are snapshots of a result, rising."""
        return sorted(step for step in self._places if step <= result.steps)

    def add(self, step: int, image: np.ndarray) -> None:
        """Encode and keep an image `[H, W, 3]`."""
        config = self.task.config
        parts = [encode_image(image, self.inputs, config, metadata_of(self.task))]
        if config.animation != "none":
            parts.append(np.ascontiguousarray(self.frame(image)).tobytes())
        with self._lock:
            self._places[step] = [self._appended(part) for part in parts]

    def parts(self) -> Iterator[tuple[int, list[bytes]]]:
        """Everything that is kept: the step of each snapshot, and its encoded parts."""
        for step, places in sorted(self._places.items()):
            yield step, [self._read(step, part) for part in range(len(places))]

    def restore(self, step: int, parts: Sequence[bytes]) -> None:
        """Keep again what `parts` has given before the optimisation was interrupted."""
        self._places[step] = [self._appended(part) for part in parts]
        self.last_step = max(self.last_step, step)

    def _appended(self, data: bytes) -> tuple[int, int]:
        """Where the data lie in the file, behind everything else."""
        start = self._file.seek(0, 2)
        self._file.write(data)
        return start, len(data)

    def encoded(self, step: int) -> bytes:
        """A snapshot as an image file."""
        return self._read(step, 0)

    def frame(self, image: np.ndarray) -> np.ndarray:
        """An image as a frame of the animation, with the content's transparency.

        GIF knows no half of it: there it is on white.
        """
        shown = animation.frame(image)
        alpha = self.inputs.picture.alpha
        if alpha is None:
            return shown
        resized = images.to_8_bit(
            images.resize(alpha, shown.shape[1], shown.shape[0], self.task.config.resample)
        )
        if self.task.config.animation == "gif":
            return onto_white(shown, resized)
        return np.dstack([shown, resized])

    def encode_animation(self, result: StyleResult) -> bytes:
        """The snapshots, and the result as the last frame."""
        last = self.frame(result.image)
        steps = [step for step in self.steps_of(result) if step != result.steps]
        picked = [index for index in animation.chosen(len(steps) + 1) if index < len(steps)]
        with _ANIMATION:
            frames = (
                # A checkpoint may hold frames on white, as they were made before.
                np.frombuffer(self._read(steps[index], 1), np.uint8).reshape(*last.shape[:2], -1)
                for index in picked
            )
            config = self.task.config
            return animation.encode_animation(
                [*frames, last], config.animation, config.jpeg_quality
            )

    def clear(self) -> None:
        """Forget everything: the optimisation begins again."""
        self._places.clear()
        self._file.truncate(0)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _read(self, step: int, part: int) -> bytes:
        start, length = self._places[step][part]
        with self._lock:
            self._file.seek(start)
            return self._file.read(length)


class Snapshots:
    """Takes the snapshots of one batch from the engine; encodes them on `threads`.

    `files`: one for each entry, or None where no snapshots are wanted.
    """

    def __init__(
        self,
        entries: Sequence[tuple[Task, Inputs]],
        threads: concurrent.futures.Executor,
    ) -> None:
        self.files = [
            SnapshotFiles(task, inputs) if task.config.snapshot_every else None
            for task, inputs in entries
        ]
        self._threads = threads
        self._waiting: collections.deque[concurrent.futures.Future[None]] = collections.deque()

    def __enter__(self) -> Snapshots:
        return self

    def __exit__(self, *_: object) -> None:
        concurrent.futures.wait(self._waiting)
        for kept in self.files:
            if kept:
                kept.close()

    def take(self, snapshot: Snapshot) -> None:
        """Keep one; waits while many are not encoded yet. See `StyleEngine.stylize_batch`."""
        kept = self.files[snapshot.content]
        assert kept is not None
        if snapshot.step <= kept.last_step:
            self.settle()
            kept.clear()
        kept.last_step = snapshot.step
        while len(self._waiting) >= WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._threads.submit(kept.add, snapshot.step, snapshot.image))

    def settle(self) -> None:
        """Wait until all are encoded."""
        while self._waiting:
            self._waiting.popleft().result()


def write_snapshots(
    kept: SnapshotFiles | None, result: StyleResult, place: SnapshotPlace
) -> tuple[dict[str, Any], int]:
    """Write what is wanted of snapshots and animation; their URIs for the record, and the bytes."""
    written: dict[str, Any] = {"snapshots": [], "animation": None}
    if kept is None:
        return written, 0
    config, size = kept.task.config, 0
    for step in kept.steps_of(result):
        uri, data = place.snapshot(step, config), kept.encoded(step)
        storage.write_bytes(uri, data, encoding.CONTENT_TYPES[config.output_format])
        written["snapshots"].append(uri)
        size += len(data)
    if config.animation != "none":
        written["animation"] = place.animation(config)
        data = kept.encode_animation(result)
        storage.write_bytes(written["animation"], data, f"image/{config.animation}")
        size += len(data)
    return written, size
