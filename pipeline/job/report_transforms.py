"""The last stage as Beam transforms: outcomes become the results, failures.csv and the summary."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipeline.job.elements import at_the_end, counts_of
from pipeline.records import reports, result_lines
from pipeline.records.reports import Lines, Place
from pipeline.records.tasks import Outcome

# Of one file. Flink makes one record of a bundle's lines and its neighbours', of a few MB at most.
BYTES_IN_MEMORY = 256 * 1024

FAILURES = -1  # beside the numbers of the results' shards


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
    """Outcomes → lines of each shard of the results, and of the failures, few but large.

    What does not fit into memory waits in files of the run.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def start_bundle(self) -> None:
        """Begin with no lines."""
        self._lines: collections.defaultdict[int, bytearray] = collections.defaultdict(bytearray)

    def process(self, outcomes: Iterable[Outcome]) -> Iterator[Any]:
        """Keep the lines; those that have become many go to a file."""
        for outcome in outcomes:
            shard = reports.shard_of(outcome, self._place.shards)
            yield from self._keep(shard, result_lines.line_of(outcome))
            if outcome.failed:
                yield from self._keep(FAILURES, reports.failure_line(outcome))

    def finish_bundle(self) -> Iterator[Any]:
        """The rest, as it is."""
        for file, lines in self._lines.items():
            if file == FAILURES:
                yield beam.pvalue.TaggedOutput("failures", at_the_end(bytes(lines)))
            else:
                yield at_the_end((file, bytes(lines)))

    def _keep(self, file: int, line: bytes) -> Iterator[Any]:
        self._lines[file] += line
        if len(self._lines[file]) >= BYTES_IN_MEMORY:
            uri = reports.spill(bytes(self._lines.pop(file)), self._place)
            yield beam.pvalue.TaggedOutput("failures", uri) if file == FAILURES else (file, uri)


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
