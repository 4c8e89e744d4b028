"""Batches on the devices: from what was read for pairs to their results, whatever a device does."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from nst_core.errors import (
    DeviceError,
    JobError,
    OptionsInvalid,
    OutOfMemory,
    PairError,
    WeightsError,
)
from nst_core.results import Progress, StyleResult
from pipeline.console import events
from pipeline.records.tasks import Outcome, failed_pair, unforeseen
from pipeline.worker.checkpoints import Checkpoints, find
from pipeline.worker.engine_cache import EngineCache
from pipeline.worker.reading import ReadPair
from pipeline.worker.snapshots import SnapshotFiles, Snapshots
from pipeline.worker.tally import Tally

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine

Results = Sequence[StyleResult | PairError]


@dataclasses.dataclass(frozen=True)
class Stylized:
    """What came of a batch, and what is held until it is written.

    `files`: each pair's snapshots.
    """

    pairs: list[ReadPair]
    results: Results
    files: Sequence[SnapshotFiles | None]
    engine: StyleEngine
    checkpoints: Checkpoints
    held: contextlib.ExitStack

    @property
    def nbytes(self) -> int:
        """Of all pixels."""
        images = sum(one.image.nbytes for one in self.results if isinstance(one, StyleResult))
        return images + sum(one.inputs.nbytes for one in self.pairs)


class Stylizer:
    """Stylizes batches on the devices that the engines have; for any thread.

    Args:
        output: the output folder's URI.
        engines: of this process.
        tally: counts batches.
        threads: encode snapshots on the way.
        check: called about once a second; what it raises ends the batch.
    """

    def __init__(
        self,
        output: str,
        engines: EngineCache,
        tally: Tally,
        threads: concurrent.futures.Executor,
        check: Callable[[], None],
    ) -> None:
        self.output = output
        self.engines = engines
        self.tally = tally
        self.threads = threads
        self.check = check

    def with_checkpoint(self, pair: ReadPair) -> ReadPair:
        """The pair with what it goes on from; asks the storage.

        Raises:
            StorageError: it cannot tell.
        """
        return dataclasses.replace(pair, checkpoint=find(pair.task, self.output))

    def stylize(self, ready: list[ReadPair]) -> Iterator[Outcome | Stylized]:
        """Failures, and batches that wait to be written.

        Args:
            ready: pairs of one configuration, but for what each brings for itself.

        Raises:
            JobError: trouble that is not one pair's.
        """
        tasks = [one.task for one in ready]
        entries = [(one.task, one.inputs) for one in ready]
        with contextlib.ExitStack() as stack:
            snapshots = stack.enter_context(Snapshots(entries, self.threads))
            checkpoints = stack.enter_context(
                Checkpoints(tasks, self.output, snapshots, [one.checkpoint for one in ready])
            )
            try:
                engine, results = self._on_a_device(ready, snapshots, checkpoints)
            except PairError as error:
                yield from (failed_pair(task.number, task.pair, error) for task in tasks)
                return
            except JobError:
                raise
            except Exception as error:
                # Nobody foresaw this: find out whose it is, so that the others are done.
                if len(ready) > 1:
                    for one in ready:
                        yield from self.stylize([self.with_checkpoint(one)])
                else:
                    outcome = failed_pair(tasks[0].number, tasks[0].pair, unforeseen(error))
                    checkpoints.end(0, outcome)
                    yield outcome
                return
            files = snapshots.files
            yield Stylized(ready, results, files, engine, checkpoints, stack.pop_all())

    def _on_a_device(
        self, ready: list[ReadPair], snapshots: Snapshots, checkpoints: Checkpoints
    ) -> tuple[StyleEngine, Results]:
        """The results, and the engine that they are of; what fails on one device, on another.

        Raises:
            DeviceError: the last device has stopped working.
        """
        task = ready[0].task
        failed: set[str] = set()
        while True:
            try:
                lent = self.engines.lent(task.config, failed)
                engine = lent.__enter__()
            except WeightsError as error:
                if "weights" in task.pair.options:
                    raise OptionsInvalid(f"options.weights: {error}") from error
                raise
            with contextlib.ExitStack() as stack:
                stack.push(lent)
                try:
                    results = self._optimize(engine, ready, snapshots, checkpoints)
                except (PairError, JobError):
                    raise
                except Exception:
                    others = self.engines.devices(task.config, {*failed, engine.device})
                    if not others and not engine.works():
                        raise DeviceError(
                            f"The device {engine.device_name} does not compute any more; "
                            "start the worker again, and give the same command again."
                        ) from None
                    if not others:
                        raise
                else:
                    others = self.engines.devices(task.config, {*failed, engine.device})
                    is_done = not all(isinstance(one, OutOfMemory) for one in results)
                    if is_done:
                        self.engines.worked(engine.device, failed)
                    if is_done or not others:
                        return engine, results
                failed.add(engine.device)

    def _optimize(
        self,
        engine: StyleEngine,
        ready: list[ReadPair],
        snapshots: Snapshots,
        checkpoints: Checkpoints,
    ) -> Results:
        first = ready[0].task
        known, passes = engine.batches, engine.style_passes
        inits = [one.inputs.init for one in ready if one.inputs.init is not None]

        def report(now: Progress) -> None:
            events.emit(events.Steps(first.pair.id, now))
            self.check()

        results = engine.stylize_batch(
            [one.inputs.seen for one in ready],
            [one.styles for one in ready],
            first.config,
            inits=inits or None,
            masks=[one.inputs.masks for one in ready],
            keeps=[one.inputs.keep for one in ready],
            names=[one.task.pair.content for one in ready],
            progress=report,
            snapshots=snapshots.take,
            checkpoints=checkpoints.arrays,
            save=checkpoints.save,
        )
        if engine.batches and not known:
            # TensorFlow and its graphs stay: looking through them for cycles takes a tenth of a
            # second, on whatever thread allocates next, such as one that a device waits for.
            gc.collect(1)
            gc.freeze()
        # Here, not on the threads that finish the pairs: those would wait for themselves.
        snapshots.settle()
        self.tally.count("batches")
        self.tally.count("style_passes", engine.style_passes - passes)
        return results
