"""run.json: written at the start, every so often, at the end; trouble with it troubles no run."""

from __future__ import annotations

import json
import logging
import pathlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import processes, storage
from pipeline.runs import run_file
from pipeline.runs.reports import Place
from pipeline.runs.run_file import About, RunFile, manifest_details

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket


@pytest.fixture(params=["local", "gs"])
def output(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """An output on the disk, and in a bucket."""
    if request.param == "local":
        return str(tmp_path / "out")
    return str(request.getfixturevalue("gcs").uri("out"))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats come at once."""
    monkeypatch.setattr(run_file, "SECONDS", 0.01)
    monkeypatch.setattr(run_file, "LOCAL_SECONDS", 0.01)


def new_file(output: str, count: Callable[[], dict[str, Any]] = dict) -> RunFile:
    """That of a run of a manifest beside the output."""
    manifest = storage.join(storage.directory(output), "pairs.csv")
    storage.write_bytes(manifest, b"content,style\na.png,s.png\n", "text/csv")
    about = About("nst run …", manifest, ("gs",), None, "2026-01-01T00:00:00+00:00")
    return RunFile(Place(output, "tonight", 1), about, count)


def told(output: str) -> dict[str, Any]:
    """What it says now."""
    uri = storage.join(output, "runs", "tonight", "run.json")
    return dict(json.loads(storage.read_bytes(uri)))


def waited_for(happened: Callable[[], Any]) -> None:
    """Until it has happened."""
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def is_there(output: str) -> bool:
    """Whether there is one."""
    return storage.exists(storage.join(output, "runs", "tonight", "run.json"))


def test_it_says_who_runs_what_and_the_counts_of_the_moment(output: str) -> None:
    counts = {"done": 0}
    file = new_file(output, lambda: dict(counts))
    file.begin()
    waited_for(lambda: is_there(output) and "files" in told(output)["manifest"])
    found = told(output)
    assert (found["run"], found["state"], found["done"]) == ("tonight", "running", 0)
    assert found["process"] == processes.own_name()
    assert found["command"] == "nst run …"
    assert {"engine", "tensorflow"} <= found["versions"].keys()
    (manifest,) = found["manifest"]["files"]
    assert manifest["bytes"] == 26
    assert manifest["identity"] == storage.identity(manifest["uri"])
    counts["done"] = 7
    waited_for(lambda: told(output)["done"] == 7)
    file.end("stopped", "Stopped by SIGTERM.", left=3)
    found = told(output)
    assert (found["state"], found["sentence"], found["left"]) == (
        "stopped",
        "Stopped by SIGTERM.",
        3,
    )
    assert found["ended_at"] >= found["started_at"]


def test_after_its_end_nothing_is_written_and_the_first_end_counts(output: str) -> None:
    file = new_file(output)
    file.begin()
    file.end("stopped")
    file.end("failed")
    content = told(output)
    time.sleep(0.1)
    assert told(output) == content
    assert content["state"] == "stopped"


def test_a_run_that_has_not_begun_leaves_no_file(output: str) -> None:
    new_file(output).end("failed", "It cannot begin.")
    assert not is_there(output)


def test_a_storage_that_refuses_is_a_warning_and_no_end(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    output = str(tmp_path / "out")
    file = new_file(output)
    tries = threading.Semaphore(0)

    def refuse(*_: Any) -> None:
        tries.release()
        raise storage.StorageError("The disk is full.")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(storage, "write_bytes", refuse)
        file.begin()
        for _ in range(4):
            assert tries.acquire(timeout=60)
    waited_for(lambda: is_there(output))
    file.end("finished")
    assert told(output)["state"] == "finished"
    assert caplog.messages == ["The heartbeat could not be renewed: The disk is full."]


def test_a_storage_that_hangs_holds_nobody_up(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = new_file(str(tmp_path / "out"))
    go_on = threading.Event()
    monkeypatch.setattr(storage, "write_bytes", lambda *_: go_on.wait(60))
    monkeypatch.setattr(run_file, "PATIENCE", 0.1)
    began = time.monotonic()
    file.begin()
    file.end("finished")
    assert time.monotonic() - began < 20
    go_on.set()
    assert "could not be written within" in caplog.text


def test_a_reader_never_sees_half_a_file(tmp_path: pathlib.Path) -> None:
    output = str(tmp_path / "out")
    file = new_file(output, lambda: {"reasons": ["x" * 200_000]})
    file.begin()
    waited_for(lambda: is_there(output))
    for _ in range(100):
        assert told(output)["reasons"] == ["x" * 200_000]
    file.end("finished")


def test_several_manifests_are_counted_and_the_first_are_described(gcs: EmulatedBucket) -> None:
    for number in range(run_file.MOST_MANIFESTS + 3):
        storage.write_bytes(gcs.uri(f"in/{number:02d}.csv"), b"content,style\n", "text/csv")
    found = manifest_details(gcs.uri("in/*.csv"))
    assert found["count"] == run_file.MOST_MANIFESTS + 3
    assert len(found["files"]) == run_file.MOST_MANIFESTS
    assert found["files"][1]["uri"] == gcs.uri("in/01.csv")
    assert found["files"][1]["identity"].startswith("crc32c:")


def test_a_manifest_that_has_gone_is_said_to_be(tmp_path: pathlib.Path) -> None:
    found = manifest_details(str(tmp_path / "none.csv"))
    assert "none.csv" in found["trouble"]
