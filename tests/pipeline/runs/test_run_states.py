"""What runs have become, from files that they or earlier versions left; the clock is the tests'."""

from __future__ import annotations

import collections
import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import processes, storage
from pipeline.records.tasks import NO_FAILURES, counts_by_kind
from pipeline.runs.catalog_state import CatalogState, catalog_of
from pipeline.runs.run_states import RunState, read_runs

if TYPE_CHECKING:
    import pathlib

NOW = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
MARKS = "/marks.csv"


def ago(**time: float) -> str:
    """A moment before now."""
    return (NOW - datetime.timedelta(**time)).isoformat()


class Output:
    """An output in which runs are put down."""

    def __init__(self, root: str) -> None:
        self.root = root

    def put(self, name: str, content: Any) -> None:
        """Write a file below `runs/`: bytes, or JSON."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        storage.write_bytes(storage.join(self.root, "runs", name), data, "application/json")

    def run(self, run: str, state: str = "running", **told: Any) -> None:
        """A run that began an hour ago and was heard a minute ago, on another machine."""
        known = {"started_at": ago(hours=1), "renewed_at": ago(minutes=1), "manifest": "/m.csv"}
        self.put(f"{run}/run.json", {"run": run, "state": state, **known, **told})

    def ended(
        self, run: str, manifest: str, hours: float, statuses: dict[str, str], **told: Any
    ) -> None:
        """One that has finished, begun so many hours ago, with these statuses by id."""
        counts = counts_by_kind(dict(collections.Counter(statuses.values())))
        about = {"manifest": manifest, "started_at": ago(hours=hours), "pairs": len(statuses)}
        self.run(run, "finished", **about, **counts, left=0, **told)
        lines = [{"id": name, "status": status} for name, status in statuses.items()]
        results = "".join(json.dumps(line) + "\n" for line in lines)
        self.put(f"{run}/results-00000-of-00001.jsonl", results.encode())
        failed = [line for line in lines if line["status"] not in NO_FAILURES]
        rows = "".join(f"a.png,s.png,{line['id']},{line['status']}\n" for line in failed)
        self.put(f"{run}/failures.csv", f"content,style,id,status\n{rows}".encode())

    def read(self, only: str | None = None) -> list[RunState]:
        """All runs."""
        return read_runs(self.root, NOW, only)

    def state(self) -> str:
        """That of the only run."""
        (run,) = self.read()
        return run.state


@pytest.fixture
def output(tmp_path: pathlib.Path) -> Output:
    """An empty one."""
    return Output(str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "running"), (170, "running"), (190, "died"), (10**6, "died")]
)
def test_a_run_that_was_not_heard_for_three_minutes_has_died(
    output: Output, seconds: float, state: str
) -> None:
    output.run("a", renewed_at=ago(seconds=seconds))
    assert output.state() == state


def test_a_clock_that_is_ahead_kills_nobody(output: Output) -> None:
    output.run("a", renewed_at=ago(minutes=-30))
    assert output.state() == "running"


def test_a_process_that_has_gone_from_this_machine_is_dead_at_once(output: Output) -> None:
    own = processes.own_name()
    output.run("a", process=own)
    assert output.state() == "running"
    output.run("a", process=own.rpartition("-")[0] + "-1")
    assert output.state() == "died"


@pytest.mark.parametrize("state", ["finished", "stopped", "failed", "launched"])
def test_an_end_stays_what_it_was_however_long_ago(output: Output, state: str) -> None:
    output.run("a", state, renewed_at=ago(days=30))
    assert output.state() == state


@pytest.mark.parametrize("state", ["running", "launched"])
def test_a_summary_is_the_end_though_the_last_heartbeat_was_lost(
    output: Output, state: str
) -> None:
    output.run("a", state, renewed_at=ago(days=1), done=1, left=9)
    output.put("a/summary.json", {"pairs": 10, "statuses": {"ok": 7, "skipped": 1, "internal": 2}})
    (run,) = output.read()
    assert run.state == "finished"
    assert (run.counts["done"], run.counts["failed"], run.counts["left"]) == (7, 2, 0)


def test_runs_of_earlier_versions_are_known_by_their_summaries(output: Output) -> None:
    output.put("old/config.yaml", b"steps: 3")
    statuses = {"ok": 2, "skipped": 3, "postponed": 4, "diverged": 1}
    summary = {"run": "old", "manifest": "/m.csv", "pairs": 10, "statuses": statuses}
    output.put("old/summary.json", {**summary, "started_at": ago(days=2)})
    output.put("older/config.yaml", b"steps: 3")
    older, old = output.read()
    assert (older.run, older.state) == ("older", "unknown")
    assert (old.state, old.manifest) == ("finished", "/m.csv")
    assert old.counts == {
        "pairs": 10,
        "to_do": None,
        "done": 2,
        "skipped": 3,
        "postponed": 4,
        "failed": 1,
        "left": 0,
    }


def test_a_folder_that_holds_no_run_counts_as_none(output: Output) -> None:
    output.put("removed/tensorboard/a/events.out.tfevents.nst", b"events")
    output.put("exported/train/metadata.csv", b"file_name\n")
    assert output.read() == output.read("removed") == []
    output.run("a", "finished")
    assert [run.run for run in output.read()] == ["a"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[1]", b'"running"', b'{"state": ["running"], "done": "x"}', b"[" * 9999],
)
def test_what_no_run_has_written_is_an_unknown_one(output: Output, content: bytes) -> None:
    output.put("a/run.json", content)
    assert output.state() == "unknown"


def test_a_run_file_that_is_too_long_to_be_one_is_not_read(output: Output) -> None:
    output.run("a", "stopped", command="x" * 5 * 2**20)
    assert output.state() == "unknown"


def test_unusual_values_are_none(output: Output) -> None:
    output.run("a", done="3", left=True, failed=2, manifest=[1], renewed_at=7, started_at={})
    (run,) = output.read()
    assert (run.counts["done"], run.counts["left"], run.counts["failed"]) == (None, None, 2)
    assert (run.manifest, run.started_at, run.state) == ("", None, "died")


@pytest.mark.parametrize(
    ("told", "command"),
    [
        (long := "nst run --contents " + " ".join(["'two  blanks.png'"] * 99), long),
        ("nst run --styles 'cut o", None),
        (" ", None),
        (["nst", "run"], None),
    ],
)
def test_a_command_is_whole_or_none(output: Output, told: Any, command: str | None) -> None:
    output.run("a", command=told)
    (run,) = output.read()
    assert run.command == command


def test_the_lock_is_no_run_and_one_may_be_asked_for(output: Output) -> None:
    output.put(".lock", {})
    output.run("a", started_at=ago(hours=3))
    output.run("b", started_at=ago(hours=2))
    output.run("ab", started_at=ago(hours=4))
    assert [run.run for run in output.read()] == ["ab", "a", "b"]
    assert [run.run for run in output.read("a")] == ["a"]
    assert output.read("c") == []


def test_the_time_to_go_is_that_of_the_last_minutes_pace_since_the_last_heartbeat(
    output: Output,
) -> None:
    output.run("a", left=60, pairs_per_hour=360.0, renewed_at=ago(seconds=100))
    (run,) = output.read()
    assert run.seconds_to_go(NOW) == 500
    output.run("a", left=60, pairs_per_hour=0)
    assert output.read()[0].seconds_to_go(NOW) is None


def totals(output: Output) -> tuple[int, int, int, int]:
    """Pairs, done, failed and left of the catalog."""
    found: CatalogState = catalog_of(output.read())
    return found.pairs, found.done, found.failed, found.left


def test_the_catalog_is_as_the_last_run_of_each_manifest_has_left_it(output: Output) -> None:
    output.run("a", "stopped", started_at=ago(hours=5), pairs=10, done=4, failed=1, left=5)
    assert totals(output) == (10, 4, 1, 5)
    output.run("b", "finished", started_at=ago(hours=4), pairs=12, done=7, failed=1, left=0)
    assert totals(output) == (12, 11, 1, 0)
    output.run("c", manifest="/other.csv", pairs=100, done=20, failed=0, left=80)
    assert totals(output) == (112, 31, 1, 80)
    # It does not know yet how many there are.
    output.run("d", manifest="/m.csv", started_at=ago(minutes=1), pairs=None)
    assert totals(output) == (112, 31, 1, 80)
    assert {run.run for run in catalog_of(output.read()).heads} == {"c", "d"}


def test_a_run_that_was_killed_before_it_told_anything_counts_until_another_begins(
    output: Output,
) -> None:
    # An hour ago and half an hour ago, by their names; a name without a time begins before all.
    first, last = "20260501T110000Z-0a1b", "20260501T113000Z-0a1b"
    output.put(f"{first}/config.yaml", b"steps: 3")
    assert [run.run for run in catalog_of(output.read()).heads] == [first]
    counts = {"pairs": 10, "done": 10, "failed": 0, "postponed": 0, "left": 0}
    output.run("a", "finished", started_at=ago(minutes=50), **counts)
    output.put("nightly/run.json", b"")
    found = catalog_of(output.read())
    assert (found.manifests, [run.run for run in found.heads]) == (1, ["a"])
    output.put(f"{last}/config.yaml", b"steps: 3")
    assert [run.run for run in catalog_of(output.read()).heads] == ["a", last]


@pytest.mark.parametrize("state", ["running", "stopped", "failed"])
@pytest.mark.parametrize("pairs", [10, None])
def test_of_two_runs_at_once_the_one_that_finished_after_the_other_s_end_counts(
    output: Output, state: str, pairs: int | None
) -> None:
    counts = {"pairs": 10, "done": 8, "failed": 2, "left": 0}
    heard = {"started_at": ago(hours=3), "renewed_at": ago(hours=2)}
    output.run("b", state, **heard, pairs=pairs, done=1, failed=0, left=pairs and 9)
    output.run("a", "finished", **counts, started_at=ago(hours=4), ended_at=ago(hours=1))
    assert totals(output) == (10, 8, 2, 0)
    assert [run.run for run in catalog_of(output.read()).heads] == ["a"]
    # It had ended before that, or goes on: then the other counts.
    for told in ({"state": "finished", "ended_at": ago(hours=2.5)}, {"state": "running"}):
        output.run("a", **counts, started_at=ago(hours=4), **told)
        assert [run.run for run in catalog_of(output.read()).heads] == ["b"]


@pytest.mark.parametrize("state", ["running", "launched", "finished"])
def test_of_two_runs_at_once_the_later_one_counts_unless_it_ended_early(
    output: Output, state: str
) -> None:
    counts = {"pairs": 10, "left": 0}
    output.run("b", state, **counts, done=9, failed=1, renewed_at=ago(minutes=2))
    times = {"started_at": ago(hours=4), "ended_at": ago(minutes=1)}
    output.run("a", "finished", **counts, done=8, failed=2, **times)
    assert totals(output) == (10, 9, 1, 0)
    assert [run.run for run in catalog_of(output.read()).heads] == ["b"]


def test_a_run_that_was_killed_has_more_to_do_if_its_manifest_was_another_by_then(
    output: Output,
) -> None:
    def manifest(identity: str) -> dict[str, Any]:
        return {"uri": "/m.csv", "count": 1, "files": [{"uri": "/m.csv", "identity": identity}]}

    counts = {"pairs": 10, "done": 10, "failed": 0, "left": 0}
    times = {"started_at": ago(hours=4), "ended_at": ago(hours=1)}
    output.run("a", "finished", **counts, **times, manifest=manifest("sha256:1"))
    times = {"started_at": ago(hours=3), "renewed_at": ago(hours=2)}
    for identity, head in (("sha256:1", "a"), ("sha256:2", "b")):
        output.run("b", **times, pairs=None, manifest=manifest(identity))
        assert [run.run for run in catalog_of(output.read()).heads] == [head]


def test_a_manifest_that_was_moved_or_copied_counts_once(output: Output) -> None:
    def manifest(uri: str, identity: str | None) -> dict[str, Any]:
        return {"uri": uri, "count": 1, "files": [{"uri": uri, "identity": identity}]}

    counts = {"pairs": 10, "failed": 0, "postponed": 0, "left": 0}
    output.run("a", "finished", **counts, manifest=manifest("/here/m.csv", "sha256:1"))
    # Rows were added to it, and it was moved then.
    output.run("b", "finished", **counts, manifest=manifest("/here/m.csv", "sha256:2"))
    moved = {**counts, "pairs": 12, "failed": 2}
    output.run("c", "finished", **moved, manifest=manifest("/there/m.csv", "sha256:2"))
    output.run("d", "finished", **counts, manifest=manifest("/other.csv", None))
    output.run("e", "finished", **counts, manifest=manifest("/another.csv", None))
    found = catalog_of(output.read())
    assert (found.manifests, found.pairs, found.failed) == (3, 32, 2)
    assert {run.run for run in found.heads} == {"c", "d", "e"}


@pytest.mark.parametrize("more", [{"rows": "/m.jsonl"}, {"count": 2}])
def test_what_a_run_tells_of_its_files_does_not_name_its_manifest_where_there_is_more_to_it(
    output: Output, more: dict[str, Any]
) -> None:
    counts = {"pairs": 10, "done": 10, "failed": 0, "postponed": 0, "left": 0}
    for run in "ab":
        uri = f"/{run}/m.csv"
        files = [{"uri": uri, "identity": "sha256:1"}]
        manifest = {"uri": uri, "count": 1, "files": files, **more}
        output.run(run, "finished", **counts, manifest=manifest)
    assert catalog_of(output.read()).manifests == 2


def test_retries_of_failures_take_them_from_the_run_that_they_came_from(output: Output) -> None:
    output.run("a", "finished", started_at=ago(hours=5), pairs=10, done=4, failed=6, left=0)
    again = {"manifest": "/elsewhere/out/runs/a/failures.csv", "pairs": 6, "left": 0}
    output.run("b", "finished", **again, started_at=ago(hours=4), done=2, failed=4)
    assert totals(output) == (10, 6, 4, 0)
    deeper = {"manifest": "/elsewhere/out/runs/b/failures.csv", "pairs": 4, "left": 0}
    output.run("c", "finished", **deeper, started_at=ago(hours=3), done=1, failed=3)
    assert totals(output) == (10, 7, 3, 0)
    # The same list again: what its first retry has done is skipped.
    output.run("d", "finished", **again, started_at=ago(hours=2), skipped=3, done=1, failed=2)
    assert totals(output) == (10, 8, 2, 0)
    output.run("e", "finished", started_at=ago(hours=1), pairs=10, done=0, skipped=9, failed=1)
    assert totals(output) == (10, 9, 1, 0)
    # Rows that were added to the list have not failed before.
    added = {"manifest": "/elsewhere/out/runs/e/failures.csv", "pairs": 3, "left": 0}
    output.run("f", "finished", **added, started_at=ago(minutes=9), done=3, failed=0)
    assert totals(output) == (10, 10, 0, 0)


def test_marks_are_pairs_of_another_manifest_and_count_once(output: Output) -> None:
    output.run("a", "finished", started_at=ago(hours=5), pairs=12, done=12, failed=0, left=0)
    output.ended("b", MARKS, 4, {"x": "ok", "y": "ok"}, marks=True)
    assert totals(output) == (12, 12, 0, 0)
    assert catalog_of(output.read()).manifests == 1
    output.ended("c", MARKS, 3, {"x": "ok", "y": "internal"}, marks=True)
    assert totals(output) == (12, 11, 1, 0)
    assert {run.run for run in catalog_of(output.read()).heads} == {"a", "c"}
    output.ended("d", "/o/runs/c/failures.csv", 2, {"y": "ok"}, marks=True)
    assert totals(output) == (12, 12, 0, 0)
    output.ended("c", MARKS, 1, {"x": "internal", "y": "diverged"}, marks=True)
    assert totals(output) == (12, 10, 2, 0)
    output.run("e", "finished", started_at=ago(minutes=9), pairs=12, skipped=12, failed=0, left=0)
    assert totals(output) == (12, 12, 0, 0)
    # Of a manifest that has lost rows, more marked ones can fail than are there.
    output.run("f", "finished", started_at=ago(minutes=8), pairs=1, skipped=1, failed=0, left=0)
    output.ended("g", MARKS, 0.1, {"x": "internal", "y": "diverged"}, marks=True)
    assert totals(output) == (1, 0, 1, 0)


def to_retry(output: Output) -> list[str]:
    """The runs with pairs that have failed and were not done since, the first to be named first."""
    return [run.run for run in catalog_of(output.read()).to_retry]


def test_of_marked_pairs_the_last_run_of_each_counts_whatever_it_was_before(
    output: Output,
) -> None:
    before = {"good": "ok", "bad": "input_unreadable", "other": "diverged"}
    output.ended("a", "/m.csv", 9, before)
    output.ended("b", MARKS, 8, {"good": "ok", "bad": "input_unreadable"}, marks=True)
    assert totals(output) == (3, 1, 2, 0)
    # Another list, of the same pairs and one more.
    again = {"good": "internal", "bad": "input_unreadable", "other": "ok"}
    output.ended("c", "/more.csv", 7, again, marks=True)
    assert totals(output) == (3, 1, 2, 0)
    assert to_retry(output) == ["c", "a"]
    output.ended("d", "/third.csv", 6, {"good": "diverged"}, marks=True)
    assert totals(output) == (3, 1, 2, 0)
    assert to_retry(output) == ["d", "c", "a"]
    # What lists before had is mended by the last.
    output.ended("e", "/fourth.csv", 5, {"bad": "ok", "good": "ok"}, marks=True)
    assert (totals(output), to_retry(output)) == ((3, 3, 0, 0), [])
    output.ended("f", "/fourth.csv", 4, {"bad": "skipped", "good": "skipped"}, marks=True)
    assert totals(output) == (3, 3, 0, 0)
    # The manifest itself again, by its own settings.
    output.ended("g", "/m.csv", 3, {**before, "good": "skipped"})
    assert (totals(output), to_retry(output)) == ((3, 1, 2, 0), ["g"])


def test_what_marks_have_mended_a_retry_of_the_failures_does_not_mend_again(
    output: Output,
) -> None:
    output.ended("a", "/m.csv", 9, {"x": "ok", **dict.fromkeys("bcd", "diverged")})
    output.ended("m", MARKS, 8, {"b": "ok", "x": "internal"}, marks=True)
    assert totals(output) == (4, 1, 3, 0)
    again = {"b": "skipped", "c": "ok", "d": "diverged"}
    output.ended("r", "/out/runs/a/failures.csv", 7, again)
    # Of the one that the marks alone have failed that list knows nothing.
    assert (totals(output), to_retry(output)) == ((4, 2, 2, 0), ["m", "r", "a"])
    output.ended("n", "/more.csv", 6, {"c": "internal", "d": "ok", "x": "ok"}, marks=True)
    assert (totals(output), to_retry(output)) == ((4, 3, 1, 0), ["n"])


def test_of_several_manifests_a_marked_failure_is_that_of_the_one_that_it_is_in(
    output: Output,
) -> None:
    output.ended("a", "/m.csv", 9, {"x": "ok", "b": "diverged"})
    output.ended("o", "/other.csv", 8, {"y": "ok", "c": "diverged"})
    output.ended("m", MARKS, 7, {"b": "ok", "c": "ok"}, marks=True)
    assert totals(output) == (4, 4, 0, 0)
    output.ended("p", "/other.csv", 6, {"y": "skipped", "c": "diverged"})
    assert (totals(output), to_retry(output)) == ((4, 3, 1, 0), ["p"])


def test_a_row_whose_id_another_has_is_not_mended_with_that_one(output: Output) -> None:
    output.ended("a", "/m.csv", 9, {"x": "ok", "b": "duplicate_id"})
    output.ended("m", MARKS, 8, {"b": "ok"}, marks=True)
    assert totals(output) == (2, 1, 1, 0)


def test_rows_of_one_id_that_were_none_are_all_mended_with_it(output: Output) -> None:
    output.ended("a", "/m.csv", 9, {"x": "ok", "b": "manifest_invalid", "c": "manifest_invalid"})
    rows = b"content,style,id,status\n" + 2 * b"a.png,,b,manifest_invalid\n"
    output.put("a/failures.csv", rows)
    output.ended("m", MARKS, 8, {"b": "ok"}, marks=True)
    assert totals(output) == (3, 3, 0, 0)


def test_a_marked_pair_that_is_left_for_later_is_no_news(output: Output) -> None:
    output.ended("a", "/m.csv", 9, {"x": "ok", "b": "diverged"})
    output.ended("m", MARKS, 8, {"x": "ok", "b": "postponed"}, marks=True)
    assert (totals(output), to_retry(output)) == ((2, 1, 1, 0), ["a"])


def test_a_marked_failure_that_is_in_no_manifest_s_counts_until_another_run(
    output: Output,
) -> None:
    output.ended("a", "/m.csv", 9, {"x": "ok", "y": "ok"})
    output.ended("m", MARKS, 8, {"x": "diverged"}, marks=True)
    assert (totals(output), to_retry(output)) == ((2, 1, 1, 0), ["m"])
    # It may have been one of these.
    output.ended("o", "/other.csv", 7, {"z": "ok"})
    assert (totals(output), to_retry(output)) == ((3, 3, 0, 0), [])


def test_a_retry_in_which_nothing_failed_is_not_to_be_retried(output: Output) -> None:
    output.ended("a", "/m.csv", 9, {"x": "ok", "b": "diverged", "c": "diverged"})
    told = {"started_at": ago(hours=8), "pairs": 2, "done": 1, "failed": 0, "left": 1}
    output.run("r", "stopped", manifest="/o/runs/a/failures.csv", **told)
    assert (totals(output), to_retry(output)) == ((3, 2, 1, 0), ["a"])


def test_marks_that_have_no_results_yet_or_damaged_ones_change_nothing(output: Output) -> None:
    output.ended("a", "/m.csv", 9, {"x": "ok", "b": "diverged"})
    told = {"started_at": ago(hours=8), "pairs": 2, "done": 1, "failed": 1, "left": 0}
    output.run("m", "died", manifest=MARKS, marks=True, **told)
    assert totals(output) == (2, 1, 1, 0)
    output.put("m/results-00000-of-00001.jsonl", b"[1]\n{")
    assert (totals(output), to_retry(output)) == ((2, 1, 1, 0), ["a"])


def test_what_failed_in_a_run_that_was_killed_may_be_what_the_marks_fail(output: Output) -> None:
    counts = {"pairs": 3, "done": 1, "failed": 1, "left": 1}
    output.run("a", "running", started_at=ago(hours=9), renewed_at=ago(hours=8), **counts)
    output.ended("m", MARKS, 7, {"b": "diverged"}, marks=True)
    assert totals(output) == (3, 1, 1, 1)


def test_marks_alone_are_a_catalog(output: Output) -> None:
    output.run("a", "finished", marks=True, pairs=3, done=3, failed=0, left=0)
    assert totals(output) == (3, 3, 0, 0)
    assert catalog_of(output.read()).manifests == 1


def test_runs_that_name_each_other_s_failures_end(output: Output) -> None:
    output.run("a", "finished", manifest="/o/runs/b/failures.csv", pairs=2, failed=2)
    output.run("b", "finished", manifest="/o/runs/a/failures.csv", pairs=2, failed=2)
    assert catalog_of(output.read()).manifests >= 1


def test_of_a_long_chain_of_retries_each_is_compared_with_few(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, runs = "/m.csv", 30
    for number in range(runs):
        when = {"started_at": ago(hours=runs - number)}
        output.run(
            f"r{number}", "finished", manifest=manifest, pairs=99, done=1, failed=runs, **when
        )
        manifest = f"{output.root}/runs/r{number}/failures.csv"
    several = output.read()
    compared, real = [], RunState.__eq__

    def counted(one: RunState, other: object) -> bool:
        compared.append(1)
        return real(one, other)

    monkeypatch.setattr(RunState, "__eq__", counted)
    assert catalog_of(several).manifests == 1
    assert len(compared) < 2 * runs * runs
