"""The pipeline: manifest → rows → pairs → batches → stylized → reports."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipeline.options import RunOptions
from pipeline.reports import Place
from pipeline.transforms import FormBatches, PlanPairs, ReadManifest, Stylize, WriteReports


def build(
    pipeline: beam.Pipeline, options: RunOptions, place: Place, about: dict[str, Any]
) -> None:
    """The whole road that data takes; nothing runs yet."""
    plan = PlanPairs(options.output, options.config, options.on_existing)
    planned = pipeline | ReadManifest(options.manifest) | plan
    formed = planned["todo"] | FormBatches(options.batch_size)
    stylized = formed["batches"] | Stylize(options.output, place.run, options.gpu)
    outcomes = (stylized, planned["ended"], formed["ended"]) | beam.Flatten()
    outcomes | WriteReports(place, about)
