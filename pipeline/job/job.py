"""The pipeline: manifest → rows → pairs → batches → stylized → reports."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipeline.job.batch_transforms import FormBatches
from pipeline.job.budget import Failures
from pipeline.job.options import RunOptions
from pipeline.job.plan_transforms import PlanPairs, ReadCatalog
from pipeline.job.report_transforms import WriteReports
from pipeline.job.stylize_transforms import Stylize
from pipeline.records.reports import Place


def build(
    pipeline: beam.Pipeline, options: RunOptions, place: Place, about: dict[str, Any]
) -> None:
    """The whole road that data takes; nothing runs yet."""
    failures = Failures(place.run, options.max_failures)
    catalog = pipeline | ReadCatalog(options.manifest, options.output)
    planned = catalog | PlanPairs(options, failures)
    formed = planned["todo"] | FormBatches(options.batch_size, failures)
    stylized = formed["batches"] | Stylize(options.output, place.run, options.gpu, failures)
    outcomes = (stylized, *planned["ended"], formed["ended"]) | beam.Flatten()
    outcomes | WriteReports(place, about)
