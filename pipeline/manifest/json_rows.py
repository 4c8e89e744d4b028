"""The rows of a manifest in JSON Lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, BinaryIO

from pipeline.manifest.columns import (
    ManifestError,
    Row,
    Source,
    bare_sentence,
    bare_settings,
    columns_of,
    misspelt,
)
from pipeline.manifest.text import Lines, open_text
from pipeline.manifest.values import defect, json_value

_LOGGER = logging.getLogger(__name__)


def json_rows(stream: BinaryIO, source: Source) -> Iterator[Row]:
    """The rows, read while they are asked for; see `rows.read_rows`."""
    with open_text(stream) as text:
        yield from _rows(Lines(text), source)


def _rows(lines: Lines, source: Source) -> Iterator[Row]:
    number = 0
    known: dict[str, str] | None = None
    while True:
        lines.begin()
        try:
            line = next(lines, None)
            if line is None:
                return
            if line.isspace():
                continue
            row = Row(number + 1, _object(line, source))
        except ValueError as error:
            row = lines.unreadable(number + 1, str(error))
        number = row.number
        if number == 1 and (problem := misspelt(tuple(row.columns))):
            # What is wrong in the first is wrong in all, as a rule; in a later one it fails alone.
            raise ManifestError(f"Row 1 of the manifest {source.called} {problem}.")
        if row.problem is None:
            bare = bare_settings(row.columns)
            # Those of the first row are told before the run.
            for name in bare.keys() - (bare if known is None else known).keys():
                _LOGGER.warning("%s", bare_sentence(name, bare[name]))
            known = {**(known or {}), **bare}
        yield row


def _object(line: str, source: Source) -> dict[str, Any]:
    """The object on one line; ValueError: what is wrong, as a phrase that follows "Row 7"."""
    problem = defect(line)
    if problem:
        raise ValueError(problem)
    value = json_value(line)
    if not isinstance(value, dict):
        raise ValueError('is JSON but no object; write {"content": …, "style": …}')
    try:
        header = source.header(tuple(value))
    except ValueError as error:
        raise ValueError(f"{error}; rename one of the keys") from error
    return columns_of(header, list(value.values()))
