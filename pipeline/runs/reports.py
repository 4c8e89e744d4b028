"""What a run leaves behind besides its images: results, failures, the summary."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal
from uuid import uuid4

from nst_core.errors import ManifestInvalid
from pipeline import storage
from pipeline.manifest.columns import ManifestError, Row
from pipeline.manifest.rows import read_rows
from pipeline.manifest.writing import CONTENT_TYPES, failure_fieldnames, write_csv
from pipeline.pairs.parsing import own_id
from pipeline.records import records, shapes
from pipeline.records.tasks import Outcome, RowNumber
from pipeline.runs import result_lines
from pipeline.runs.statistics import Statistics
from pipeline.storage import local

ResultsFormat = Literal["jsonl", "parquet"]
# Lines on their way into a file of the run: themselves, or the URI of the file that they wait in.
Lines = bytes | str

# What waits for the reports, or stands in for them where a run is stopped.
SPILLED = "spill-"
FAILURES = -1  # beside the numbers of the results' shards


@dataclasses.dataclass(frozen=True)
class Place:
    """The folder of one run, `O/runs/<run>`, and how many shards its results have, and of what."""

    output: str
    run: str
    shards: int
    results_format: ResultsFormat = "jsonl"

    def uri(self, name: str) -> str:
        """The URI of one of the run's files."""
        return storage.join(self.output, "runs", self.run, name)

    def shard_name(self, index: int) -> str:
        """The file name of one shard of the results."""
        return f"results-{index:05d}-of-{self.shards:05d}.{self.results_format}"


def forget(place: Place, manifests: Sequence[str]) -> None:
    """Remove what an earlier try of the same run says of its end; its failures.csv may be needed.

    As many shards as that try had, and its summary, would stand beside this one's.

    Args:
        manifests: what this try reads, which stays, wherever it lies.
    """
    _delete(place, "summary.json", "results-", SPILLED, "manifest.", kept=manifests)


def spill(lines: bytes, place: Place, prefix: str = SPILLED) -> str:
    """Put lines into a file of their own until their report is written; its URI.

    All that goes into one report meets in one place, and there is no memory for a large catalog's.
    """
    uri = place.uri(f"{prefix}{uuid4().hex}.jsonl")
    storage.write_bytes(uri, lines, CONTENT_TYPES["jsonl"])
    return uri


class Gatherer:
    """Outcomes become lines of each shard of the results, and of the failures, few but large.

    Args:
        bytes_in_memory: of one file; lines that are more wait in a file of the run.
    """

    def __init__(self, place: Place, bytes_in_memory: int) -> None:
        self._place = place
        self._bytes_in_memory = bytes_in_memory
        self._lines: collections.defaultdict[int, bytearray] = collections.defaultdict(bytearray)
        self._spilled: collections.defaultdict[int, list[Lines]] = collections.defaultdict(list)
        self._heard: dict[RowNumber, Outcome] = {}
        self._lock = threading.RLock()
        self.statistics = Statistics()

    def hear(self, outcome: Outcome) -> None:
        """Take note of an outcome that is on its way, for the case that the run is stopped."""
        with self._lock:
            self._heard[outcome.number] = outcome

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """Keep the lines of these outcomes."""
        with self._lock:
            for outcome in outcomes:
                self._heard.pop(outcome.number, None)
                self.statistics.add(outcome)
                self._keep(shard_of(outcome, self._place.shards), result_lines.line_of(outcome))
                if outcome.failed:
                    self._keep(FAILURES, failure_line(outcome))

    def take_heard(self) -> None:
        """Keep the lines of those that are still on their way."""
        with self._lock:
            self.take([*self._heard.values()])

    def _keep(self, file: int, line: bytes) -> None:
        self._lines[file] += line
        if len(self._lines[file]) >= self._bytes_in_memory:
            self._spilled[file].append(spill(bytes(self._lines.pop(file)), self._place))

    def gathered(self) -> dict[int, list[Lines]]:
        """All lines by the number of their shard, those of the failures by `FAILURES`."""
        with self._lock:
            rest = {file: [bytes(lines)] for file, lines in self._lines.items()}
            files = sorted(self._spilled.keys() | rest.keys())
            return {file: [*self._spilled.get(file, ()), *rest.get(file, ())] for file in files}


def write_reports(gatherer: Gatherer, place: Place, about: dict[str, Any]) -> dict[str, Any]:
    """The results, failures.csv and, last, the summary, from all outcomes of a run; the summary."""
    gathered = gatherer.gathered()
    failures = gathered.pop(FAILURES, [])
    written = [write_results(shard, several, place) for shard, several in gathered.items()]
    write_failures_csv(failures, place)
    return write_summary(gatherer.statistics, written, place, about)


def write_so_far(gatherer: Gatherer, place: Place, *, failures: bool) -> None:
    """The failures and results of a run that ends before its end; no summary, which is the end's.

    Args:
        failures: False where failures.csv is to stay as it is: the run's manifest can be that file.

    Raises:
        StorageError: they cannot be written.
    """
    gatherer.take_heard()
    gathered = gatherer.gathered()
    failed = gathered.pop(FAILURES, [])
    if failures:
        write_failures_csv(failed, place)
    for shard, several in gathered.items():
        write_results(shard, several, place)


def remove_spills(place: Place) -> None:
    """Once the reports are written, or never will be; also those of tries that failed."""
    _delete(place, SPILLED)


def _delete(place: Place, *prefixes: str, kept: Sequence[str] = ()) -> None:
    for uri in storage.list_uris(place.uri("")):
        if not uri.rpartition("/")[2].startswith(prefixes):
            continue
        if not any(storage.is_same_file(uri, one) for one in kept):
            storage.delete(uri)


def _blocks(several: Iterable[Lines]) -> Iterator[bytes]:
    for lines in several:
        yield lines if isinstance(lines, bytes) else storage.read_bytes(lines)


def shard_of(outcome: Outcome, shards: int) -> int:
    """Which shard an outcome goes to; the same in every try of a bundle."""
    return zlib.crc32(str(outcome.number).encode()) % shards


def failure_line(outcome: Outcome) -> bytes:
    """A failed row with its status and error as one line of JSON, with its end."""
    row = {**outcome.row, "status": outcome.status, "error": outcome.error}
    return (storage.without_credentials(json.dumps(row, default=str)) + "\n").encode()


def write_results(index: int, several: Iterable[Lines], place: Place) -> str:
    """One shard of the results; its URI."""
    uri = place.uri(place.shard_name(index))
    with storage.open_writer(uri, CONTENT_TYPES[place.results_format]) as stream:
        if place.results_format == "parquet":
            result_lines.write_parquet(_blocks(several), stream)
        else:
            stream.writelines(_blocks(several))
    return uri


def write_failures_csv(several: Iterable[Lines], place: Place) -> str:
    """The failed rows as a manifest, from their lines; its URI.

    They pass through a temporary file, because the header needs the columns of all.
    """
    uri = place.uri("failures.csv")
    names: dict[str, None] = {"content": None, "style": None}
    with local.spool() as spooled:
        for block in _blocks(several):
            spooled.write(block)
            for line in block.splitlines():
                names.update(dict.fromkeys(json.loads(line)))
        spooled.seek(0)
        with storage.open_writer(uri, "text/csv") as stream:
            write_csv(map(json.loads, spooled), failure_fieldnames(names), stream)
    return uri


def failed_rows(uri: str) -> Iterator[Row]:
    """The rows of a failures.csv; one that is damaged, or not there, lists nothing more."""
    with contextlib.suppress(ManifestError):
        yield from read_rows(uri)


def failed_id(row: Row) -> str:
    """The id of such a row; empty where it has none that can name files."""
    try:
        return own_id(row)
    except ManifestInvalid:
        return ""


def write_summary(
    statistics: Statistics, written: Iterable[str], place: Place, about: dict[str, Any]
) -> dict[str, Any]:
    """The run's summary, its last file; how many bytes there were only `complete` knows."""
    counts = statistics.statuses
    remove_spills(place)
    summary: dict[str, Any] = {
        "schema_version": shapes.SUMMARY_VERSION,
        "results_schema_version": shapes.RESULTS_VERSION,
        "run": place.run,
        **about,
        "finished_at": records.now(),
        "pairs": sum(counts.values()),
        "statuses": dict(sorted(counts.items())),
        "results": sorted(written),
        "failures": place.uri("failures.csv"),
        **statistics.to_dict(about.get("started_at")),
        "bytes": None,
    }
    _write(summary, place)
    return summary


def complete(summary: dict[str, Any], more: dict[str, Any], place: Place) -> dict[str, Any]:
    """The summary with what the job's end alone tells, written again."""
    summary = {**summary, **more}
    _write(summary, place)
    return summary


def _write(summary: dict[str, Any], place: Place) -> None:
    storage.write_bytes(place.uri("summary.json"), records.to_json(summary), "application/json")
