"""Engines for configurations, on every device: loaded when first wanted, lent to one at a time."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from pipeline.console import events
from pipeline.console.notices import without_notices
from pipeline.worker.weights import local_weights

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine
    from nst_core.results import Compiling

# So often in a row a device may fail with what another one can do.
MOST_FAILURES = 2

_LOGGER = logging.getLogger(__name__)


def load_engine(config: StyleConfig, device: str | None = None) -> StyleEngine:
    """The engine for a configuration, with its weights loaded.

    Args:
        device: TensorFlow's name of one; None for the first that the configuration names.

    Raises:
        WeightsError, DeviceError: what is asked for cannot be had.
    """
    with without_notices():
        from nst_core.engine.style_engine import StyleEngine

        return StyleEngine.for_config(
            config, local_weights(config.weights), device, on_compiling=_tell
        )


def _tell(programs: Compiling) -> None:
    events.emit(events.Compilation(programs))


def devices_of(config: StyleConfig) -> tuple[str, ...]:
    """TensorFlow's names of the devices that a configuration names.

    Raises:
        DeviceError: there is none.
    """
    with without_notices():
        from nst_core.devices.device import devices

        return devices(config.device)


def computes_on_gpu(config: StyleConfig) -> bool:
    """Whether a configuration can be computed on a GPU here.

    Raises:
        DeviceError: one is demanded and there is none.
    """
    first = devices_of(config)[0]
    from nst_core.devices.device import is_gpu

    return is_gpu(first)


class EngineCache:
    """The engines of one process, for any thread.

    One for each network that its configurations ask for, on each device where it was wanted.
    """

    def __init__(self) -> None:
        # Called with an engine before it is used.
        self.prepare: Callable[[StyleEngine], None] = lambda _: None
        self._loading = threading.Lock()
        self._engines: dict[tuple[str, ...], StyleEngine] = {}
        self._devices: dict[str, tuple[str, ...]] = {}
        self._changed = threading.Condition()
        self._lent: set[str] = set()
        self._left_out: set[str] = set()
        self._failures: collections.Counter[str] = collections.Counter()

    @property
    def loaded(self) -> int:
        """How many there are."""
        return len(self._engines)

    def devices(self, config: StyleConfig, besides: Collection[str] = ()) -> list[str]:
        """The devices for a configuration, without those that have failed, nor `besides`.

        Raises:
            DeviceError: there is none that the configuration names.
        """
        named = self._devices.get(config.device)
        if named is None:
            named = self._devices[config.device] = devices_of(config)
        # The last one stays: what fails on it is said by what it fails with.
        working = [one for one in named if one not in self._left_out] or named[-1:]
        return [one for one in working if one not in besides]

    def batch_size(self, config: StyleConfig, canvas: Size) -> int:
        """See `StyleEngine.batch_size`; loads an engine.

        Raises:
            WeightsError, DeviceError: as `load_engine`.
        """
        return self.engine_for(config).batch_size(config, canvas)

    def engine_for(self, config: StyleConfig, device: str | None = None) -> StyleEngine:
        """See `load_engine`; the same engine for configurations that differ in other settings."""
        device = device or self.devices(config)[0]
        key = (config.weights, config.pooling, config.padding, config.precision, device)
        with self._loading:
            if key not in self._engines:
                self._engines[key] = load_engine(config, device)
            engine = self._engines[key]
        self.prepare(engine)
        return engine

    @contextlib.contextmanager
    def lent(self, config: StyleConfig, besides: Collection[str]) -> Iterator[StyleEngine]:
        """An engine for a configuration; its device has no other work in this block.

        The first device that is free, of all but `besides`, of which there must be some.

        Raises:
            WeightsError, DeviceError: as `load_engine`.
        """
        with self._changed:
            while not (free := self._free(config, besides)):
                self._changed.wait()
            device = free[0]
            self._lent.add(device)
        try:
            yield self.engine_for(config, device)
        finally:
            with self._changed:
                self._lent.discard(device)
                self._changed.notify_all()

    def worked(self, device: str, failed: Collection[str]) -> None:
        """Take note that a device has done what those that `failed` could not.

        What fails so again and again is left out.
        """
        with self._changed:
            self._failures[device] = 0
            for one in failed:
                self._failures[one] += 1
                if self._failures[one] >= MOST_FAILURES and one not in self._left_out:
                    self._left_out.add(one)
                    _LOGGER.warning(
                        "%s has failed with %d batches that others have done; it is left out.",
                        one.strip("/"),
                        self._failures[one],
                    )

    def _free(self, config: StyleConfig, besides: Collection[str]) -> list[str]:
        # What was left out while its turn was waited for is still better than none.
        wanted = self.devices(config, besides) or [
            one for one in self._devices[config.device] if one not in besides
        ]
        return [one for one in wanted if one not in self._lent]
