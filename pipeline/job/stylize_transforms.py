"""Batches to outcomes, as Beam transforms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from pipeline.job.budget import Failures
from pipeline.job.elements import NAMESPACE, Chunk, log_outcome
from pipeline.job.gpus import Gpu, resource_hints
from pipeline.records.tasks import Batch
from pipeline.worker.engine_cache import EngineCache
from pipeline.worker.work import BatchWorker

# Of one key in a process, so that the waves of a run, each a pipeline, have the same engines.
_shared = Shared()


class Stylize(beam.PTransform):  # type: ignore[misc]
    """Batches → outcomes, with the images, loss logs and records written."""

    def __init__(self, output: str, run: str, gpu: Gpu | None, failures: Failures) -> None:
        super().__init__()
        self.output = output
        self.run = run
        self.gpu = gpu
        self.failures = failures

    def expand(self, batches: Any) -> Any:
        """PCollection[Batch] → PCollection[Chunk of Outcome]."""
        do = StylizeBatches(self.output, self.run, self.failures)
        stylize = beam.ParDo(do).with_output_types(Chunk)
        if self.gpu:
            stylize = stylize.with_resource_hints(**resource_hints(self.gpu))
        return batches | stylize


class StylizeBatches(beam.DoFn):  # type: ignore[misc]
    """One `BatchWorker` per instance; a run's networks are shared by all instances of a process."""

    def __init__(self, output: str, run: str, failures: Failures) -> None:
        self._output = output
        self._run = run
        self._failures = failures

    def setup(self) -> None:
        """Take hold of the process's engines; none is loaded yet."""
        self._engines = _shared.acquire(EngineCache, self._run)
        self._worker = BatchWorker(self._output, self._run, self._engines.engine_for)

    def process(self, batch: Batch) -> Iterator[Chunk]:
        """The outcomes of the batch's tasks."""
        loaded = self._engines.loaded
        outcomes = Chunk()
        for outcome in self._worker.process(batch):
            log_outcome(outcome)
            outcomes.append(outcome)
        # After the whole batch: what is done of it stays done.
        self._failures.take("pairs", *outcomes)
        yield outcomes
        self._worker.tally.count("networks_loaded", self._engines.loaded - loaded)
        for name, amount, is_distribution in self._worker.tally.take():
            if is_distribution:
                Metrics.distribution(NAMESPACE, name).update(amount)
            else:
                Metrics.counter(NAMESPACE, name).inc(amount)

    def teardown(self) -> None:
        """Let the threads go."""
        self._worker.close()
