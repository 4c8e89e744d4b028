"""A stand-in for the device's work alone: all else of the engine and the pipeline is real.

The features of the network are next to nothing, a step takes a set time and no processor, and what
a card computes in a millisecond (resizing, recolouring, SSIM) is left out; that these graphs are
called, with what, and what is fetched of them, is real. Batches are as large as a card's, and pass
at once. What the device was busy with, and what the threads around it took of the processor, goes
to a file of one line for each call, since workers are processes of their own.

Workers of other processes find it by a `sitecustomize` in a folder on their `PYTHONPATH`.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

# Seconds of a step of one image, and where the calls are noted.
SECONDS = "NST_BENCHMARK_SECONDS_PER_STEP"
NOTES = "NST_BENCHMARK_NOTES"
SITE = (
    "import sys\n"
    "if any('sdk_worker_main' in one for one in sys.orig_argv):\n"
    "    from benchmarks import idle_device\n"
    "    idle_device.install()\n"
)
_LOCK = threading.Lock()


def site(folder: pathlib.Path) -> str:
    """A folder for `PYTHONPATH` by which Beam's worker processes install the stand-in."""
    (folder / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    return str(folder)


def install() -> None:
    """From here on the engines that this process loads have the stand-in for their device."""
    from pipeline.worker import engine_cache

    real = engine_cache.load_engine

    def load(config: Any, device: str | None = None) -> Any:
        _patch()
        return real(config, device)

    engine_cache.load_engine = load


def _patch() -> None:
    import tensorflow as tf

    from nst_core.compiled.graphs import Graph
    from nst_core.devices import batch_sizes
    from nst_core.engine import initialization, pictures
    from nst_core.engine.program import Program
    from nst_core.engine.style_engine import StyleEngine
    from nst_core.network import weights
    from nst_core.network.vgg import Vgg19
    from nst_core.objective import quality
    from nst_core.optimizers import history
    from pipeline.worker.reading import Reader
    from pipeline.worker.writing import Writer

    if getattr(Program.advance, "idle", False):
        return

    def features(_: Any, x: Any, names: Any, *__: Any) -> dict[str, Any]:
        shapes = weights.layer_shapes()
        few = tf.reduce_mean(x[:, :4, :4], axis=-1, keepdims=True)
        return {name: few * tf.linspace(0.1, 1.0, shapes[name][3]) for name in names}

    def advance(
        self: Any, state: Any, targets: Any, weights: Any, rate: Any, count: int
    ) -> tuple[Any, Any]:
        import numpy as np

        del targets, weights, rate
        images = len(state["x"])
        started = time.monotonic()
        time.sleep(float(os.environ[SECONDS]) * count * images)
        note("device", started=started, ended=time.monotonic(), images=images)
        falling = np.linspace(2, 1, count)[:, None, None]
        return state, np.ones((count, images, len(self.objective.columns))) * falling

    def batch_size(self: Any, config: Any, canvas: Any) -> int:  # noqa: ARG001
        return batch_sizes.paying(canvas)

    def at_once(self: Any, function: Any, images: Any) -> dict[str, Any]:  # noqa: ARG001
        return dict(function(images))

    def resized(images: Any, rows: Any, columns: Any, _: Any) -> Any:
        return tf.image.resize(images, [len(rows), len(columns)], "nearest")

    # It is in the card's memory.
    history.start = lambda x: {}  # noqa: ARG005
    initialization._weighed = resized
    initialization._added = lambda contents, *_: contents
    pictures._recolored = lambda images, *_: pictures._widened(images)
    quality.structural_similarity = lambda *_: tf.ones([1])
    Graph.__call__ = noted("graph", Graph.__call__)  # type: ignore[method-assign]
    StyleEngine.batch_size = batch_size  # type: ignore[method-assign]
    Program._each = at_once  # type: ignore[method-assign]
    advance.idle = True  # type: ignore[attr-defined]
    Vgg19.features = features  # type: ignore[method-assign,assignment]
    Program.advance = advance  # type: ignore[method-assign,assignment]
    Reader.read = noted("reading", Reader.read)  # type: ignore[method-assign]
    Writer.write = noted("writing", Writer.write)  # type: ignore[method-assign]
    StyleEngine.stylize_batch = noted("engine", StyleEngine.stylize_batch)  # type: ignore[method-assign]


def noted(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, each call of which notes what its thread took of the processor."""

    def call(*arguments: Any, **more: Any) -> Any:
        started, before = time.monotonic(), time.thread_time()
        try:
            return function(*arguments, **more)
        finally:
            seconds = time.thread_time() - before
            ended = time.monotonic()
            note(what, started=started, ended=ended, seconds=seconds)

    return call


def note(what: str, **values: float) -> None:
    """Append a line to the file of notes."""
    line = json.dumps({"what": what, "pid": os.getpid(), **values})
    with _LOCK, open(os.environ[NOTES], "a", encoding="utf-8") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    install()
    from pipeline.__main__ import main

    sys.exit(main(sys.argv[1:]))
