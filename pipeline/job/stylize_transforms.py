"""Batches to outcomes, as Beam transforms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from nst_core.config import StyleConfig
from pipeline.job.budget import Failures
from pipeline.job.elements import NAMESPACE, Chunk, at_the_end, log_outcome
from pipeline.job.gpus import Gpu, resource_hints
from pipeline.records.tasks import Batch, Outcome
from pipeline.worker.engine_cache import EngineCache
from pipeline.worker.picture_cache import PictureCache
from pipeline.worker.program_cache import ProgramCache
from pipeline.worker.work import BatchWorker

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine


@dataclasses.dataclass
class _Caches:
    """What the workers of one run in one process share; Beam keeps one such object alive."""

    engines: EngineCache
    pictures: PictureCache
    programs: ProgramCache


# Of one key in a process, so that the waves of a run, each a pipeline, have the same.
_shared = Shared()


class Stylize(beam.PTransform):  # type: ignore[misc]
    """Batches → outcomes, with the images, loss logs and records written."""

    def __init__(
        self,
        output: str,
        run: str,
        gpu: Gpu | None,
        failures: Failures,
        program_cache: str | None = None,
    ) -> None:
        super().__init__()
        self.output = output
        self.run = run
        self.gpu = gpu
        self.failures = failures
        self.program_cache = program_cache

    def expand(self, batches: Any) -> Any:
        """PCollection[Batch] → PCollection[Chunk of Outcome]."""
        do = StylizeBatches(self.output, self.run, self.failures, self.program_cache)
        stylize = beam.ParDo(do).with_output_types(Chunk)
        if self.gpu:
            stylize = stylize.with_resource_hints(**resource_hints(self.gpu))
        return batches | stylize


class StylizeBatches(beam.DoFn):  # type: ignore[misc]
    """One `BatchWorker` per instance; all of a run in a process share networks and pictures.

    Outcomes come when they are there, in whichever call: a batch is read while those before it
    are optimised, and written while those after it are. With the bundle all have ended.
    """

    def __init__(
        self, output: str, run: str, failures: Failures, program_cache: str | None = None
    ) -> None:
        self._output = output
        self._run = run
        self._failures = failures
        self._program_cache = program_cache

    def setup(self) -> None:
        """Take hold of the process's engines and pictures; none is loaded yet."""
        self._caches = _shared.acquire(
            lambda: _Caches(EngineCache(), PictureCache(), ProgramCache(self._program_cache)),
            self._run,
        )
        self._engines = self._caches.engines
        pictures = self._caches.pictures
        self._worker = BatchWorker(self._output, self._run, self._engine_for, pictures)

    def _engine_for(self, config: StyleConfig) -> StyleEngine:
        engine: StyleEngine = self._engines.engine_for(config)
        self._caches.programs.fetch_for(engine)
        return engine

    def process(self, batch: Batch) -> Iterator[Chunk]:
        """Begin with a batch; the outcomes of tasks that have ended, of this or earlier ones."""
        if ended := self._taken(self._worker.process(batch)):
            yield ended

    def finish_bundle(self) -> Iterator[Any]:
        """The outcomes of the last batches."""
        if ended := self._taken(self._worker.finish()):
            yield at_the_end(ended)

    def _taken(self, outcomes: Iterator[Outcome]) -> Chunk:
        """The outcomes, logged and counted."""
        loaded = self._engines.loaded
        taken = Chunk()
        for outcome in outcomes:
            log_outcome(outcome)
            taken.append(outcome)
            # What is done stays done, also where this one was the last that the run bears.
            self._failures.take("pairs", outcome)
        self._caches.programs.give_back()
        self._worker.tally.count("networks_loaded", self._engines.loaded - loaded)
        for name, amount, is_distribution in self._worker.tally.take():
            if is_distribution:
                Metrics.distribution(NAMESPACE, name).update(amount)
            else:
                Metrics.counter(NAMESPACE, name).inc(amount)
        return taken

    def teardown(self) -> None:
        """Let the threads go."""
        self._worker.close()
