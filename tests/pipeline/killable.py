"""A process that has imported everything, and runs `nst` in children that can be killed.

Importing Beam and TensorFlow takes most of the time of a small run; a child that is forked after
it is killed like any other process. For every line of JSON, `[arguments, name, count]`, one child
runs with these arguments, and at the `count`-th call of the function of this name it kills itself
in its middle. Two lines answer: the child's process id, and how it ended (see `os.waitpid`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import nst_core.engine  # noqa: F401
import pipeline.__main__
import pipeline.job
from pipeline import storage_local

# Where a kill hurts: before a file is safe, before it has its name, and with half of it written.
PLACES = {
    "fsync": (os, "fsync"),
    "replace": (os, "replace"),
    "link": (os, "link"),
    "write": (storage_local._File, "write"),
}


def die_at(name: str, count: int) -> None:
    """Let this process be killed at the `count`-th call of a function."""
    owner, attribute = PLACES[name]
    real = getattr(owner, attribute)
    left = count

    def call(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left:
            return real(*arguments, **more)
        if name == "write":
            file, data = arguments
            real(file, bytes(data)[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    setattr(owner, attribute, call)


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        arguments, name, count = json.loads(line)
        child = os.fork()
        if child == 0:
            # What it prints is no answer of this one.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if name:
                die_at(name, count)
            os._exit(pipeline.__main__.main(arguments))
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
