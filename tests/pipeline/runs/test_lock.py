"""The lock on an output: held once, recognised as dead, taken over by one, given back."""

from __future__ import annotations

import datetime
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import processes, storage
from pipeline.runs import lock
from pipeline.runs.lock import Lock, LockedError

if TYPE_CHECKING:
    from tests.pipeline.conftest import BadBucket

OTHER = {"host": "other-machine", "pid": 7, "process": "0123456789ab-7-1"}


@pytest.fixture(params=["local", "gs"])
def output(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """An output without a lock, on the disk and in a bucket that honours preconditions."""
    if request.param == "local":
        return str(tmp_path / "out")
    return str(request.getfixturevalue("bad_bucket").uri("out"))


def holder(output: str, **changes: Any) -> bytes:
    """Put down the lock of another run, alive on another machine unless changed; its content."""
    now = datetime.datetime.now(datetime.UTC).isoformat()
    found = {"run": "first", **OTHER, "started_at": now, "renewed_at": now}
    content = json.dumps({**found, **changes}).encode()
    storage.write_bytes(Lock(output, "").uri, content, "application/json")
    return content


def ago(**time: float) -> str:
    """A moment in the past."""
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(**time)).isoformat()


def run_of(output: str) -> str:
    """Which run has the lock."""
    return str(json.loads(storage.read_bytes(Lock(output, "").uri))["run"])


def test_a_living_run_s_lock_is_respected_wherever_it_runs(output: str) -> None:
    content = holder(output, renewed_at=ago(minutes=10))
    with pytest.raises(LockedError, match=r"first \(other-machine, process 7\).*--lock"):
        Lock(output, "second").take()
    assert storage.read_bytes(Lock(output, "").uri) == content
    holder(output, process=processes.own_name())
    with pytest.raises(LockedError):
        Lock(output, "second").take()


def test_a_lock_that_was_not_renewed_for_long_has_lapsed(output: str) -> None:
    holder(output, renewed_at=ago(minutes=16))
    Lock(output, "second").take()
    assert run_of(output) == "second"


def test_a_process_that_has_gone_from_this_machine_is_known_to_be_dead_at_once(output: str) -> None:
    tell = "from pipeline import processes; print(processes.own_name())"
    command = [sys.executable, "-c", tell]
    gone = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    # Its number can be another's by now: here it is that of these tests.
    reused = processes.own_name().rpartition("-")[0] + "-1"
    for name in (gone, reused):
        holder(output, process=name)
        Lock(output, "second").take()
        assert run_of(output) == "second"


def test_another_try_of_a_run_takes_over_what_is_silent_and_waits_for_what_is_not(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(lock, "SILENT_SECONDS", 0.05)
    holder(output)
    with pytest.raises(LockedError):
        Lock(output, "second").take()
    again = Lock(output, "first")
    again.take()
    assert again.renew()

    monkeypatch.setattr(lock, "SILENT_SECONDS", 60.0)
    uri, sleep = again.uri, time.sleep

    def meanwhile(change: Callable[[], object]) -> None:
        monkeypatch.setattr(time, "sleep", lambda seconds: (change(), sleep(seconds)))

    meanwhile(again.renew)
    with pytest.raises(LockedError):
        Lock(output, "first").take()
    meanwhile(lambda: storage.delete(uri))
    third = Lock(output, "first")
    third.take()
    assert third.renew()


@pytest.mark.parametrize("content", [b"", b"no lock", b"[3]"])
def test_what_is_no_lock_locks_nothing(output: str, content: bytes) -> None:
    storage.write_bytes(Lock(output, "").uri, content, "text/plain")
    Lock(output, "second").take()
    assert run_of(output) == "second"


def test_of_two_that_take_a_dead_lock_over_one_gets_it(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder(output, renewed_at=ago(hours=1))
    second, third = Lock(output, "second"), Lock(output, "third")
    write = storage.write_bytes

    def write_late(*arguments: Any) -> None:
        # Also once it was refused: that takes the claim from nobody who lives.
        for _ in range(2):
            with pytest.raises(LockedError):
                third.take()
        write(*arguments)

    monkeypatch.setattr(storage, "write_bytes", write_late)
    second.take()
    assert run_of(output) == "second"
    assert [*storage.list_uris(output)] == [second.uri]


def test_whoever_was_late_to_take_a_dead_lock_over_does_not(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder(output, renewed_at=ago(hours=1))
    second, third = Lock(output, "second"), Lock(output, "third")
    is_dead = third._is_dead

    def decide_slowly(found: bytes) -> bool:
        second.take()
        return is_dead(found)

    monkeypatch.setattr(third, "_is_dead", decide_slowly)
    with pytest.raises(LockedError, match="second"):
        third.take()
    assert run_of(output) == "second"


def test_the_lock_is_renewed_while_it_is_held_and_removed_after(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = []

    def renew(self: Lock) -> bool:
        renewed.append(self.run)
        return len(renewed) < 3

    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.001)
    monkeypatch.setattr(Lock, "renew", renew)
    with lock.held(output, "first"):
        while len(renewed) < 3:
            assert run_of(output) == "first"
    assert [*storage.list_uris(output)] == []


def test_a_renewal_is_written_and_a_lost_lock_is_left_to_who_has_it(output: str) -> None:
    first = Lock(output, "first")
    first.take()
    assert first.renew()
    other = holder(output, run="second")
    assert not first.renew()
    first.release()
    assert storage.read_bytes(first.uri) == other


@pytest.mark.usefixtures("impatient")
def test_a_renewal_that_landed_unheard_is_this_run_s_own(bad_bucket: BadBucket) -> None:
    first = Lock(bad_bucket.uri("out"), "first")
    first.take()
    for end in (first.renew, first.release):
        # Written, and no answer; then nothing goes through any more, for longer than is tried.
        bad_bucket.proxy.fail("unheard", "write", "*.lock")
        bad_bucket.proxy.fail(503, "write", "*.lock", times=sys.maxsize)
        with pytest.raises(storage.StorageError):
            first.renew()
        bad_bucket.proxy.heal()
        end()
    assert not storage.exists(first.uri)
