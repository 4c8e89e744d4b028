"""The pipeline's own share of a run: its wall time after start-up, less the engine's seconds."""

from __future__ import annotations

import contextlib
import io
import pathlib
import tempfile
import time
from typing import Any
from unittest import mock

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from pipeline.commands.demo import copy_samples
from pipeline.commands.run import run
from pipeline.job.options import RunOptions
from pipeline.manifest.writing import write_manifest
from tools.draw_samples import CONTENTS, STYLES

PAIRS = 12
CONFIG = StyleConfig(weights="procedural", image_size=128, steps=(40, 15))


def measure() -> list[str]:
    """One row: pairs, seconds after start-up, the engine's seconds, the pipeline's share."""
    calls: list[tuple[float, float]] = []
    original = StyleEngine.stylize_batch

    def timed(self: StyleEngine, *arguments: Any, **options: Any) -> Any:
        started = time.monotonic()
        try:
            return original(self, *arguments, **options)
        finally:
            calls.append((started, time.monotonic()))

    with tempfile.TemporaryDirectory() as folder:
        options = _options(pathlib.Path(folder))
        quiet = contextlib.redirect_stdout(io.StringIO())
        with mock.patch.object(StyleEngine, "stylize_batch", timed), quiet:
            run(options)
        ended = time.monotonic()
    wall = ended - calls[0][0]
    engine = sum(end - start for start, end in calls)
    share = (wall - engine) / wall
    return [f"{PAIRS}", f"{len(calls)}", f"{wall:.2f}", f"{engine:.2f}", f"{share:.1%}"]


def _options(folder: pathlib.Path) -> RunOptions:
    samples = copy_samples(folder)
    contents, styles = ([samples[name] for name in names] for names in (CONTENTS, STYLES))
    rows = (
        {
            "id": f"pair{index}",
            "content": contents[index % len(contents)],
            "style": styles[index // len(contents) % len(styles)],
        }
        for index in range(PAIRS)
    )
    write_manifest(str(folder / "manifest.csv"), rows)
    return RunOptions(str(folder / "manifest.csv"), str(folder / "output"), CONFIG, report=False)


def table() -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    header = ["pairs", "batches", "s after start-up", "s in the engine", "pipeline's share"]
    return header, [measure()]
