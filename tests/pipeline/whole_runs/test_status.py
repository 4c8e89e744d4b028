"""`nst status`: of runs that go on, have ended, were stopped or killed, and what to do next."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline import storage
from pipeline.__main__ import main
from pipeline.report.failing import failures_of
from pipeline.report.runs import runs_of
from tests.pipeline.conftest import Catalog
from tests.pipeline.whole_runs.test_stages import NAMES, Run

Status = Callable[..., dict[str, Any]]


@pytest.fixture
def status(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> Status:
    """What `nst status --json` says of the catalog's output, and its exit status."""

    def call(*more: str, output: str = "") -> dict[str, Any]:
        capsys.readouterr()
        code = main(["status", output or catalog.uri("out"), "--json", *more])
        found = dict(json.loads(capsys.readouterr().out))
        assert found["exit_status"] == code
        return found

    return call


@pytest.fixture
def slow_run(catalog: Catalog) -> Iterator[Run]:
    """A run of twelve pairs, in the middle of its work."""
    catalog.pairs(NAMES)
    run = Run(catalog, 0.3)
    try:
        run.wait_until_all_are_busy()
        yield run
    finally:
        run.process.kill()
        run.end()


def retold(catalog: Catalog, run: str, **changes: Any) -> None:
    """Let a run's file say something else."""
    name = f"out/runs/{run}/run.json"
    told = {**json.loads(catalog.read(name)), **changes}
    catalog.write(name, json.dumps(told).encode())


def test_options_that_are_keys_stand_in_nothing_that_is_written(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png",))
    keys = ("--s3_secret_access_key", "my-secret", "--s3_session_token=my-secret")
    assert catalog.run(*keys, "--azure_connection_string=Key=my-secret", "--limit=1") == 0
    assert not [name for name, data in catalog.files().items() if b"my-secret" in data]
    assert main(["status", catalog.uri("out")]) == 0
    captured = capsys.readouterr()
    assert "my-secret" not in captured.out + captured.err
    told = json.loads(catalog.read(f"{catalog.run_folder}/run.json"))
    assert told["command"].endswith(
        "--s3_secret_access_key '***' '--s3_session_token=***' '--azure_connection_string=***' "
        "--limit=1"
    )


def test_a_launched_run_that_was_never_heard_of_counts_until_the_next_one(
    catalog: Catalog, status: Status
) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run("--run-id=first") == 0
    storage.delete(catalog.uri("out/runs/first/summary.json"))
    # As a template's job leaves it that found no GPU.
    retold(catalog, "first", state="launched", done=0, left=1)
    found = status()
    assert (found["exit_status"], found["next"].split()[-1]) == (5, "--watch")
    assert catalog.run("--run-id=second") == 0
    found = status()
    assert (found["exit_status"], found["next"]) == (0, None)
    assert [run["state"] for run in found["runs"]] == ["launched", "finished"]


def test_marked_pairs_are_not_counted_twice(catalog: Catalog, status: Status) -> None:
    catalog.pairs(("a.png", "b.png"))
    assert catalog.run() == 0
    catalog.write("marks.csv", b"id,content,style,mark\na,a.png,s.png,redo\n")
    assert catalog.run(manifest="marks.csv") == 0
    catalog_of = status()["catalog"]
    assert (catalog_of["manifests"], catalog_of["pairs"], catalog_of["done"]) == (1, 2, 2)


def test_a_marked_pair_counts_as_the_last_run_of_it_has_left_it(
    catalog: Catalog, status: Status, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png", "b.png", "c.png"))
    for name in ("b.png", "c.png"):
        catalog.write(name, b"no picture")
    assert catalog.run() == 3
    lines = [f"{name},{name}.png,s.png,redo\n" for name in "abc"]

    def marked(name: str, rows: list[str]) -> tuple[int, int]:
        catalog.write(name, "".join(["id,content,style,mark\n", *rows]).encode())
        catalog.run(manifest=name)
        found, output = status()["catalog"], catalog.uri("out")
        # The report finds out by itself.
        assert len(failures_of(runs_of(output), output)) == found["failed"]
        return found["done"], found["failed"]

    def failed_says_export() -> str:
        target = catalog.uri(f"exported-{len(catalog.names(''))}.csv")
        arguments = ["export", catalog.uri("out"), "--format", "csv", "-o", target]
        assert main(arguments) == 0
        return capsys.readouterr().out

    assert marked("marks.csv", lines[:2]) == (1, 2)
    assert marked("marks-2.csv", lines) == (1, 2)
    assert "2 pairs have failed" in failed_says_export()
    catalog.picture("b.png")
    assert marked("marks-2.csv", lines) == (2, 1)
    assert "1 pair has failed" in failed_says_export()
    # What is next does what is left.
    catalog.picture("c.png")
    command = shlex.split(status()["next"])
    assert main(command[1:]) == 0
    found = status()
    assert (found["catalog"]["done"], found["catalog"]["failed"]) == (3, 0)
    assert (found["exit_status"], found["next"]) == (0, None)
    assert "failed" not in failed_says_export()


def test_a_run_that_finished_with_failures_is_told_with_the_command_that_retries_them(
    catalog: Catalog, status: Status, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png", "b.png", "c.png"))
    catalog.write("b.png", b"no picture")
    assert catalog.run() == 3
    found = status()
    (run,) = found["runs"]
    assert (run["state"], run["done"], run["failed"], run["left"]) == ("finished", 2, 1, 0)
    assert found["exit_status"] == 3
    assert [one["status"] for one in run["reasons"]] == ["input_unreadable"]
    assert (found["catalog"]["pairs"], found["catalog"]["done"]) == (3, 2)
    assert main(["status", catalog.uri("out")]) == 3
    said = capsys.readouterr().out
    assert "finished" in said
    assert "1 × input_unreadable" in said
    # What it says to do next does it.
    catalog.picture("b.png")
    command = shlex.split(found["next"])
    assert command[:2] == ["nst", "run"]
    assert main(command[1:]) == 0
    found = status()
    assert (found["exit_status"], found["next"]) == (0, None)
    assert (found["catalog"]["done"], found["catalog"]["failed"]) == (3, 0)


def test_a_run_that_goes_on_and_then_is_killed(
    catalog: Catalog, status: Status, slow_run: Run
) -> None:
    found = status()
    (run,) = found["runs"]
    assert (run["state"], found["exit_status"]) == ("running", 5)
    assert run["pairs"] in (None, 12)  # Told with the next heartbeat.
    assert "--watch" in found["next"]
    slow_run.process.send_signal(signal.SIGKILL)
    slow_run.end()
    found = status()
    assert (found["runs"][0]["state"], found["exit_status"]) == ("died", 6)
    # The command that was given goes on.
    assert shlex.quote(catalog.uri("pairs.csv")) in found["next"]


def test_a_run_that_was_stopped_says_so_and_has_its_results_so_far(
    catalog: Catalog, status: Status, slow_run: Run
) -> None:
    slow_run.process.send_signal(signal.SIGTERM)
    assert slow_run.end() == 128 + signal.SIGTERM
    found = status()
    (run,) = found["runs"]
    assert (run["state"], found["exit_status"]) == ("stopped", 6)
    assert run["done"] >= 1
    assert run["done"] + run["left"] == 12
    catalog.run_folder = f"out/runs/{run['run']}"
    assert [one["status"] for one in catalog.results()] == ["ok"] * run["done"]


def test_a_run_that_had_too_many_failures_has_them_and_what_is_left(
    catalog: Catalog, status: Status
) -> None:
    names = [f"{letter}.png" for letter in "abcdefgh"]
    catalog.pairs(names)
    for name in names[:4]:
        catalog.write(name, b"no picture")
    assert catalog.run("--max-failures=1") == 1
    found = status()
    (run,) = found["runs"]
    assert run["state"] in ("stopped", "failed")
    assert found["exit_status"] == 6
    assert (run["done"], run["failed"], run["left"]) == (0, 4, 4)
    assert (found["catalog"]["done"], found["catalog"]["left"]) == (0, 4)
    assert len(catalog.failures()) == 4


@pytest.mark.parametrize(
    ("rows", "more", "statuses"),
    [
        ([{"id": f"p{n}", "content": ""} for n in range(4)], 2, ["manifest_invalid"] * 4),
        ([{"id": f"p{n}", "options.steps": "no"} for n in range(4)], 2, ["options_invalid"] * 4),
        ([{"id": "p"}] * 4, 1, ["duplicate_id"] * 2),
        ([{"id": "q", "content": ""}, *[{"id": "p"}] * 4], 1, ["manifest_invalid", "duplicate_id"]),
    ],
)
def test_what_fails_before_any_work_is_told_of_where_it_is_too_much(
    catalog: Catalog,
    status: Status,
    capsys: pytest.CaptureFixture[str],
    rows: list[dict[str, str]],
    more: int,
    statuses: list[str],
) -> None:
    catalog.pairs()
    catalog.manifest([{"content": "a.png", "style": "s.png", **row} for row in rows])
    assert catalog.run(f"--max-failures={more}") == 1
    assert sorted(row["status"] for row in catalog.failures()) == sorted(statuses)
    (run,) = status()["runs"]
    assert (run["state"], run["done"], run["failed"]) == ("stopped", 0, len(statuses))
    assert sum(one["count"] for one in run["reasons"]) == len(statuses)
    assert main(["status", catalog.uri("out")]) == 6
    assert "its pairs are not counted yet" in capsys.readouterr().out


def test_a_heartbeat_that_is_old_is_that_of_a_run_that_died(
    catalog: Catalog, status: Status
) -> None:
    catalog.pairs()
    assert catalog.run() == 0
    run = catalog.run_folder.rpartition("/")[2]
    storage.delete(catalog.uri(f"out/runs/{run}/summary.json"))
    now = datetime.datetime.now(datetime.UTC)
    for age, state, code in ((60, "running", 5), (200, "died", 6)):
        heard = now - datetime.timedelta(seconds=age)
        elsewhere = {"state": "running", "host": "elsewhere", "process": "x-1-2", "ended_at": None}
        retold(catalog, run, renewed_at=heard.isoformat(), **elsewhere)
        found = status()
        assert (found["runs"][0]["state"], found["exit_status"]) == (state, code)


def test_a_run_that_was_killed_beside_one_that_finished_is_no_end(
    catalog: Catalog, status: Status
) -> None:
    catalog.pairs()
    for name in ("first", "second"):
        assert catalog.run("--run-id", name) == 0
    storage.delete(catalog.uri("out/runs/second/summary.json"))
    now = datetime.datetime.now(datetime.UTC)
    begun, heard = ((now - datetime.timedelta(hours=age)).isoformat() for age in (3, 1))
    killed = {"state": "running", "process": "x-1-2", "ended_at": None, "pairs": None}
    for ended_at, code, head in ((begun, 6, "second"), (now.isoformat(), 0, "first")):
        retold(catalog, "first", started_at=begun, ended_at=ended_at)
        retold(catalog, "second", started_at=heard, renewed_at=heard, **killed)
        found = status()
        assert [run["state"] for run in found["runs"]] == ["finished", "died"]
        assert (found["exit_status"], found["catalog"]["heads"]) == (code, [head])
        assert found["catalog"]["done"] == 2
    assert found["next"] is None


def test_a_long_command_is_told_whole_and_a_damaged_one_not_at_all(
    catalog: Catalog, status: Status, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.picture("s.png")
    contents = [catalog.uri(f"a picture  with a long name {n}.png") for n in range(20)]
    for name in contents:
        catalog.picture(name.rpartition("/")[2])
    where = ["--styles", catalog.uri("s.png"), "--output", catalog.uri("out")]
    given = ["run", "--contents", *contents, *where, *catalog.small, "--limit=1"]
    assert main(given) == 0
    (run,) = status()["runs"]
    retold(catalog, run["run"], state="stopped")
    assert shlex.split(status()["next"])[-len(given) :] == given
    retold(catalog, run["run"], state="stopped", command=run["command"][:100])
    found = status()
    assert (found["next"], found["exit_status"]) == (None, 6)
    assert main(["status", catalog.uri("out")]) == 6
    assert "What is next cannot be told" in capsys.readouterr().out


def test_the_command_that_goes_on_is_by_what_it_does_with_pairs_that_are_done(
    catalog: Catalog, status: Status
) -> None:
    catalog.pairs()
    assert catalog.run("--limit=1", "--on-existing=error", "--run-id=first") == 0
    assert status()["next"].endswith(" --on-existing=error --run-id=first --on-existing skip")
    assert catalog.run("--limit=1", "--on-existing", "redo", "--run-id=second") == 0
    assert status()["next"].endswith(" --run-id=second  # begins with the first pair again")


def test_pairs_that_were_left_for_later_are_not_done(catalog: Catalog, status: Status) -> None:
    catalog.pairs()
    assert catalog.run("--limit=1", "--run-id=first") == 0
    for found in (status(), status("--run=first")):
        assert found["exit_status"] == 6
        assert "--limit=1" in found["next"]
    assert catalog.run("--limit=1") == 0
    found = status()
    assert (found["exit_status"], found["next"]) == (0, None)


def test_several_runs_and_one_of_them(catalog: Catalog, status: Status) -> None:
    catalog.pairs()
    # In the order in which they began, also within one second.
    for name in ("z", "y", "x"):
        assert catalog.run("--run-id", name) == 0
    found = status()
    assert [(run["run"], run["done"], run["skipped"]) for run in found["runs"]] == [
        ("z", 2, 0),
        ("y", 0, 2),
        ("x", 0, 2),
    ]
    assert found["catalog"]["done"] == 2
    assert [run["run"] for run in status("--run", "z")["runs"]] == ["z"]
    assert status("--count")["records"] == 2


def test_what_is_not_there_is_said_in_one_sentence(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", catalog.uri("nothing")]) == 2
    assert "has no runs; give the folder that nst run --output names" in capsys.readouterr().err
    catalog.pairs()
    assert catalog.run("--run-id", "first") == 0
    capsys.readouterr()
    assert main(["status", catalog.uri("out"), "--run", "frist"]) == 2
    assert "the nearest is first" in capsys.readouterr().err


def test_neither_tensorflow_nor_beam_is_loaded(catalog: Catalog) -> None:
    catalog.pairs()
    assert catalog.run() == 0
    code = (
        "import sys; from pipeline.__main__ import main; "
        f"main(['status', {catalog.uri('out')!r}]); "
        "print(sorted({'tensorflow', 'apache_beam', 'numpy'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.splitlines()[-1]
    assert "tensorflow" not in loaded
    assert "apache_beam" not in loaded


def test_on_cloud_storage_no_record_is_listed(
    gcs: Any, engines: Any, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", lambda: engines)
    far = Catalog(gcs.uri("far"))
    far.pairs()
    assert far.run() == 0
    listed: list[str] = []
    real = storage.list_uris

    def listing(uri: str, *more: Any) -> Any:
        listed.append(uri)
        return real(uri, *more)

    monkeypatch.setattr(storage, "list_uris", listing)
    found = status(output=far.uri("out"))
    assert found["exit_status"] == 0
    assert found["runs"][0]["done"] == 2
    assert listed == [far.uri("out/runs")]
