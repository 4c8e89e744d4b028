"""A run holds one wave in memory, however many rows its manifest has."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

from benchmarks import scale

# For each row more: about three times what the index has of it, and far less than a task takes.
MOST_BYTES = 1024
FEW, MANY = 3_000, 18_000
MEASURE = (
    "import sys, pathlib; from pipeline.job import waves; from benchmarks import scale; "
    "waves.WAVE_ROWS = waves.READ_AT_ONCE = 1000; waves.BYTES_IN_MEMORY = 2**16; "
    "scale.one(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"
)


def test_memory_does_not_grow_with_the_rows(tmp_path: pathlib.Path) -> None:
    peaks = []
    for rows in (FEW, MANY):
        folder = tmp_path / str(rows)
        scale.put_results(scale.write_catalog(folder, rows))
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(folder), str(rows)],
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        )
        *_, peak, statuses = json.loads(done.stdout.splitlines()[-1])
        assert statuses == {"skipped": rows}
        peaks.append(peak)
    assert (peaks[1] - peaks[0]) / (MANY - FEW) < MOST_BYTES
