"""What a decoding process gives up before it sees a file: new files, the network, other programs.

Everywhere the system refuses it any new file descriptor, and so whatever is opened: files,
sockets, pipes. On Linux with libseccomp it is left with the system calls that decoding takes;
all others fail, also in threads that a library starts.
"""

from __future__ import annotations

import contextlib
import encodings
import errno
import importlib
import os
import pkgutil
import resource
from typing import Any

from PIL import ImageCms

from nst_core.decoding.limits import SHARED_BYTES
from nst_core.image_files import formats

# Of memory, of the descriptors that are there, of time and of threads; none opens anything, sends
# to another process, or starts one.
_CALLS = (
    "brk",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "exit",
    "exit_group",
    "fstat",
    "ftruncate",
    "futex",
    "futex_time64",
    "getcpu",
    "getpid",
    "getrandom",
    "getrlimit",
    "getrusage",
    "gettid",
    "gettimeofday",
    "getitimer",
    "lseek",
    "madvise",
    "membarrier",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readv",
    "recvfrom",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "sendto",
    "set_robust_list",
    "setitimer",
    "setrlimit",
    "sigaltstack",
    "sysinfo",
    "times",
    "ugetrlimit",
    "write",
    "writev",
)
_ON_ITSELF = ("prlimit64", "tgkill")
_CLONE_THREAD = 0x00010000


def confine() -> bool:
    """Give up for good what decoding does not need; whether the system calls are filtered too."""
    _import_everything()
    filters = _filtered()
    # Those that are there stay.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (SHARED_BYTES, SHARED_BYTES))
    if filters is not None:
        filters.load()
    return filters is not None


def _import_everything() -> None:
    """What Pillow and Python would import, that is open, in the middle of a file."""
    formats.register()
    ImageCms.createProfile("sRGB")
    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(ImportError):  # Those of another system.
            importlib.import_module(f"encodings.{module.name}")


def _filtered() -> Any:
    """The filter of system calls, not in force yet; None where there is none to be had."""
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError):
        return None
    filters = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in _CALLS:
        # Not every processor has every call.
        with contextlib.suppress(OSError, ValueError):
            filters.add_rule(pyseccomp.ALLOW, name)
    for name in _ON_ITSELF:
        for process in (0, os.getpid()):
            itself = pyseccomp.Arg(0, pyseccomp.EQ, process)
            filters.add_rule(pyseccomp.ALLOW, name, itself)
    threads = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD)
    filters.add_rule(pyseccomp.ALLOW, "clone", threads)
    # Its arguments cannot be looked at; without it, libraries take the other.
    with contextlib.suppress(OSError, ValueError):
        filters.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    return filters
