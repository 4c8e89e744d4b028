"""Batches to outcomes, as Beam transforms."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from pipeline import storage
from pipeline.job.budget import Failures
from pipeline.job.elements import NAMESPACE, Chunk, at_the_end, log_outcome
from pipeline.job.gpus import resource_hints, share_mib
from pipeline.job.options import RunOptions
from pipeline.records import records
from pipeline.records.tasks import Batch, Outcome
from pipeline.worker import versions
from pipeline.worker.engine_cache import EngineCache
from pipeline.worker.picture_cache import PictureCache
from pipeline.worker.program_cache import ProgramCache
from pipeline.worker.work import BatchWorker


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

    def __init__(self, options: RunOptions, run: str, failures: Failures) -> None:
        super().__init__()
        self.options = options
        self.run = run
        self.failures = failures

    def expand(self, batches: Any) -> Any:
        """PCollection[Batch] → PCollection[Chunk of Outcome]."""
        gpu = self.options.gpu
        do = StylizeBatches(self.options, self.run, self.failures)
        stylize = beam.ParDo(do).with_output_types(Chunk)
        # With MPS every worker has one, by a service option: see `runners.dataflow`.
        if gpu and not self.options.use_nvidia_mps:
            stylize = stylize.with_resource_hints(**resource_hints(gpu))
        return batches | stylize


class StylizeBatches(beam.DoFn):  # type: ignore[misc]
    """One `BatchWorker` per instance; all of a run in a process share networks and pictures.

    Outcomes come when they are there, in whichever call: a batch is read while those before it
    are optimised, and written while those after it are. With the bundle all have ended.
    """

    def __init__(self, options: RunOptions, run: str, failures: Failures) -> None:
        self._options = options
        self._run = run
        self._failures = failures
        self._submitter = versions.here()
        self._since = records.now()

    def setup(self) -> None:
        """Take hold of the process's engines and pictures; none is loaded yet.

        Raises:
            JobError: the job was made with other versions.
        """
        options = self._options
        versions.check_worker(self._submitter)
        storage.allow_private_hosts(options.allow_private_hosts)
        if options.gpu and options.use_nvidia_mps:
            from nst_core.devices.device import limit_gpu_memory

            # Dataflow starts a process for each of a worker's processors.
            limit_gpu_memory(share_mib(options.gpu, os.cpu_count() or 1))
        self._caches = _shared.acquire(
            lambda: _Caches(EngineCache(), PictureCache(), ProgramCache(options.program_cache)),
            self._run,
        )
        self._engines = self._caches.engines
        self._engines.prepare = self._caches.programs.fetch_for
        self._worker = BatchWorker(
            options.output,
            self._run,
            self._engines,
            self._caches.pictures,
            options.batch_size,
            self._since,
        )

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
