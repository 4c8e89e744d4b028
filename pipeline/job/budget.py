"""How many failures a run bears: `--max-failures`, counted in each process, and the stop."""

from __future__ import annotations

import collections
import dataclasses
import re
import threading
from typing import Literal

from nst_core.errors import ConfigError, JobError
from pipeline.records.tasks import Outcome, RowNumber
from pipeline.runs import failures_so_far
from pipeline.runs.reports import Place
from pipeline.runs.retry import GOES_ON

# The first failure of a run says little about the share of them: fewer pairs count as so many.
LEAST_PAIRS = 100

Step = Literal["rows", "ids", "contents", "pairs"]
"""What takes the pairs: reading rows, looking at ids, reading contents' headers, optimising."""

_TEXT = re.compile(r"(\d{1,9})|(\d{1,2}(?:\.\d+)?) ?%")


class BudgetError(JobError):
    """More pairs have failed than the run bears."""


@dataclasses.dataclass(frozen=True)
class MaxFailures:
    """How many pairs may fail: a count, or a share in % of those that a step has taken."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> MaxFailures:
        """From `100` or `5%`.

        Raises:
            ConfigError: it is neither.
        """
        match = _TEXT.fullmatch(text.strip())
        if not match:
            raise ConfigError(
                f"--max-failures is {text!r}; give a count such as 100, or a share below 100% "
                "such as 5%."
            )
        return cls(int(match[1])) if match[1] else cls(percent=float(match[2]))

    def __str__(self) -> str:
        return f"{self.count}" if self.count is not None else f"{self.percent:g}%"


@dataclasses.dataclass
class _Counts:
    """What one run has come to in this process, by step."""

    taken: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    failed: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


_lock = threading.Lock()
# By run: a process can see several, and copies of `Failures` in all stages count together.
_counts: collections.defaultdict[str, _Counts] = collections.defaultdict(_Counts)


@dataclasses.dataclass(frozen=True)
class Failures:
    """Counts a run's failures, and stops it past the limit; all copies in a process are one.

    `place`: of the run, where this process is not that which tells of it: see `failures_so_far`.
    `going_on`: how a person goes on from a run that was stopped. `counted`: takes what has failed.
    """

    run: str
    most: MaxFailures | None
    place: Place | None = None
    going_on: str = GOES_ON
    counted: dict[RowNumber, Outcome] | None = None

    def take(self, step: Step, *pairs: object) -> None:
        """Count pairs that a step has taken: the outcome of each that has ended, else what goes on.

        A share is of the pairs of this step, since the failures of earlier ones are known before
        it begins, and their pairs' successes are not.

        Raises:
            BudgetError: with the last of them.
        """
        if self.most is None and self.place is None:
            return
        failed = [one for one in pairs if isinstance(one, Outcome) and one.failed]
        if self.place:
            failures_so_far.note(self.place, failed)
        if self.counted is not None:
            self.counted.update((outcome.number, outcome) for outcome in failed)
        try:
            self._count(step, len(pairs), failed)
        except BudgetError:
            if self.place:
                failures_so_far.note(self.place, (), at_once=True)
            raise

    def _count(self, step: Step, pairs: int, failed: list[Outcome]) -> None:
        if self.most is None:
            return
        with _lock:
            counts = _counts[self.run]
            counts.taken[step] += pairs
            counts.failed[step] += len(failed)
            taken, here = counts.taken[step], counts.failed[step]
            everywhere = counts.failed.total()
        if not failed:
            return
        if self.most.count is not None and everywhere > self.most.count:
            what = "1 pair has" if everywhere == 1 else f"{everywhere} pairs have"
            raise BudgetError(self._sentence(f"{what} failed", failed[-1]))
        if self.most.percent is not None and 100 * here > self.most.percent * max(
            taken, LEAST_PAIRS
        ):
            raise BudgetError(self._sentence(f"{here} of {taken} pairs have failed", failed[-1]))

    def _sentence(self, what: str, last: Outcome) -> str:
        reason = " ".join(str(last.error).split()).rstrip(".")
        return (
            f"{what}, more than --max-failures {self.most} bears, the last in row "
            f"{last.number.row} ({reason}); mend the inputs or raise the limit, and "
            f"{self.going_on}."
        )
