"""`nst` with waves of a few rows and an engine that is not one, in a process that can be killed.

`small_waves.py ROWS SECONDS KILL ARGUMENT…`: the engine takes so many seconds for each content, and
before it does the pipeline of the wave numbered `KILL` (from 1; 0: of none), the process kills
itself.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pipeline.job.job
from benchmarks.scale import InstantEngines
from benchmarks.stand_in import StandIn
from pipeline.__main__ import main
from pipeline.job import stylize_transforms, waves


class Engines(InstantEngines):
    """Engines that take their time."""

    def engine_for(self, _: Any, device: str | None = None) -> StandIn:  # noqa: ARG002
        """One that takes its time."""
        return StandIn(float(sys.argv[2]))


def die_at(wave: int) -> None:
    """Let this process be killed when the pipeline of a wave would be built."""
    real = pipeline.job.job.build_wave
    left = wave

    def build_wave(*given: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*given)

    pipeline.job.job.build_wave = build_wave


if __name__ == "__main__":
    # Whoever starts this in the background may have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    waves.WAVE_ROWS = int(sys.argv[1])
    stylize_transforms.EngineCache = Engines  # type: ignore[misc,assignment]
    die_at(int(sys.argv[3]))
    sys.exit(main(sys.argv[4:]))
