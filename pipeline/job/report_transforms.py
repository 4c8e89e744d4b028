"""The last stage as Beam transforms: outcomes become the results, failures.csv and the summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipeline.job.elements import at_the_end, counts_of
from pipeline.records import reports
from pipeline.records.reports import FAILURES, Gatherer, Lines, Place
from pipeline.records.tasks import Outcome

# Of one file. Flink makes one record of a bundle's lines and its neighbours', of a few MB at most.
BYTES_IN_MEMORY = 256 * 1024


class WriteReports(beam.PTransform):  # type: ignore[misc]
    """Outcomes → results, failures.csv, and last the summary."""

    def __init__(self, place: Place, about: dict[str, Any]) -> None:
        super().__init__()
        self.place = place
        self.about = about

    def expand(self, outcomes: Any) -> Any:
        """PCollection[Several of Outcome] → PCollection with the one summary."""
        lines = outcomes | beam.ParDo(GatherLines(self.place)).with_outputs(
            "failures", main="results"
        )
        written = lines.results | beam.GroupByKey() | beam.Map(_write_results, self.place)
        once = outcomes.pipeline | beam.Create([None])
        failures = once | "WriteFailures" >> beam.Map(
            lambda _, several, place: reports.write_failures_csv(several, place),
            beam.pvalue.AsIter(lines.failures),
            self.place,
        )
        counts = (
            outcomes
            | beam.FlatMap(counts_of).with_output_types(tuple[str, int])
            | beam.CombinePerKey(sum)
            | beam.combiners.ToDict()
        )
        return once | "WriteSummary" >> beam.Map(
            _write_summary,
            beam.pvalue.AsSingleton(counts),
            beam.pvalue.AsIter(written),
            beam.pvalue.AsIter(failures),
            self.place,
            self.about,
        )


class GatherLines(beam.DoFn):  # type: ignore[misc]
    """Outcomes → lines of each shard of the results, and of the failures; see `Gatherer`."""

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


def _write_results(shard: tuple[int, Iterable[Lines]], place: Place) -> str:
    return reports.write_results(*shard, place)


def _write_summary(
    _: None,
    counts: dict[str, int],
    written: Iterable[str],
    failures: Iterable[str],
    place: Place,
    about: dict[str, Any],
) -> dict[str, Any]:
    list(failures)  # Not used, but awaited: the summary is the last file.
    return reports.write_summary(counts, written, place, about)
