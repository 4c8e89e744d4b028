"""`nst report`: pages that show what an output holds."""

from __future__ import annotations

import itertools

from rich.console import Console

from nst_core.errors import ConfigError
from pipeline import storage
from pipeline.report.making import make_report


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
