"""Records: the files that mark pairs as done, their names and what is in them."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from nst_core.canvas import Size, size_of
from nst_core.config import StyleConfig, with_changes
from nst_core.identity import ENGINE_VERSION
from nst_core.imaging.encoding import EXTENSIONS
from pipeline import storage
from pipeline.records.curves import curve_of
from pipeline.records.shapes import RECORD_VERSION
from pipeline.records.tasks import OK, Task, sources

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine
    from nst_core.results import StyleResult

_JSON = json.JSONEncoder(ensure_ascii=False, default=str)
# Of files whose names hold the fingerprint of their pair.
_MARKED = re.compile(r"(?P<id>.+)\.(?P<fingerprint>[0-9a-f]{16})\.(?P<extension>json|npz)")


@functools.lru_cache(maxsize=1024)
def _plain_settings(changes: str) -> dict[str, Any]:
    """All settings of the configuration with these changes, for reading only."""
    return with_changes(changes).to_dict()


def image_uri(output: str, pair_id: str, config: StyleConfig) -> str:
    """Where the stylized image of a pair lies."""
    return storage.join(output, "images", f"{pair_id}.{EXTENSIONS[config.output_format]}")


def losses_uri(output: str, pair_id: str) -> str:
    """Where the loss log of a pair lies."""
    return storage.join(output, "losses", f"{pair_id}.csv")


def thumbnail_uri(output: str, pair_id: str) -> str:
    """Where the thumbnail of a pair's image lies: no id has an @, so it meets no other's folder."""
    return storage.join(output, "thumbnails", f"{pair_id}@240.webp")


def source_thumbnail_uri(output: str, name: str) -> str:
    """Where a thumbnail of a content or a style lies, which many pairs may share."""
    return storage.join(output, "source_thumbnails", f"{name}.webp")


@dataclasses.dataclass(frozen=True)
class SnapshotPlace:
    """Where a pair's snapshots lie, and its animation: URIs of a folder, and without extension."""

    folder: str
    stem: str

    def snapshot(self, step: int, config: StyleConfig) -> str:
        """The URI of one snapshot."""
        return storage.join(self.folder, f"{step:06d}.{EXTENSIONS[config.output_format]}")

    def animation(self, config: StyleConfig) -> str:
        """The URI of the animation."""
        return f"{self.stem}.{config.animation}"


def snapshot_place(output: str, pair_id: str) -> SnapshotPlace:
    """Where the snapshots and the animation of a pair lie."""
    folders = (storage.join(output, name, pair_id) for name in ("snapshots", "animations"))
    return SnapshotPlace(*folders)


def record_uri(output: str, pair_id: str, mark: str) -> str:
    """Where the record of a pair with this fingerprint lies."""
    return storage.join(output, "records", f"{pair_id}.{mark}.json")


def checkpoint_uri(output: str, pair_id: str, mark: str) -> str:
    """Where the checkpoint of a pair with this fingerprint lies, until it is done."""
    return storage.join(output, "checkpoints", f"{pair_id}.{mark}.npz")


def place_of(task: Task, output: str, mark: str | None = None) -> dict[str, Any]:
    """The URIs of a pair's image, loss log and record, and its fingerprint.

    `mark`: the fingerprint, where the task does not know it.
    """
    mark = task.fingerprint if mark is None else mark
    return {
        "image": image_uri(output, task.pair.id, task.config),
        "losses": losses_uri(output, task.pair.id),
        "record": record_uri(output, task.pair.id, mark),
        "fingerprint": mark,
    }


def parse_record_name(name: str, extension: str = "json") -> tuple[str, str] | None:
    """Id and fingerprint from a path below `records/`, with `npz` below `checkpoints/`.

    None for a file that is neither.
    """
    match = _MARKED.fullmatch(name)
    if match is None or match["extension"] != extension:
        return None
    return match["id"], match["fingerprint"]


def read_record(uri: str) -> dict[str, Any] | None:
    """The record at a URI; None where there is none, or what is there is no record."""
    try:
        record = parsed(storage.read_bytes(uri))
    except (storage.NotFound, ValueError):
        return None
    return record if isinstance(record, dict) and "run" in record else None


def parsed(data: bytes) -> Any:
    """What the JSON of a record says. Raises ValueError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)  # It may hold NaN.
    except RecursionError as error:
        raise ValueError("more brackets in each other than any record has") from error


def image_of(uri: str, output: str, pair_id: str) -> str | None:
    """The image of a pair of this id that the record at a URI is about; None where it is no record.

    Below this output, wherever that was when the record was written.
    """
    try:
        extension = image_extension(read_record(uri) or {})
    except (KeyError, ValueError):
        return None
    return storage.join(output, "images", f"{pair_id}.{extension}")


def image_extension(record: Mapping[str, Any]) -> str:
    """Of a record's image: one of this program's, whatever the record says.

    Raises:
        KeyError, ValueError: it names no image of this program.
    """
    extension = str(record["image"]).rpartition(".")[2]
    if extension not in EXTENSIONS.values():
        raise ValueError(f"{extension!r} is no extension of an image")
    return extension


def now() -> str:
    """The time of day, UTC, as records and summaries write it.

    Runs are told apart by it, and two may begin in one second.
    """
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def parse_time(text: object) -> datetime.datetime | None:
    """The time that a text tells, of which one without a zone is UTC's; None for anything else."""
    try:
        time = datetime.datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if time is None or time.tzinfo is not None:
        return time
    return time.replace(tzinfo=datetime.UTC)


def to_json(value: dict[str, Any]) -> bytes:
    """UTF-8 JSON with a line for each key: `indent` would take Python's slow encoder.

    Signatures of web addresses are hidden, wherever they are in it.
    """
    lines = (f"  {_JSON.encode(name)}: {_JSON.encode(one)}" for name, one in value.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    return storage.without_credentials(text).encode()


def build_record(
    task: Task,
    result: StyleResult,
    size: Size,
    place: dict[str, Any],
    seconds: dict[str, float],
    engine: StyleEngine,
    run: str,
) -> dict[str, Any]:
    """Everything that is needed to know how the image of a finished pair, of `size`, was made."""
    optimized = size_of(result.image)
    return {
        "schema_version": RECORD_VERSION,
        "id": task.pair.id,
        "status": OK,
        "run": run,
        "sources": sources(task.pair),
        "inputs": task.inputs,
        "image": place["image"],
        "losses": place["losses"],
        "snapshots": place["snapshots"],
        "animation": place["animation"],
        "thumbnails": place["thumbnails"],
        "fingerprint": task.fingerprint,
        "config": _plain_settings(task.config.changes()),
        "weights": {"name": task.config.weights, "sha256": engine.weights.sha256},
        "width": size.width,
        "height": size.height,
        "optimized": vars(optimized),
        "quality": vars(result.quality),
        "canvas": vars(result.canvas),
        "steps": result.steps,
        "terms": {"first": result.losses.terms(0), "final": result.losses.terms(-1)},
        "curve": curve_of(result.losses.columns, result.losses.rows.tolist()),
        "seconds": seconds,
        "batch": result.batch,
        "tile": result.tile,
        "retried": result.retried,
        "resumed_at_step": result.resumed_at_step,
        "device": engine.device_name,
        "worker": {"host": socket.gethostname(), "pid": os.getpid()},
        "precision": result.precision,
        "versions": versions(),
        "columns": task.pair.columns,
        "finished_at": now(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the engine and of the packages that decide the pixels."""
    packages = ("nst-catalog", "tensorflow", "numpy", "pillow", "apache-beam")
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {"engine": ENGINE_VERSION, **found}


def summary_of(record: dict[str, Any]) -> dict[str, Any]:
    """What results repeat of a record, and `retried`, which the summary of the run counts."""
    return {
        "width": record["width"],
        "height": record["height"],
        "steps": record["steps"],
        "seconds": record["seconds"],
        "total": record["terms"]["final"]["total"],
        "content_loss": record["terms"]["final"]["content"],
        "style_loss": record["terms"]["final"]["style"],
        "tv_loss": record["terms"]["final"]["tv"],
        "quality": record["quality"],
        "retried": record.get("retried", False),
    }
