"""Processes as /proc tells of them: which one wrote a file, whether it has ended, its children."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pathlib
import signal
import socket
from typing import NamedTuple
from uuid import uuid4

_PROC = pathlib.Path("/proc")
_ENDED = ("Z", "X")


class Process(NamedTuple):
    """What there is to know of a process; `started` in ticks since the machine's start."""

    state: str
    parent: int
    started: int


def own_name() -> str:
    """A name that no other process has or had, on this machine or another."""
    return _name_of(os.getpid())


def has_ended(name: str) -> bool:
    """Whether the process of this name has ended for certain; one of another machine never has."""
    machine, _, rest = name.partition("-")
    pid, _, started = rest.partition("-")
    if machine != _machine() or not pid.isdecimal():
        return False
    found = _look(int(pid))
    return found is None or found.state in _ENDED or str(found.started) != started


def kill_descendants() -> None:
    """End every process that this one has started, and those that they have started."""
    # Parents first, so that none can answer its child's end, such as by starting another.
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> dict[int, Process]:
    """The processes that this one has started, and those that they have started: parents first."""
    pids = map(int, filter(str.isdecimal, os.listdir(_PROC))) if _PROC.is_dir() else ()
    running = {one: found for one in pids if (found := _look(one))}
    below: dict[int, Process] = {}
    generation = {pid}
    while generation := {one for one, found in running.items() if found.parent in generation}:
        below |= {one: running[one] for one in generation}
    return below


@functools.lru_cache(maxsize=1)
def _name_of(pid: int) -> str:
    found = _look(pid)
    return f"{_machine()}-{pid}-{found.started if found else 0}"


@functools.cache
def _machine() -> str:
    """Tells the machine, its last start, and the container whose process ids these are."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii")
        container = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        # Without them no process can be said to have ended.
        return uuid4().hex[:12]
    text = f"{socket.gethostname()} {boot} {container}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _look(pid: int) -> Process | None:
    """A process, or None where there is none of this id."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in brackets, can hold brackets and spaces.
    fields = text.rpartition(")")[2].split()
    return Process(fields[0], int(fields[1]), int(fields[19]))
