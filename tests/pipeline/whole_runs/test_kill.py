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

from pipeline import processes, storage
from pipeline.__main__ import main

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

KILLS = 10
NAMES = tuple(f"{letter}.png" for letter in "abcdefghijkl")
# Functions in which a run is killed, at one of so many calls: those of about one pair.
CALLS = {"replace": 4, "link": 2, "write": 6, "fsync": 10}
# Pairs that are in work for a while, one by one.
SLOW = ("--batch-size=1", "--set", "steps=160", "--set", "checkpoint_seconds=0.01")
# Whatever a busy machine takes.
PATIENCE = 600.0


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
    with contextlib.suppress(FileNotFoundError):  # The run makes it, and may just remove it again.
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return set()


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


class Children:
    """Runs of `nst` in processes that start at once, one after the other; see `killable`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        script = pathlib.Path(__file__).parent.with_name("killable.py")
        self._server = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, arguments: list[str], call: str | None = None, count: int = 0) -> int:
        """Run `nst`; its process id. It kills itself at the `count`-th such call."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps([arguments, str(self._folder), call, count]) + "\n")
        self._server.stdin.flush()
        return int(self._answer())

    def end(self) -> tuple[int, str, str]:
        """Wait for the last one's end: its status, as of `subprocess`, and what it said."""
        status = os.waitstatus_to_exitcode(int(self._answer()))
        out, error = ((self._folder / name).read_text() for name in ("out", "err"))
        return status, out, error

    def close(self) -> None:
        """Start no more."""
        self._server.communicate()

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


class Killer:
    """Runs of one catalog that are killed, at moments that a seed chooses."""

    def __init__(self, catalog: Catalog, children: Children, seed: int) -> None:
        self.catalog = catalog
        self.children = children
        self.chance = random.Random(seed)
        self.output = catalog.uri("out")
        self.kills = 0
        self.strays = 0
        self.records: dict[str, bytes] = {}

    def arguments(self, output: str | None = None) -> list[str]:
        """Those of `nst run`: one pair at a time, for many moments."""
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
        call = None if moment == "child" else moment
        count = self.chance.randint(1, CALLS.get(moment, 1))
        child = self.children.start(self.arguments(), call, count)
        if call is None:
            self._wait_for_progress(lambda: is_there(child))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return self.children.end()[0] == -signal.SIGKILL

    def _wait_for_progress(self, runs: Callable[[], bool]) -> None:
        """Until some more files are there, and a moment longer."""
        before, more = len(files_below(self.output)), self.chance.randint(1, 4)
        waited_for(lambda: not runs() or len(files_below(self.output)) >= before + more)
        time.sleep(self.chance.uniform(0, 0.1))


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """See `killable`."""
    found = Children(tmp_path_factory.mktemp("said"))
    yield found
    found.close()


@pytest.mark.timeout(1800)
def test_killed_at_any_moment_nothing_is_lost_and_nothing_done_twice(
    catalog: Catalog, children: Children
) -> None:
    catalog.pairs(NAMES)
    killer = Killer(catalog, children, seed=20260401)
    for moment in ("command", "child", *CALLS, "child", *CALLS, "child"):
        killer.kill(moment)
    assert killer.kills >= KILLS
    assert killer.strays > 0
    children.start(killer.arguments())
    status, *said = children.end()
    assert status == 0, said

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


def processes_of(pid: int) -> list[int]:
    """The processes that this one has started, at any depth, the oldest first, by /proc."""
    found = processes.descendants(pid)
    # Ids begin again from the lowest: they do not tell which is the older one.
    return sorted(found, key=lambda one: found[one].started)


def command_line(pid: int) -> str:
    """The command of a process; nothing where it has gone."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def under_way(catalog: Catalog) -> bool:
    """Whether a pair is done, and another so long in work that it has a checkpoint."""
    done = {name.partition(".")[0] for name in catalog.names("out/records")}
    open_ = {name.partition(".")[0] for name in catalog.names("out/checkpoints")}
    return bool(done and open_ - done)


def stopped(
    catalog: Catalog, number: signal.Signals, pid: int, end: Callable[[], tuple[int, str, str]]
) -> None:
    """Send a signal once the run is under way, and look at how it ends."""
    waited_for(lambda: under_way(catalog) or not is_there(pid))
    os.kill(pid, number)
    asked = time.monotonic()
    status, out, error = end()
    # Seconds, on a machine that has nothing else to do.
    assert time.monotonic() - asked < 60
    assert status == 128 + number
    (sentence,) = (line for line in error.splitlines() if " done" not in line)
    assert sentence == (
        f"nst: Stopped by {number.name}; the same command goes on where this run ended."
    )
    count = len(catalog.names("out/records"))
    told = sum(int(line.split()[3]) for line in out.splitlines() if " ok " in line)
    # A record may be there a moment before it is told of.
    assert count >= 1
    assert count - 1 <= told <= count
    assert "stopped" in out
    assert temporary(catalog.uri("out")) == set()


@pytest.mark.timeout(1800)
def test_sigterm_ends_the_run_within_seconds_with_what_was_done(
    catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> None:
    catalog.pairs(NAMES[:3])
    temporary_folder = tmp_path_factory.mktemp("temporary")
    with started(*catalog.arguments(*SLOW), TMPDIR=str(temporary_folder)) as process:

        def end() -> tuple[int, str, str]:
            out, error = process.communicate(timeout=PATIENCE)
            return process.returncode, out, error

        stopped(catalog, signal.SIGTERM, process.pid, end)
    assert [*temporary_folder.iterdir()] == []


@pytest.mark.timeout(1800)
def test_ctrl_c_does_the_same_and_the_next_run_does_the_rest(
    catalog: Catalog, children: Children
) -> None:
    catalog.pairs(NAMES[:3])
    stopped(catalog, signal.SIGINT, children.start(catalog.arguments(*SLOW)), children.end)
    count = len(catalog.names("out/records"))
    assert catalog.run(*SLOW) == 0
    assert sorted(catalog.statuses()) == sorted(["skipped"] * count + ["ok"] * (3 - count))


@pytest.mark.timeout(1800)
def test_a_killed_worker_process_fails_the_job_with_a_sentence(catalog: Catalog) -> None:
    catalog.pairs(NAMES[:3])
    apart = ("--runner=DirectRunner", "--direct_running_mode=multi_processing")
    arguments = catalog.arguments(*SLOW, *apart, "--direct_num_workers=2")
    with started(*arguments) as process:
        waited_for(lambda: catalog.names("out/checkpoints"), process)
        family = processes_of(process.pid)
        # Beam starts each from a shell, which is left alone.
        workers = [pid for pid in family if command_line(pid).startswith(sys.executable)]
        os.kill(workers[0], signal.SIGKILL)
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    sentence = error.splitlines()[-1]
    assert sentence.startswith("nst: A worker process has died")
    assert "same command" in sentence
    assert "Traceback" not in error
    waited_for(lambda: not any(map(is_there, family)))
    assert temporary(catalog.uri("out")) == set()
    assert catalog.run(*SLOW) == 0
    assert len(catalog.records()) == 3


@pytest.mark.timeout(1800)
def test_a_killed_run_s_long_pair_goes_on_from_its_checkpoint(
    catalog: Catalog, children: Children
) -> None:
    catalog.pairs(NAMES[:1])
    long = ("--set", "steps=[40, 40]", "--set", "scales=[0.5, 1]")
    assert catalog.run(*long) == 0
    whole = catalog.pixels("a.png")
    mark = catalog.records()["a"]["fingerprint"]
    assert catalog.records()["a"]["resumed_at_step"] is None
    for name in catalog.names("out"):
        os.remove(catalog.uri(f"out/{name}"))

    often = ("--set", "checkpoint_seconds=0.01")
    child = children.start(catalog.arguments(*long, *often))
    waited_for(lambda: catalog.names("out/checkpoints"))
    os.kill(child, signal.SIGKILL)
    assert children.end()[0] == -signal.SIGKILL
    assert catalog.names("out/checkpoints") == {f"a.{mark}.npz"}
    assert catalog.names("out/records") == set()
    assert catalog.run(*long, *often) == 0
    record = catalog.records()["a"]
    assert 0 < record["resumed_at_step"] < 80
    assert record["steps"] == 80
    assert catalog.names("out/checkpoints") == set()
    np.testing.assert_array_equal(catalog.pixels("a.png"), whole)
