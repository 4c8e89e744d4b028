"""Whole runs on Prism, Beam's own portable runner, with a worker that is a process."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.runners.worker_pool import WorkerPool
from tests.pipeline.beam_runners import (
    BATCHES,
    NAMES,
    TIMEOUT,
    finish,
    pairs_by_worker,
    start,
    wait_for_records,
)

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

BUILD = pathlib.Path(__file__).parents[3] / "deploy" / "prism" / "build.sh"

# Long enough for a fault to find the worker in the middle of its pairs.
SLOW = ("--set", "steps=15")

pytestmark = [
    pytest.mark.timeout(3 * TIMEOUT),
    pytest.mark.skipif(not shutil.which("go"), reason="Prism is built with Go"),
]


@pytest.fixture(scope="module")
def prism() -> Iterator[tuple[str, ...]]:
    """The options of `nst run` for Prism and a pool of workers."""
    built = subprocess.run([str(BUILD)], stdout=subprocess.PIPE, text=True, check=True)
    pool = WorkerPool()
    workers = f"--environment_config=localhost:{pool.serve(0)}"
    location = f"--prism_location={built.stdout.strip()}"
    yield "--runner=PrismRunner", location, "--environment_type=EXTERNAL", workers
    pool.close()


def test_prism_makes_the_pixels_of_this_process(catalog: Catalog, prism: tuple[str, ...]) -> None:
    catalog.pairs(NAMES)
    assert catalog.run(*BATCHES) == 0
    here = [catalog.pixels(name) for name in NAMES]
    shutil.rmtree(catalog.uri("out"))
    finish(catalog, start(catalog, *prism), set())
    assert catalog.summary()["statuses"] == {"ok": len(NAMES)}
    for name, pixels in zip(NAMES, here, strict=True):
        assert np.abs(catalog.pixels(name) - pixels).max() <= 1


def test_prism_gives_up_when_a_worker_is_killed_and_the_same_command_goes_on(
    catalog: Catalog, prism: tuple[str, ...]
) -> None:
    catalog.pairs(NAMES)
    running = start(catalog, *prism, *SLOW)
    wait_for_records(catalog, running, 1)
    (worker,) = pairs_by_worker(catalog)
    os.kill(worker, signal.SIGKILL)
    assert running.wait(TIMEOUT) == 1
    assert "\nnst: The job failed" in catalog.read("log.txt").decode()
    before, runs = catalog.records(), catalog.names("out/runs")
    assert len(before) < len(NAMES)
    finish(catalog, start(catalog, *prism, *SLOW), runs)
    after = catalog.records()
    assert {pair_id: after[pair_id] for pair_id in before} == before
    assert catalog.statuses().count("skipped") == len(before)
