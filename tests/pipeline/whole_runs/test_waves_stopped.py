"""Runs of several waves that are killed, stopped, or two at once: nothing lost, nothing twice."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import storage

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

ROWS = 12
WAVE = 5
SCRIPT = str(pathlib.Path(__file__).parent.with_name("small_waves.py"))
ROOT = str(pathlib.Path(__file__).parents[3])
# Whatever a busy machine takes.
PATIENCE = 250.0


@contextlib.contextmanager
def started(
    catalog: Catalog, *more: str, seconds: float = 0.0, kill: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """`nst run` in waves, as a process of its own."""
    arguments = catalog.arguments("--batch-size=1", *more)
    with subprocess.Popen(
        [sys.executable, SCRIPT, str(WAVE), str(seconds), str(kill), *arguments],
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": ROOT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """How it ended, and what it said."""
    out, error = process.communicate(timeout=PATIENCE)
    return process.returncode, out, error


def wait_for(happened: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Until it has happened; fails where the process ends first."""
    until = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def files(catalog: Catalog) -> dict[str, float]:
    """The records, each with when it was written."""
    return {uri: os.stat(uri).st_mtime_ns for uri in storage.list_uris(catalog.uri("out/records"))}


def results(catalog: Catalog, run: str) -> dict[str, str]:
    """Id and status of every line of a run's results."""
    catalog.run_folder = f"out/runs/{run}"
    found = catalog.results()
    assert [one["row"] for one in found] == list(range(1, ROWS + 1))
    return {one["id"]: one["status"] for one in found}


@pytest.fixture
def pairs(catalog: Catalog) -> Catalog:
    """Twelve pairs: three waves."""
    catalog.pairs([f"p{number:02d}.png" for number in range(ROWS)])
    return catalog


@pytest.mark.timeout(600)
def test_killed_between_two_waves_the_next_run_does_the_rest(pairs: Catalog) -> None:
    with started(pairs, "--run-id=first", kill=3) as process:
        assert ended(process)[0] == -signal.SIGKILL
    before = files(pairs)
    assert len(before) == 2 * WAVE
    with started(pairs, "--run-id=second") as process:
        status, _, error = ended(process)
    assert (status, error) == (0, "")
    assert before.items() <= files(pairs).items()
    statuses = list(results(pairs, "second").values())
    assert statuses == ["skipped"] * (2 * WAVE) + ["ok"] * (ROWS - 2 * WAVE)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_its_second_wave_a_run_says_all_that_it_has_done(
    pairs: Catalog, number: signal.Signals
) -> None:
    with started(pairs, "--run-id=first", seconds=0.5) as process:
        wait_for(lambda: len(files(pairs)) > WAVE, process)
        process.send_signal(number)
        asked = time.monotonic()
        status, out, error = ended(process)
        # Seconds, on a machine that has nothing else to do.
        assert time.monotonic() - asked < 60
    assert status == 128 + number
    assert error.splitlines()[-1].startswith(f"nst: Stopped by {number.name};")
    (row,) = (line.split() for line in out.splitlines() if " ok " in line)
    count = len(files(pairs))
    # The last record may be there before it is told of.
    assert WAVE <= int(row[3]) <= count < 2 * WAVE + 1
    names = {"config.yaml", "failures.csv", "results-00000-of-00001.jsonl", "run.json"}
    assert pairs.names("out/runs") == {f"first/{name}" for name in names}
    pairs.run_folder = "out/runs/first"
    told_of = [one["status"] for one in pairs.results()]
    assert told_of == ["ok"] * int(row[3])
    everything = pathlib.Path(pairs.uri("out")).rglob("*")
    assert not [path for path in everything if storage.temporary_writer(str(path)) is not None]
    with started(pairs, "--run-id=second") as process:
        assert ended(process)[0] == 0
    statuses = list(results(pairs, "second").values())
    assert statuses == ["skipped"] * count + ["ok"] * (ROWS - count)


@pytest.mark.timeout(600)
def test_two_runs_at_once_do_each_pair_and_both_end_well(pairs: Catalog) -> None:
    with (
        started(pairs, "--run-id=one", seconds=0.1) as one,
        started(pairs, "--run-id=other", seconds=0.1) as other,
    ):
        assert [ended(process)[0] for process in (one, other)] == [0, 0]
    assert len(pairs.records()) == ROWS
    both = results(pairs, "one"), results(pairs, "other")
    assert all({*statuses.values()} <= {"ok", "skipped"} for statuses in both)
    for name in both[0]:
        assert {statuses[name] for statuses in both} == {"ok", "skipped"}
    for run in ("one", "other"):
        summary = json.loads(pairs.read(f"out/runs/{run}/summary.json"))
        assert summary["pairs"] == ROWS
