"""Cloud Storage on loopback that honours preconditions: fake-gcs-server, a Go program.

`python tests/pipeline/fake_gcs.py` builds it once for this user, with Go from PATH; tests start it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

MODULE = "github.com/fsouza/fake-gcs-server"
# The first that answers 412 on every path needs Go 1.26.
VERSION = "v1.56.1"
START_SECONDS = 60.0


def program() -> pathlib.Path:
    """Where the built server lies; it need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "nst-tests" / f"fake-gcs-server-{VERSION}"


@functools.cache
def build() -> str:
    """Build the server where it is not built; why there is none, or nothing."""
    target = program()
    if target.exists():
        return ""
    if shutil.which("go") is None:
        return "needs fake-gcs-server, and there is no Go to build it with"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        done = subprocess.run(
            ["go", "install", f"{MODULE}@{VERSION}"],
            env={**os.environ, "GOBIN": folder, "GOFLAGS": "", "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.splitlines() or ["no output"])[-1]
            return f"needs fake-gcs-server, and Go did not build it ({last})"
        os.replace(pathlib.Path(folder) / target.name.rpartition("-v")[0], target)
    return ""


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """The built server, empty and in memory, on a port of 127.0.0.1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-backend=memory", "-scheme=http", "-host=127.0.0.1", f"-port={port}"]
    # Without a port: requests come through proxies on others.
    options += ["-public-host=127.0.0.1", "-log-level=error"]
    with subprocess.Popen([program(), *options]) as server:
        try:
            _wait_for(server, port)
            yield port
        finally:
            server.kill()


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"fake-gcs-server did not start, status {server.returncode}.")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(build() or None)
