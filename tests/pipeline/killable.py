"""A process that has imported everything, and runs `nst` in children that can be killed.

Importing Beam and TensorFlow takes most of the time of a small run; a child that is forked after
it is killed like any other process. For every line of JSON, `[arguments, folder, call, count]`, one
child runs with these arguments and writes what it says to `folder/out` and `folder/err`; where a
call is named, it kills itself in the middle of the `count`-th one. Two lines answer: the child's
process id, and how it ended (see `os.waitpid`).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from typing import Any

import apache_beam.runners.portability.fn_api_runner  # noqa: F401
from quick_beam import quick_beam

import nst_core.engine.style_engine
import nst_core.network.procedural  # noqa: F401
import pipeline.__main__
import pipeline.commands.run
import pipeline.job.job
from pipeline.storage import local_errors as storage_local_errors

# Where a kill hurts: before a file is safe, before it has its name, and with half of it written.
PLACES = {
    "fsync": (os, "fsync"),
    "replace": (os, "replace"),
    "link": (os, "link"),
    "write": (storage_local_errors.TargetFile, "write"),
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
    # Whoever starts this in the background may have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What was imported is neither looked through nor copied by the children.
    gc.freeze()
    for line in sys.stdin:
        arguments, folder, name, count = json.loads(line)
        child = os.fork()
        if child == 0:
            for descriptor, stream in ((1, "out"), (2, "err")):
                path = os.path.join(folder, stream)
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            if name:
                die_at(name, count)
            with quick_beam():
                status = pipeline.__main__.main(arguments)
            os._exit(status)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
