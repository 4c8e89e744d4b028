"""The report as the last thing that a run does."""

from __future__ import annotations

import datetime
import itertools
import logging
from typing import Any

from pipeline import storage
from pipeline.records.records import parse_time
from pipeline.records.tasks import POSTPONED, SKIPPED
from pipeline.report.making import last_begun, make_report
from pipeline.runs.run_file import LAPSE
from pipeline.runs.run_states import RunState, read_runs

# A run makes the report of no more: reading a million records takes minutes.
MOST_AFTER_A_RUN = 100_000
_LOGGER = logging.getLogger(__name__)


def report_after_run(output: str, summary: dict[str, Any]) -> str | None:
    """Make the report of an output that a run has just ended with; what there is to say of it.

    None where the one that is there says all: a run that found everything done, as every run since
    that report, reads no record.
    What goes wrong here is a warning: all that was to be done is done.
    """
    records = storage.list_uris(storage.join(output, "records"))
    try:
        if summary["statuses"].keys() <= {SKIPPED, POSTPONED} and _is_up_to_date(output):
            return None
        if next(itertools.islice(records, MOST_AFTER_A_RUN, None), None) is not None:
            return f"Report: more than {MOST_AFTER_A_RUN} pairs; nst report {output} makes it."
        return make_report(output).sentence
    except storage.StorageError as error:
        _LOGGER.warning("%s The run is done; only its report is not made.", error)
        return None


def _is_up_to_date(output: str) -> bool:
    """Whether no run can have done anything since the report that is there was begun."""
    begun, now = last_begun(output), datetime.datetime.now(datetime.UTC)
    if begun is None:
        return False
    return not any(_may_have_done(run, begun) for run in read_runs(output, now))


def _may_have_done(run: RunState, since: datetime.datetime) -> bool:
    """Whether a run can have done a pair, or failed with one, after this moment."""
    if ended := parse_time(run.told.get("ended_at")):
        did_nothing = run.counts["done"] == run.counts["failed"] == 0
        # An earlier version tells whole seconds, rounded down: its processes take longer than one.
        return ended > since and not did_nothing
    # One that was killed has worked on for a while after its last heartbeat.
    return run.heard_at is not None and run.heard_at + LAPSE > since
