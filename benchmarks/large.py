"""4096×3072 px as on a machine with 8 GiB: the tiles that the engine chooses, and the peak memory.

Each row is a process of its own that believes to have 8 GiB in all. `peak` is the most resident
memory of that whole process, the weights and TensorFlow included. Goal: at most 8 GiB. L-BFGS
remembers two images more with each of its first twelve steps (288 MiB here), which these few steps
do not show: docs/memory.md has what a whole optimisation takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks.memory import DEFAULT, resident
from nst_core import host
from nst_core.canvas import Size

GIB = 2**30
MACHINE = 8 * GIB
SIZE = Size(4096, 3072)
# Also of the style, which is measured at the content's size.
SETTINGS = {"image_size": SIZE.width, "device": "cpu", "precision": "float32"}
CASES: tuple[dict[str, Any], ...] = (
    {"optimizer": "adam", "steps": 1},
    {"optimizer": "lbfgs", "steps": 2},
)


def one(changes: dict[str, Any]) -> None:
    """Stylize noise and print tile, seconds per step, and the process's peak, as JSON."""
    from nst_core.engine.style_engine import StyleEngine
    from nst_core.results import Style

    host.available_memory = lambda: float(MACHINE - resident("VmRSS"))
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (SIZE.height, SIZE.width, 3)).astype(np.uint8)
    config = DEFAULT.updated({**SETTINGS, **changes})
    engine = StyleEngine.for_config(config, config.weights)
    result = engine.stylize(image, [Style(image)], config)
    # The log's last row is at the end of the last step.
    seconds = result.losses.rows[-1][4] / result.steps
    print(json.dumps([result.tile, result.steps, seconds, resident("VmHWM")]))


def row(changes: dict[str, Any]) -> list[str]:
    """One case, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.large", json.dumps(changes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    tile, steps, seconds, peak = json.loads(done.stdout.splitlines()[-1])
    shown = [
        str(SIZE),
        changes["optimizer"],
        str(steps),
        str(tile or "whole"),
        f"{seconds:.1f}",
        f"{peak / GIB:.2f}",
    ]
    print(*shown, sep="\t", flush=True)
    return shown


def table() -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    header = ["px", "optimiser", "steps", "tile", "s/step", "peak, GiB"]
    return header, [row(changes) for changes in CASES]


if __name__ == "__main__":
    one(json.loads(sys.argv[1]))
