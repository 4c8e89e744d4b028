"""How much time and memory a decoding process may take for a file."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator

from nst_core.config import PIXELS_CEILING

# Address space: of the interpreter with its libraries, for each byte of the file (itself, its
# parts), and for each of its pixels (the channels, alpha, and what turning and converting hold).
BASE_BYTES = 1 << 29
BYTES_PER_BYTE = 4
BYTES_PER_PIXEL = 48
# In the memory that both sides have: colours and transparency.
SHARED_BYTES = 4 * PIXELS_CEILING
# The system counts processor time in steps of some milliseconds; none would be no limit.
LEAST_SECONDS = 0.001


@contextlib.contextmanager
def limited(seconds: float, memory: int) -> Iterator[None]:
    """After `seconds` of processor time SIGPROF ends this process; over `memory`, MemoryError."""
    before, _ = resource.getrlimit(resource.RLIMIT_AS)
    signal.setitimer(signal.ITIMER_PROF, max(seconds, LEAST_SECONDS) if seconds else 0)
    limit_memory(memory)
    try:
        yield
    finally:
        limit_memory(before)
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_memory(memory: int) -> None:
    """Bound the address space, bytes, within what this process was started with."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    least = memory if hard == resource.RLIM_INFINITY else min(hard, memory)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (least, hard))
