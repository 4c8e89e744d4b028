"""Makes the report of an output: its records, read once and not held, become the pages' data."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import datetime
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline import storage
from pipeline.records import records
from pipeline.report import links, page
from pipeline.report.entries import Entry, Failure, of_failure, of_record
from pipeline.report.failing import failures_of, retry_commands
from pipeline.report.runs import runs_of
from pipeline.report.shards import Shards

# Records on their way from a storage that is far away; those of a disk come one by one.
READING_THREADS = 32
KEPT = 2  # reports: the last one, and the one before for pages that are still open


@dataclasses.dataclass(frozen=True)
class Made:
    """What was made: the first page, of how many pairs, in how many seconds."""

    uri: str
    pairs: int
    unreadable: int
    seconds: float

    @property
    def sentence(self) -> str:
        """All of it, for a person."""
        left = f" ({self.unreadable} records cannot be read)" if self.unreadable else ""
        return f"Report: {self.uri} ({self.pairs} pairs in {self.seconds:.1f} s){left}"


def make_report(output: str, *, told: Callable[[int], None] = lambda _: None) -> Made:
    """Write the pages of an output; those of before stay until these are whole.

    Args:
        told: hears now and then how many pairs there are so far.

    Raises:
        StorageError: the output cannot be read, or the pages cannot be written.
    """
    started = time.monotonic()
    root = storage.join(output, links.FOLDER)
    # In the order of time also within a second.
    name = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ-") + secrets.token_hex(2)
    folder = storage.join(root, name)
    runs = runs_of(output)
    failures = failures_of(runs, output)
    # Of one id the first row's: the others are duplicates.
    failed = {failure.id: failure for failure in reversed(failures) if failure.id}
    without_record = dict(failed)
    done_since: set[str] = set()
    shards, unreadable = Shards(folder), 0
    for pair_id, found in _entries(output, failed, done_since):
        without_record.pop(pair_id, None)
        if found is None:
            unreadable += 1
            continue
        shards.add(found)
        if shards.count % 10_000 == 0:
            told(shards.count)
    for failure in without_record.values():
        shards.add(of_failure(failure, output))
    shards.close()
    failures = [failure for failure in failures if failure.id not in done_since]
    page.write_assets(folder)
    uri = storage.join(root, "index.html")
    seconds = time.monotonic() - started
    head = page.Head(output, name, runs, failures, seconds, unreadable)
    retries = list(retry_commands(runs, output, failures))
    storage.write_bytes(uri, page.render(head, shards, retries), "text/html; charset=utf-8")
    _remove_old(root)
    return Made(uri, shards.count, unreadable, time.monotonic() - started)


def _entries(
    output: str, failed: Mapping[str, Failure], done_since: set[str]
) -> Iterator[tuple[str, Entry | None]]:
    """Every record's id and pair; None where it is none, or has gone since it was listed.

    Args:
        done_since: gets the ids of those that another run has done since they failed.
    """
    folder = storage.join(output, "records")

    def read(uri: str) -> tuple[str, Entry | None]:
        named = records.parse_record_name(uri[len(folder) :].lstrip("/"))
        if named is None:
            return "", None
        pair_id, mark = named
        try:
            record = json.loads(storage.read_bytes(uri))
            failure = failed.get(pair_id)
            is_done_since = failure and str(record.get("finished_at")) > failure.failed_at
            entry = of_record(record, pair_id, mark, output, None if is_done_since else failure)
            if is_done_since:
                done_since.add(pair_id)
            return pair_id, entry
        except (storage.NotFound, KeyError, TypeError, ValueError, AttributeError):
            return pair_id, None

    uris = storage.list_uris(folder)
    if not storage.scheme(output):
        yield from map(read, uris)
        return
    with concurrent.futures.ThreadPoolExecutor(READING_THREADS) as threads:
        waiting: collections.deque[Any] = collections.deque()
        for uri in uris:
            waiting.append(threads.submit(read, uri))
            if len(waiting) > 4 * READING_THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _remove_old(root: str) -> None:
    """All but the last reports; their first pages have been replaced."""
    files: dict[str, list[str]] = collections.defaultdict(list)
    for uri in storage.list_uris(root):
        name, _, rest = uri[len(root) :].lstrip("/").partition("/")
        if rest:
            files[name].append(uri)
    for name in sorted(files)[:-KEPT]:
        for uri in files[name]:
            storage.delete(uri)
