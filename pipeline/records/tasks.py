"""What travels through the pipeline: tasks (pairs to be done), batches of them, outcomes."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, NamedTuple

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.errors import PairError
from pipeline.manifest.columns import Row
from pipeline.pairs.parsing import Pair, portable_row

_LOGGER = logging.getLogger(__name__)

OK = "ok"
SKIPPED = "skipped"
POSTPONED = "postponed"
NO_FAILURES = frozenset({OK, SKIPPED, POSTPONED})


class RowNumber(NamedTuple):
    """Which row of which manifest; sorts as the manifests of a run and their rows do."""

    manifest: str
    row: int


@dataclasses.dataclass(frozen=True)
class Task:
    """A pair with its effective configuration and what identifies its result.

    `recipe` is known from its row, `fingerprint` and `inputs` (as its record has them) once its
    images have been read; see `fingerprints`.
    """

    number: RowNumber
    pair: Pair
    config: StyleConfig
    recipe: str
    fingerprint: str = ""
    inputs: tuple[dict[str, Any], ...] = ()
    # Records of other fingerprints: they describe an image that this task will replace.
    stale_records: tuple[str, ...] = ()
    # Snapshots and animations of earlier tries: those that this task does not replace must go.
    stale_snapshots: tuple[str, ...] = ()
    # All checkpoints of this id: once this task is done nobody goes on from them.
    stale_checkpoints: tuple[str, ...] = ()
    # Why a pair that was done is done again: what of it has changed, see `checking`.
    changed: str | None = None
    # What the manifest calls the files of these URIs, where that is something else.
    names: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Tasks of one canvas and configuration.

    `key`: equal for batches that can be optimised as one; empty for one that is like no other.
    `canvas`: of the tasks.
    """

    tasks: tuple[Task, ...]
    key: str = ""
    canvas: Size | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one row of the manifest ended: one of `NO_FAILURES`, or the status of a failure.

    `row` is there where it failed: the whole row as it stands in failures.csv.
    """

    number: RowNumber
    id: str | None
    status: str
    error: str | None
    row: dict[str, Any]
    columns: dict[str, Any]
    details: dict[str, Any]

    @property
    def failed(self) -> bool:
        """Whether the row belongs into failures.csv."""
        return self.status not in NO_FAILURES


def counts_by_kind(statuses: dict[str, int]) -> dict[str, int]:
    """Counts of each status as those of what was done, done before, left for later, and failed."""
    return {
        "done": statuses.get(OK, 0),
        "skipped": statuses.get(SKIPPED, 0),
        "postponed": statuses.get(POSTPONED, 0),
        "failed": sum(n for status, n in statuses.items() if status not in NO_FAILURES),
    }


def sources(pair: Pair) -> dict[str, Any]:
    """The pair's input URIs, as records and results hold them."""
    return {
        "content": pair.content,
        "styles": [style.to_dict() for style in pair.styles],
    }


def failed_row(
    number: RowNumber, row: Row, beside: str, error: PairError, *, absolute_ids: bool
) -> Outcome:
    """The outcome of a row that never became a pair.

    Args:
        beside: the file to which relative names are relative.
        absolute_ids: as of `parse_pair`.
    """
    portable = portable_row(row, beside, absolute_ids=absolute_ids)
    return Outcome(number, None, error.status, str(error), portable, {}, {})


def failed_pair(number: RowNumber, pair: Pair, error: PairError) -> Outcome:
    """The outcome of a pair that could not be done."""
    return Outcome(number, pair.id, error.status, str(error), pair.row, pair.columns, sources(pair))


def finished_pair(number: RowNumber, pair: Pair, status: str, details: dict[str, Any]) -> Outcome:
    """The outcome of a pair whose result is there, or that waits for a later run."""
    return Outcome(number, pair.id, status, None, {}, pair.columns, {**sources(pair), **details})


def unforeseen(error: Exception) -> PairError:
    """An error that nobody foresaw, as its pair's failure; its traceback goes to the log."""
    _LOGGER.error("A pair failed for a reason nobody foresaw.", exc_info=error)
    reason = " ".join(str(error).split())[:500]
    return PairError(
        f"{type(error).__name__} ({reason}); this is a defect, please report it with the log."
    )
