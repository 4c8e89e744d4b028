"""The work on one batch: read, optimise, write; without Beam, which only calls it."""

from __future__ import annotations

import concurrent.futures
import functools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from nst_core.errors import JobError, OptionsInvalid, PairError, WeightsError
from nst_core.results import Style, StyleResult
from pipeline.console import events
from pipeline.records.tasks import (
    Batch,
    Outcome,
    Task,
    failed_pair,
    unforeseen,
)
from pipeline.worker.checkpoints import Checkpoints
from pipeline.worker.inputs import Inputs
from pipeline.worker.reading import Reader
from pipeline.worker.snapshots import SnapshotFiles, Snapshots
from pipeline.worker.tally import Tally
from pipeline.worker.writing import Writer

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine

INPUT_THREADS = 8


class BatchWorker:
    """What a worker keeps between batches, and what it does with one.

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
        self.reader = Reader(self.tally)
        self.writer = Writer(output, run, self.tally)
        self.threads = concurrent.futures.ThreadPoolExecutor(INPUT_THREADS)

    def close(self) -> None:
        """Let the threads go."""
        self.threads.shutdown()

    def process(self, batch: Batch) -> Iterator[Outcome]:
        """Every task of the batch as an outcome: ok, skipped, or a failure."""
        for outcome in self._process(batch):
            events.emit(events.PairEnded(outcome.status, True))
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
            styles = self.reader.read_styles(todo[0][0])
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
        return self.writer.done_meanwhile(task) or self.reader.read_content(task)

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
            outcomes = self.threads.map(finish, ready, snapshots.files, results)
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
            progress=lambda now: events.emit(events.Steps(first.pair.id, now)),
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
        kept: SnapshotFiles | None,
        result: StyleResult | PairError,
        *,
        engine: StyleEngine,
        read_seconds: float,
    ) -> Outcome:
        task, inputs = entry
        if isinstance(result, PairError):
            return failed_pair(task.number, task.pair, result)
        try:
            return self.writer.write(
                task, inputs, kept, result, engine=engine, read_seconds=read_seconds
            )
        except JobError:
            raise
        except Exception as error:
            return failed_pair(task.number, task.pair, unforeseen(error))
