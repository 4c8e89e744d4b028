"""An end before the end: a signal, or the death of a worker process, ends the run within seconds.

TensorFlow in a long step hears no signal, and Beam waits for ever for a worker that has died. So a
thread of this module hears of both, does the last things, and ends the process around the others.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from pipeline import processes
from pipeline.runs.retry import GOES_ON

EXIT_JOB = 1
# Shells add this to the number of the signal that ended a command.
EXIT_SIGNAL = 128
SIGNALS = (signal.SIGINT, signal.SIGTERM)

# A job whose worker has died may still say itself why.
SECONDS_TO_SAY_WHY = 2.0
# How a worker has ended is known so soon after its connection has broken.
SECONDS_TO_KNOW_HOW = 0.2
# Then the process ends, whatever the storage and the terminal are doing.
MOST_SECONDS = 10.0

# No signal has this number.
_DEATH = 0
# Beam's threads that wait for a worker process, and for what it says.
_WORKER_THREADS = ("run_worker", "beam_control_read", "read_grpc_client_inputs")
_CODE = re.compile(r"exited with return code (-?\d+)")


class Ending(NamedTuple):
    """Why a process ends before its end, and its exit status."""

    sentence: str
    status: int

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody wanted it, by a signal."""
        return self.status > EXIT_SIGNAL


@contextlib.contextmanager
def heeding(
    stop: Callable[[Ending], None],
    tidy: Callable[[], None],
    say: Callable[[str], None],
    going_on: str = GOES_ON,
) -> Iterator[None]:
    """In this block SIGINT, SIGTERM and dead workers end this process.

    On another thread than the main one, which alone may ask for signals, nothing is heeded.

    Args:
        stop: stops what else there is, and says what was done.
        tidy: called last, when the sentence is said that tells why the process ended.
        say: prints this sentence.
        going_on: how a person goes on, its last words.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = _Listener(stop, tidy, say, going_on)
    before = {
        number: signal.signal(number, _ignore)
        for number in SIGNALS
        # Commands in the background of a script are to ignore the terminal's signals.
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    wakeup = signal.set_wakeup_fd(listener.ear, warn_on_full_buffer=False)
    hook, threading.excepthook = threading.excepthook, listener.hear_exception
    try:
        yield
    finally:
        listener.claim_the_end()
        threading.excepthook = hook
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        listener.close()


def _ignore(*_: Any) -> None:
    """For signals that the listener hears by itself."""


class _Listener:
    """A thread that hears of signals and deaths through a pipe: C code cannot hold it up."""

    def __init__(
        self,
        stop: Callable[[Ending], None],
        tidy: Callable[[], None],
        say: Callable[[str], None],
        going_on: str,
    ) -> None:
        self._stop = stop
        self._tidy = tidy
        self._say = say
        self._going_on = going_on
        self._stderr = os.dup(2)
        self._pipe, self.ear = os.pipe()
        os.set_blocking(self.ear, False)
        self._hook = threading.excepthook
        self._codes: list[int] = []
        # Held by who ends the run: the block, or this thread.
        self._end = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name="nst-ending", daemon=True)
        self._thread.start()

    def claim_the_end(self) -> None:
        """The block ends by itself; never returns where this thread was first."""
        self._end.acquire()

    def close(self) -> None:
        """Let the thread go."""
        os.close(self.ear)
        self._thread.join()
        os.close(self._pipe)
        os.close(self._stderr)

    def hear_exception(self, arguments: Any) -> None:
        """See `threading.excepthook`; takes note where a thread of Beam's has lost its worker."""
        if arguments.thread is None or arguments.thread.name not in _WORKER_THREADS:
            self._hook(arguments)
            return
        if code := _CODE.search(str(arguments.exc_value)):
            self._codes.append(int(code[1]))
        os.write(self.ear, bytes([_DEATH]))

    def _listen(self) -> None:
        while heard := os.read(self._pipe, 1):
            number = heard[0]
            codes: list[int] = []
            if number == _DEATH:
                codes = self._stop_workers()
                time.sleep(SECONDS_TO_SAY_WHY)
            elif number not in SIGNALS:
                continue
            if not self._end.acquire(blocking=False):
                return
            if number == _DEATH:
                self._leave(Ending(death_sentence(codes, self._going_on), EXIT_JOB))
            name = signal.Signals(number).name
            sentence = f"Stopped by {name}; {self._going_on}."
            self._leave(Ending(sentence, EXIT_SIGNAL + number))

    def _stop_workers(self) -> list[int]:
        """End the workers that are left, and tell the exit codes of those that ended before.

        Their job has failed. Beam leaves them at work and closes their channels, which each would
        answer with a traceback on this process's stderr.
        """
        until = time.monotonic() + SECONDS_TO_KNOW_HOW
        while not self._codes and time.monotonic() < until:
            time.sleep(0.005)
        codes = list(self._codes)
        processes.kill_descendants()
        return codes

    def _leave(self, ending: Ending) -> NoReturn:
        """End this process."""
        alarm = threading.Timer(MOST_SECONDS, os._exit, (ending.status,))
        alarm.daemon = True
        alarm.start()
        try:
            # While TensorFlow is loaded it is held back.
            os.dup2(self._stderr, 2)
            self._stop(ending)
            sys.stdout.flush()
            self._say(ending.sentence)
            self._tidy()
        finally:
            os._exit(ending.status)


def death_sentence(codes: list[int], going_on: str) -> str:
    """The sentence for a worker that ended with one of these codes, where they are known."""
    how = ""
    for code in codes[:1]:
        # A shell between Beam and its worker tells a signal as shells do.
        number = -code if code < 0 else code - EXIT_SIGNAL
        known = number in {*signal.Signals}
        how = f" (killed by {signal.Signals(number).name})" if known else f" (exit status {code})"
    return (
        f"A worker process has died{how}, with what it was working on; if memory ran out, "
        f"lower --direct_num_workers or image_size; {going_on}."
    )
