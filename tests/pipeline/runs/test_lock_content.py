"""Locks with content that no run has written: a sentence and a decision, never a traceback."""

from __future__ import annotations

import datetime
import json
import logging
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from pipeline import processes, storage
from pipeline.runs.lock import Lock, LockedError

LONG_AGO = "2000-01-01T00:00:00+00:00"


def now() -> datetime.datetime:
    """Asked where it counts: a test can begin long after it was collected."""
    return datetime.datetime.now(datetime.UTC)


def put(tmp_path: pathlib.Path, content: bytes) -> str:
    """A lock of this content on an output; the output."""
    output = str(tmp_path / "out")
    storage.write_bytes(Lock(output, "").uri, content, "application/json")
    return output


def lock_of(**told: Any) -> bytes:
    """A lock that says this, of a living run on another machine where nothing else is said."""
    alive = {"run": "first", "host": "h", "pid": 7, "process": "m-7-1", "started_at": LONG_AGO}
    return json.dumps({**alive, "renewed_at": now().isoformat(), **told}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no lock",
        b"3",
        b"null",
        b'"text"',
        b"[3]",
        b"[[1, 2]]",
        b"\xff\xfe\x00not UTF-8",
        b"\x00" * 3_000_000,
        b"[" * 5_000,
        b"1" * 5_000,
        b"{}",
        b'{"renewed_at": "x"}',
        lock_of(renewed_at=1e9),
        lock_of(renewed_at=None),
        lock_of(renewed_at=["2026"]),
        lock_of(renewed_at="0001-01-01T00:00:00+23:59"),
        lock_of(renewed_at="9999-12-31T23:59:59-23:59"),
        lock_of(renewed_at=(now() + datetime.timedelta(hours=1)).isoformat()),
        lock_of(note="x" * 20_000),
    ],
    ids=lambda content: repr(content[:40]),
)
def test_what_no_run_has_written_locks_nothing(
    tmp_path: pathlib.Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    output = put(tmp_path, content)
    with caplog.at_level(logging.WARNING):
        Lock(output, "second").take()
    assert json.loads(storage.read_bytes(Lock(output, "").uri))["run"] == "second"
    assert "taken over" in caplog.text
    assert len(caplog.text) < 500


@pytest.mark.parametrize(
    "told",
    [
        lambda: {"renewed_at": now().replace(tzinfo=None).isoformat()},
        lambda: {"renewed_at": (now() + datetime.timedelta(minutes=10)).isoformat()},
        lambda: {"run": ["x" * 2_000], "host": {"a": "\n"}, "pid": None, "started_at": 1e400},
        lambda: {"process": "-7-1"},
        lambda: {"process": None, "pid": "9" * 5_000},
    ],
    ids=["naive", "ahead", "odd", "negative", "absurd"],
)
def test_a_lock_that_was_just_renewed_holds_whatever_else_it_says(
    tmp_path: pathlib.Path, told: Callable[[], dict[str, Any]]
) -> None:
    content = lock_of(**told())
    output = put(tmp_path, content)
    with pytest.raises(LockedError) as caught:
        Lock(output, "second").take()
    assert len(str(caught.value)) < 700
    assert "\n" not in str(caught.value)
    assert storage.read_bytes(Lock(output, "").uri) == content


def test_a_process_of_an_absurd_number_is_none(tmp_path: pathlib.Path) -> None:
    machine = processes.own_name().partition("-")[0]
    output = put(tmp_path, lock_of(process=f"{machine}-{'9' * 5_000}-1"))
    Lock(output, "second").take()


def test_a_folder_in_the_place_of_the_lock_is_named(tmp_path: pathlib.Path) -> None:
    output = str(tmp_path / "out")
    pathlib.Path(Lock(output, "").uri).mkdir(parents=True)
    with pytest.raises(storage.StorageError, match=r"runs/\.lock is in the way.*remove it"):
        Lock(output, "second").take()
