"""The project's own local Flink cluster, on free ports, for the tests that need a real one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys

import psutil

SCRIPT = pathlib.Path(__file__).parents[2] / "deploy" / "flink" / "local-cluster.sh"
PORTS = 3
# Generous: other tests run beside these, and Java, Beam and TensorFlow all have to start.
TIMEOUT = 600


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster in a folder of its own; the script is called as a user calls it."""

    state: pathlib.Path
    port: int

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
        """The options that `up` tells a user to give to `nst run`."""
        up = self.script("up")
        assert up.returncode == 0, up.stderr
        return [word for line in up.stdout.splitlines()[1:] for word in line.split()]

    def start(self, arguments: list[str], log: pathlib.Path) -> subprocess.Popen[bytes]:
        """`nst` with these arguments; its output goes to `log`."""
        with log.open("wb") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", "pipeline", *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def kill(self, part: str) -> None:
        """SIGKILL for one part of the cluster."""
        group = int((self.state / "pid" / part).read_text())
        os.killpg(group, signal.SIGKILL)

    def workers(self) -> list[psutil.Process]:
        """The Python workers that the pool has started."""
        pool = psutil.Process(int((self.state / "pid" / "workers").read_text()))
        return [child for child in pool.children() if child.status() != psutil.STATUS_ZOMBIE]

    def logs(self) -> str:
        """The ends of every log, for a test that fails."""
        files = sorted((self.state / "log").glob("*.log"))
        return "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in files)

    def _environment(self) -> dict[str, str]:
        python = str(pathlib.Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": os.pathsep.join([python, os.environ["PATH"]]),
            "COLUMNS": "200",
            "NST_FLINK_STATE": str(self.state),
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
