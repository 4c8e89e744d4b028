"""Files from the web on disk, so that they cross the wire once: bounded, the least used go first.

One file for each URL, named by its hash: a line of JSON that says which version it is, then the
bytes. It is written whole or not at all, and checks itself when it is read. Many processes use the
folder at once. It is a help and no more: where it cannot be written, nothing is kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import re
import tempfile
import threading
import time

from nst_core.host import cache_directory, cache_limit

LIMIT_VARIABLE = "NST_WEB_CACHE_MIB"
DEFAULT_LIMIT_MIB = 4096
# What this process has asked for so short a time ago is not asked for again.
FRESH_SECONDS = 900.0
# Once there is too much, so much stays.
_KEPT_SHARE = 0.8
_STALE_SECONDS = 3600.0
_NAME = re.compile("[0-9a-f]{64}")
_PART = ".part"

_LOGGER = logging.getLogger("nst")


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A file as it was read; `etag` and `modified` as the server had them, else empty."""

    data: bytes
    etag: str
    modified: str


class WebCache:
    """What was read from the web, by URL, in the folder `web` of the cache; for any thread."""

    def __init__(self) -> None:
        self.folder = cache_directory() / "web"
        # Of all together; 0: nothing is kept.
        self._limit = cache_limit(LIMIT_VARIABLE, DEFAULT_LIMIT_MIB, "files from the web")
        self._lock = threading.Lock()
        self._size: int | None = None
        self._asked: dict[str, float] = {}
        self._warned = False

    def get(self, url: str) -> Kept | None:
        """The file as it was last read, by whichever process."""
        path = self._path(url)
        try:
            head, _, data = path.read_bytes().partition(b"\n")
            about = json.loads(head)
            if hashlib.sha256(data).hexdigest() != about["sha256"]:
                raise ValueError("bytes that have changed")
            found = Kept(data, str(about["etag"]), str(about["modified"]))
        except OSError:
            return None
        except (ValueError, KeyError, TypeError):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return found

    def is_fresh(self, url: str) -> bool:
        """Whether this process has just been told that what is kept is what there is."""
        asked = self._asked.get(url)
        return asked is not None and time.monotonic() - asked < FRESH_SECONDS

    def confirm(self, url: str) -> None:
        """The server has just said that what is kept is what there is."""
        if len(self._asked) > 262_144:
            self._asked.clear()
        self._asked[url] = time.monotonic()

    def expire(self, url: str) -> None:
        """The server has another version, or may have."""
        self._asked.pop(url, None)

    def put(self, url: str, kept: Kept) -> None:
        """Keep a file that was just read; one of more than an eighth of the room is not kept."""
        self.confirm(url)
        if len(kept.data) * 8 > self._limit:
            return
        about = {
            "etag": kept.etag,
            "modified": kept.modified,
            "sha256": hashlib.sha256(kept.data).hexdigest(),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Readable by this user alone, as what is behind a signed address may have to be.
            descriptor, name = tempfile.mkstemp(_PART, dir=self.folder)
            try:
                with open(descriptor, "wb") as file:
                    file.write(json.dumps(about).encode() + b"\n" + kept.data)
                os.replace(name, self._path(url))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
            self._make_room(len(kept.data))
        except OSError as error:
            self._warn(error)

    def _path(self, url: str) -> pathlib.Path:
        return self.folder / hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()

    def _make_room(self, added: int) -> None:
        with self._lock:
            if self._size is not None:
                self._size += added
                if self._size <= self._limit:
                    return
            files = []
            for entry in os.scandir(self.folder):
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    files.append((status.st_mtime, status.st_size, entry.path))
            self._size = sum(size for _, size, _ in files)
            most = self._limit if self._size <= self._limit else self._limit * _KEPT_SHARE
            for modified, size, path in sorted(files):
                is_left = path.endswith(_PART) and time.time() - modified > _STALE_SECONDS
                is_ours = _NAME.fullmatch(os.path.basename(path)) is not None
                if is_left or (is_ours and self._size > most):
                    with contextlib.suppress(OSError):
                        os.unlink(path)
                        self._size -= size

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            _LOGGER.warning(
                "Files from the web are not kept in %s (%s), and are read again where they are "
                "needed again. Free space there or set NST_CACHE to a folder that can be written.",
                self.folder,
                error.strerror,
            )
        self._warned = True
