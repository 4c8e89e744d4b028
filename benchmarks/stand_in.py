"""A stand-in for the engine, so that only the pipeline and the runner work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_core.canvas import Size
from nst_core.results import LOG_COLUMNS, LossLog, Quality, StyleResult

TERMS = ("total", "content", "style", "tv", "style/block1_conv1")


class StandIn:
    """Stands for `StyleEngine`: sleeps so many seconds for each content; every result is grey."""

    device = "/CPU:0"
    device_name = "none"
    style_passes = 0

    class weights:  # noqa: N801
        """Of nothing."""

        sha256 = "0" * 64

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches = 0
        step = [1, 1.0, 32, 32, seconds, 3.0, 1.0, 1.0, 1.0, 1.0]
        self._losses = LossLog((*LOG_COLUMNS, *TERMS), np.array([step]))

    def batch_size(self, *_: Any) -> int:
        """As a CPU has it."""
        return 1

    def stylize_batch(self, contents: Sequence[Any], *_: Any, **__: Any) -> list[StyleResult]:
        """A result for each content."""
        self.batches += 1
        time.sleep(self.seconds * len(contents))
        return [
            StyleResult(
                image=np.full((24, 32, 3), 128, np.float32),
                quality=Quality({"block1_conv1": 0.0}, 1.0),
                losses=self._losses,
                seconds=self.seconds,
                canvas=Size(32, 32),
                precision="float32",
                device="none",
                batch=len(contents),
                tile=None,
                retried=False,
            )
            for _ in contents
        ]
