"""Peak resident memory of one pair, each size in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np

SIZES = (256, 512, 1024)
STEPS = 3


def one(size: int, precision: str) -> None:
    """Stylize noise of `size` px and print the process's peak, MiB."""
    from nst_core.config import StyleConfig
    from nst_core.engine import StyleEngine
    from nst_core.results import Style

    config = StyleConfig(
        weights="procedural", image_size=size, steps=STEPS, precision=precision, device="cpu"
    )
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    StyleEngine.for_config(config, config.weights).stylize(image, [Style(image)], config)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(size: int, precision: str) -> list[str]:
    """One row: size, precision, peak."""
    command = [sys.executable, "-m", "benchmarks.memory", str(size), precision]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [str(size), precision, f"{float(done.stdout.split()[-1]):.0f}"]


def table() -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    rows = [measure(size, precision) for precision in ("float32", "bfloat16") for size in SIZES]
    return ["px", "precision", "peak MiB"], rows


if __name__ == "__main__":
    one(int(sys.argv[1]), sys.argv[2])
