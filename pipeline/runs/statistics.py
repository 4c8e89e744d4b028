"""What a summary says in numbers of the pairs of a run: time, quality, the worst, the failures."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Iterable
from typing import Any

from pipeline.records import records
from pipeline.records.tasks import OK, Outcome, RowNumber
from pipeline.runs.quantiles import Quantiles
from pipeline.runs.reasons import Reasons

STAGES = ("read", "optimize", "write")
WORST = 3
FIRST_FAILURES = 5

_Bad = tuple[float, str, float]
_Failed = tuple[RowNumber, str | None, str, str | None]


class Statistics:
    """Taken from outcomes in any order, and merged, in the same little memory for any count."""

    def __init__(self) -> None:
        self.statuses: collections.Counter[str] = collections.Counter()
        self._retried = 0
        self._seconds = {stage: Quantiles() for stage in STAGES}
        self._ssim = Quantiles()
        self._gram_error = Quantiles()
        self._worst: list[_Bad] = []
        self._first: list[_Failed] = []
        self._reasons = Reasons()

    def add(self, outcome: Outcome) -> None:
        """Take an outcome."""
        self.statuses[outcome.status] += 1
        if outcome.failed:
            self._reasons.add(outcome)
            failed = (outcome.number, outcome.id, outcome.status, outcome.error)
            self._first = _first([*self._first, failed])
        elif outcome.status == OK and "quality" in outcome.details:
            self._add_done(outcome.id or "", outcome.details)

    def _add_done(self, pair_id: str, details: dict[str, Any]) -> None:
        self._retried += bool(details.get("retried"))
        for stage, quantiles in self._seconds.items():
            quantiles.add(details["seconds"][stage])
        quality = details["quality"]
        error = gram_error(quality["gram_errors"])
        self._ssim.add(quality["ssim"])
        self._gram_error.add(error)
        self._worst = _worst([*self._worst, (error, pair_id, quality["ssim"])])

    def merge(self, other: Statistics) -> None:
        """Take what another one has taken."""
        self.statuses.update(other.statuses)
        self._retried += other._retried
        for stage, quantiles in other._seconds.items():
            self._seconds[stage].merge(quantiles)
        self._ssim.merge(other._ssim)
        self._gram_error.merge(other._gram_error)
        self._worst = _worst([*self._worst, *other._worst])
        self._first = _first([*self._first, *other._first])
        self._reasons.merge(other._reasons)

    def to_dict(self, started_at: object) -> dict[str, Any]:
        """As summaries have it.

        `elapsed_seconds` since the run began; `seconds` of the stages of pairs that this run has
        done (their `total` is that of work side by side); `quality`; `worst`: the pairs that ended
        farthest from their styles; `reasons`, `first_failures`.
        """
        started = records.parse_time(started_at)
        now = datetime.datetime.now(datetime.UTC)
        elapsed = max(0.0, (now - started).total_seconds()) if started else None
        done = self.statuses[OK]
        return {
            "elapsed_seconds": None if elapsed is None else round(elapsed, 1),
            "pairs_per_hour": round(3600 * done / elapsed, 1) if elapsed else None,
            "seconds": {
                stage: {"total": round(quantiles.total, 3), **quantiles.to_dict()}
                for stage, quantiles in self._seconds.items()
            },
            "quality": {
                "ssim": self._ssim.to_dict(),
                "gram_error": self._gram_error.to_dict(),
            },
            "worst": [
                {"id": pair_id, "gram_error": round(error, 4), "ssim": round(ssim, 4)}
                for error, pair_id, ssim in self._worst
            ],
            "retried": self._retried,
            "reasons": self._reasons.commonest(),
            "first_failures": [
                {
                    "manifest": number.manifest,
                    "row": number.row,
                    "id": pair_id,
                    "status": status,
                    "error": error,
                }
                for number, pair_id, status, error in self._first
            ],
        }


def gram_error(errors: dict[str, float]) -> float:
    """One number of the relative errors of the Gram matrices: the mean over the style layers."""
    return sum(errors.values()) / len(errors) if errors else 0.0


def _worst(several: Iterable[_Bad]) -> list[_Bad]:
    return sorted(several, key=lambda bad: (-bad[0], bad[1]))[:WORST]


def _first(several: Iterable[_Failed]) -> list[_Failed]:
    return sorted(several, key=lambda failed: failed[0])[:FIRST_FAILURES]
