"""An engine that optimises nothing, for tests of what is around it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.results import LOG_COLUMNS, LossLog, Progress, Quality, StyleResult
from pipeline.worker.engine_cache import EngineCache

TERMS = ("total", "content", "style", "tv", "style/block1_conv1")
LOG = LossLog(
    (*LOG_COLUMNS, *TERMS),
    np.array(
        [
            [1, 1.0, 64, 64, 0.5, 6.0, 1.0, 2.0, 3.0, 2.0],
            [2, 1.0, 64, 64, 1.0, 4.0, 1.0, 1.0, 2.0, 1.0],
        ]
    ),
)


def result(value: float = 90.0, size: tuple[int, int] = (64, 48)) -> StyleResult:
    """A stylized image of one grey."""
    image = np.full((size[1], size[0], 3), value, np.float32)
    quality = Quality({"block1_conv1": 0.25}, 0.75)
    return StyleResult(image, quality, LOG, 1.5, Size(64, 64), "float32", "/CPU:0", 1, None, False)


class Engines(EngineCache):
    """Given engines, each on the device that it names."""

    def __init__(self, *several: Any) -> None:
        super().__init__()
        self.by_device = {one.device: one for one in several}

    def devices(self, _: StyleConfig, besides: Collection[str] = ()) -> list[str]:
        """Those of the engines that are not left out."""
        return [one for one in self.by_device if one not in {*besides, *self._left_out}]

    def engine_for(self, _: StyleConfig, device: str | None = None) -> Any:
        """The one on the device."""
        return self.by_device[device or next(iter(self.by_device))]


class FakeEngine:
    """Answers with `answer(names)`, and remembers what it was asked."""

    device = "/CPU:0"
    device_name = "fake"

    def __init__(self, answer: Callable[[list[str]], list[Any]]) -> None:
        self.weights = dataclasses.make_dataclass("W", [("sha256", str)])("ab" * 32)
        self.style_passes = 0
        self.asked: list[list[str]] = []
        self.answer = answer
        self.given: dict[str, Any] = {}
        self.size = 1

    @property
    def batches(self) -> int:
        """How many it has answered."""
        return len(self.asked)

    def batch_size(self, *_: Any) -> int:
        """How many pairs are best for it."""
        return self.size

    def works(self) -> bool:
        """Whether it does."""
        return True

    def stylize_batch(self, contents: Any, styles: Any, config: Any, **more: Any) -> list[Any]:
        """See `StyleEngine.stylize_batch`."""
        names = [name.rpartition("/")[2] for name in more["names"]]
        self.asked.append(names)
        self.given = {"contents": contents, "styles": styles, "config": config, **more}
        self.style_passes += 1
        more["progress"](Progress(1, 2, 1.0, (3.0,)))
        return self.answer(names)
