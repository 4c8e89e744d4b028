"""Whole runs on a real Flink cluster: its job manager, task managers and workers are processes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.pipeline.beam_runners import (
    BATCHES,
    NAMES,
    PORTS,
    TIMEOUT,
    Cluster,
    finish,
    free_ports,
    pairs_by_worker,
    start,
    wait_for_records,
)

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

# Long enough for a fault to find workers in the middle of their pairs.
SLOW = ("--set", "steps=60")

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
        one.options()
        yield one
    finally:
        one.script("down")


def test_a_flink_cluster_makes_the_pixels_of_this_process_with_both_its_workers(
    catalog: Catalog, cluster: Cluster
) -> None:
    catalog.pairs(NAMES)
    assert catalog.run(*BATCHES) == 0
    here = [catalog.pixels(name) for name in NAMES]
    shutil.rmtree(catalog.uri("out"))

    finish(catalog, start(catalog, *cluster.options()), set())

    assert catalog.statuses() == ["ok"] * len(NAMES)
    assert catalog.summary()["statuses"] == {"ok": len(NAMES)}
    for name, pixels in zip(NAMES, here, strict=True):
        assert np.abs(catalog.pixels(name) - pixels).max() <= 1
    # All pairs have one style and one size, so without a reshuffle one worker would do them all.
    shares = pairs_by_worker(catalog)
    assert len(shares) == 2
    assert min(shares.values()) >= len(NAMES) // 4


def test_the_job_goes_on_by_itself_and_does_no_pair_twice_whatever_is_killed(
    catalog: Catalog, cluster: Cluster
) -> None:
    catalog.pairs(NAMES)
    running = start(catalog, *cluster.options(), *SLOW)
    wait_for_records(catalog, running, 1)
    before = catalog.records()
    # The Python worker that has done the first pair, and has begun its next.
    os.kill(next(iter(pairs_by_worker(catalog))), signal.SIGKILL)
    wait_for_records(catalog, running, len(before) + 4)
    between = catalog.records()
    cluster.kill("taskmanager-1")
    finish(catalog, running, set())
    after = catalog.records()
    assert len(between) < len(NAMES)
    assert {pair_id: after[pair_id] for pair_id in before} == before
    assert {pair_id: after[pair_id] for pair_id in between} == between
    assert len({record["run"] for record in after.values()}) == 1
    assert set(catalog.statuses()) <= {"ok", "skipped"}


def test_a_report_may_be_larger_than_what_flink_holds_in_one_record(
    catalog: Catalog, cluster: Cluster
) -> None:
    catalog.picture("s.png")
    # Far more than the 3.2 MB of its sort buffers, in one shard and in failures.csv.
    rows = [
        {"id": f"p{number}", "content": "none.png", "style": "s.png", "note": f"{number} " * 800}
        for number in range(1500)
    ]
    catalog.manifest(rows)
    status = start(catalog, *cluster.options()).wait(TIMEOUT)
    assert status == 3, catalog.read("log.txt").decode()[-3000:]
    catalog.note_run(set())
    assert [result["row"] for result in catalog.results()] == [row + 1 for row in range(1500)]
    assert set(catalog.statuses()) == {"input_not_found"}
    assert {row["note"] for row in catalog.failures()} == {row["note"] for row in rows}
    assert not [name for name in catalog.names("out/runs") if "spill-" in name]
