"""A thread that renews a file while its run lives: the lock, the heartbeat."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from nst_core.errors import JobError

_LOGGER = logging.getLogger(__name__)


class Renewing:
    """Renews something every so many seconds, until it is ended or has nothing more to renew.

    Trouble with the storage is a warning, one for as long as it lasts.

    Args:
        renew: False where it is not to be renewed any more.
        what: its name, with which the warning begins.
        first, last: called once, before and after all that, on the same thread.
    """

    def __init__(
        self,
        renew: Callable[[], bool],
        seconds: float,
        what: str,
        *,
        first: Callable[[], None] | None = None,
        last: Callable[[], None] | None = None,
    ) -> None:
        self._renew = renew
        self._seconds = seconds
        self._what = what
        self._first = first
        self._last = last
        self._has_failed = False
        self._ended = threading.Event()
        self._is_time = threading.Event()
        self._thread = threading.Thread(target=self._live, name="nst-renewing", daemon=True)
        self._thread.start()

    def end(self, patience: float | None = None) -> bool:
        """Renew no more; whether the thread is through within so many seconds (None: any)."""
        self._ended.set()
        self._is_time.set()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def renew_soon(self) -> None:
        """Do not wait until it is time."""
        self._is_time.set()

    @property
    def is_ended(self) -> bool:
        """Whether it is to end."""
        return self._ended.is_set()

    def _live(self) -> None:
        if self._first is not None:
            self._tried(self._first)
        while True:
            self._is_time.wait(self._seconds)
            # Before the end is looked for, which sets both.
            self._is_time.clear()
            if self._ended.is_set():
                break
            if self._tried(self._renew) is False:
                return
        if self._last is not None:
            self._tried(self._last)

    def _tried(self, function: Callable[[], bool | None]) -> bool | None:
        """What a function says; None where the storage had trouble."""
        try:
            found = function()
        except JobError as error:
            if not self._has_failed:
                _LOGGER.warning("%s could not be renewed: %s", self._what, error)
            self._has_failed = True
            return None
        self._has_failed = False
        return found
