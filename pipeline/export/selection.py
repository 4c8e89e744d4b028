"""Which results are exported: those named, those marked, those farthest from their like."""

from __future__ import annotations

import array
import dataclasses
import difflib
import fnmatch
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nst_core.errors import ConfigError, PairError, shown
from pipeline import storage
from pipeline.manifest.columns import ManifestError
from pipeline.manifest.rows import encoding_notes, read_rows
from pipeline.manifest.values import MARK
from pipeline.pairs.parsing import mark_of
from pipeline.records.reading import RecordName, read_each
from pipeline.report import settings
from pipeline.report.entries import group_of, measures_of
from pipeline.report.numbers import result_deviations

REJECT = "reject"
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Selection:
    """What narrows an export; all of it holds at once.

    Args:
        ids: of pairs, in which `*` and `?` are wildcards; none for all.
        marks: the URI of a manifest with the column `mark`, as the report saves it.
        marked: these marks alone; none for all but `reject`.
        worst: how many of the pairs that are farthest from others of their style and settings.
    """

    ids: tuple[str, ...] = ()
    marks: str | None = None
    marked: tuple[str, ...] = ()
    worst: int | None = None

    def choose(self, names: Sequence[RecordName], output: str) -> list[RecordName]:
        """Those of the names that are exported, in their order, or the worst first.

        Raises:
            ConfigError: an id names no result, or nothing is left.
            ManifestError: the marks cannot be read.
            StorageError: a record cannot be read.
        """
        chosen = self._named(names, output) if self.ids else list(names)
        if self.marks is not None:
            marks = read_marks(self.marks)
            chosen = [name for name in chosen if self._is_wanted(marks.get(name.id))]
        if not chosen:
            raise ConfigError(
                f"No result of {output} is left to export: {len(names)} are there, and --ids, "
                "--marks and --marked leave none of them."
            )
        return farthest(chosen, output, self.worst) if self.worst else chosen

    def _is_wanted(self, mark: str | None) -> bool:
        return mark in self.marked if self.marked else mark != REJECT

    def _named(self, names: Sequence[RecordName], output: str) -> list[RecordName]:
        patterns = [text for text in self.ids if storage.is_glob(text)]
        literal = {*self.ids}.difference(patterns)
        found = [
            name
            for name in names
            if name.id in literal or any(fnmatch.fnmatchcase(name.id, text) for text in patterns)
        ]
        ids = {name.id for name in found}
        for text in self.ids:
            if text not in ids and not (text in patterns and fnmatch.filter(ids, text)):
                near = difflib.get_close_matches(text, [name.id for name in names[:10_000]], n=1)
                hint = f"; the nearest is {near[0]}" if near else ""
                raise ConfigError(f"--ids {shown(text)} names no result of {output}{hint}.")
        return found


def read_marks(uri: str) -> dict[str, str]:
    """The marks of a manifest by id.

    Raises:
        ManifestError: it cannot be read, a row of it has no id or is nearly marked, or none is.
    """
    found = {}
    for note in encoding_notes(uri):
        _LOGGER.warning("%s", note)
    for row in read_rows(uri):
        if row.problem:
            raise ManifestError(f"Row {row.number} of the marks {uri} {row.problem}.")
        try:
            mark = mark_of(row)
        except PairError as error:
            raise ManifestError(f"The marks {uri} cannot be read: {error}") from error
        pair_id = row.columns.get("id")
        if mark and not pair_id:
            raise ManifestError(
                f"Row {row.number} of the marks {uri} has no id; save the marks from the report, "
                "which writes ids, or add a column id."
            )
        if mark:
            found[str(pair_id).strip()] = mark
    if not found:
        raise ManifestError(
            f"{uri} marks no pair: no row has {MARK} keep, redo or reject; save the marks from "
            "the report."
        )
    return found


def farthest(names: Sequence[RecordName], output: str, count: int) -> list[RecordName]:
    """The results farthest from others of their style and settings, as the report sorts them.

    Those of fewer than five, of which nobody knows what is usual, come after all others, by their
    Gram errors.

    Raises:
        StorageError: a record cannot be read.
    """
    groups: dict[str, int] = {}
    group_numbers = array.array("q")
    measures = {name: array.array("d") for name in ("total", "gram_error", "ssim")}
    for name, found in read_each(output, names, _compared):
        # A record that cannot be read is like no other, and comes last.
        group, numbers = found or (str(name), {})
        group_numbers.append(groups.setdefault(group, len(groups)))
        for measure, values in measures.items():
            values.append(numbers.get(measure, math.nan))
    total, gram_error, ssim = (np.array(values, np.float64) for values in measures.values())
    deviations = result_deviations(np.array(group_numbers, np.int64), total, gram_error, ssim)
    # The last key counts first; what is not known comes last.
    order = np.lexsort((_descending(gram_error), _descending(deviations)))
    return [names[place] for place in order[:count]]


def _compared(record: Mapping[str, Any], _: RecordName) -> tuple[str, dict[str, float]]:
    styles, changes = record["sources"]["styles"], settings.changes_of(record["config"])
    return group_of(styles, changes), measures_of(record)


def _descending(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), math.inf, -values)
