"""Keras's ImageNet file within a bounded wait, for whoever can do without it.

`weights.imagenet_file` waits as long as it takes; here nobody has asked for the file by name.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import pathlib
import queue
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import BinaryIO

from nst_core.errors import WeightsError
from nst_core.network import weights

# What a person hardly notices where there is no network.
CONNECT_SECONDS = 3.0
SECONDS = 45.0
BLOCK = 1 << 16
# Of one read: a server that says nothing for so long is as good as gone.
SILENCE_SECONDS = 5.0

Received = Callable[[int, int], None]


def fetch_imagenet(
    received: Received,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    seconds: float = SECONDS,
) -> pathlib.Path:
    """Keras's published VGG19 file, downloaded into Keras's cache; verified by hash.

    Args:
        received: hears how many bytes there are of how many (0: unknown); of another thread.
        connect_seconds: until the server answers, its name's look-up included.
        seconds: in all.

    Raises:
        WeightsError: it is not to be had in this time; the reason as a phrase without a full stop.
    """
    from keras.src.applications import vgg19

    started = time.monotonic()
    fetching = _Fetching(vgg19.WEIGHTS_PATH_NO_TOP, received)
    # A name that nobody answers for holds a thread longer than any time limit.
    threading.Thread(target=fetching.run, name="nst-weights", daemon=True).start()
    try:
        if not fetching.answered.wait(connect_seconds):
            raise WeightsError(f"the server does not answer within {connect_seconds:g} s")
        left = max(0.0, started + seconds - time.monotonic())
        found = fetching.ended.get(timeout=left)
    except queue.Empty as error:
        raise WeightsError(f"the download takes more than {seconds:g} s") from error
    finally:
        fetching.given_up.set()
    if isinstance(found, Exception):
        raise WeightsError(_reason(found)) from found
    return found


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    said = " ".join(str(reason).split()).rstrip(".") or type(error).__name__
    code = getattr(error, "code", None)
    return f"{said} ({code})" if code else said


class _Fetching:
    """One download on a thread of its own; nothing of it stays unless it is whole."""

    def __init__(self, url: str, received: Received) -> None:
        self._url = url
        self._received = received
        self.answered = threading.Event()
        self.given_up = threading.Event()
        self.ended: queue.SimpleQueue[pathlib.Path | Exception] = queue.SimpleQueue()

    def run(self) -> None:
        """Fetch the file; what came of it is in `ended`."""
        try:
            self.ended.put(self._fetch())
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.ended.put(error)
        finally:
            self.answered.set()

    def _fetch(self) -> pathlib.Path:
        target = weights.imagenet_cache_path()
        with urllib.request.urlopen(self._url, timeout=SILENCE_SECONDS) as answer:
            self.answered.set()
            if self.given_up.is_set():
                raise TimeoutError("too late")
            target.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=target.parent, prefix=".nst-tmp-")
            try:
                with os.fdopen(number, "wb") as file:
                    self._copy(answer, file, int(answer.headers.get("Content-Length") or 0))
                os.chmod(name, 0o644)
                pathlib.Path(name).replace(target)
            finally:
                pathlib.Path(name).unlink(missing_ok=True)
        return target

    def _copy(self, answer: http.client.HTTPResponse, file: BinaryIO, total: int) -> None:
        digest, count = hashlib.md5(usedforsecurity=False), 0
        # `read1`: what is there, and no wait for more.
        while block := answer.read1(BLOCK):
            if self.given_up.is_set():
                raise TimeoutError("too late")
            file.write(block)
            digest.update(block)
            count += len(block)
            self._received(count, total)
        if digest.hexdigest() != weights.IMAGENET_MD5:
            raise ValueError(f"what came is not Keras's file ({count} bytes)")
