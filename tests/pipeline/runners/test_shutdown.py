"""Signals and dead workers end a process, whatever its threads are doing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from pipeline.runners import shutdown

HEAD = """
import hashlib, os, signal, sys, threading, time
from pipeline.runners import shutdown

def stop(ending):
    print("stopped", flush=True)

def tidy():
    print("tidied", flush=True)

def say(sentence):
    print(f"nst: {sentence}", file=sys.stderr, flush=True)

def in_c():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

def soon(what):
    threading.Timer(0.5, what).start()

def lose_worker(code):
    def run():
        raise RuntimeError(f"Worker subprocess exited with return code {code}")
    threading.Thread(target=run, name="run_worker").start()

"""


def ended(script: str) -> subprocess.CompletedProcess[str]:
    """How a process of this script ends."""
    return subprocess.run(
        [sys.executable, "-c", HEAD + script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("number", "going_on"),
    [
        (signal.SIGTERM, "the same command goes on where this run ended"),
        (signal.SIGINT, "nothing goes on"),
    ],
)
def test_a_signal_ends_it_also_in_the_middle_of_c_code(
    number: signal.Signals, going_on: str
) -> None:
    more = "" if number == signal.SIGTERM else f", {going_on!r}"
    done = ended(
        f"with shutdown.heeding(stop, tidy, say{more}):\n"
        f"    soon(lambda: os.kill(os.getpid(), {int(number)}))\n"
        "    in_c()\n"
    )
    assert done.returncode == 128 + number
    assert done.stdout.split() == ["stopped", "tidied"]
    assert done.stderr == f"nst: Stopped by {number.name}; {going_on}.\n"


@pytest.mark.parametrize(
    ("code", "how"), [(137, "killed by SIGKILL"), (-9, "killed by SIGKILL"), (1, "exit status 1")]
)
def test_the_death_of_a_worker_ends_it(code: int, how: str) -> None:
    done = ended(f"with shutdown.heeding(stop, tidy, say):\n    lose_worker({code})\n    in_c()\n")
    assert done.returncode == 1
    assert done.stdout.split() == ["stopped", "tidied"]
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"nst: A worker process has died ({how})")


def test_the_workers_that_are_left_say_nothing_of_the_job_that_they_have_lost() -> None:
    done = ended(
        "import subprocess\n"
        "other = 'import sys, time; time.sleep(1); print(\"Traceback\", file=sys.stderr)'\n"
        "with shutdown.heeding(stop, tidy, say):\n"
        "    subprocess.Popen([sys.executable, '-c', other])\n"
        "    lose_worker(137)\n"
        "    in_c()\n"
    )
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("nst: A worker process has died (killed by SIGKILL)")


def test_a_job_that_says_itself_why_its_worker_died_has_the_word() -> None:
    done = ended(
        "with shutdown.heeding(stop, tidy, say):\n"
        "    lose_worker(1)\n"
        "    time.sleep(0.5)\n"
        "    raise SystemExit('the reason')\n"
    )
    assert done.returncode == 1
    assert (done.stdout, done.stderr) == ("", "the reason\n")


def test_it_ends_where_the_last_things_take_for_ever() -> None:
    done = ended(
        "shutdown.MOST_SECONDS = 1.0\n"
        "with shutdown.heeding(lambda _: in_c(), tidy, say):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    assert (done.returncode, done.stdout) == (143, "")


def test_its_sentence_is_heard_while_others_are_held_back() -> None:
    done = ended(
        "from pipeline.console.notices import without_notices\n"
        "with shutdown.heeding(stop, tidy, say), without_notices():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    assert "Stopped by SIGTERM" in done.stderr


def test_what_is_ignored_stays_so() -> None:
    done = ended(
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with shutdown.heeding(stop, tidy, say):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(0.5)\n"
        "print('whole')\n"
    )
    assert (done.returncode, done.stdout) == (0, "whole\n")


def test_after_the_block_everything_is_as_it_was() -> None:
    def state() -> tuple[object, ...]:
        return (*map(signal.getsignal, shutdown.SIGNALS), threading.excepthook)

    before, threads = state(), threading.active_count()
    with shutdown.heeding(lambda _: None, lambda: None, print):
        assert state() != before
    assert (state(), threading.active_count()) == (before, threads)
    wakeup = signal.set_wakeup_fd(-1)
    assert wakeup == -1


def test_on_another_thread_nothing_is_heeded() -> None:
    seen: list[object] = []

    def run() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with shutdown.heeding(lambda _: None, lambda: None, print):
            seen.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [True]
