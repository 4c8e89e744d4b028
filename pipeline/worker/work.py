"""The work on one batch: read, optimise, write; the record last.

Plain functions that a test calls without Beam; `transforms` wires them.
"""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from nst_core import encoding, images
from nst_core.config import StyleConfig
from nst_core.errors import JobError, OptionsInvalid, PairError, WeightsError
from nst_core.results import Style, StyleResult
from pipeline import progress, records, storage
from pipeline.checkpoints import Checkpoints
from pipeline.inputs import Inputs, read_inputs, read_picture
from pipeline.manifest import StyleReference
from pipeline.output import encode_image, loss_csv, metadata_of, output_size
from pipeline.pairs import (
    OK,
    SKIPPED,
    Batch,
    Outcome,
    Task,
    failed_pair,
    finished_pair,
)
from pipeline.snapshots import Roll, Snapshots, write_snapshots

if TYPE_CHECKING:
    from nst_core.engine import StyleEngine

STYLES_KEPT = 16
INPUT_THREADS = 8

_LOGGER = logging.getLogger(__name__)


class Tally:
    """Counts and measurements of any thread, kept until somebody takes them."""

    def __init__(self) -> None:
        self._entries: collections.deque[tuple[str, int, bool]] = collections.deque()

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self._entries.append((name, amount, False))

    def measure(self, name: str, value: int) -> None:
        """Add a value to a distribution."""
        self._entries.append((name, value, True))

    def take(self) -> Iterator[tuple[str, int, bool]]:
        """Name, amount, and whether it belongs to a distribution; each entry once."""
        while self._entries:
            yield self._entries.popleft()


class Studio:
    """What a worker keeps between batches: the engines, and the styles that it has decoded.

    Args:
        output: the output folder's URI.
        run: the run's name, written into records.
        engine_for: the engine for a configuration; called only when there is work.
    """

    def __init__(
        self, output: str, run: str, engine_for: Callable[[StyleConfig], StyleEngine]
    ) -> None:
        self.output = output
        self.run = run
        self.engine_for = engine_for
        self.tally = Tally()
        self.threads = concurrent.futures.ThreadPoolExecutor(INPUT_THREADS)
        self._styles: collections.OrderedDict[Any, images.Picture] = collections.OrderedDict()

    def close(self) -> None:
        """Let the threads go."""
        self.threads.shutdown()

    def process(self, batch: Batch) -> Iterator[Outcome]:
        """Every task of the batch as an outcome: ok, skipped, or a failure."""
        for outcome in self._process(batch):
            progress.emit(progress.PairEnded(outcome.status, True))
            self.tally.count(f"pairs_{outcome.status}")
            yield outcome

    def _process(self, batch: Batch) -> Iterator[Outcome]:
        started = time.monotonic()
        begun = list(self.threads.map(self._begin, batch.tasks))
        yield from (found for found in begun if isinstance(found, Outcome))
        todo = [
            (task, found)
            for task, found in zip(batch.tasks, begun, strict=True)
            if not isinstance(found, Outcome)
        ]
        if not todo:
            return
        try:
            styles = self._read_styles(todo[0][0])
        except PairError as error:
            yield from (failed_pair(task.number, task.pair, error) for task, _ in todo)
            return
        ready = []
        for task, inputs in todo:
            if isinstance(inputs, PairError):
                yield failed_pair(task.number, task.pair, inputs)
            else:
                ready.append((task, inputs))
        if ready:
            seconds = (time.monotonic() - started) / len(ready)
            yield from self._stylize(ready, styles, seconds)

    def _begin(self, task: Task) -> Outcome | Inputs | PairError:
        """What is read for a task, unless it is done.

        Just before the costly work: another worker may have done it since the planning.
        """
        return self._done_meanwhile(task) or self._read_content(task)

    def _done_meanwhile(self, task: Task) -> Outcome | None:
        place = records.place_of(task, self.output)
        record = records.read_record(place["record"])
        if record is None:
            return None
        if not storage.exists(place["image"]):
            # Its image is lost, and it must not vouch for the next one.
            storage.delete(place["record"])
            return None
        if record["run"] != self.run and place["record"] in task.stale_records:
            return None
        return self._as_recorded(task, record)

    def _as_recorded(self, task: Task, record: dict[str, Any]) -> Outcome:
        place = records.place_of(task, self.output)
        # A bundle that Beam tries again finds what its first try had finished.
        if record["run"] == self.run:
            return finished_pair(
                task.number, task.pair, OK, {**place, **records.summary_of(record)}
            )
        return finished_pair(task.number, task.pair, SKIPPED, place)

    def _read_styles(self, task: Task) -> list[Style]:
        return [
            Style(picture.rgb, style.weight, style.uri, picture.alpha)
            for style in task.pair.styles
            for picture in [self._style_picture(style, task.config)]
        ]

    def _style_picture(self, style: StyleReference, config: StyleConfig) -> images.Picture:
        key = (style.uri, config.max_pixels, config.max_bytes)
        if key not in self._styles:
            picture, size = read_picture(style.uri, config)
            self.tally.count("bytes_read", size)
            self._styles[key] = picture
            while len(self._styles) > STYLES_KEPT:
                self._styles.popitem(last=False)
        self._styles.move_to_end(key)
        return self._styles[key]

    def _read_content(self, task: Task) -> Inputs | PairError:
        try:
            inputs = read_inputs(task.pair, task.config)
        except PairError as error:
            return error
        except JobError:
            raise
        except Exception as error:
            return unforeseen(error)
        self.tally.count("bytes_read", inputs.size)
        return inputs

    def _stylize(
        self, ready: list[tuple[Task, Inputs]], styles: list[Style], read_seconds: float
    ) -> Iterator[Outcome]:
        tasks = [task for task, _ in ready]
        with (
            Snapshots(ready, self.threads) as snapshots,
            Checkpoints(tasks, self.output, snapshots, self.threads) as checkpoints,
        ):
            try:
                engine = self._engine(tasks[0])
                results = self._optimize(engine, ready, styles, snapshots, checkpoints)
            except PairError as error:
                yield from (failed_pair(task.number, task.pair, error) for task in tasks)
                return
            except JobError:
                raise
            except Exception as error:
                # Nobody foresaw this: find out whose it is, so that the others are done.
                if len(ready) > 1:
                    for entry in ready:
                        yield from self._stylize([entry], styles, read_seconds)
                else:
                    outcome = failed_pair(tasks[0].number, tasks[0].pair, unforeseen(error))
                    checkpoints.end(0, outcome)
                    yield outcome
                return
            finish = functools.partial(self._finish, engine=engine, read_seconds=read_seconds)
            outcomes = self.threads.map(finish, ready, snapshots.rolls, results)
            for index, outcome in enumerate(outcomes):
                checkpoints.end(index, outcome)
                yield outcome

    def _optimize(
        self,
        engine: StyleEngine,
        ready: list[tuple[Task, Inputs]],
        styles: list[Style],
        snapshots: Snapshots,
        checkpoints: Checkpoints,
    ) -> list[StyleResult | PairError]:
        first = ready[0][0]
        passes = engine.style_passes
        inits = [inputs.init for _, inputs in ready if inputs.init is not None]
        results = engine.stylize_batch(
            [inputs.seen(first.config) for _, inputs in ready],
            styles,
            first.config,
            inits=inits or None,
            masks=[inputs.masks for _, inputs in ready],
            keeps=[inputs.keep for _, inputs in ready],
            names=[task.pair.content for task, _ in ready],
            progress=lambda now: progress.emit(progress.Steps(first.pair.id, now)),
            snapshots=snapshots.take,
            checkpoints=checkpoints.found,
            save=checkpoints.save,
        )
        # Here, not on the threads that finish the pairs: those would wait for themselves.
        snapshots.settle()
        self.tally.count("batches")
        self.tally.count("style_passes", engine.style_passes - passes)
        return results

    def _engine(self, task: Task) -> StyleEngine:
        try:
            return self.engine_for(task.config)
        except WeightsError as error:
            if "weights" in task.pair.options:
                raise OptionsInvalid(f"options.weights: {error}") from error
            raise

    def _finish(
        self,
        entry: tuple[Task, Inputs],
        roll: Roll | None,
        result: StyleResult | PairError,
        *,
        engine: StyleEngine,
        read_seconds: float,
    ) -> Outcome:
        task, inputs = entry
        if isinstance(result, PairError):
            return failed_pair(task.number, task.pair, result)
        try:
            return self._write(task, inputs, roll, result, engine=engine, read_seconds=read_seconds)
        except JobError:
            raise
        except Exception as error:
            return failed_pair(task.number, task.pair, unforeseen(error))

    def _write(
        self,
        task: Task,
        inputs: Inputs,
        roll: Roll | None,
        result: StyleResult,
        *,
        engine: StyleEngine,
        read_seconds: float,
    ) -> Outcome:
        started = time.monotonic()
        # A last time, before anything is replaced: another run may have been faster.
        if done := self._done_meanwhile(task):
            return done
        place = records.place_of(task, self.output)
        encoded = encode_image(result.image, inputs, task.config, metadata_of(task))
        # First the records of what is about to be replaced: no record may vouch for lost pixels.
        others = self._delete_records(task, place["image"])
        snapshots, snapshot_bytes = self._write_snapshots(task, roll, result)
        storage.write_bytes(
            place["image"], encoded, encoding.CONTENT_TYPES[task.config.output_format]
        )
        # Images of another format, that none replaces: only now, and before their records.
        for other, image in others.items():
            storage.delete(image)
            storage.delete(other)
        log = loss_csv(result.losses)
        storage.write_bytes(place["losses"], log, "text/csv")
        seconds = {
            "read": round(read_seconds, 3),
            "optimize": round(result.seconds, 3),
            "write": round(time.monotonic() - started, 3),
        }
        size = output_size(result.image, inputs.picture, task.config)
        files = {**place, **snapshots}
        record = records.build_record(task, result, size, files, seconds, engine, self.run)
        data = records.to_json(record)
        if first := self._create_record(place["record"], data):
            return self._as_recorded(task, first)
        self.tally.count("bytes_written", len(encoded) + len(log) + len(data) + snapshot_bytes)
        self.tally.measure("steps", result.steps)
        for name, value in seconds.items():
            self.tally.measure(f"{name}_milliseconds", round(1000 * value))
        return finished_pair(task.number, task.pair, OK, {**place, **records.summary_of(record)})

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

    def _create_record(self, uri: str, data: bytes) -> dict[str, Any] | None:
        """Create a record; that of another run which was first, or None."""
        while not storage.create_bytes(uri, data, "application/json"):
            if first := records.read_record(uri):
                return first
            # It is no record, or has been deleted since.
            storage.delete(uri)
        return None

    def _write_snapshots(
        self, task: Task, roll: Roll | None, result: StyleResult
    ) -> tuple[dict[str, Any], int]:
        place = records.snapshot_place(self.output, task.pair.id)
        written, size = write_snapshots(roll, result, place)
        for stale in {*task.stale_snapshots} - {*written["snapshots"], written["animation"]}:
            storage.delete(stale)
        return written, size


def unforeseen(error: Exception) -> PairError:
    """An error that nobody foresaw, as its pair's failure; its traceback goes to the log."""
    _LOGGER.error("A pair failed for a reason nobody foresaw.", exc_info=error)
    reason = " ".join(str(error).split())[:500]
    return PairError(
        f"{type(error).__name__} ({reason}); this is a defect, please report it with the log."
    )
