"""What a run leaves behind besides its images: results, failures, the summary."""

from __future__ import annotations

import dataclasses
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, Literal

from pipeline import records, result_lines, storage, storage_local
from pipeline.manifest import CONTENT_TYPES, failure_fieldnames, write_failures
from pipeline.pairs import Outcome

ResultsFormat = Literal["jsonl", "parquet"]


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


def forget(place: Place) -> None:
    """Remove what an earlier try of the same run says of its end; its failures.csv may be needed.

    As many shards as that try had, and its summary, would stand beside this one's.
    """
    for uri in storage.list_uris(place.uri("")):
        name = uri.rpartition("/")[2]
        if name == "summary.json" or name.startswith("results-"):
            storage.delete(uri)


def shard_of(outcome: Outcome, shards: int) -> int:
    """Which shard an outcome goes to; the same in every try of a bundle."""
    return zlib.crc32(str(outcome.number).encode()) % shards


def write_results(index: int, blocks: Iterable[bytes], place: Place) -> str:
    """One shard of the results, from blocks of whole lines; its URI."""
    uri = place.uri(place.shard_name(index))
    with storage.open_writer(uri, CONTENT_TYPES[place.results_format]) as stream:
        if place.results_format == "parquet":
            result_lines.write_parquet(blocks, stream)
        else:
            stream.writelines(blocks)
    return uri


def write_failures_csv(outcomes: Iterable[Outcome], place: Place) -> str:
    """The failed rows as a manifest, with status and error; its URI.

    The rows pass through a temporary file, because the header needs the columns of all.
    """
    uri = place.uri("failures.csv")
    names: dict[str, None] = {"content": None, "style": None}
    with io.TextIOWrapper(storage_local.spool(), encoding="utf-8") as rows:
        for outcome in outcomes:
            row = {**outcome.row, "status": outcome.status, "error": outcome.error}
            names.update(dict.fromkeys(row))
            rows.write(json.dumps(row, default=str) + "\n")
        rows.seek(0)
        with storage.open_writer(uri, "text/csv") as stream:
            write_failures(_parsed(rows), failure_fieldnames(names), stream)
    return uri


def _parsed(rows: IO[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in rows)


def write_summary(
    counts: dict[str, int], written: Iterable[str], place: Place, about: dict[str, Any]
) -> dict[str, Any]:
    """The run's summary, its last file."""
    summary = {
        "run": place.run,
        **about,
        "finished_at": records.now(),
        "pairs": sum(counts.values()),
        "statuses": dict(sorted(counts.items())),
        "results": sorted(written),
        "failures": place.uri("failures.csv"),
    }
    storage.write_bytes(place.uri("summary.json"), records.to_json(summary), "application/json")
    return summary
