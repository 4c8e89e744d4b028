"""Pictures that several pairs share: each read and decoded once, also where it cannot be."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Hashable

from nst_core.errors import PairError
from pipeline.worker.inputs import ReadImage

# Pictures at 512 px have about 0.6 MB.
BYTES_KEPT = 256 * 2**20
# Of a failure, about, with what Python keeps of it.
FAILURE_BYTES = 4096

Found = ReadImage | PairError


class PictureCache:
    """The last pictures and failures of one process, up to a number of bytes; for any thread.

    A thread that asks for what another is reading waits for that one.
    """

    def __init__(self, bytes_kept: int = BYTES_KEPT) -> None:
        self._bytes_kept = bytes_kept
        self._lock = threading.Lock()
        self._found: collections.OrderedDict[Hashable, concurrent.futures.Future[Found]] = (
            collections.OrderedDict()
        )
        self._size = 0

    def get(self, key: Hashable, read: Callable[[], ReadImage]) -> ReadImage:
        """What was read for the key; read now, where it was not.

        Raises:
            PairError: as `read` raises it, now or before.
        """
        with self._lock:
            future = self._found.get(key)
            is_first = future is None
            if future is None:
                future = self._found[key] = concurrent.futures.Future()
            self._found.move_to_end(key)
        if is_first:
            self._fill(key, future, read)
        found = future.result()
        if isinstance(found, PairError):
            raise found.with_traceback(None)
        return found

    def _fill(
        self,
        key: Hashable,
        future: concurrent.futures.Future[Found],
        read: Callable[[], ReadImage],
    ) -> None:
        try:
            found: Found = read()
        except PairError as error:
            found = error
        except BaseException as error:
            # The job's trouble, not the picture's: the next one tries again.
            with self._lock:
                del self._found[key]
            future.set_exception(error)
            return
        future.set_result(found)
        with self._lock:
            self._size += _bytes_of(found)
            if self._size > self._bytes_kept:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Until what is kept has no more bytes than it may; what is being read stays."""
        for key, future in [*self._found.items()]:
            if self._size <= self._bytes_kept:
                break
            if future.done() and future.exception() is None:
                self._size -= _bytes_of(future.result())
                del self._found[key]


def _bytes_of(found: Found) -> int:
    if isinstance(found, PairError):
        return FAILURE_BYTES
    picture = found.picture
    return picture.rgb.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)
