"""Writing a finished pair: snapshots, image, loss log, and last the record that says it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nst_core.imaging import encoding
from nst_core.results import StyleResult
from pipeline import storage
from pipeline.records import records
from pipeline.records.tasks import OK, SKIPPED, Outcome, Task, finished_pair
from pipeline.worker.output import encode_image, loss_csv, metadata_of, output_size
from pipeline.worker.reading import ReadPair
from pipeline.worker.snapshots import SnapshotFiles, write_snapshots
from pipeline.worker.tally import Tally
from pipeline.worker.thumbnails import Thumbnails

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine


class Writer:
    """Writes results into an output, in the order that no crash can spoil.

    Args:
        output: the output folder's URI.
        run: the run's name, written into records.
        since: when its pairs were planned, as records write times: an older record of a run of that
            name is of an earlier try of the run.
    """

    def __init__(self, output: str, run: str, tally: Tally, since: str) -> None:
        self.output = output
        self.run = run
        self.tally = tally
        self._since = records.parse_time(since)
        self.thumbnails = Thumbnails(output)

    def done_meanwhile(self, task: Task) -> Outcome | None:
        """The outcome of a task that somebody else has done since the planning; else None."""
        place = records.place_of(task, self.output)
        record = records.read_record(place["record"])
        if record is None:
            return None
        if not storage.exists(place["image"]):
            # Its image is lost, and it must not vouch for the next one.
            storage.delete(place["record"])
            return None
        if place["record"] in task.stale_records and not self._is_ours(record):
            return None
        return self._as_recorded(task, record)

    def _is_ours(self, record: dict[str, Any]) -> bool:
        """Whether this run has written it, since it began."""
        finished = records.parse_time(record.get("finished_at"))
        is_new = self._since is None or (finished is not None and finished > self._since)
        return record["run"] == self.run and is_new

    def _as_recorded(self, task: Task, record: dict[str, Any]) -> Outcome | None:
        """The outcome that a record tells; None where it tells none."""
        # A bundle that Beam tries again finds what its first try had finished.
        status = OK if record["run"] == self.run else SKIPPED
        try:
            return self._outcome(task, record, status)
        except (KeyError, TypeError):
            return None  # Somebody else wrote it.

    def _outcome(self, task: Task, record: dict[str, Any], status: str) -> Outcome:
        details = {**records.place_of(task, self.output), **records.summary_of(record)}
        if status == OK:
            details["changed"] = task.changed
        return finished_pair(task.number, task.pair, status, details)

    def write(
        self, pair: ReadPair, kept: SnapshotFiles | None, result: StyleResult, engine: StyleEngine
    ) -> Outcome:
        """Everything of a finished pair, its record last."""
        started = time.monotonic()
        task, inputs = pair.task, pair.inputs
        # A last time, before anything is replaced: another run may have been faster.
        if done := self.done_meanwhile(task):
            return done
        place = records.place_of(task, self.output)
        encoded = encode_image(result.image, inputs, task.config, metadata_of(task))
        log = loss_csv(result.losses)
        # First the records of what is about to be replaced: no record may vouch for lost pixels.
        others = self._delete_records(task, place["image"])
        snapshots, snapshot_bytes = self._write_snapshots(task, kept, result)
        storage.write_bytes(
            place["image"], encoded, encoding.CONTENT_TYPES[task.config.output_format]
        )
        # Images of another format, that none replaces: only now, and before their records.
        for other, image in others.items():
            storage.delete(image)
            storage.delete(other)
        storage.write_bytes(place["losses"], log, "text/csv")
        shown = self.thumbnails.write(task.pair.id, result.image, inputs.picture, pair.styles)
        seconds = {
            "read": round(pair.seconds, 3),
            "optimize": round(result.seconds, 3),
            "write": round(time.monotonic() - started, 3),
        }
        size = output_size(result.image, inputs.picture, task.config)
        files = {**place, **snapshots, "thumbnails": shown}
        record = records.build_record(task, result, size, files, seconds, engine, self.run)
        data = records.to_json(record)
        if first := self._create_record(task, place["record"], data):
            return first
        self.tally.count("bytes_written", len(encoded) + len(log) + len(data) + snapshot_bytes)
        self.tally.measure("steps", result.steps)
        for name, value in seconds.items():
            self.tally.measure(f"{name}_milliseconds", round(1000 * value))
        return self._outcome(task, record, OK)

    def _delete_records(self, task: Task, image: str) -> dict[str, str]:
        """Delete the records of the image that is at this URI; those of others, with their URIs."""
        others = {}
        for uri in task.stale_records:
            described = records.image_of(uri, self.output, task.pair.id)
            if described is not None and described != image:
                others[uri] = described
            else:
                storage.delete(uri)
        return others

    def _create_record(self, task: Task, uri: str, data: bytes) -> Outcome | None:
        """Create a record; the outcome of that of another run which was first, or None."""
        while not storage.create_bytes(uri, data, "application/json"):
            first = records.read_record(uri)
            if first and (done := self._as_recorded(task, first)):
                return done
            # It is no record, or has been deleted since.
            storage.delete(uri)
        return None

    def _write_snapshots(
        self, task: Task, kept: SnapshotFiles | None, result: StyleResult
    ) -> tuple[dict[str, Any], int]:
        place = records.snapshot_place(self.output, task.pair.id)
        written, size = write_snapshots(kept, result, place)
        for stale in {*task.stale_snapshots} - {*written["snapshots"], written["animation"]}:
            storage.delete(stale)
        return written, size
