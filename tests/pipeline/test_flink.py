"""Whole runs on a real Flink cluster: its job manager, task managers and workers are processes."""

from __future__ import annotations

import pathlib
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from tests.pipeline.flink import PORTS, TIMEOUT, Cluster, free_ports

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

NAMES = tuple(f"p{number:02d}.png" for number in range(16))
BATCHES = ("--batch-size", "2")
# Long enough for a fault to find workers in the middle of their pairs.
SLOW = ("--set", "steps=40")

pytestmark = [
    pytest.mark.timeout(2 * TIMEOUT),
    pytest.mark.skipif(
        not (shutil.which("java") and shutil.which("jar") and shutil.which("mvn")),
        reason="a Flink cluster needs a JDK and Maven",
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster with two task managers."""
    one = Cluster(tmp_path_factory.mktemp("flink"), free_ports(PORTS))
    try:
        up = one.script("up")
        assert up.returncode == 0, up.stderr
        yield one
    finally:
        one.script("down")


def start(cluster: Cluster, catalog: Catalog, *more: str) -> subprocess.Popen[bytes]:
    """`nst run` on the cluster, after whatever an earlier test has killed is up again."""
    arguments = catalog.arguments(*BATCHES, *cluster.options(), *more)
    return cluster.start(arguments, pathlib.Path(catalog.root) / "log.txt")


def finish(cluster: Cluster, catalog: Catalog, running: subprocess.Popen[bytes]) -> None:
    """Wait for the run; it must have done every pair, each once in its results."""
    status = running.wait(TIMEOUT)
    log = catalog.read("log.txt").decode()
    assert status == 0, f"{log[-3000:]}\n{cluster.logs()}"
    assert "Traceback" not in log
    catalog.note_run(set())
    assert [result["id"] for result in catalog.results()] == [n[:-4] for n in NAMES]
    assert set(catalog.records()) == {name[:-4] for name in NAMES}


def wait_for(condition: Callable[[], Any], running: subprocess.Popen[bytes]) -> Any:
    """What the condition gives once it holds, while the run goes on."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert running.poll() is None, "the run ended before the fault"
        time.sleep(0.02)
    raise TimeoutError


def workers_of(catalog: Catalog) -> Counter[int]:
    """How many pairs each worker process has done."""
    return Counter(record["worker"]["pid"] for record in catalog.records().values())


def test_a_flink_cluster_makes_the_pixels_of_this_process_with_both_its_workers(
    catalog: Catalog, cluster: Cluster
) -> None:
    catalog.pairs(NAMES)
    assert catalog.run(*BATCHES) == 0
    here = [catalog.pixels(name) for name in NAMES]
    shutil.rmtree(catalog.uri("out"))

    finish(cluster, catalog, start(cluster, catalog))

    assert catalog.statuses() == ["ok"] * len(NAMES)
    assert catalog.summary()["statuses"] == {"ok": len(NAMES)}
    for name, pixels in zip(NAMES, here, strict=True):
        assert np.abs(catalog.pixels(name) - pixels).max() <= 1
    # All pairs have one style and one size, so without a reshuffle one worker would do them all.
    assert len(workers_of(catalog)) == 2
    assert min(workers_of(catalog).values()) >= len(NAMES) // 4


def kill_a_worker_that_works(cluster: Cluster, catalog: Catalog) -> None:
    """SIGKILL for the Python worker that has done the first pair, and has begun its next."""
    busy = next(iter(workers_of(catalog)))
    assert busy in [worker.pid for worker in cluster.workers()]
    psutil.Process(busy).send_signal(signal.SIGKILL)


def kill_a_task_manager(cluster: Cluster, _: Catalog) -> None:
    """SIGKILL for one of the two task managers."""
    cluster.kill("taskmanager-1")


@pytest.mark.parametrize("fault", [kill_a_worker_that_works, kill_a_task_manager])
def test_the_job_goes_on_by_itself_and_does_no_pair_twice_after(
    fault: Callable[[Cluster, Catalog], None], catalog: Catalog, cluster: Cluster
) -> None:
    catalog.pairs(NAMES)
    running = start(cluster, catalog, *SLOW)
    wait_for(lambda: catalog.names("out/records"), running)
    before = catalog.records()
    fault(cluster, catalog)
    finish(cluster, catalog, running)
    after = catalog.records()
    assert len(before) < len(NAMES)
    assert {pair_id: after[pair_id] for pair_id in before} == before
    assert len({record["run"] for record in after.values()}) == 1
    assert set(catalog.statuses()) <= {"ok", "skipped"}
