"""Format `tensorboard`: the loss log and the images of each pair as a run of TensorBoard's.

Written as TensorFlow's own protocol buffers and records: `tf.summary.scalar` needs TensorBoard to
be installed, takes no time of the past and would decode each image. Importing this module imports
TensorFlow.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import tensorflow as tf
from PIL import Image

from pipeline import storage
from pipeline.export.results import Result
from pipeline.records import records

FILE_NAME = "events.out.tfevents.nst"  # TensorBoard looks for "tfevents"
LONGEST_SIDE = 512  # px of an image: TensorBoard holds all of them
_ABOUT_TIME = ("step", "scale", "width", "height", "seconds")
_RUN = re.compile(r"[\w-][\w.-]*")


class EventFiles:
    """One folder for each pair, with one file of events.

    Args:
        output: whose runs get them where there is no destination: `runs/<run>/tensorboard/<id>`.
    """

    def __init__(self, output: str, destination: str | None) -> None:
        self._output = output
        self._destination = destination
        self.made = destination or storage.join(output, "runs")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Each file is whole when it has its name."""

    def take(self, result: Result) -> None:
        """Write the events of a result.

        Raises:
            NotFound, AccessDenied, Damaged, Unreadable: of the image or the loss log.
            ValueError: one of them is none.
            StorageError: the events cannot be written.
        """
        data = _records_file([_version(), *self._events(result)])
        storage.write_bytes(self._uri(result), data, "application/octet-stream")

    def add(self, _: Result, __: None) -> None:
        """Nothing is left to do."""

    def _uri(self, result: Result) -> str:
        run = str(result.record["run"])
        if not _RUN.fullmatch(run):
            raise ValueError(f"{run!r} is no name of a run")
        folder = self._destination or storage.join(self._output, "runs", run, "tensorboard")
        return storage.join(folder, result.id, FILE_NAME)

    def _events(self, result: Result) -> Iterator[Any]:
        lines = list(csv.DictReader(io.StringIO(storage.read_bytes(result.losses).decode())))
        rows = [{name: float(cell) for name, cell in line.items()} for line in lines]
        if not rows:
            raise ValueError(f"{result.losses} is empty")
        if not all(math.isfinite(row[name]) for row in rows for name in _ABOUT_TIME):
            raise ValueError(f"{result.losses} has steps or times that are no numbers")
        finished = records.parse_time(result.record.get("finished_at"))
        start = (finished.timestamp() if finished else 0.0) - rows[-1]["seconds"]
        for row in rows:
            terms = {name: value for name, value in row.items() if name not in _ABOUT_TIME}
            yield _scalars(terms, int(row["step"]), start + row["seconds"])
        for tag, uri, step in self._images(result, int(rows[-1]["step"])):
            yield _image(tag, storage.read_bytes(uri), step, start + rows[-1]["seconds"])

    def _images(self, result: Result, last: int) -> Iterator[tuple[str, str, int]]:
        """Tag, URI and step of each image: content and style where the record has thumbnails."""
        thumbnails = result.record.get("thumbnails") or {}
        sources = [("content", thumbnails.get("content"))]
        styles = thumbnails.get("styles") or ()
        sources += [
            ("style" if len(styles) == 1 else f"style_{number}", path)
            for number, path in enumerate(styles, 1)
        ]
        for tag, path in sources:
            uri = storage.join(self._output, str(path))
            if path and storage.exists(uri):
                yield tag, uri, 0
        place = records.snapshot_place(self._output, result.id)
        for snapshot in result.record.get("snapshots") or ():
            name = str(snapshot).rpartition("/")[2]
            uri, step = storage.join(place.folder, name), int(name.partition(".")[0])
            if step < last and storage.exists(uri):
                yield "result", uri, step
        yield "result", result.image, last


def _scalars(terms: dict[str, float], step: int, time: float) -> Any:
    """Terms under `loss/`, layers under `style/`, which TensorBoard shows as two groups."""
    values = [
        tf.compat.v1.Summary.Value(tag=name if "/" in name else f"loss/{name}", simple_value=value)
        for name, value in terms.items()
    ]
    return tf.compat.v1.Event(wall_time=time, step=step, summary=tf.compat.v1.Summary(value=values))


def _image(tag: str, data: bytes, step: int, time: float) -> Any:
    """An image as PNG, no larger than `LONGEST_SIDE`. Raises ValueError where it is none."""
    stream = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as image:
            kept = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except OSError as error:
        raise ValueError(f"the image {tag} cannot be decoded") from error
    kept.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    kept.save(stream, "PNG")
    encoded = tf.compat.v1.Summary.Image(
        height=kept.height,
        width=kept.width,
        colorspace=len(kept.getbands()),
        encoded_image_string=stream.getvalue(),
    )
    value = tf.compat.v1.Summary.Value(tag=f"images/{tag}", image=encoded)
    return tf.compat.v1.Event(
        wall_time=time, step=step, summary=tf.compat.v1.Summary(value=[value])
    )


def _version() -> Any:
    return tf.compat.v1.Event(file_version="brain.Event:2")


def _records_file(events: list[Any]) -> bytes:
    """The bytes of a file of these events."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, FILE_NAME)
        with tf.io.TFRecordWriter(path) as writer:
            for event in events:
                writer.write(event.SerializeToString())
        return storage.read_bytes(path)
