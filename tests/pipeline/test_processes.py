"""Processes: their names, whether they have ended, what they have started."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from pipeline import processes

pytestmark = pytest.mark.skipif(not pathlib.Path("/proc/self/stat").exists(), reason="needs /proc")


def test_a_process_that_runs_has_not_ended_and_one_that_has_ended_has() -> None:
    assert not processes.has_ended(processes.own_name())
    machine, pid, started = processes.own_name().split("-")
    # Another process that had this id before.
    assert processes.has_ended(f"{machine}-{pid}-{int(started) - 1}")
    child = subprocess.Popen([sys.executable, "-c", ""])
    name = f"{machine}-{child.pid}-{processes._look(child.pid).started}"  # type: ignore[union-attr]
    child.wait()
    assert processes.has_ended(name)


def test_a_process_that_nobody_has_waited_for_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    found = processes._look(child.pid)
    assert found is not None
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    machine = processes.own_name().partition("-")[0]
    assert processes.has_ended(f"{machine}-{child.pid}-{found.started}")
    child.wait()


@pytest.mark.parametrize("name", ["", "0123456789ab-1-1", "0123456789ab", "x-y-z"])
def test_of_another_machine_s_process_nobody_knows(name: str) -> None:
    assert not processes.has_ended(name)


def test_a_forked_process_has_a_name_of_its_own() -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, processes.own_name().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        name = stream.read()
    os.wait()
    assert name != processes.own_name()
    assert name.partition("-")[0] == processes.own_name().partition("-")[0]


def test_descendants_are_killed_and_others_are_not() -> None:
    script = (
        "import os, subprocess\n"
        "from pipeline import processes\n"
        "command = 'sleep 600 & echo $!; wait'\n"
        "child = subprocess.Popen(command, shell=True, stdout=subprocess.PIPE)\n"
        "pid = int(child.stdout.readline())\n"
        "machine = processes.own_name().partition('-')[0]\n"
        "print(f'{machine}-{pid}-{processes.descendants(os.getpid())[pid].started}')\n"
        "processes.kill_descendants()\n"
        "print(child.wait())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    grandchild, status = done.stdout.decode().split()
    assert status == "-9"
    # A process ends some time after its signal: the test's own timeout is the limit.
    while not processes.has_ended(grandchild):
        os.sched_yield()
