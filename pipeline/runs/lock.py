"""One run at a time on an output: `O/runs/.lock`, for those who ask with `--lock`.

It saves work; that nothing is done twice does not hang on it. Whoever finds a lock ends at once,
unless its run is dead: its process, where that is on this machine, has gone, or it has not renewed
the lock for a while. Another try of the same run, by `--run-id`, waits to see whether the lock is
still renewed, which it is no more where a machine was taken away. What no run can have written, or
says that it was renewed in the future, locks nothing: it would do so for ever, and two runs at once
lose only time.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

from nst_core.errors import JobError
from pipeline import processes, storage
from pipeline.records import records
from pipeline.runs.renewing import Renewing

RENEW_SECONDS = 60.0
TRIES = 3
# Longer than any pause of a run that lives, and than clocks of two machines differ.
LAPSE = datetime.timedelta(minutes=15)
# Longer than from one renewal to the next, with all that a storage is tried again between them.
SILENT_SECONDS = 300.0
LOOK_SECONDS = 5.0
# Several times what a lock has.
_MOST_BYTES = 8192
_MOST_SHOWN = 100

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
    renewing = Renewing(lock.renew, RENEW_SECONDS, "The lock")
    try:
        yield lock
    finally:
        renewing.end()
        lock.release()


class Lock:
    """The lock of one run."""

    def __init__(self, output: str, run: str) -> None:
        self.uri = storage.join(output, "runs", ".lock")
        self.output = output
        self.run = run
        self.started_at = records.now()
        # What may stand there of this run: of a write whose answer was lost, either.
        self._written: tuple[bytes, ...] = ()

    def take(self) -> None:
        """Take the lock where it is free, or its run is dead.

        Raises:
            LockedError: another run has it.
            StorageError: it cannot be read or written.
        """
        mine = self._content()
        for _ in range(TRIES):
            if storage.create_bytes(self.uri, mine, "application/json"):
                break
            found = self._read()
            if found is None:  # It has just been released.
                continue
            if not self._is_dead(found):
                now = self._heard_after(found) if _parsed(found).run == self.run else found
                if now is None:
                    continue
                if now != found or _parsed(now).run != self.run:
                    raise self._refusal(now)
            self._take_over(found, mine)
            break
        else:
            raise storage.StorageError(
                f"{self.uri} is in the way of a lock and cannot be read as a file; remove it if no "
                f"run works on {self.output}, or leave --lock out."
            )
        self._written = (mine,)

    def _heard_after(self, found: bytes) -> bytes | None:
        """What is there once the lock has changed, or has been silent for long: then the same."""
        _LOGGER.warning(
            "A try of run %s has the lock; taken over if not renewed within %.0f s.",
            self.run,
            SILENT_SECONDS,
        )
        until = time.monotonic() + SILENT_SECONDS
        while (now := self._read()) == found and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        return now

    def renew(self) -> bool:
        """Say that the run lives; False where another one has taken the lock over."""
        found = self._read()
        if found is None or found not in self._written:
            _LOGGER.warning("The lock %s is no longer this run's; another may run too.", self.uri)
            return False
        mine = self._content()
        self._written = (found, mine)
        storage.write_bytes(self.uri, mine, "application/json")
        self._written = (mine,)
        return True

    def release(self) -> None:
        """Remove the lock, if it is still this run's; it lapses where it cannot be removed."""
        try:
            if self._read() in self._written:
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
        holder = _parsed(found)
        if holder.renewed_at is None:
            _LOGGER.warning("%s is no lock of a run, and is taken over.", self.uri)
        else:
            _LOGGER.warning("The lock of run %s, which has died, is taken over.", holder.run)

    def _is_dead(self, found: bytes) -> bool:
        holder = _parsed(found)
        if holder.renewed_at is None or processes.has_ended(holder.process):
            return True
        return abs(datetime.datetime.now(datetime.UTC) - holder.renewed_at) > LAPSE

    def _refusal(self, found: bytes) -> LockedError:
        holder = _parsed(found)
        return LockedError(
            f"Run {holder.run} ({holder.host}, process {holder.pid}) works on "
            f"{self.output} since {holder.started_at}; let it end, or leave --lock out to run "
            f"beside it. If it has died, its lock lapses {LAPSE.seconds // 60} minutes after "
            f"{holder.renewed_at}."
        )

    def _read(self, uri: str | None = None) -> bytes | None:
        try:
            return storage.read_bytes(uri or self.uri, max_bytes=_MOST_BYTES)
        except storage.NotFound:
            return None
        except storage.TooLarge as error:
            # No run has written it; what is said of it tells it from another.
            return str(error).encode()
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


class _Holder(NamedTuple):
    """What a lock says of its run, fit to be shown; `renewed_at` None where it tells no time."""

    run: str
    host: str
    pid: str
    process: str
    started_at: str
    renewed_at: datetime.datetime | None


def _parsed(content: bytes) -> _Holder:
    """What a lock says; of what is no lock, that all is unknown."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    told = found if isinstance(found, dict) else {}
    names = ("run", "host", "pid", "process", "started_at")
    shown = {name: " ".join(str(told.get(name, "unknown")).split())[:_MOST_SHOWN] for name in names}
    return _Holder(**shown, renewed_at=records.parse_time(told.get("renewed_at")))
