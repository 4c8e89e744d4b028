"""Seconds that XLA's compilation costs: those of a pair of `default` with few steps, less those of
the same pair again. The first canvas of a process, whose steps are traced too, then a further one;
with nothing kept ("empty"), then both in a new process ("filled"). "One after the other" compiles
each scale's program when its turn comes, "side by side" those of all scales at once. Where there is
no GPU, XLA compiles for the processor (of which nothing but this table makes use), on all its cores
already for one program. Medians of five processes, which take turns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any
from unittest import mock

import numpy as np

from nst_core.config import StyleConfig

ROUNDS = 5
# Of contents, px; each fills a canvas of its own.
CANVASES = ((128, 96), (128, 64))
STEPS = 2
WAYS = ("one after the other", "side by side")


def table() -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    header = ["scales' programs", "cache", "first canvas, s", "further canvas, s", "programs"]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _ in range(ROUNDS):
        for way in WAYS:
            with tempfile.TemporaryDirectory() as cache:
                for state in ("empty", "filled"):
                    found.setdefault((way, state), []).append(_elsewhere(way, cache))
    rows = []
    for (way, state), runs in found.items():
        seconds = [statistics.median(run["seconds"][i] for run in runs) for i in (0, 1)]
        rows.append([way, state, *(f"{one:.2f}" for one in seconds), f"{runs[0]['compiled']}"])
    return header, rows


def _elsewhere(way: str, cache: str) -> dict[str, Any]:
    """What `measure` finds in a process of its own, with this cache folder."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.compilation", way],
        env={**os.environ, "NST_CACHE": cache},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return dict(json.loads(process.stdout.splitlines()[-1]))


def measure(way: str) -> dict[str, Any]:
    """Seconds of each canvas's first pair beyond its second one's, and programs compiled."""
    from nst_core.compiled import compilation
    from nst_core.engine.program import Program
    from nst_core.engine.style_engine import StyleEngine
    from nst_core.results import Style

    def compiled(objective: Any, optimizer: Any, **_: bool) -> Program:
        return Program(objective, optimizer, xla=True)

    mock.patch("nst_core.engine.programs.Program", compiled).start()
    if way == WAYS[0]:
        mock.patch("nst_core.engine.batch.side_by_side").start()
    config = StyleConfig(weights="procedural", precision="float32").updated(
        {"image_size": 128, "steps": STEPS}
    )
    engine = StyleEngine.for_config(config, config.weights)
    generator = np.random.default_rng(0)
    style = Style(generator.integers(0, 256, (256, 256, 3), np.uint8))
    seconds = []
    for width, height in CANVASES:
        content = generator.integers(0, 256, (height, width, 3), np.uint8)
        taken = []
        for _ in range(2):
            started = time.perf_counter()
            engine.stylize(content, [style], config)
            taken.append(time.perf_counter() - started)
        seconds.append(taken[0] - taken[1])
    store = compilation.store_for(engine.device)
    return {"seconds": seconds, "compiled": len(store.take_new()) if store else None}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
