"""TensorFlow's start-up notices, held back: they hide the one sentence that matters."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

# What TensorFlow prints before its log level counts: how it was built, and that there is no GPU.
_NOTICE = re.compile(
    rb"WARNING: All log messages before absl|I0000 |E0000 .*(cuInit|cuda_platform|already been reg)"
)

_one = threading.RLock()


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and let all but the notices through.

    One thread at a time.
    """
    with _one, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            held.seek(0)
            for line in held:
                if not _NOTICE.match(line):
                    os.write(real, line)
            os.close(real)
