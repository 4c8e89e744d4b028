"""Runs in which reading, optimising and writing are all busy when something happens."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.worker import work

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

SCRIPT = pathlib.Path(__file__).parent.with_name("slow_stages.py")
NAMES = tuple(f"{letter}.png" for letter in "abcdefghijkl")
# Whatever a busy machine takes.
PATIENCE = 300.0


class Run:
    """A run with slow stages, in a process of its own."""

    def __init__(self, catalog: Catalog, seconds: float) -> None:
        self.catalog = catalog
        self.notes = pathlib.Path(catalog.root, "notes.txt")
        self.notes.touch()
        self.log = pathlib.Path(catalog.root, "log.txt")
        arguments = catalog.arguments("--batch-size=1")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(self.notes), str(seconds), *arguments],
                cwd=SCRIPT.parents[2],
                env={"PYTHONPATH": str(SCRIPT.parents[2]), "COLUMNS": "200"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def counts(self) -> collections.Counter[str]:
        """How often each stage has begun or ended with something."""
        lines = self.notes.read_text().splitlines()
        return collections.Counter(line.rpartition(" ")[0] for line in lines)

    def busy(self) -> set[str]:
        """The stages that are at something just now."""
        counts = self.counts()
        stages = ("read", "optimize", "write")
        return {one for one in stages if counts[f"{one} begins"] > counts[f"{one} ends"]}

    def wait_until_all_are_busy(self) -> None:
        """Return in the middle of the work of all three stages, when a pair has ended."""
        until = time.monotonic() + PATIENCE
        while len(self.busy()) < 3 or not self.counts()["pair ends"]:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until
            time.sleep(0.005)

    def end(self) -> int:
        """Its status."""
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running(catalog: Catalog, seconds: float) -> Iterator[Run]:
    run = Run(catalog, seconds)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()


def check_output(catalog: Catalog) -> None:
    """What a record vouches for is there, and nothing is half written."""
    root = pathlib.Path(catalog.uri("out"))
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert not {name for name in files if storage.temporary_writer(name) is not None}
    for name in catalog.records():
        assert {f"images/{name}.png", f"losses/{name}.csv"} <= files


def test_sigterm_ends_a_run_whose_stages_are_all_busy(catalog: Catalog) -> None:
    catalog.pairs(NAMES)
    with running(catalog, 0.3) as run:
        run.wait_until_all_are_busy()
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 128 + signal.SIGTERM
        log = run.log.read_text()
    assert "Stopped by SIGTERM" in log
    assert "Traceback" not in log
    check_output(catalog)
    with running(catalog, 0.0) as run:
        assert run.end() == 0
    assert catalog.records().keys() == {name[0] for name in NAMES}


def test_a_killed_run_loses_no_more_than_what_was_optimised_and_not_yet_written(
    catalog: Catalog,
) -> None:
    catalog.pairs(NAMES)
    with running(catalog, 0.3) as run:
        run.wait_until_all_are_busy()
        run.process.send_signal(signal.SIGKILL)
        run.end()
    done = len(catalog.records())
    with running(catalog, 0.0) as run:
        assert run.end() == 0
        optimized = run.counts()["optimize begins"]
    # One pair is on the device, and so many are being written.
    assert len(NAMES) <= optimized <= len(NAMES) + 1 + work.PAIRS_BESIDE + 1
    assert catalog.records().keys() == {name[0] for name in NAMES}
    assert done >= 1
    check_output(catalog)
