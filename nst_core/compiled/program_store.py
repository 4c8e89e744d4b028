"""Compiled programs on disk, for later processes: one archive each, bounded in size.

An archive is written once, whole or not at all, and checks itself when it is read; one that is
spoiled is removed. The least recently used go first. Many processes use a store at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import pathlib
import re
import shutil
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping

from nst_core.host import cache_directory, cache_limit

LIMIT_VARIABLE = "NST_PROGRAM_CACHE_MIB"
DEFAULT_LIMIT_MIB = 2048
SUFFIX = ".zip"
# What an archive's members are called, which may come from elsewhere.
MEMBER = re.compile(r"[A-Za-z0-9_=+-][A-Za-z0-9_.=+-]*")
FILE = re.compile(r"[A-Za-z0-9_-]+\.zip")
# Files that a killed process did not finish.
_STALE_SECONDS = 24 * 3600.0
_SPOILED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError)

_LOGGER = logging.getLogger("nst")


def limit_bytes() -> int:
    """What all of it may take together; 0: nothing is kept. Raises ConfigError."""
    return cache_limit(LIMIT_VARIABLE, DEFAULT_LIMIT_MIB, "compiled programs")


class ProgramStore:
    """The archives of programs that one device can run.

    Args:
        kind: names what decides whether a program can be used, as a folder.
        root: of all kinds; None for `programs` in the cache folder.
    """

    def __init__(self, kind: str, root: pathlib.Path | None = None) -> None:
        self._root = cache_directory() / "programs" if root is None else root
        self.folder = self._root / kind
        self._lock = threading.Lock()
        self._new: list[str] = []
        self._warned = False

    def files(self) -> list[str]:
        """The archives that are there, as files' names in no promised order."""
        try:
            return [name for name in os.listdir(self.folder) if FILE.fullmatch(name)]
        except OSError:
            return []

    def has(self, name: str) -> bool:
        """Whether there is an archive of this name, sound or not."""
        return (self.folder / (name + SUFFIX)).exists()

    def read(self, name: str) -> dict[str, bytes] | None:
        """The members of an archive, which counts as used now; None where there is none."""
        path = self.folder / (name + SUFFIX)
        try:
            found = unpacked(path.read_bytes())
            os.utime(path)
        except OSError:
            return None
        except _SPOILED:
            self.remove(name)
            return None
        return found

    def remove(self, name: str) -> None:
        """Forget an archive; it need not be there."""
        with contextlib.suppress(OSError):
            (self.folder / (name + SUFFIX)).unlink()

    def write(self, name: str, members: Mapping[str, bytes]) -> None:
        """Keep members under a name, unless they are kept already."""
        with self._lock:
            if self.add(name + SUFFIX, packed(members)):
                self._new.append(name + SUFFIX)

    def add(self, name: str, archive: bytes) -> bool:
        """Keep an archive under its file's name; whether it was not there. A failure is told."""
        path = self.folder / name
        if path.exists():
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(suffix=".tmp", dir=self.folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(archive)
                _name_once(temporary, path)
            finally:
                os.unlink(temporary)
            self._shrink()
        except FileExistsError:
            return False
        except OSError as error:
            if not self._warned:
                _LOGGER.warning(
                    "Compiled programs cannot be kept in %s (%s); the next process compiles them "
                    "again. Free space there or set NST_CACHE to a folder that can be written.",
                    self.folder,
                    error.strerror,
                )
            self._warned = True
            return False
        return True

    def take_new(self) -> list[str]:
        """The files that this process has written since the last call."""
        with self._lock:
            new, self._new = self._new, []
        return new

    def _shrink(self) -> None:
        """Remove what was used least recently, of all kinds, until the rest fits."""
        now = time.time()
        files = []
        for path in self._root.glob("*/*"):
            # Other processes remove too.
            with contextlib.suppress(OSError):
                found = path.stat()
                if path.suffix == SUFFIX:
                    files.append((found.st_mtime, found.st_size, path))
                elif now - found.st_mtime > _STALE_SECONDS:
                    path.unlink()
        excess = sum(size for _, size, _ in files) - limit_bytes()
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            excess -= size
            path.unlink(missing_ok=True)


def _name_once(temporary: str, path: pathlib.Path) -> None:
    """Give a file its name too, unless another process was first (`FileExistsError`)."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # No hard links here: whoever is last wins, with the same program.
        shutil.copyfile(temporary, temporary + SUFFIX)
        os.replace(temporary + SUFFIX, path)


def packed(members: Mapping[str, bytes]) -> bytes:
    """Files as one archive, the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The files of an archive.

    Raises:
        ValueError, zipfile.BadZipFile, zlib.error, EOFError: it is spoiled.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        names = found.namelist()
        if not names or not all(map(MEMBER.fullmatch, names)):
            raise ValueError("an archive of no programs")
        return {name: found.read(name) for name in names}


def is_sound(archive: bytes) -> bool:
    """Whether an archive can be read."""
    try:
        unpacked(archive)
    except _SPOILED:
        return False
    return True


def digest(*parts: object) -> str:
    """A name for what tells these parts from others: values that have a `repr`."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def slug(parts: Iterable[object]) -> str:
    """Parts as one name of a folder."""
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(map(str, parts)).lower()).strip("-")
