"""Log entries as JSON, one object in a line, with the field names that Cloud Logging reads."""

from __future__ import annotations

import datetime
import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal

from nst_core.errors import harmless
from pipeline.storage import without_credentials

LogFormat = Literal["text", "json"]

_run: str | None = None


def name_run(run: str) -> None:
    """Let the entries of this process name its run from now on."""
    global _run
    _run = run


def entry(severity: str, message: str, created: float | None = None, **fields: Any) -> str:
    """One line, without its end; fields that are None are left out.

    Args:
        created: seconds since the epoch; None for now.
    """
    seconds = time.time() if created is None else created
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    found = {
        "severity": severity,
        "time": moment.isoformat(timespec="milliseconds"),
        "message": message,
        "run": _run,
        **fields,
    }
    known = {name: value for name, value in found.items() if value is not None}
    # What JSON leaves as it is, some terminals obey too.
    return harmless(json.dumps(known, ensure_ascii=False, default=str))


class TextFormatter(logging.Formatter):
    """Records as text, in which nothing that they name looks like another record.

    No terminal obeys it, and only a record's first line begins at the margin.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record, with its traceback."""
        lines = super().format(record).split("\n")
        return "\n    ".join(map(harmless, lines))


class JsonFormatter(logging.Formatter):
    """Records as entries; those with `extra` fields `pair` and `summary` have these."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry of a record; a traceback is part of its message."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        return entry(
            record.levelname,
            message,
            record.created,
            pair=getattr(record, "pair", None) or None,
            summary=getattr(record, "summary", None),
            logger=record.name,
        )


def escape_warnings() -> None:
    """Let what is logged without any handler, as most commands have none, be harmless too."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(TextFormatter("%(message)s"))


def say_last(sentence: str, *, as_json: bool) -> None:
    """Print the sentence that a command ends with, to stderr."""
    sentence = without_credentials(sentence)
    said = entry("ERROR", sentence) if as_json else f"nst: {harmless(sentence)}"
    print(said, file=sys.stderr, flush=True)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line, right or wrong, asks for JSON."""
    joined = " ".join(arguments)
    return "--log-format=json" in joined or "--log-format json" in joined
