"""The pipeline: manifest → rows → pairs → batches → stylized → reports."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipeline.job.batch_transforms import FormBatches
from pipeline.job.budget import Failures
from pipeline.job.options import RunOptions
from pipeline.job.plan_transforms import PlanPairs, ReadCatalog
from pipeline.job.report_transforms import MakePages, WriteReports
from pipeline.job.stylize_transforms import Stylize
from pipeline.job.wave_transforms import GiveOutcomes, TakeTasks
from pipeline.runs.reports import Place


def build(
    pipeline: beam.Pipeline, options: RunOptions, place: Place, about: dict[str, Any]
) -> None:
    """The whole road that data takes; nothing runs yet."""
    failures = options.failures_of(place.run, place)
    catalog = pipeline | ReadCatalog(options)
    planned = catalog | PlanPairs(options, failures)
    outcomes = (*_done(planned["todo"], options, place, failures), *planned["ended"])
    summary = outcomes | beam.Flatten() | WriteReports(place, about)
    if options.report and options.beam_values("--template_location"):
        # No process waits for the job, which could make it.
        summary | MakePages(options.output)


def build_wave(pipeline: beam.Pipeline, options: RunOptions, place: Place) -> None:
    """The part of it for one wave of tasks, see `waves`; before and after it is this process."""
    failures = options.failures_of(place.run)
    tasks = pipeline | TakeTasks(place.run)
    _done(tasks, options, place, failures) | beam.Flatten() | GiveOutcomes(place.run)


def _done(tasks: Any, options: RunOptions, place: Place, failures: Failures) -> tuple[Any, Any]:
    """The outcomes of tasks: of those in batches, and of those that cannot be in any."""
    formed = tasks | FormBatches(options, failures)
    stylized = formed["batches"] | Stylize(options, place.run, failures)
    return stylized, formed["ended"]
