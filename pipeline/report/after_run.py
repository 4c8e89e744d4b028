"""The report as the last thing that a run does."""

from __future__ import annotations

import itertools
import logging
from typing import Any

from pipeline import storage
from pipeline.records.tasks import POSTPONED, SKIPPED
from pipeline.report.links import FOLDER
from pipeline.report.making import make_report

# A run makes the report of no more: reading a million records takes minutes.
MOST_AFTER_A_RUN = 100_000
_LOGGER = logging.getLogger(__name__)


def report_after_run(output: str, summary: dict[str, Any]) -> str | None:
    """Make the report of an output that a run has just ended with; what there is to say of it.

    None where the one that is there says all: a run that found everything done reads no record.
    What goes wrong here is a warning: all that was to be done is done.
    """
    records = storage.list_uris(storage.join(output, "records"))
    page = storage.join(output, FOLDER, "index.html")
    try:
        if summary["statuses"].keys() <= {SKIPPED, POSTPONED} and storage.exists(page):
            return None
        if next(itertools.islice(records, MOST_AFTER_A_RUN, None), None) is not None:
            return f"Report: more than {MOST_AFTER_A_RUN} pairs; nst report {output} makes it."
        return make_report(output).sentence
    except storage.StorageError as error:
        _LOGGER.warning("%s The run is done; only its report is not made.", error)
        return None
