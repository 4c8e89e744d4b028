"""Engines for configurations: loaded when first wanted, without TensorFlow's start-up notices."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from nst_core.config import StyleConfig
from pipeline.console import events
from pipeline.console.notices import without_notices
from pipeline.worker.weights import local_weights

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine
    from nst_core.results import Compiling


def load_engine(config: StyleConfig) -> StyleEngine:
    """The engine for a configuration, with its weights loaded.

    Raises:
        WeightsError, DeviceError: what is asked for cannot be had.
    """
    with without_notices():
        from nst_core.engine.style_engine import StyleEngine

        return StyleEngine.for_config(config, local_weights(config.weights), _tell)


def _tell(programs: Compiling) -> None:
    events.emit(events.Compilation(programs))


class EngineCache:
    """The engines of one process, one for each network that its configurations ask for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[tuple[str, ...], StyleEngine] = {}

    @property
    def loaded(self) -> int:
        """How many there are."""
        return len(self._engines)

    def engine_for(self, config: StyleConfig) -> StyleEngine:
        """See `load_engine`; the same engine for configurations that differ in other settings."""
        key = (config.weights, config.pooling, config.padding, config.precision, config.device)
        with self._lock:
            if key not in self._engines:
                self._engines[key] = load_engine(config)
            return self._engines[key]
