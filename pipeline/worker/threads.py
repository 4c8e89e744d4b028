"""Threads that work beside those of the devices, and behind them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from nst_core import host


class Threads(concurrent.futures.Executor):
    """So many for each device: what waits for a storage far away keeps none of the others.

    Args:
        each: for one device; there is one until `serve` says otherwise.
        name: of the threads.

    `devices`: for how many there are threads.
    """

    def __init__(self, each: int, name: str) -> None:
        self._each = each
        self._name = name
        self.devices = 1
        self._pools = [self._pool()]

    def serve(self, devices: int) -> None:
        """Have threads for so many devices from here on, where there were fewer."""
        if devices > self.devices:
            self.devices = devices
            # What was submitted before is still done by those before.
            self._pools.append(self._pool())

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `concurrent.futures.Executor`."""
        return self._pools[-1].submit(function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`."""
        for pool in self._pools:
            pool.shutdown(wait, cancel_futures=cancel_futures)

    def _pool(self) -> ThreadPoolExecutor:
        count = self._each * self.devices
        return ThreadPoolExecutor(count, self._name, initializer=host.yield_to_others)
