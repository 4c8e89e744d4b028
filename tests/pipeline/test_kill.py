"""Killed anywhere, a run loses nothing and does nothing twice; stopped, it says what was done."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pipeline import storage
from pipeline.__main__ import main

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

KILLS = 10
NAMES = tuple(f"{letter}.png" for letter in "abcdefghijkl")
# Whatever a busy machine takes.
PATIENCE = 240.0


def waited_for(happened: Callable[[], Any], process: subprocess.Popen[Any] | None = None) -> Any:
    """What has happened, once it has; fails where the process ends first, or after minutes."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := happened():
            return found
        if process is not None and process.poll() is not None:
            raise AssertionError(f"it ended with {process.returncode}: {process.communicate()}")
        time.sleep(0.005)
    raise AssertionError("it did not happen")


def files_below(folder: str) -> set[str]:
    """Every file, temporary ones too, by its path from there."""
    root = pathlib.Path(folder)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def temporary(folder: str) -> set[str]:
    """The temporary files of unfinished writes."""
    return {name for name in files_below(folder) if storage.temporary_writer(name) is not None}


@contextlib.contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`nst …` as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        env={**os.environ, "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def is_there(pid: int) -> bool:
    """Whether there is a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Killer:
    """Runs of one catalog that are killed, at moments that a seed chooses."""

    def __init__(self, catalog: Catalog, server: subprocess.Popen[str], seed: int) -> None:
        self.catalog = catalog
        self.server = server
        self.chance = random.Random(seed)
        self.output = catalog.uri("out")
        self.kills = 0
        self.strays = 0
        self.records: dict[str, bytes] = {}

    def arguments(self, output: str | None = None) -> list[str]:
        """Those of `nst run`; one pair at a time, so that there are many moments."""
        given = self.catalog.arguments("--batch-size", "1")
        given[given.index("--output") + 1] = output or self.output
        return given

    def kill(self, moment: str) -> None:
        """Run, be killed at a moment, and look at what is left.

        `moment`: `command` and `child`, after some progress; else the call of a function in which
        a child kills itself.
        """
        killed = self._kill_command() if moment == "command" else self._kill_child(moment)
        self.kills += killed
        self.strays += len(temporary(self.output))
        self.look()
        if not killed:
            # It was done before its moment came: the next run begins anew.
            self.output += "+"
            self.records = {}

    def look(self) -> None:
        """Nothing is half there, and what was done before is as it was."""
        found = {}
        for name in files_below(self.output) - temporary(self.output):
            data = pathlib.Path(self.output, name).read_bytes()
            if name.startswith("images/"):
                with Image.open(io.BytesIO(data)) as image:
                    image.load()
            elif name.startswith("losses/"):
                assert len(list(csv.DictReader(io.StringIO(data.decode())))) == 2
            elif name.startswith("records/"):
                assert json.loads(data)["status"] == "ok"
                found[name] = data
        assert {name: found[name] for name in self.records} == self.records
        self.records = found

    def _kill_command(self) -> bool:
        with started(*self.arguments()) as process:
            self._wait_for_progress(lambda: process.poll() is None)
            process.kill()
            return process.wait() == -signal.SIGKILL

    def _kill_child(self, moment: str) -> bool:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        place = None if moment == "child" else moment
        order = [self.arguments(), place, self.chance.randint(1, 4)]
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        child = int(self.server.stdout.readline())
        if place is None:
            self._wait_for_progress(lambda: is_there(child))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(self.server.stdout.readline()) == signal.SIGKILL

    def _wait_for_progress(self, runs: Callable[[], bool]) -> None:
        """Until some more files are there, and a moment longer."""
        before, more = len(files_below(self.output)), self.chance.randint(1, 4)
        waited_for(lambda: not runs() or len(files_below(self.output)) >= before + more)
        time.sleep(self.chance.uniform(0, 0.1))


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    """See `killable`."""
    process = subprocess.Popen(
        [sys.executable, str(pathlib.Path(__file__).with_name("killable.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield process
    process.stdin.close()
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.timeout(1200)
def test_killed_at_any_moment_nothing_is_lost_and_nothing_done_twice(
    catalog: Catalog, server: subprocess.Popen[str]
) -> None:
    catalog.pairs(NAMES)
    killer = Killer(catalog, server, seed=20260401)
    calls = ("replace", "link", "write", "fsync")
    for moment in ("command", "child", *calls, "child", *calls, "command"):
        killer.kill(moment)
    assert killer.kills >= KILLS
    assert killer.strays > 0
    with started(*killer.arguments()) as last:
        said = last.communicate(timeout=PATIENCE)
        assert last.returncode == 0, said

    killer.look()
    assert temporary(killer.output) == set()
    assert len(killer.records) == len(NAMES)
    runs = sorted(pathlib.Path(killer.output, "runs").iterdir())
    (results,) = runs[-1].glob("results-*.jsonl")
    lines = list(map(json.loads, results.read_text().splitlines()))
    assert sorted(line["id"] for line in lines) == [name.partition(".")[0] for name in NAMES]
    assert {line["status"] for line in lines} <= {"ok", "skipped"}

    whole = catalog.uri("whole")
    assert main(killer.arguments(whole)) == 0
    for name in NAMES:
        pictures = [
            np.asarray(Image.open(pathlib.Path(output, "images", name)))
            for output in (killer.output, whole)
        ]
        np.testing.assert_array_equal(*pictures)
