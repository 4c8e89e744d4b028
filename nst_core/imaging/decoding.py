"""Decoding in a process of its own: no file can hang, crash or fill the worker that reads it.

What runs away inside a C library cannot be stopped from within its process: to libtiff a whole
file is a single call, and Pillow itself holds gigabytes for the directory of a file of 1 MB. So
beside each worker one process does nothing but decode, one file at a time, under limits that the
operating system keeps: processor time, so that a busy machine fails no file, and address space.
It ends with its worker. Where a system does not limit address space (macOS), only time is bound.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from nst_core.errors import InputTooLarge, InputUnreadable, JobError
from nst_core.imaging import images

# Address space: of the interpreter with its libraries, for each byte of the file (itself, its
# parts), and for each pixel allowed (the channels, alpha, and what turning and converting hold).
BASE_BYTES = 1 << 29
BYTES_PER_BYTE = 4
BYTES_PER_PIXEL = 48
# The system counts processor time in steps of some milliseconds; none would be no limit.
LEAST_SECONDS = 0.001
_READY = b"ready\n"


class _DiedError(Exception):
    """The process has ended instead of answering; `status` as `Popen.returncode`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Decoder:
    """`images.decode` and `images.header_size`, bounded in time and memory; for any thread.

    The process starts with the first file, and anew after one that has ended it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(
        self, data: bytes, *, name: str, max_pixels: int, max_bytes: int, seconds: float
    ) -> images.Picture:
        """See `images.decode`; `seconds` of processor time are the longest it may take (0: any).

        Raises:
            InputTooLarge: as `images.decode`, or over `seconds`.
            InputUnreadable: as `images.decode`, or the decoder crashed.
            JobError: there can be no such process.
        """
        limits = {"max_pixels": max_pixels, "max_bytes": max_bytes}
        return cast(images.Picture, self._ask("decode", data, name, seconds, limits))

    def header_size(
        self, head: bytes, *, name: str, max_pixels: int, complete: bool, seconds: float
    ) -> tuple[int, int] | None:
        """See `images.header_size`; `seconds` and errors as for `decode`."""
        options = {"max_pixels": max_pixels, "complete": complete}
        found = self._ask("header_size", head, name, seconds, options)
        return cast("tuple[int, int] | None", found)

    def close(self) -> None:
        """End the process; the next file starts another."""
        with self._lock:
            self._end()

    def _ask(
        self, function: str, data: bytes, name: str, seconds: float, options: dict[str, Any]
    ) -> Any:
        request = function, data, seconds, {"name": name, **options}
        with self._lock:
            try:
                answer = self._answer(request)
            except _DiedError:
                # Perhaps not by this file: whoever needs memory may kill any process.
                answer = self._again(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _again(self, request: tuple[Any, ...]) -> Any:
        try:
            return self._answer(request)
        except _DiedError as error:
            name = request[3]["name"]
            return InputUnreadable(
                f"{name} ends the decoder, twice (status {error.status}); it is damaged, so "
                "export it again."
            )

    def _answer(self, request: tuple[Any, ...]) -> Any:
        process = self._running()
        try:
            _send(request, cast("IO[bytes]", process.stdin))
            return pickle.load(cast("IO[bytes]", process.stdout))
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            status = self._end()
            if status == -signal.SIGPROF:
                _, _, seconds, options = request
                return InputTooLarge(
                    f"{options['name']} takes more than {seconds:g} s of processor time to decode, "
                    "as damaged or malicious files can; export it again, or raise decode_seconds."
                )
            raise _DiedError(status) from error
        except BaseException:
            # Stopped in the middle: what is still to come belongs to nobody.
            process.kill()
            self._end()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        try:
            process = _start()
        except OSError as error:
            raise _no_start(str(error)) from error
        self._process = process
        if cast("IO[bytes]", process.stdout).readline() != _READY:
            raise _no_start(f"status {self._end()}")
        return process

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                cast("IO[bytes]", pipe).close()
        return process.wait()


_decoders: dict[int, Decoder] = {}


def decoder() -> Decoder:
    """This process's decoder; a fork makes its own, since an answer has one reader."""
    return _decoders.setdefault(os.getpid(), Decoder())


@atexit.register
def _close() -> None:
    if os.getpid() in _decoders:
        decoder().close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "nst_core.imaging.decoding"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Threads of a library that is not used here would take address space.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
    )


def _no_start(reason: str) -> JobError:
    return JobError(
        f"The process that decodes images cannot be started ({reason}); see its own lines above, "
        "and whether memory or processes are used up."
    )


def _send(value: Any, stream: IO[bytes]) -> None:
    pickle.dump(value, stream, protocol=5)
    stream.flush()


# The other side -----------------------------------------------------------------------------------


def _serve() -> None:
    """Answer requests until there are no more."""
    # Ctrl-C reaches this process too; it ends when its worker does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What libraries print about a damaged file is neither an answer nor for people: the error is.
    logging.disable()
    sys.stderr = os.fdopen(os.dup(2), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    functions: dict[str, Callable[..., Any]] = {
        "decode": images.decode,
        "header_size": images.header_size,
    }
    replies.write(_READY)
    replies.flush()
    while True:
        try:
            function, data, seconds, options = pickle.load(requests)
        except EOFError:
            return
        memory = BASE_BYTES + BYTES_PER_BYTE * len(data) + BYTES_PER_PIXEL * options["max_pixels"]
        try:
            with _limits(seconds, memory):
                answer: Any = functions[function](data, **options)
        except Exception as error:
            answer = error
        del data
        _send(answer, replies)
        del answer


@contextlib.contextmanager
def _limits(seconds: float, memory: int) -> Iterator[None]:
    """After `seconds` of processor time SIGPROF ends this process; over `memory`, MemoryError."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    least = memory if before == resource.RLIM_INFINITY else min(before, memory)
    signal.setitimer(signal.ITIMER_PROF, max(seconds, LEAST_SECONDS) if seconds else 0)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (least, hard))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (before, hard))
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    # A worker that was killed reads no answer.
    with contextlib.suppress(BrokenPipeError):
        _serve()
