"""A worker's decoding processes, one file in each at a time, within the machine's memory.

What runs away inside a C library cannot be stopped from within its process: to libtiff a whole
file is a single call, and Pillow itself holds gigabytes for the directory of a file of 1 MB. So
beside each worker there are processes that do nothing but decode, under limits that the operating
system keeps: processor time, so that a busy machine fails no file, and address space. They end
with their worker. Where a system does not limit address space (macOS), only time is bound.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

from nst_core import host
from nst_core.decoding import messages
from nst_core.decoding.limits import BYTES_PER_PIXEL
from nst_core.decoding.messages import Answer, Kind, ProtocolError, Request
from nst_core.errors import InputTooLarge, InputUnreadable, JobError
from nst_core.imaging.fitting import Wanted
from nst_core.imaging.images import Picture

# While one waits for its worker, the other decodes.
LEAST_PROCESSES, MOST_PROCESSES = 2, 16
# Of the memory that is free, pictures that are being decoded may take this share.
MEMORY_SHARE = 0.5
# Only a process that is beyond the system's own limits says nothing for so long: seconds, and for
# each second of processor time that it is allowed.
SILENCE_SECONDS = 60.0
SILENCE_FACTOR = 20.0
START_SECONDS = 300.0
# What a decoding process is told of this one's environment: how programs are started, and no keys,
# which a file that takes it over could put into its pixels.
_ENVIRONMENT = re.compile(
    "PATH|HOME|LANG|LANGUAGE|TZ|TMPDIR|(?:LC_|LD_|DYLD_|PYTHON|COVERAGE_|MALLOC_|GLIBC_|OMP_).*"
)


class _DiedError(Exception):
    """The process has ended instead of answering; `status` as `Popen.returncode`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Decoder:
    """`images.decode` and `images.header_size`, bounded in time and memory; for any thread.

    A process starts when all others have a file, and anew after a file that has ended it.

    Args:
        most: how many processes at the most; without, one for each processor but one.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most or max(LEAST_PROCESSES, min(MOST_PROCESSES, host.processors() - 1))
        self._changed = threading.Condition()
        self._idle: list[_Process] = []
        self._started = 0
        self._claimed = 0.0

    def decode(
        self,
        data: bytes,
        *,
        name: str,
        max_pixels: int,
        max_bytes: int,
        seconds: float,
        wanted: Wanted | None = None,
    ) -> Picture:
        """See `images.decode`; `seconds` of processor time are the longest it may take (0: any).

        Raises:
            InputTooLarge: as `images.decode`, or over `seconds`.
            InputUnreadable: as `images.decode`, or the decoder crashed.
            JobError: there can be no such process.
        """
        request = Request("decode", name, max_pixels, max_bytes, seconds, wanted=wanted)
        found = self._ask(request, data)
        assert isinstance(found, Picture)
        return found

    def header_size(
        self, head: bytes, *, name: str, max_pixels: int, complete: bool, seconds: float
    ) -> tuple[int, int] | None:
        """See `images.header_size`; `seconds` and errors as for `decode`."""
        request = Request("header_size", name, max_pixels, seconds=seconds, complete=complete)
        found = self._ask(request, head)
        assert not isinstance(found, Picture)
        return found

    @property
    def pids(self) -> list[int]:
        """The processes that wait for a file."""
        with self._changed:
            return [process.pid for process in self._idle]

    def close(self) -> None:
        """End the processes that wait; the next file starts another."""
        with self._changed:
            while self._idle:
                self._idle.pop().end()
                self._started -= 1

    def _ask(self, request: Request, data: bytes) -> Picture | tuple[int, int] | None:
        try:
            return self._answer(request, data)
        except _DiedError:
            pass  # Perhaps not by this file: whoever needs memory may kill any process.
        try:
            return self._answer(request, data, fresh=True)
        except _DiedError as error:
            raise InputUnreadable(
                f"{request.name} ends the decoder, twice (status {error.status}); it is damaged, "
                "so export it again."
            ) from error

    def _answer(
        self, request: Request, data: bytes, *, fresh: bool = False
    ) -> Picture | tuple[int, int] | None:
        with self._process(fresh=fresh) as process:
            try:
                nonce = process.ask(request, data)
                answer = process.answer(nonce)
                if answer.kind is not Kind.CLAIM:
                    return process.meaning(answer, request)
                with self._memory_for(answer.numbers[0], request):
                    process.grant()
                    return process.meaning(process.answer(nonce), request)
            except (EOFError, OSError, ProtocolError) as error:
                # What does not keep to the protocol says nothing that can be believed.
                status = process.end()
                if status == -signal.SIGPROF:
                    raise InputTooLarge(
                        f"{request.name} takes more than {request.seconds:g} s of processor time "
                        "to decode, as damaged or malicious files can; export it again, or raise "
                        "decode_seconds."
                    ) from error
                raise _DiedError(status) from error
            except (InputTooLarge, InputUnreadable):
                raise
            except BaseException:
                # Stopped in the middle: what is still to come belongs to nobody.
                process.end()
                raise

    @contextlib.contextmanager
    def _process(self, *, fresh: bool) -> Iterator[_Process]:
        """One that waits for a file, else a new one; `fresh`: a new one in any case."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._started < self._most)
            process = self._idle.pop() if self._idle else None
            self._started += process is None
        if process is not None and (fresh or not process.is_running()):
            process.end()
            process = None
        try:
            process = process or _Process()
            yield process
        finally:
            with self._changed:
                if process is None or process.has_ended:
                    self._started -= 1
                else:
                    self._idle.append(process)
                self._changed.notify_all()

    @contextlib.contextmanager
    def _memory_for(self, pixels: int, request: Request) -> Iterator[None]:
        """Wait until there is memory for a picture, or no other is being decoded."""
        if pixels > request.max_pixels:
            raise ProtocolError("more pixels than allowed")
        claim = float(BYTES_PER_PIXEL * pixels)

        def fits() -> bool:
            # The system is asked only where there is another.
            return (
                not self._claimed or self._claimed + claim <= MEMORY_SHARE * host.available_memory()
            )

        with self._changed:
            self._changed.wait_for(fits)
            self._claimed += claim
        try:
            yield
        finally:
            with self._changed:
                self._claimed -= claim
                self._changed.notify_all()


class _Process:
    """One decoding process, with the socket and the memory that both sides have."""

    def __init__(self) -> None:
        self.has_ended = False
        self._channel, theirs = socket.socketpair()
        self._memory = _shared_memory()
        try:
            self._popen = _start(theirs.fileno(), self._memory)
            theirs.close()
            self._channel.settimeout(START_SECONDS)
            if self._channel.recv(len(messages.READY)) != messages.READY:
                raise _no_start(f"status {self.end()}")
        except OSError as error:
            theirs.close()
            self._close()
            raise _no_start(str(error)) from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def is_running(self) -> bool:
        """Whether nobody has ended it meanwhile."""
        return self._popen.poll() is None

    def ask(self, request: Request, data: bytes) -> bytes:
        """Send a file; the nonce of its answers."""
        allowed = SILENCE_SECONDS + SILENCE_FACTOR * request.seconds
        self._channel.settimeout(allowed if request.seconds else None)
        return messages.send_request(self._channel, self._memory, request, data)

    def grant(self) -> None:
        """Let it decode what it has claimed memory for."""
        self._channel.sendall(messages.GRANTED)

    def answer(self, nonce: bytes) -> Answer:
        """See `messages.receive_answer`."""
        return messages.receive_answer(self._channel, nonce)

    def meaning(self, answer: Answer, request: Request) -> Picture | tuple[int, int] | None:
        """What a last answer tells, or the error that it is."""
        if answer.kind is Kind.TOO_LARGE:
            raise InputTooLarge(answer.text)
        if answer.kind is Kind.UNREADABLE:
            raise InputUnreadable(answer.text)
        if request.function == "decode" and answer.kind is Kind.PICTURE:
            return messages.picture_of(self._memory, answer, request.max_pixels)
        if request.function == "header_size" and answer.kind is Kind.SIZE:
            width, height = answer.numbers[:2]
            if not 1 <= width * height <= request.max_pixels:
                raise ProtocolError("no such size")
            return width, height
        if request.function == "header_size" and answer.kind is Kind.NO_SIZE:
            return None
        raise ProtocolError("an answer to another question")

    def end(self) -> int:
        """End it; its status."""
        self.has_ended = True
        self._close()
        # It ends by itself once nobody listens, unless it is beyond that.
        try:
            return self._popen.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()

    def _close(self) -> None:
        self._channel.close()
        with contextlib.suppress(OSError):
            os.close(self._memory)


def _shared_memory() -> int:
    """A file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("nst-decoding")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _start(channel: int, memory: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "nst_core.decoding.process", str(channel), str(memory)],
        stdin=subprocess.DEVNULL,
        pass_fds=(channel, memory),
        # Threads of a library that is not used here would take address space.
        env={
            **{name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name)},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OPENBLAS_NUM_THREADS": "1",
        },
    )


def _no_start(reason: str) -> JobError:
    return JobError(
        f"The process that decodes images cannot be started ({reason}); see its own lines above, "
        "and whether memory or processes are used up."
    )


_decoders: dict[int, Decoder] = {}


def decoder() -> Decoder:
    """This process's decoder; a fork makes its own, since an answer has one reader."""
    # Made only where there is none: it looks how many processors there are, in the system's files.
    return _decoders.get(os.getpid()) or _decoders.setdefault(os.getpid(), Decoder())


@atexit.register
def _close_all() -> None:
    if os.getpid() in _decoders:
        decoder().close()
