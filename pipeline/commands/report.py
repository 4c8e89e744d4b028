"""`nst report`: pages that show what an output holds; also the last thing that a run does."""

from __future__ import annotations

import itertools
import logging
from typing import Any

from rich.console import Console

from nst_core.errors import ConfigError
from pipeline import storage
from pipeline.records.tasks import POSTPONED, SKIPPED
from pipeline.report.links import FOLDER
from pipeline.report.making import make_report

# A run makes the report of no more: reading a million records takes minutes.
MOST_AFTER_A_RUN = 100_000
_LOGGER = logging.getLogger(__name__)


def report(output: str) -> int:
    """Make the report of an output; the exit status.

    Raises:
        ConfigError: nothing was ever run there.
        JobError: the output cannot be read or written.
    """
    found = itertools.chain.from_iterable(
        storage.list_uris(storage.join(output, name)) for name in ("records", "runs")
    )
    if next(found, None) is None:
        raise ConfigError(
            f"{output} has neither records nor runs, so there is nothing to report; give the "
            "folder that nst run has as --output."
        )
    console = Console(stderr=True)
    with console.status("Reading records…") as status:
        made = make_report(output, told=lambda pairs: status.update(f"{pairs:,} pairs…"))
    print(made.sentence)
    return 0


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
