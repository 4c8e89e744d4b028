"""An engine that optimises nothing, for tests of what is around it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from nst_core.canvas import Size
from nst_core.results import LOG_COLUMNS, LossLog, Progress, Quality, StyleResult

TERMS = ("total", "content", "style", "tv", "style/block1_conv1")
LOG = LossLog(
    (*LOG_COLUMNS, *TERMS),
    (
        (1, 1.0, 64, 64, 0.5, 6.0, 1.0, 2.0, 3.0, 2.0),
        (2, 1.0, 64, 64, 1.0, 4.0, 1.0, 1.0, 2.0, 1.0),
    ),
)


def result(value: float = 90.0, size: tuple[int, int] = (64, 48)) -> StyleResult:
    """A stylized image of one grey."""
    image = np.full((size[1], size[0], 3), value, np.float32)
    quality = Quality({"block1_conv1": 0.25}, 0.75)
    return StyleResult(image, quality, LOG, 1.5, Size(64, 64), "float32", "/CPU:0", 1, None, False)


class FakeEngine:
    """Answers with `answer(names)`, and remembers what it was asked."""

    device_name = "fake"

    def __init__(self, answer: Callable[[list[str]], list[Any]]) -> None:
        self.weights = dataclasses.make_dataclass("W", [("sha256", str)])("ab" * 32)
        self.style_passes = 0
        self.asked: list[list[str]] = []
        self.answer = answer
        self.given: dict[str, Any] = {}

    def stylize_batch(self, contents: Any, styles: Any, config: Any, **more: Any) -> list[Any]:
        """See `StyleEngine.stylize_batch`."""
        names = [name.rpartition("/")[2] for name in more["names"]]
        self.asked.append(names)
        self.given = {"contents": contents, "styles": styles, "config": config, **more}
        self.style_passes += 1
        more["progress"](Progress(1, 2, 1.0, (3.0,)))
        return self.answer(names)
