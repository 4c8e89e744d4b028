"""The last stage as Beam transforms: outcomes become the results, failures.csv and the summary."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipeline.job.elements import at_the_end
from pipeline.records.tasks import Outcome
from pipeline.report.after_run import report_after_run
from pipeline.runs import reports
from pipeline.runs.reports import FAILURES, Gatherer, Lines, Place
from pipeline.runs.statistics import Statistics

# Of one file. Flink makes one record of a bundle's lines and its neighbours', of a few MB at most.
BYTES_IN_MEMORY = 256 * 1024
_LOGGER = logging.getLogger(__name__)


class WriteReports(beam.PTransform):  # type: ignore[misc]
    """Outcomes → results, failures.csv, and last the summary."""

    def __init__(self, place: Place, about: dict[str, Any]) -> None:
        super().__init__()
        self.place = place
        self.about = about

    def expand(self, outcomes: Any) -> Any:
        """PCollection[Chunk of Outcome] → PCollection with the one summary."""
        lines = outcomes | beam.ParDo(GatherLines(self.place)).with_outputs(
            "failures", "statistics", main="results"
        )
        written = lines.results | beam.GroupByKey() | beam.Map(_write_results, self.place)
        once = outcomes.pipeline | beam.Create([None])
        failures = once | "WriteFailures" >> beam.Map(
            lambda _, several, place: reports.write_failures_csv(several, place),
            beam.pvalue.AsIter(lines.failures),
            self.place,
        )
        statistics = lines.statistics | beam.CombineGlobally(MergeStatistics())
        return once | "WriteSummary" >> beam.Map(
            _write_summary,
            beam.pvalue.AsSingleton(statistics),
            beam.pvalue.AsIter(written),
            beam.pvalue.AsIter(failures),
            self.place,
            self.about,
        )


class MakePages(beam.PTransform):  # type: ignore[misc]
    """The summary, once it is written → the pages of `nst report`."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self.output = output

    def expand(self, summary: Any) -> Any:
        """PCollection with the one summary → the same."""
        return summary | beam.Map(_make_pages, self.output)


class GatherLines(beam.DoFn):  # type: ignore[misc]
    """Outcomes → lines of the results (by shard) and failures, numbers; see `Gatherer`."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def start_bundle(self) -> None:
        """Begin with no lines."""
        self._gatherer = Gatherer(self._place, BYTES_IN_MEMORY)

    def process(self, outcomes: Iterable[Outcome]) -> None:
        """Keep the lines; those that have become many go to a file."""
        self._gatherer.take(outcomes)

    def finish_bundle(self) -> Iterator[Any]:
        """All of the bundle."""
        for file, several in self._gatherer.gathered().items():
            for lines in several:
                if file == FAILURES:
                    yield beam.pvalue.TaggedOutput("failures", at_the_end(lines))
                else:
                    yield at_the_end((file, lines))
        yield beam.pvalue.TaggedOutput("statistics", at_the_end(self._gatherer.statistics))


class MergeStatistics(beam.CombineFn):  # type: ignore[misc]
    """Statistics of bundles → those of all."""

    def create_accumulator(self) -> Statistics:
        """Of none."""
        return Statistics()

    def add_input(self, statistics: Statistics, of_bundle: Statistics) -> Statistics:
        """With those of a bundle."""
        statistics.merge(of_bundle)
        return statistics

    def merge_accumulators(self, several: Iterable[Statistics]) -> Statistics:
        """Of all."""
        merged = Statistics()
        for statistics in several:
            merged.merge(statistics)
        return merged

    def extract_output(self, statistics: Statistics) -> Statistics:
        """Themselves."""
        return statistics


def _make_pages(summary: dict[str, Any], output: str) -> dict[str, Any]:
    if said := report_after_run(output, summary):
        _LOGGER.info("%s", said)
    return summary


def _write_results(shard: tuple[int, Iterable[Lines]], place: Place) -> str:
    return reports.write_results(*shard, place)


def _write_summary(
    _: None,
    statistics: Statistics,
    written: Iterable[str],
    failures: Iterable[str],
    place: Place,
    about: dict[str, Any],
) -> dict[str, Any]:
    list(failures)  # Not used, but awaited: the summary is the last file.
    return reports.write_summary(statistics, written, place, about)
