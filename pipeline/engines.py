"""Engines for configurations: loaded when first wanted, without TensorFlow's start-up notices."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from pipeline.weights import local_weights

if TYPE_CHECKING:
    from nst_core.engine import StyleEngine

# What TensorFlow prints before its log level counts: how it was built, and that there is no GPU.
_NOTICE = re.compile(
    rb"WARNING: All log messages before absl|I0000 |E0000 .*(cuInit|cuda_platform|already been reg)"
)


def load_engine(config: StyleConfig) -> StyleEngine:
    """The engine for a configuration, with its weights loaded.

    Raises:
        WeightsError, DeviceError: what is asked for cannot be had.
    """
    with _without_notices():
        from nst_core.engine import StyleEngine

        return StyleEngine.for_config(config, local_weights(config.weights))


class Engines:
    """The engines of one process, one for each network that its configurations ask for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[tuple[str, ...], StyleEngine] = {}

    def engine_for(self, config: StyleConfig) -> StyleEngine:
        """See `load_engine`; the same engine for configurations that differ in other settings."""
        key = (config.weights, config.pooling, config.padding, config.precision, config.device)
        with self._lock:
            if key not in self._engines:
                self._engines[key] = load_engine(config)
            return self._engines[key]


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and let all but the notices through."""
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            held.seek(0)
            for line in held:
                if not _NOTICE.match(line):
                    os.write(real, line)
            os.close(real)
