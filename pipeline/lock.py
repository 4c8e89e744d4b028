"""One run at a time on an output: `O/runs/.lock`, for those who ask with `--lock`.

It saves work; that nothing is done twice does not hang on it. Whoever finds a lock ends at once,
unless its run is dead: its process, where that is on this machine, has gone, or it has not renewed
the lock for a while.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

from nst_core.errors import JobError
from pipeline import processes, records, storage

RENEW_SECONDS = 60.0
TRIES = 3
# Longer than any pause of a run that lives, and than clocks of two machines differ.
LAPSE = datetime.timedelta(minutes=15)

_LOGGER = logging.getLogger(__name__)


class LockedError(JobError):
    """Another run holds the lock."""


@contextlib.contextmanager
def held(output: str, run: str) -> Iterator[Lock]:
    """Hold the lock of an output while the block runs, and renew it.

    Raises:
        LockedError: another run has it.
        StorageError: it cannot be written.
    """
    lock = Lock(output, run)
    lock.take()
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lock, ended), daemon=True)
    renewing.start()
    try:
        yield lock
    finally:
        ended.set()
        renewing.join()
        lock.release()


def _renew(lock: Lock, ended: threading.Event) -> None:
    while not ended.wait(RENEW_SECONDS):
        try:
            if not lock.renew():
                return
        except JobError as error:
            _LOGGER.warning("The lock could not be renewed: %s", error)


class Lock:
    """The lock of one run."""

    def __init__(self, output: str, run: str) -> None:
        self.uri = storage.join(output, "runs", ".lock")
        self.output = output
        self.run = run
        self.started_at = records.now()
        self._written = b""

    def take(self) -> None:
        """Take the lock where it is free, or its run is dead.

        Raises:
            LockedError: another run has it.
        """
        mine = self._content()
        for _ in range(TRIES):
            if storage.create_bytes(self.uri, mine, "application/json"):
                break
            found = self._read()
            if found is None:  # It has just been released.
                continue
            if not self._is_dead(found):
                raise self._refusal(found)
            self._take_over(found, mine)
            break
        else:
            raise self._refusal(b"")
        self._written = mine

    def renew(self) -> bool:
        """Say that the run lives; False where another one has taken the lock over."""
        if self._read() != self._written:
            _LOGGER.warning("The lock %s is no longer this run's; another may run too.", self.uri)
            return False
        mine = self._content()
        storage.write_bytes(self.uri, mine, "application/json")
        self._written = mine
        return True

    def release(self) -> None:
        """Remove the lock, if it is still this run's; it lapses where it cannot be removed."""
        try:
            if self._read() == self._written:
                storage.delete(self.uri)
        except JobError as error:
            _LOGGER.warning("The lock could not be removed: %s", error)

    def _take_over(self, found: bytes, mine: bytes) -> None:
        """Replace a dead run's lock. Of several that want to, one may: the lock has one claim."""
        claim = f"{self.uri}.{hashlib.sha256(found).hexdigest()[:16]}"
        if not storage.create_bytes(claim, mine, "application/json"):
            other = self._read(claim)
            if other is not None and self._is_dead(other):
                storage.delete(claim)
            raise self._refusal(other or found)
        try:
            # Whoever had the claim before may have replaced the lock meanwhile.
            now = self._read()
            if now != found:
                raise self._refusal(now or found)
            storage.write_bytes(self.uri, mine, "application/json")
        finally:
            storage.delete(claim)
        _LOGGER.warning("The lock of run %s, which has died, is taken over.", _parsed(found)["run"])

    def _is_dead(self, found: bytes) -> bool:
        holder = _parsed(found)
        if processes.has_ended(str(holder["process"])):
            return True
        now = datetime.datetime.now(datetime.UTC)
        return now - datetime.datetime.fromisoformat(holder["renewed_at"]) > LAPSE

    def _refusal(self, found: bytes) -> LockedError:
        holder = _parsed(found)
        return LockedError(
            f"Run {holder['run']} ({holder['host']}, process {holder['pid']}) works on "
            f"{self.output} since {holder['started_at']}; let it end, or leave --lock out to run "
            f"beside it. If it has died, its lock lapses {LAPSE.seconds // 60} minutes after "
            f"{holder['renewed_at']}."
        )

    def _read(self, uri: str | None = None) -> bytes | None:
        try:
            return storage.read_bytes(uri or self.uri)
        except storage.NotFound:
            return None
        except storage.AccessDenied as error:
            raise storage.StorageError(f"The lock cannot be read: {error}") from error

    def _content(self) -> bytes:
        return records.to_json(
            {
                "run": self.run,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "process": processes.own_name(),
                "started_at": self.started_at,
                "renewed_at": records.now(),
            }
        )


def _parsed(content: bytes) -> dict[str, Any]:
    """What a lock says; of what is no lock, that its holder is unknown and long gone."""
    unknown = {"run": "unknown", "host": "unknown", "pid": 0, "process": ""}
    long_ago = datetime.datetime.fromtimestamp(0, datetime.UTC).isoformat()
    found = {**unknown, "started_at": long_ago, "renewed_at": long_ago}
    with contextlib.suppress(ValueError, TypeError):
        found.update(json.loads(content))
    return found
