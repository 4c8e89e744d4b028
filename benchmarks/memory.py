"""Peak memory of one optimisation beside what the model in `nst_core/devices/memory.py` predicts.

Each row is measured in a process of its own: the most resident memory during `stylize_batch`,
less that before it. `python -m benchmarks.memory` also fits the model's constants anew.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import numpy as np

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.devices import memory
from nst_core.optimizers import HISTORY

DEFAULT = StyleConfig().updated({"weights": "procedural", "scales": [1], "steps": 2})
SHALLOW = {"content_layers": {"block1_conv2": 1}, "style_layers": {"block1_conv1": 1}}
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement: side of the square images, how many, what differs from the default."""

    side: int
    batch: int
    precision: str
    tile: int | None
    changes: dict[str, Any]

    @property
    def config(self) -> StyleConfig:
        """What is run."""
        tile = self.tile or "off"
        return DEFAULT.updated({"image_size": self.side, "tile": tile, **self.changes})

    def predicted(self) -> float:
        """What the model says, bytes."""
        size = Size(self.side, self.side)
        return memory.predicted(
            self.config, size, self.batch, self.precision, self.tile, one_by_one=True
        )


def cases() -> list[Case]:
    """Sizes, batches, precisions, depths, optimisers, tiles."""
    adam = {"optimizer": "adam"}
    found = [
        Case(side, batch, precision, None, changes)
        for precision in ("float32", "bfloat16")
        for side, batch, changes in (
            (256, 1, {}),
            (512, 1, {}),
            (768, 1, {}),
            (256, 4, {}),
            (512, 1, adam),
            (512, 2, {**SHALLOW, **adam}),
            (768, 1, SHALLOW),
        )
    ]
    # In tiles the history of L-BFGS grows with its steps; elsewhere it is there from the start.
    full = {**SHALLOW, "steps": HISTORY + 2}
    tiled = [
        Case(1024, 1, "float32", 128, full),
        Case(1536, 1, "float32", 128, full),
        Case(1024, 1, "float32", 128, {**SHALLOW, **adam}),
        Case(1536, 1, "float32", 128, {**SHALLOW, **adam}),
        Case(768, 1, "float32", 256, {}),
        Case(768, 1, "bfloat16", 256, {}),
    ]
    return found + tiled


def one(case: Case) -> None:
    """Stylize noise and print by how many bytes the process grew at its peak."""
    from nst_core.engine.style_engine import StyleEngine
    from nst_core.results import Style

    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (case.side, case.side, 3)).astype(np.uint8)
    config = case.config.updated({"precision": case.precision, "device": "cpu"})
    engine = StyleEngine.for_config(config, config.weights)
    engine.programs.compiled(config, case.precision)
    # From here on the kernel counts the peak anew.
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = resident("VmRSS")
    engine.stylize_batch([image] * case.batch, [Style(image)], config)
    print(resident("VmHWM") - before)


def resident(kind: str) -> int:
    """`VmRSS` (resident now) or `VmHWM` (at the peak), bytes."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(rf"{kind}:\s+(\d+) kB", status)[0]) * 1024


def measured(case: Case) -> float:
    """The growth at the peak in a process of its own, bytes."""
    arguments = json.dumps(dataclasses.asdict(case))
    command = [sys.executable, "-m", "benchmarks.memory", arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def fitted(found: dict[int, float], everything: list[Case]) -> dict[str, float]:
    """The constants that predict no measurement too low and are least above them.

    What is predicted too high costs some speed, what is predicted too low the process.
    """
    from scipy.optimize import linprog

    names = ["BASE", *(f"FEATURES {name}" for name in memory.FEATURES)]
    names += [f"{kind} {name}" for kind in ("IMAGES", "TILED_IMAGES") for name in memory.IMAGES]
    names += ["TARGETS", "TILED_TARGETS"]
    rows, rest = [], []
    for index, case in enumerate(everything):
        size = Size(case.side, case.side)
        parts = memory.parts(
            case.config, size, case.batch, case.precision, case.tile, one_by_one=True
        )
        kind = "TILED_" if case.tile else ""
        row = dict.fromkeys(names, 0.0)
        row["BASE"] = MIB
        row[f"FEATURES {case.precision}"] = parts.features
        row[f"{kind}IMAGES {case.config.optimizer}"] = parts.image
        row[f"{kind}TARGETS"] = parts.targets
        rows.append(np.array(list(row.values())) / found[index])
        known = memory.remembered(case.config) * parts.image if case.tile else 0.0
        rest.append(1 - known / found[index])
    solution = linprog(np.sum(rows, axis=0), A_ub=-np.array(rows), b_ub=-np.array(rest))
    # BASE comes in MiB, so that all are of one order.
    return dict(zip(names, map(float, solution.x), strict=True))


def table() -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    header = ["px", "batch", "precision", "tile", "", "peak MiB", "predicted MiB"]
    return header, [row(case, measured(case)) for case in cases()]


def row(case: Case, peak: float) -> list[str]:
    """A measurement beside its prediction."""
    what = ", ".join(
        [case.config.optimizer, "shallow" if "content_layers" in case.changes else "default layers"]
    )
    return [
        str(case.side),
        str(case.batch),
        case.precision,
        str(case.tile or "off"),
        what,
        f"{peak / MIB:.0f}",
        f"{case.predicted() / MIB:.0f}",
    ]


def main() -> None:
    """All measurements, and the constants fitted to them."""
    everything = cases()
    found = {}
    for index, case in enumerate(everything):
        found[index] = measured(case)
        print(*row(case, found[index]), sep="\t", flush=True)
    for name, value in fitted(found, everything).items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one(Case(**json.loads(sys.argv[1])))
    else:
        main()
