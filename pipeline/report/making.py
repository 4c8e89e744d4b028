"""Makes the report of an output: its records, read once and not held, become the pages' data."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nst_core.errors import DuplicateId
from pipeline import storage
from pipeline.records.reading import RecordName, read_each, record_names
from pipeline.report import links, page
from pipeline.report.entries import Entry, Failure, of_failure, of_record
from pipeline.report.failing import failures_of, retry_commands
from pipeline.report.runs import allows_private_hosts, runs_of
from pipeline.report.shards import Shards

_TIME = "%Y%m%dT%H%M%S.%fZ"  # in the names of reports
_NAME = re.compile(rb'data-folder="([^"]+)-')
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
        records = "1 record" if self.unreadable == 1 else f"{self.unreadable} records"
        left = f" ({records} cannot be read)" if self.unreadable else ""
        pairs = "1 pair" if self.pairs == 1 else f"{self.pairs} pairs"
        return f"Report: {self.uri} ({pairs} in {self.seconds:.1f} s){left}"


def last_begun(output: str) -> datetime.datetime | None:
    """When the report that is there was begun; None where there is none that tells."""
    uri = storage.join(output, links.FOLDER, "index.html")
    with contextlib.suppress(ValueError, *storage.ABOUT_ONE_FILE):
        if match := _NAME.search(storage.read_bytes(uri, first=1000)):
            time = datetime.datetime.strptime(match[1].decode(), _TIME)
            return time.replace(tzinfo=datetime.UTC)
    return None


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
    name = datetime.datetime.now(datetime.UTC).strftime(f"{_TIME}-") + secrets.token_hex(2)
    folder = storage.join(root, name)
    runs = runs_of(output)
    failures = failures_of(runs, output)
    # Of one id the first row's, wherever it is in the list: the others are duplicates.
    in_order = sorted(failures, key=lambda failure: failure.status == DuplicateId.status)
    failed = {failure.id: failure for failure in reversed(in_order) if failure.id}
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
    private = [
        run
        for run in sorted(shards.web_runs)
        if allows_private_hosts(storage.join(output, "runs", run))
    ]
    head = page.Head(output, name, runs, failures, private, seconds, unreadable)
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

    def pair_of(record: dict[str, Any], name: RecordName) -> Entry:
        failure = failed.get(name.id)
        if failure and failure.status == DuplicateId.status:
            # Of another row, which is in the list of failures: this pair's is done.
            failure = None
        elif failure and str(record.get("finished_at")) > failure.failed_at:
            done_since.add(name.id)
            failure = None
        return of_record(record, name.id, name.fingerprint, output, failure)

    for name, entry in read_each(output, record_names(output), pair_of):
        yield (name.id if name else ""), entry


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
