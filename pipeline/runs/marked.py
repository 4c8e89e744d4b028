"""What runs of marks have made of pairs of other manifests: mended, failed, failed once more.

Counts cannot tell: of a marked pair that is done nobody knows whether it had failed before, and
several lists of marks have the same pairs. So their results are read, which are as long as somebody
has marked, and the failures of the runs whose pairs these are.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from nst_core.errors import DuplicateId
from pipeline.records.tasks import NO_FAILURES, POSTPONED
from pipeline.runs.reports import failed_id, failed_rows
from pipeline.runs.result_lines import statuses_in
from pipeline.runs.run_states import RunState

THREADS = 32
# What is no news of the pair that has an id: another row has it, or nothing was tried.
_NO_NEWS = (POSTPONED, DuplicateId.status)


@dataclasses.dataclass(frozen=True)
class Listed:
    """The last run of a manifest that is none of marks, and the retries of what failed in it."""

    base: RunState
    retries: Sequence[RunState]

    @property
    def runs(self) -> list[RunState]:
        """All of them."""
        return [self.base, *self.retries]


@dataclasses.dataclass
class Marked:
    """Counts of pairs: `mended` by marks, of the failures of each base; `failed` that were done.

    `failing`: the runs of marks in which pairs failed last, whether these had been done or not.
    """

    mended: collections.Counter[str]
    failed: int
    failing: set[str]


class _Word(NamedTuple):
    """What a run says of a pair, and the run's place in the order of their beginnings."""

    place: int
    run: str
    failed: bool


def look(
    marking: Iterable[RunState], several: Sequence[Listed], places: Mapping[str, int]
) -> Marked:
    """What these runs of marks have made of the pairs of the others.

    Of each pair the last run counts. A later run of the manifest that it failed in has tried it
    too; where it failed in none of them nobody knows whose it is, and a later run of any counts.

    Args:
        marking: in their order.
        places: of each run in the order of all.

    Raises:
        StorageError: a storage cannot be read.
    """
    found = Marked(collections.Counter(), 0, set())
    bases = [places[one.base.run] for one in several]
    if not bases:
        return found
    told = _words([run for run in marking if places[run.run] > min(bases)], places)
    owned: set[str] = set()
    valid: set[str] = set()
    for one in several if told else ():
        failures = _failures(one.base, told)
        owned |= failures.keys()
        retries = sorted(one.retries, key=lambda run: places[run.run])
        retried = _words(retries if failures else (), places, failures)
        for pair_id, rows in failures.items():
            before = retried.get(pair_id, _Word(places[one.base.run], one.base.run, failed=True))
            word = told[pair_id]
            if word.place <= before.place:
                continue
            valid.add(pair_id)
            if before.failed and not word.failed:
                found.mended[one.base.run] += rows
            elif word.failed and not before.failed:
                found.failed += 1
    for pair_id in told.keys() - owned:
        if told[pair_id].place > max(bases):
            valid.add(pair_id)
            found.failed += told[pair_id].failed
    # Of one that was killed nobody knows which pairs have failed: they may be the same.
    unlisted = sum(one.base.counts["failed"] or 0 for one in several if not one.base.failures)
    found.failed = max(0, found.failed - unlisted)
    found.failing |= {told[pair_id].run for pair_id in valid if told[pair_id].failed}
    return found


def _words(
    runs: Sequence[RunState], places: Mapping[str, int], ids: Container[str] | None = None
) -> dict[str, _Word]:
    """The last that these runs, in their order, say of each pair, or of these."""
    found = {}
    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        for run, told in zip(runs, threads.map(_told_by, runs, itertools.repeat(ids)), strict=True):
            for pair_id, failed in told.items():
                found[pair_id] = _Word(places[run.run], run.run, failed)
    return found


def _told_by(run: RunState, ids: Container[str] | None) -> dict[str, bool]:
    """Whether each of the pairs of a run's results, or of these, has failed."""
    return {
        pair_id: status not in NO_FAILURES
        for uri in run.results
        for pair_id, status in statuses_in(uri)
        if status not in _NO_NEWS and (ids is None or pair_id in ids)
    }


def _failures(run: RunState, ids: Container[str]) -> collections.Counter[str]:
    """Those of these ids that failed in a run, with the count of their rows."""
    rows = failed_rows(run.failures) if run.failures and run.counts["failed"] else ()
    own = (row for row in rows if row.columns.get("status") != DuplicateId.status)
    return collections.Counter(pair_id for pair_id in map(failed_id, own) if pair_id in ids)
