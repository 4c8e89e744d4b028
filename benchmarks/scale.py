"""Large catalogs: `nst run` with an engine that answers at once, so that only the pipeline works.

Each run is a process of its own: seconds are those of the whole run less those of a run of one
pair (both with Beam imported), those of processors count all threads (on a machine that does
other work too they tell more), memory is the most that was resident. First every pair is written
(image, loss log and record of a picture of 32 px, each synced to the disk), then every pair is
found done, by its record and images of which many pairs share one; of more than 100,000 pairs, only
the latter, with empty files as images and copies of the first records that the benchmark puts there
itself. Files lie in the temporary folder (`TMPDIR`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from benchmarks.memory import MIB, resident
from benchmarks.options import Options
from benchmarks.stand_in import StandIn
from nst_core.config import StyleConfig
from pipeline import storage
from pipeline.commands.run import run
from pipeline.job.options import RunOptions
from pipeline.job.planning import plan_row
from pipeline.manifest.rows import read_rows
from pipeline.manifest.writing import write_manifest
from pipeline.records import records
from pipeline.records.tasks import Task
from pipeline.worker.engine_cache import EngineCache

CONTENTS = 20
MOST_WRITTEN = 100_000  # pairs: each takes a millisecond and more
CONFIG = StyleConfig(weights="procedural", image_size=32, scales=(1,), steps=1)


class InstantEngines(EngineCache):
    """Engines that stand in for others, on one device."""

    _engine = StandIn()

    def devices(self, _: StyleConfig, besides: Collection[str] = ()) -> list[str]:
        """The one of them all."""
        return [one for one in (StandIn.device,) if one not in besides]

    def engine_for(self, _: StyleConfig, device: str | None = None) -> Any:  # noqa: ARG002
        """One that answers at once."""
        return self._engine


def write_catalog(folder: pathlib.Path, rows: int) -> RunOptions:
    """A few small pictures and a manifest of so many rows; the options that run it."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    names = [f"content{index}.png" for index in range(CONTENTS)] + ["style.png"]
    for name in names:
        pixels = generator.integers(0, 256, (24, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
        os.utime(folder / name, (0, 0))  # The same picture when it is written again.
    cells = (
        {
            "id": f"shelf{index // 1000:05d}/item{index:08d}",
            "content": str(folder / names[index % CONTENTS]),
            "style": str(folder / "style.png"),
            "sku": f"A-{index:08d}",
        }
        for index in range(rows)
    )
    write_manifest(str(folder / "manifest.csv"), cells)
    return RunOptions(str(folder / "manifest.csv"), str(folder / "output"), CONFIG, report=False)


def put_results(options: RunOptions) -> None:
    """Put what marks every pair of a catalog as done into its output, without doing most of it.

    The records are those of the first pairs, of which each content has one, with other ids.
    """
    timed_run(dataclasses.replace(options, limit=CONTENTS))
    done = {}
    for uri in storage.list_uris(f"{options.output}/records"):
        data = storage.read_bytes(uri)
        record = json.loads(data)
        done[record["sources"]["content"]] = record["id"], record["fingerprint"], data
    folders: set[str] = set()
    for row in read_rows(options.manifest):
        task = plan_row(row, options.manifest, options)
        assert isinstance(task, Task)
        first, mark, data = done[task.pair.content]
        record_path = records.record_uri(options.output, task.pair.id, mark)
        image_path = records.image_uri(options.output, task.pair.id, options.config)
        for path, content in (
            (image_path, b""),
            (record_path, data.replace(first.encode(), task.pair.id.encode())),
        ):
            folder = os.path.dirname(path)
            if folder not in folders:
                os.makedirs(folder, exist_ok=True)
                folders.add(folder)
            with open(path, "wb") as file:
                file.write(content)


@contextlib.contextmanager
def without_engine() -> Iterator[None]:
    """No network is loaded, and nothing is said."""
    with (
        mock.patch("pipeline.job.stylize_transforms.EngineCache", InstantEngines),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


def timed_run(options: RunOptions) -> tuple[float, float, dict[str, int]]:
    """Seconds of `nst run`, those of them on processors, and the count of each status."""
    before = {*storage.list_uris(f"{options.output}/runs")}
    started, busy = time.perf_counter(), time.process_time()
    with without_engine():
        run(options)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    (summary,) = (
        uri
        for uri in storage.list_uris(f"{options.output}/runs")
        if uri not in before and uri.endswith("/summary.json")
    )
    return seconds, cpu, dict(json.loads(storage.read_bytes(summary))["statuses"])


def one(folder: pathlib.Path, rows: int) -> None:
    """Run the catalog of a folder; print both seconds, peak memory (bytes), statuses as JSON."""
    options = write_catalog(folder, rows)
    with tempfile.TemporaryDirectory() as other:
        small = write_catalog(pathlib.Path(other), 1)
        # The first one imports Beam; the second one is what every run takes.
        _, (start, start_cpu, _) = timed_run(small), timed_run(small)
    seconds, cpu, statuses = timed_run(options)
    print(json.dumps([seconds - start, cpu - start_cpu, resident("VmHWM"), statuses]))


def measure(rows: int) -> list[list[str]]:
    """The rows of the table: every pair written (unless they are many), every pair found done."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        parts = {"ok": "each written", "skipped": "all done already"}
        if rows > MOST_WRITTEN:
            del parts["ok"]
            put_results(write_catalog(pathlib.Path(folder), rows))
        for status, what in parts.items():
            command = [sys.executable, "-m", "benchmarks.scale", folder, str(rows)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, cpu, peak, statuses = json.loads(done.stdout.splitlines()[-1])
            if statuses != {status: rows}:
                raise RuntimeError(f"{rows} pairs should end as {status}, not as {statuses}")
            each = [f"{1e6 * one / rows:.0f}" for one in (seconds, cpu)]
            found.append([f"{rows}", what, f"{seconds:.1f}", *each, f"{peak / MIB:.0f}"])
    return found


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows."""
    header = ["pairs", "", "s", "µs per pair", "of processors", "peak MiB"]
    return header, [row for rows in options.scale_rows for row in measure(rows)]


if __name__ == "__main__":
    one(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
