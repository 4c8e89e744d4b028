"""What the machine has for this process: memory that is free, processors, folders for caches."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import math
import os
import pathlib
import re
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator

from nst_core.errors import ConfigError

CGROUPS = pathlib.Path("/sys/fs/cgroup")
PROC = pathlib.Path("/proc")
# Of threads that work behind others: each step is a quarter more of the processor for those.
NICENESS = 10

_LOGGER = logging.getLogger("nst")


def processors() -> int:
    """How many processors this process may run on, whole ones that its cgroups allow."""
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    else:
        there = os.cpu_count() or 1
    return max(1, int(min([there, *_quotas()])))


def _quotas() -> Iterator[float]:
    """Processors that each group of this process may be given (version 2: `quota period`)."""
    for line in _lines(PROC / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for folder in () if controllers else _up_to_root(CGROUPS, path):
            quota, _, period = " ".join(_lines(folder / "cpu.max")).partition(" ")
            if quota.isdigit() and period.isdigit():
                yield int(quota) / int(period)


def _up_to_root(root: pathlib.Path, path: str) -> Iterator[pathlib.Path]:
    """The folder of a group and those above it. In a container only the root may be there."""
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        if folder == root.parent:
            break
        yield folder


def yield_to_others() -> None:
    """Let the calling thread work behind those that do not, on systems where threads can.

    For work that only has to be done by and by, beside a thread that feeds a device.
    """
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    # Where a sandbox forbids it, all work alike.
    with contextlib.suppress(OSError):
        most = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, most)


def available_memory() -> float:
    """Bytes that this process can still take: what the machine has and its cgroups allow.

    Infinite where the system tells neither.
    """
    return min([_machine_available(), *_cgroups_available()])


def _machine_available() -> float:
    for line in _lines(PROC / "meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return math.inf


def _cgroups_available() -> Iterator[float]:
    """Of every group that this process is in, up to the root: its limit less its use.

    Version 2 has one hierarchy (`0::/path`), version 1 one for memory (`4:memory:/path`).
    """
    for line in _lines(PROC / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, limit, usage, cache = CGROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, usage = (
                CGROUPS / "memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            )
            cache = "total_inactive_file"
        else:
            continue
        for folder in _up_to_root(root, path):
            if (most := _number(folder / limit)) is None:
                continue
            if (used := _number(folder / usage)) is not None:
                yield most - used + _statistic(folder / "memory.stat", cache)


def _number(path: pathlib.Path) -> int | None:
    """The number in a file; None where there is none, or `max`."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _statistic(path: pathlib.Path, name: str) -> int:
    """Bytes of files that the kernel would give up at once."""
    for line in _lines(path):
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def cache_directory() -> pathlib.Path:
    """Where caches lie: `$NST_CACHE`, else `$XDG_CACHE_HOME/nst`, else `~/.cache/nst`.

    A folder of this user's among the temporary ones stands in where none of these can be written.
    """
    base = os.environ.get("NST_CACHE")
    if base:
        return pathlib.Path(base)
    root = os.environ.get("XDG_CACHE_HOME")
    directory = (pathlib.Path(root) if root else pathlib.Path.home() / ".cache") / "nst"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _temporary_cache()
    return directory


@functools.cache
def _temporary_cache() -> pathlib.Path:
    """Not one that another user can write: programs that are run are taken from there."""
    folder = pathlib.Path(tempfile.gettempdir()) / f"nst-cache-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700)
    with contextlib.suppress(OSError):
        found = folder.lstat()
        is_own = found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if stat.S_ISDIR(found.st_mode) and is_own:
            return folder
    private = tempfile.mkdtemp(prefix="nst-cache-")
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    _LOGGER.warning(
        "%s can be written by others than this user, and what this process keeps is lost with it; "
        "set NST_CACHE to a folder of this user's.",
        folder,
    )
    return pathlib.Path(private)


def cache_limit(variable: str, default_mib: int, what: str) -> int:
    """Bytes that a cache may take on disk, by an environment variable in MiB; 0: nothing is kept.

    Args:
        what: it holds, for the sentence.

    Raises:
        ConfigError: the variable is no number of MiB.
    """
    given = os.environ.get(variable, "").strip()
    if given and not re.fullmatch("[0-9]{1,9}", given):
        raise ConfigError(
            f"{variable} is {given!r}; give the MiB that {what} may take on disk ({default_mib} "
            "where it is not set), or 0 to keep none."
        )
    return (int(given) if given else default_mib) * 2**20
