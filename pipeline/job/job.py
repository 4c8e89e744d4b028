"""The pipeline: manifest → rows → pairs → batches → stylized → reports."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipeline.budget import Failures
from pipeline.options import RunOptions
from pipeline.report_transforms import WriteReports
from pipeline.reports import Place
from pipeline.transforms import FormBatches, PlanPairs, ReadCatalog, Stylize


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
