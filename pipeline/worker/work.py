"""The work on batches: read ∥ optimise ∥ write; without Beam, which only calls it.

While one batch is optimised, the next ones are read and the last ones are written, each a few at
most, so that the device waits for neither and memory holds little. What is optimised is so on the
thread that calls.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from nst_core.config import StyleConfig
from nst_core.errors import JobError, OptionsInvalid, PairError, WeightsError
from nst_core.results import Progress, StyleResult
from pipeline.console import events
from pipeline.records.tasks import (
    Batch,
    Outcome,
    Task,
    failed_pair,
    unforeseen,
)
from pipeline.worker.checkpoints import Checkpoints
from pipeline.worker.picture_cache import PictureCache
from pipeline.worker.reading import Reader, ReadPair
from pipeline.worker.snapshots import SnapshotFiles, Snapshots
from pipeline.worker.tally import Tally
from pipeline.worker.writing import Writer

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine

# Each decodes, or waits for the storage.
READING_THREADS = 8
WRITING_THREADS = 8
# What may be read before its turn, and what may still be written when the next batch has been
# optimised: two batches, or several small ones, since a storage far away takes its time for each
# pair; less where the pixels have more bytes than that.
BATCHES_BESIDE = 2
PAIRS_BESIDE = 8
BYTES_BESIDE = 2**30


@dataclasses.dataclass
class _Reading:
    """A batch whose tasks are being read: each becomes an outcome, or a pair to be optimised."""

    found: list[Future[Outcome | ReadPair]]

    @property
    def pairs(self) -> int:
        """How many."""
        return len(self.found)

    @property
    def nbytes(self) -> int:
        """Of the pixels that are there already."""
        done = [one.result() for one in self.found if one.done() and one.exception() is None]
        return sum(one.inputs.nbytes for one in done if isinstance(one, ReadPair))


@dataclasses.dataclass
class _Writing:
    """A batch whose results are being written, and what is held until they are."""

    outcomes: list[Future[Outcome]]
    held: contextlib.ExitStack
    nbytes: int

    @property
    def pairs(self) -> int:
        """How many."""
        return len(self.outcomes)


class BatchWorker:
    """What a worker keeps between batches, and what it does with them.

    Args:
        output: the output folder's URI.
        run: the run's name, written into records.
        engine_for: the engine for a configuration; called only when there is work.
        pictures: what this process has read already.
    """

    def __init__(
        self,
        output: str,
        run: str,
        engine_for: Callable[[StyleConfig], StyleEngine],
        pictures: PictureCache | None = None,
    ) -> None:
        self.output = output
        self.run = run
        self.engine_for = engine_for
        self.tally = Tally()
        self.reader = Reader(self.tally, pictures or PictureCache())
        self.writer = Writer(output, run, self.tally)
        self._readers = concurrent.futures.ThreadPoolExecutor(READING_THREADS, "nst-reading")
        # Also encode snapshots on the way.
        self._writers = concurrent.futures.ThreadPoolExecutor(WRITING_THREADS, "nst-writing")
        self._reading: collections.deque[_Reading] = collections.deque()
        self._writing: collections.deque[_Writing] = collections.deque()

    def close(self) -> None:
        """Let the threads go."""
        self._readers.shutdown(cancel_futures=True)
        self._writers.shutdown()

    def process(self, batch: Batch) -> Iterator[Outcome]:
        """Begin with a batch; the outcomes of those that have ended meanwhile.

        Each task becomes one outcome: ok, skipped, or a failure. Once `finish` is through, all
        have. After an error nothing is begun any more.

        Raises:
            JobError: trouble that is not one pair's, of this batch or another.
        """
        with self._stopping():
            found = [self._readers.submit(self._read, task) for task in batch.tasks]
            self._reading.append(_Reading(found))
            while _is_much(self._reading):
                yield from self._optimize_next()
            yield from self._written()

    def finish(self) -> Iterator[Outcome]:
        """All outcomes that are still to come; errors as of `process`."""
        with self._stopping():
            while self._reading:
                yield from self._optimize_next()
            yield from self._written(all_of_them=True)

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """After an error no other batch is begun, and what was optimised is written."""
        try:
            yield
        except BaseException:
            reading, writing = [*self._reading], [*self._writing]
            self._reading.clear()
            self._writing.clear()
            for future in (future for one in reading for future in one.found):
                future.cancel()
            concurrent.futures.wait(future for one in writing for future in one.outcomes)
            for one in writing:
                one.held.close()
            raise

    def _read(self, task: Task) -> Outcome | ReadPair:
        """What is read for a task, unless it is done.

        Before the costly work: another worker may have done it since the planning.
        """
        if done := self.writer.done_meanwhile(task):
            return done
        found = self.reader.read(task)
        return failed_pair(task.number, task.pair, found) if isinstance(found, PairError) else found

    def _optimize_next(self) -> Iterator[Outcome]:
        """Optimise the batch that is first, and begin to write what came of it."""
        found = [future.result() for future in self._reading.popleft().found]
        yield from map(self._ended, (one for one in found if isinstance(one, Outcome)))
        if ready := [one for one in found if isinstance(one, ReadPair)]:
            yield from map(self._ended, self._stylize(ready))
        yield from self._written()

    def _written(self, *, all_of_them: bool = False) -> Iterator[Outcome]:
        """The outcomes of batches that are written; waits while there are too many that are not."""
        while self._writing:
            first = self._writing[0]
            is_done = all(one.done() for one in first.outcomes)
            if not (is_done or all_of_them or _is_much(self._writing)):
                break
            outcomes = [future.result() for future in first.outcomes]
            self._writing.popleft().held.close()
            yield from outcomes

    def _raise_failed(self) -> None:
        """Raise what has gone wrong beside the device, while it works."""
        read = (future for one in self._reading for future in one.found)
        written = (future for one in self._writing for future in one.outcomes)
        for future in itertools.chain[Future[Any]](read, written):
            if future.done() and (error := future.exception()):
                raise error

    def _stylize(self, ready: list[ReadPair]) -> Iterator[Outcome]:
        """The failures; what is to be written is on its way when they are through."""
        tasks = [one.task for one in ready]
        entries = [(one.task, one.inputs) for one in ready]
        with contextlib.ExitStack() as stack:
            snapshots = stack.enter_context(Snapshots(entries, self._writers))
            checkpoints = stack.enter_context(
                Checkpoints(tasks, self.output, snapshots, self._writers)
            )
            try:
                engine = self._engine(tasks[0])
                results = self._optimize(engine, ready, snapshots, checkpoints)
            except PairError as error:
                yield from (failed_pair(task.number, task.pair, error) for task in tasks)
                return
            except JobError:
                raise
            except Exception as error:
                # Nobody foresaw this: find out whose it is, so that the others are done.
                if len(ready) > 1:
                    for one in ready:
                        yield from self._stylize([one])
                else:
                    outcome = failed_pair(tasks[0].number, tasks[0].pair, unforeseen(error))
                    checkpoints.end(0, outcome)
                    yield outcome
                return

            def finish(
                index: int, kept: SnapshotFiles | None, result: StyleResult | PairError
            ) -> Outcome:
                outcome = self._finish(ready[index], kept, result, engine)
                checkpoints.end(index, outcome)
                return self._ended(outcome)

            outcomes = [
                self._writers.submit(finish, index, kept, result)
                for index, (kept, result) in enumerate(zip(snapshots.files, results, strict=True))
            ]
            images = sum(one.image.nbytes for one in results if isinstance(one, StyleResult))
            nbytes = images + sum(one.inputs.nbytes for one in ready)
            self._writing.append(_Writing(outcomes, stack.pop_all(), nbytes))

    def _optimize(
        self,
        engine: StyleEngine,
        ready: list[ReadPair],
        snapshots: Snapshots,
        checkpoints: Checkpoints,
    ) -> list[StyleResult | PairError]:
        first = ready[0].task
        passes = engine.style_passes
        inits = [one.inputs.init for one in ready if one.inputs.init is not None]

        def report(now: Progress) -> None:
            events.emit(events.Steps(first.pair.id, now))
            self._raise_failed()

        results = engine.stylize_batch(
            [one.inputs.seen(first.config) for one in ready],
            ready[0].styles,
            first.config,
            inits=inits or None,
            masks=[one.inputs.masks for one in ready],
            keeps=[one.inputs.keep for one in ready],
            names=[one.task.pair.content for one in ready],
            progress=report,
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
        pair: ReadPair,
        kept: SnapshotFiles | None,
        result: StyleResult | PairError,
        engine: StyleEngine,
    ) -> Outcome:
        task = pair.task
        if isinstance(result, PairError):
            return failed_pair(task.number, task.pair, result)
        try:
            return self.writer.write(
                task, pair.inputs, kept, result, engine=engine, read_seconds=pair.seconds
            )
        except JobError:
            raise
        except Exception as error:
            return failed_pair(task.number, task.pair, unforeseen(error))

    def _ended(self, outcome: Outcome) -> Outcome:
        """Tell of a pair that has ended; on any thread."""
        events.emit(events.PairEnded(outcome.status, True))
        self.tally.count(f"pairs_{outcome.status}")
        return outcome


def _is_much(several: Sequence[_Reading] | Sequence[_Writing]) -> bool:
    """Whether these are more than is to be beside the device."""
    if sum(one.nbytes for one in several) > BYTES_BESIDE:
        return True
    return len(several) > BATCHES_BESIDE and sum(one.pairs for one in several) > PAIRS_BESIDE
