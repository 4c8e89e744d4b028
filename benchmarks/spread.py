"""Work on a Flink cluster: with an engine that sleeps, only the pipeline and the runner work.

The cluster is that of `deploy/flink/local-cluster.sh`, started if need be; one task manager works
at parallelism 1, both at 2. Seconds are those of the whole `nst run` (a process of its own).
First its start with one pair (the fastest of three: a new cluster's first jobs are slower); then a
catalog of which each pair takes a set time in the engine; then ones that take none there, less the
start: what the pipeline and the runner cost for a pair.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.stand_in import StandIn
from nst_core.config import StyleConfig
from pipeline.manifest.writing import write_manifest
from pipeline.runners.worker_pool import WORKER, WorkerPool
from pipeline.worker import engine_cache

CLUSTER = pathlib.Path(__file__).parents[1] / "deploy" / "flink" / "local-cluster.sh"
SETTINGS = ("weights=procedural", "image_size=32", "scales=[1]", "steps=1")
SECONDS_PER_PAIR = 1.0
SLOW_PAIRS = 64
QUICK_PAIRS = (1_000, 10_000)
STARTS = 3


def stand_in(seconds: float) -> None:
    """Let every engine of this process be one that sleeps."""

    def load(config: StyleConfig, device: str | None = None) -> Any:  # noqa: ARG001
        return StandIn(seconds)

    engine_cache.load_engine = load


def write_catalog(folder: pathlib.Path, pairs: int) -> list[str]:
    """One content, one style and a manifest of so many pairs; the arguments of `nst run`."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("content.png", "style.png"):
        pixels = generator.integers(0, 256, (24, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    rows = (
        {"id": f"item{index:06d}", "content": "content.png", "style": "style.png"}
        for index in range(pairs)
    )
    write_manifest(str(folder / "manifest.csv"), rows)
    where = ["--manifest", str(folder / "manifest.csv"), "--output", str(folder / "output")]
    return ["run", *where, *(word for one in SETTINGS for word in ("--set", one))]


def timed(pairs: int, seconds: float, parallelism: int, cluster: Sequence[str]) -> list[float]:
    """Seconds of `nst run` with an engine that takes so long, and the smaller worker's share."""
    code = f"from benchmarks.spread import stand_in; stand_in({seconds}); {WORKER}"
    pool = WorkerPool(code)
    own = [f"--environment_config=localhost:{pool.serve(0)}", f"--parallelism={parallelism}"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary, "catalog")
        command = [sys.executable, "-m", "pipeline", *write_catalog(folder, pairs)]
        started = time.perf_counter()
        subprocess.run([*command, *cluster, *own], check=True, capture_output=True)
        elapsed = time.perf_counter() - started
        shares: dict[int, int] = {}
        for record in (folder / "output" / "records").iterdir():
            pid = json.loads(record.read_bytes())["worker"]["pid"]
            shares[pid] = shares.get(pid, 0) + 1
    pool.close()
    return [elapsed, min(shares.values()) / pairs if len(shares) > 1 else 0.0]


def cluster_options() -> list[str]:
    """The options that the cluster's script prints, but those that are set here."""
    # Its workers' Python is the first on the PATH: this one.
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    command, environment = [str(CLUSTER), "up"], {**os.environ, "PATH": path}
    up = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    words = [word for line in up.stdout.splitlines()[1:] for word in line.split()]
    mine = ("--parallelism", "--environment_config")
    return [word for word in words if word.partition("=")[0] not in mine]


def table() -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    cluster = cluster_options()
    rows = []
    start = {}
    for workers in (1, 2):
        start[workers] = min(timed(1, 0.0, workers, cluster)[0] for _ in range(STARTS))
    cases = [(SLOW_PAIRS, SECONDS_PER_PAIR), *((pairs, 0.0) for pairs in QUICK_PAIRS)]
    for pairs, seconds in cases:
        for workers in (1, 2):
            elapsed, share = timed(pairs, seconds, workers, cluster)
            net = elapsed - start[workers]
            numbers = [f"{elapsed:.1f}", f"{net:.1f}", f"{1000 * net / pairs:.1f}"]
            rows.append([f"{pairs}", f"{seconds:g}", f"{workers}", *numbers, f"{share:.0%}"])
    header = ["pairs", "engine's s/pair", "workers", "s", "less the start", "ms/pair"]
    return [*header, "smaller share"], rows
