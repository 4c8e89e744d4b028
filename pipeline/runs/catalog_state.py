"""What has become of a catalog over all runs of its output: what is done, failed, left to do."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.runs import marked
from pipeline.runs.marked import Listed
from pipeline.runs.retry import retried_runs
from pipeline.runs.run_states import ENDED_EARLY, RunState

_SUMMED = ("pairs", "done", "failed", "postponed", "left")


@dataclasses.dataclass(frozen=True)
class CatalogState:
    """All manifests of an output together, each as its last run has left it, its retries counted.

    `heads`: those runs, and the last retry of each list of failures. `to_retry`: the runs whose
    failures.csv has what has failed and was not done since, the last to be retried first. Counts
    are 0 where no run has told any.
    """

    manifests: int
    pairs: int
    done: int
    failed: int
    postponed: int
    left: int
    heads: tuple[RunState, ...]
    to_retry: tuple[RunState, ...]


def catalog_of(runs: Iterable[RunState]) -> CatalogState:
    """The state of the catalog over all runs, which come in their order.

    A run of another's failures.csv is a retry: what it has done is taken from the failures of the
    last run of the manifest they came from, if it began after that. A manifest that was moved or
    copied is the same one. One of marks has pairs of the others: what becomes of these is read from
    its results, see `marked`. One that has told nothing, for it was killed or had no room as it
    began, counts until another begins. Where two of one manifest went on at once, and the later one
    ended early, the other counts if it finished after that.

    Raises:
        StorageError: results of marks, or the failures that they may have mended, cannot be read.
    """
    ordered = _with_one_name_for_each_manifest(runs)
    ordered = [run for run in ordered if run.told or run is ordered[-1]]
    manifests = {run.run: run.manifest for run in ordered}
    heads: list[RunState] = []
    roots = {name: manifests[[name, *retried_runs(name, manifests)][-1]] for name in manifests}
    marks = _of_marks(ordered, roots)
    ordered = [*_without_outlived(ordered)]
    places = {run.run: place for place, run in enumerate(ordered)}
    several: list[tuple[Listed, dict[str, int]]] = []
    for root in sorted(dict.fromkeys(roots.values()), key=marks.__contains__):
        direct = [run for run in ordered if run.manifest == root]
        if not direct:
            continue
        base = next((run for run in reversed(direct) if run.counts["pairs"] is not None), None)
        heads.append(direct[-1])
        if base is None:
            continue
        retries = [*_last_retries(base, ordered, manifests, places)]
        heads += retries
        if root not in marks:
            several.append((Listed(base, retries), _counts_of(base, retries)))
    marking = [run for run in ordered if roots[run.run] in marks]
    found = marked.look(marking, [listed for listed, _ in several], places)
    sums = dict.fromkeys(_SUMMED, 0)
    to_retry: list[RunState] = []
    for listed, counts in several:
        _mend(counts, found.mended[listed.base.run])
        if counts["failed"]:
            to_retry += (run for run in listed.runs if run.counts["failed"])
        for name, count in counts.items():
            sums[name] += count
    _mend(sums, -min(found.failed, sums["done"]))
    to_retry += (run for run in marking if run.run in found.failing)
    count = len({*roots.values()} - marks)
    return CatalogState(count, **sums, heads=tuple(heads), to_retry=tuple(reversed(to_retry)))


def _without_outlived(ordered: Sequence[RunState]) -> Iterator[RunState]:
    """The runs, without those that ended early while another of the same rows went on to its end.

    That one began before them, and ended after they were last heard of.
    """
    finished: dict[str, list[RunState]] = {}
    for run in ordered:
        others = finished.setdefault(run.manifest, [])
        if run.state == "finished":
            others.append(run)
        if run.state not in ENDED_EARLY or not any(_outlives(one, run) for one in others):
            yield run


def _outlives(finished: RunState, run: RunState) -> bool:
    ended_at, heard_at = finished.ended_at, run.ended_at or run.started_at
    contents = {finished.manifest_content, run.manifest_content} - {None}
    return bool(ended_at and heard_at and ended_at > heard_at and len(contents) < 2)


def _counts_of(base: RunState, retries: Iterable[RunState]) -> dict[str, int]:
    """The counts of a run's manifest after these retries of what failed in it."""
    counts = {name: base.counts[name] or 0 for name in _SUMMED}
    counts["done"] = counts["pairs"] - sum(counts[name] for name in ("failed", "postponed", "left"))
    for retry in retries:
        _mend(counts, (retry.counts["done"] or 0) + (retry.counts["skipped"] or 0))
    return counts


def _mend(counts: dict[str, int], pairs: int) -> None:
    """Count so many pairs, at most all that have failed, as done; below 0 the other way."""
    pairs = min(pairs, counts["failed"])
    counts["failed"] -= pairs
    counts["done"] += pairs


def _of_marks(ordered: Sequence[RunState], roots: Mapping[str, str]) -> set[str]:
    """The manifests that are marks of others' pairs; none where there are no others."""
    found = {roots[run.run] for run in ordered}
    others = {roots[run.run] for run in ordered if run.told.get("marks") is not True}
    return found - others if others else set()


def _with_one_name_for_each_manifest(runs: Iterable[RunState]) -> list[RunState]:
    """The runs, those of one manifest with the URI under which it was known first."""
    names: dict[str, str] = {}
    contents: dict[tuple[str, ...], str] = {}
    found = []
    for run in runs:
        uri, content = run.manifest, run.manifest_content
        first = names.get(uri) or (contents.get(content) if content else None) or uri
        names.setdefault(uri, first)
        if content:
            contents.setdefault(content, first)
        if first != uri:
            run = dataclasses.replace(run, told={**run.told, "manifest": first})
        found.append(run)
    return found


def _last_retries(
    base: RunState,
    ordered: Sequence[RunState],
    manifests: Mapping[str, str],
    places: Mapping[str, int],
) -> Iterator[RunState]:
    """Of each list of failures that came from this run, directly or not, the last run.

    Not those that were before a retry of a longer list, which has skipped what they have done.
    """
    last = {run.manifest: run for run in ordered if base.run in retried_runs(run.run, manifests)}
    for run in last.values():
        between = itertools.takewhile(base.run.__ne__, retried_runs(run.run, manifests))
        longer = (last[manifests[name]] for name in between)
        if all(places[one.run] <= places[run.run] for one in longer):
            yield run
