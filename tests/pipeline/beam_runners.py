"""Runs on runners that are processes of their own: start, disturb, and wait for them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

NAMES = tuple(f"p{number:02d}.png" for number in range(16))
IDS = [name.partition(".")[0] for name in NAMES]
BATCHES = ("--batch-size", "2")
SCRIPT = pathlib.Path(__file__).parents[2] / "deploy" / "flink" / "local-cluster.sh"
PORTS = 3
# Of Beam's job server, which lives for one job.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
# Generous: other tests run beside these, and Java, Beam and TensorFlow all have to start.
TIMEOUT = 600


def start(catalog: Catalog, *more: str) -> subprocess.Popen[bytes]:
    """`nst run` in a process of its own; what it says goes to the catalog's `log.txt`."""
    with pathlib.Path(catalog.root, "log.txt").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *catalog.arguments(*BATCHES, *more)],
            env={**os.environ, "COLUMNS": "200", "JDK_JAVA_OPTIONS": JAVA},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(catalog: Catalog, running: subprocess.Popen[bytes], before: set[str]) -> None:
    """Wait for the run: it must have done all pairs, each once in the results."""
    status = running.wait(TIMEOUT)
    log = catalog.read("log.txt").decode()
    assert status == 0, log[-3000:]
    assert "Traceback" not in log
    assert any(line.startswith("Images: ") for line in log.splitlines()), log[-3000:]
    catalog.note_run(before)
    assert [result["id"] for result in catalog.results()] == IDS
    assert sorted(catalog.records()) == IDS


def wait_for_records(catalog: Catalog, running: subprocess.Popen[bytes], count: int) -> None:
    """Return as soon as so many pairs are done; the run must still go on."""
    deadline = time.monotonic() + TIMEOUT
    while len(catalog.names("out/records")) < count:
        assert running.poll() is None, catalog.read("log.txt").decode()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pairs_by_worker(catalog: Catalog) -> Counter[int]:
    """How many pairs each worker process has done."""
    return Counter(record["worker"]["pid"] for record in catalog.records().values())


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster in a folder of its own; the script is called as a user calls it."""

    state: pathlib.Path
    port: int
    said: list[str] = dataclasses.field(default_factory=list)

    def script(self, command: str) -> subprocess.CompletedProcess[str]:
        """`local-cluster.sh COMMAND`."""
        return subprocess.run(
            [str(SCRIPT), command],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def options(self) -> list[str]:
        """The options that `up` tells a user to give to `nst run`.

        It is called again where something of the cluster is down, which it starts again.
        """
        if not self.said or self.script("status").returncode:
            up = self.script("up")
            assert up.returncode == 0, up.stderr
            self.said[:] = [word for line in up.stdout.splitlines()[1:] for word in line.split()]
        return self.said

    def kill(self, part: str) -> None:
        """SIGKILL for one part of the cluster."""
        group = int((self.state / "pid" / part).read_text())
        os.killpg(group, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        python = str(pathlib.Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": os.pathsep.join([python, os.environ["PATH"]]),
            "COLUMNS": "200",
            "NST_FLINK_STATE": str(self.state),
            # Where the tests run as root, they are alone in a container.
            "NST_FLINK_ALLOW_ROOT": "1",
            "NST_FLINK_PORT": str(self.port),
        }


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nothing listens at."""
    for first in range(20000 + os.getpid() % 10000, 65000 - count, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    listener = stack.enter_context(socket.socket())
                    listener.bind(("localhost", port))
            except OSError:
                continue
            return first
    raise OSError("no free ports")
