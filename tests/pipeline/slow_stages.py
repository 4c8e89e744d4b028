"""`nst` whose reading, optimising and writing each take a set time, without TensorFlow.

`python slow_stages.py NOTES SECONDS ARGUMENTS…`: what each stage begins and ends with a file or a
pair is appended to NOTES, one line `read|optimize|write begins|ends NAME` each, and `pair ends ID`
once the run knows of it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from nst_core.results import Progress
from pipeline import storage
from pipeline.__main__ import main
from pipeline.console import events
from pipeline.worker import engine_cache
from tests.pipeline.fake_engine import FakeEngine, result

NOTES, SECONDS = sys.argv[1], float(sys.argv[2])
LOCK = threading.Lock()


def note(stage: str, what: str, name: str) -> None:
    """Append one line."""
    with LOCK, open(NOTES, "a", encoding="utf-8") as file:
        file.write(f"{stage} {what} {name.rpartition('/')[2]}\n")


def slow(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a URI, after a while."""

    def call(uri: str, *arguments: Any, **more: Any) -> Any:
        note(stage, "begins", uri)
        time.sleep(SECONDS)
        found = function(uri, *arguments, **more)
        note(stage, "ends", uri)
        return found

    return call


def emit(event: events.Event, tell: Callable[[events.Event], None] = events.emit) -> None:
    """See `events.emit`."""
    tell(event)
    if isinstance(event, events.PairEnded):
        note("pair", "ends", event.outcome.id or "")


class SlowEngine(FakeEngine):
    """Optimises nothing, slowly, and tells that it goes on."""

    def stylize_batch(self, contents: Any, styles: Any, config: Any, **more: Any) -> list[Any]:
        """See `StyleEngine.stylize_batch`."""
        for name in more["names"]:
            note("optimize", "begins", name)
        for step in range(10):
            time.sleep(SECONDS / 10)
            more["progress"](Progress(step, 10, 1.0, (3.0,)))
        for name in more["names"]:
            note("optimize", "ends", name)
        return super().stylize_batch(contents, styles, config, **more)


ENGINE = SlowEngine(lambda names: [result() for _ in names])
engine_cache.load_engine = lambda *_: ENGINE  # type: ignore[assignment,return-value]
engine_cache.devices_of = lambda _: (ENGINE.device,)
events.emit = emit
storage.read_version = slow("read", storage.read_version)
storage.create_bytes = slow("write", storage.create_bytes)

if __name__ == "__main__":
    sys.exit(main(sys.argv[3:]))
