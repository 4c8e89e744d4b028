"""The report as a stage of the job, where no process waits for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline import cli
from pipeline.job.job import build
from pipeline.records import records
from pipeline.runs.reports import Place

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


def run_job(catalog: Catalog, *more: str) -> None:
    """Run the job as it would be launched, with nobody who does something after it."""
    options = cli.run_options(cli.parse(catalog.arguments(*more)))
    about = {"manifest": options.manifest, "output": options.output, "started_at": records.now()}
    with beam.Pipeline(FnApiRunner()) as pipeline:
        build(pipeline, options, Place(options.output, "launched", 1), about)


@pytest.mark.parametrize(
    ("more", "is_made"),
    [
        (("--template_location=gs://b/t",), True),
        (("--template_location=gs://b/t", "--no-report"), False),
        # The process that waits makes it.
        ((), False),
    ],
)
def test_a_job_that_was_launched_makes_its_report_itself(
    catalog: Catalog, more: tuple[str, ...], is_made: bool
) -> None:
    catalog.pairs()
    run_job(catalog, *more)
    summary = json.loads(catalog.read("out/runs/launched/summary.json"))
    assert summary["statuses"] == {"ok": 2}
    assert ("index.html" in catalog.names("out/report")) == is_made
    if is_made:
        assert ">launched<" in catalog.read("out/report/index.html").decode()


def test_a_report_that_cannot_be_written_does_not_fail_the_job(catalog: Catalog) -> None:
    catalog.pairs()
    # A file where its folder would be.
    catalog.write("out/report", b"mine")
    run_job(catalog, "--template_location=gs://b/t")
    assert catalog.read("out/report") == b"mine"
    assert "launched/summary.json" in catalog.names("out/runs")
