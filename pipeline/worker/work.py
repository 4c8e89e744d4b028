"""The work on batches: read ∥ optimise ∥ write; without Beam, which only calls it.

What comes together is read together. Of what is there, batches are formed that fill a device:
several elements, where they have one key. While devices work, the next pairs are read and the last
ones are written, a few at most, so that devices wait for neither and memory holds little.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from nst_core.errors import DeviceError, JobError, OptionsInvalid, PairError
from pipeline.console import events
from pipeline.records.tasks import Batch, Outcome, Task, failed_pair, unforeseen
from pipeline.worker.engine_cache import EngineCache
from pipeline.worker.picture_cache import PictureCache
from pipeline.worker.reading import Reader, ReadPair
from pipeline.worker.stylizing import Stylized, Stylizer
from pipeline.worker.tally import Tally
from pipeline.worker.threads import Threads
from pipeline.worker.writing import Writer

T = TypeVar("T")

# For each device; each decodes, or waits for the storage.
READING_THREADS = 8
WRITING_THREADS = 8
# More devices than any machine has.
DEVICE_THREADS = 64
# What may be read before its turn, and what may still be written when the next batch begins, for
# each device: two batches, or several small ones, since a storage far away takes its time for each
# pair; less where the pixels have more bytes than that.
BATCHES_BESIDE = 2
PAIRS_BESIDE = 8
BYTES_BESIDE = 2**30
# Where no key fills a device, so many full batches are read before the fullest goes there as it is.
BATCHES_GATHERED = 8


@dataclasses.dataclass
class _Reading:
    """A batch whose tasks are being read: each becomes an outcome, or a pair to be optimised."""

    batch: Batch
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
        engines: of this process; asked only when there is work.
        pictures: what this process has read already.
        most: pairs of a batch; None: as many as pay on the device.
        since: as of `Writer`.
    """

    def __init__(
        self,
        output: str,
        run: str,
        engines: EngineCache,
        pictures: PictureCache | None = None,
        most: int | None = None,
        since: str = "",
    ) -> None:
        self.engines = engines
        self.most = most
        self.tally = Tally()
        self.reader = Reader(self.tally, pictures or PictureCache())
        self.writer = Writer(output, run, self.tally, since)
        self._readers = Threads(READING_THREADS, "nst-reading")
        # Also encode snapshots on the way.
        self._writers = Threads(WRITING_THREADS, "nst-writing")
        self._device_threads = ThreadPoolExecutor(DEVICE_THREADS, "nst-device")
        self._stylizer = Stylizer(output, engines, self.tally, self._writers, self._raise_failed)
        self._reading: collections.deque[_Reading] = collections.deque()
        self._on_devices: list[Future[list[Outcome | Stylized]]] = []
        self._writing: collections.deque[_Writing] = collections.deque()
        self._sizes: dict[str, int] = {}
        self._failure: BaseException | None = None

    def close(self) -> None:
        """Let the threads go."""
        self._readers.shutdown(cancel_futures=True)
        self._device_threads.shutdown(cancel_futures=True)
        self._writers.shutdown()

    def process(self, batch: Batch) -> Iterator[Outcome]:
        """Begin with a batch; the outcomes of those that have ended meanwhile.

        Each task becomes one outcome: ok, skipped, or a failure. Once `finish` is through, all
        have. After an error nothing is begun any more.

        Raises:
            JobError: trouble that is not one pair's, of this batch or another.
        """
        with self._stopping():
            found = [self._heard(self._readers.submit(self._read, task)) for task in batch.tasks]
            if found:
                self._reading.append(_Reading(batch, found))
            yield from self._go_on(self._has_enough)

    def finish(self) -> Iterator[Outcome]:
        """All outcomes that are still to come; errors as of `process`."""
        with self._stopping():
            yield from self._go_on(lambda: bool(self._reading or self._on_devices), to_the_end=True)
            yield from self._written(all_of_them=True)

    def _go_on(self, waits: Callable[[], bool], *, to_the_end: bool = False) -> Iterator[Outcome]:
        """Begin what can begin, and end what has ended, for as long as there is to be waited."""
        while True:
            yield from self._ended_on_devices()
            yield from self._written()
            while self._begun(to_the_end):
                pass
            if not waits():
                return
            concurrent.futures.wait(
                self._on_devices, return_when=concurrent.futures.FIRST_COMPLETED
            )

    def _has_enough(self) -> bool:
        """Whether no more is to be read before a device is through."""
        if not self._reading or len(self._on_devices) < self._lanes():
            return False
        if _nbytes(self._reading) > BYTES_BESIDE * self._readers.devices:
            return True
        full = max(self._size(one.batch) for one in self._reading)
        batches = BATCHES_BESIDE if self._next(whole=True) else BATCHES_GATHERED
        pairs = max(PAIRS_BESIDE, batches * full)
        few = len(self._reading) < self._lanes() * BATCHES_BESIDE
        return not few and _pairs(self._reading) >= self._lanes() * pairs

    def _lanes(self) -> int:
        """How many devices there are for what is next."""
        try:
            count = len(self.engines.devices(self._reading[0].batch.tasks[0].config))
        except DeviceError:
            return 1  # The device's thread meets it too, and says so.
        for threads in (self._readers, self._writers):
            threads.serve(count)
        return count

    def _begun(self, to_the_end: bool) -> bool:
        """Give the next batch to a device, if one is free and there is one."""
        if not self._reading or self._writes_much or len(self._on_devices) >= self._lanes():
            return False
        full = max(self._size(one.batch) for one in self._reading)
        is_much = _pairs(self._reading) >= BATCHES_GATHERED * full
        is_much = is_much or _nbytes(self._reading) > BYTES_BESIDE * self._readers.devices
        chosen = self._next(whole=not (is_much or to_the_end))
        for one in chosen:
            self._reading.remove(one)
        if chosen:
            future = self._device_threads.submit(self._optimize, chosen)
            self._on_devices.append(self._heard(future))
        return bool(chosen)

    def _next(self, *, whole: bool) -> list[_Reading]:
        """What is optimised next: the first that fill a device; without `whole`, else the most."""
        groups: dict[str, list[_Reading]] = {}
        for number, one in enumerate(self._reading):
            groups.setdefault(one.batch.key or str(number), []).append(one)
        sized = [(group, self._size(group[0].batch)) for group in groups.values()]
        for group, size in sized:
            if _pairs(group) >= size:
                return _first_of(group, size)
        return [] if whole else _first_of(*max(sized, key=lambda one: _pairs(one[0])))

    def _size(self, batch: Batch) -> int:
        """How many pairs fill a device."""
        if batch.canvas is None:
            return 1
        if batch.key not in self._sizes:
            try:
                size = self.engines.batch_size(batch.tasks[0].config, batch.canvas)
            except (PairError, JobError):
                size = 1  # The device's thread meets it too, and says so.
            self._sizes[batch.key] = min(size, self.most or size)
        return self._sizes[batch.key]

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """After an error no other batch is begun, and what was optimised is written."""
        try:
            yield
        except BaseException as error:
            self._failure = self._failure or error
            for future in (future for one in self._reading for future in one.found):
                future.cancel()
            self._reading.clear()
            concurrent.futures.wait(self._on_devices)
            for one in self._on_devices:
                if one.exception() is None:
                    self._begin_to_write(one.result())
            self._on_devices.clear()
            writing = [*self._writing]
            self._writing.clear()
            concurrent.futures.wait(future for one in writing for future in one.outcomes)
            for each in writing:
                each.held.close()
            self._failure = None
            raise

    def _read(self, task: Task) -> Outcome | ReadPair:
        """What is read for a task, unless it is done.

        Before the costly work: another worker may have done it since the planning.
        """
        events.emit(events.PairBegun(task.pair.id))
        found = self._refusal(task) or self.reader.read(task)
        if isinstance(found, PairError):
            return failed_pair(task.number, task.pair, found)
        if done := self.writer.done_meanwhile(found.task):
            return done
        return self._stylizer.with_checkpoint(found)

    def _refusal(self, task: Task) -> OptionsInvalid | None:
        """Why a row cannot have the device that it names itself."""
        if "device" in task.pair.options:
            try:
                self.engines.devices(task.config)
            except DeviceError as error:
                return OptionsInvalid(f"options.device: {error}")
        return None

    def _optimize(self, several: list[_Reading]) -> list[Outcome | Stylized]:
        """Optimise batches as one: the pairs that end here, and what is to be written."""
        found = [future.result() for one in several for future in one.found]
        ended: list[Outcome | Stylized] = [one for one in found if isinstance(one, Outcome)]
        if ready := [one for one in found if isinstance(one, ReadPair)]:
            ended += self._stylizer.stylize(ready)
        return ended

    def _ended_on_devices(self) -> Iterator[Outcome]:
        """The outcomes that devices have come to; the results begin to be written."""
        for future in [one for one in self._on_devices if one.done()]:
            self._on_devices.remove(future)
            yield from self._begin_to_write(future.result())

    def _begin_to_write(self, several: Sequence[Outcome | Stylized]) -> list[Outcome]:
        """What has ended of these."""
        for one in several:
            if isinstance(one, Stylized):
                outcomes = [
                    self._heard(self._writers.submit(self._finish, one, index))
                    for index in range(len(one.pairs))
                ]
                self._writing.append(_Writing(outcomes, one.held, one.nbytes))
        return [self._ended(one) for one in several if isinstance(one, Outcome)]

    def _written(self, *, all_of_them: bool = False) -> Iterator[Outcome]:
        """The outcomes of batches that are written; waits while there are too many that are not."""
        while self._writing:
            first = self._writing[0]
            is_done = all(one.done() for one in first.outcomes)
            if not (is_done or all_of_them or self._writes_much):
                break
            outcomes = [future.result() for future in first.outcomes]
            self._writing.popleft().held.close()
            yield from outcomes

    @property
    def _writes_much(self) -> bool:
        """Whether more is being written than is to be beside the devices."""
        devices = self._writers.devices
        if _nbytes(self._writing) > BYTES_BESIDE * devices:
            return True
        batches, pairs = len(self._writing), _pairs(self._writing)
        return batches > BATCHES_BESIDE * devices and pairs > PAIRS_BESIDE * devices

    def _heard(self, future: Future[T]) -> Future[T]:
        """The future; what goes wrong in it stops the devices."""

        def hear(done: Future[T]) -> None:
            if not done.cancelled() and (error := done.exception()):
                self._failure = self._failure or error

        future.add_done_callback(hear)
        return future

    def _raise_failed(self) -> None:
        """Raise what has gone wrong beside a device, while it works."""
        if self._failure is not None:
            raise self._failure

    def _finish(self, batch: Stylized, index: int) -> Outcome:
        """Write one pair's result."""
        outcome = self._write(batch, index)
        batch.checkpoints.end(index, outcome)
        return self._ended(outcome)

    def _write(self, batch: Stylized, index: int) -> Outcome:
        pair, result = batch.pairs[index], batch.results[index]
        task = pair.task
        if isinstance(result, PairError):
            return failed_pair(task.number, task.pair, result)
        try:
            return self.writer.write(pair, batch.files[index], result, batch.engine)
        except JobError:
            raise
        except Exception as error:
            return failed_pair(task.number, task.pair, unforeseen(error))

    def _ended(self, outcome: Outcome) -> Outcome:
        """Tell of a pair that has ended; on any thread."""
        events.emit(events.PairEnded(outcome, True, was_begun=True))
        self.tally.count(f"pairs_{outcome.status}")
        return outcome


def _pairs(several: Sequence[_Reading] | Sequence[_Writing]) -> int:
    return sum(one.pairs for one in several)


def _nbytes(several: Sequence[_Reading] | Sequence[_Writing]) -> int:
    return sum(one.nbytes for one in several)


def _first_of(group: list[_Reading], size: int) -> list[_Reading]:
    """The first ones that are no more than `size` pairs together, and at least one."""
    sums = itertools.accumulate(one.pairs for one in group)
    count = sum(1 for pairs in sums if pairs <= size)
    return group[: max(1, count)]
