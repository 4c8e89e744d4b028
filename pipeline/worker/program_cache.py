"""Compiled programs in a folder that all workers share, wherever they are."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from typing import TYPE_CHECKING

from nst_core.compiled.program_store import FILE, is_sound, limit_bytes
from pipeline import storage

if TYPE_CHECKING:
    from nst_core.compiled.program_store import ProgramStore
    from nst_core.engine.style_engine import StyleEngine

FETCHING_THREADS = 8
ZIP = "application/zip"

_LOGGER = logging.getLogger("nst")


class ProgramCache:
    """What this process's engines have compiled, to the folder and from there.

    The folder is a help and no more: what goes wrong with it is told once, and work goes on.

    Args:
        uri: of the folder; None for none. Programs of each TensorFlow and device lie apart in it.
    """

    def __init__(self, uri: str | None) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._stores: list[ProgramStore] = []
        self._warned = False

    def fetch_for(self, engine: StyleEngine) -> None:
        """Fetch the programs that this machine lacks, before the engine's first batch."""
        if self._uri is None or (store := engine.program_store) is None:
            return
        with self._lock:
            if store not in self._stores:
                self._stores.append(store)
                self._fetch(store)

    def _fetch(self, store: ProgramStore) -> None:
        there = {*store.files()}
        room = limit_bytes()
        try:
            uris = [
                uri
                for uri in storage.list_uris(self._folder(store))
                if FILE.fullmatch(name := _name(uri)) and name not in there
            ]
            with concurrent.futures.ThreadPoolExecutor(FETCHING_THREADS) as threads:
                for uri, archive in zip(uris, threads.map(_read, uris), strict=True):
                    room -= len(archive)
                    if room < 0:
                        threads.shutdown(wait=False, cancel_futures=True)
                        return
                    if is_sound(archive):
                        store.add(_name(uri), archive)
        except storage.StorageError as error:
            self._warn(error)

    def give_back(self) -> None:
        """Write what was compiled since the last call where it is not yet there."""
        with self._lock:
            for store in self._stores:
                for name in store.take_new():
                    self._give(store, name)

    def _give(self, store: ProgramStore, name: str) -> None:
        try:
            archive = (store.folder / name).read_bytes()
            storage.create_bytes(storage.join(self._folder(store), name), archive, ZIP)
        except FileNotFoundError:
            pass  # Others have removed it, who needed the room.
        except storage.StorageError as error:
            self._warn(error)

    def _folder(self, store: ProgramStore) -> str:
        return storage.join(str(self._uri), store.folder.name)

    def _warn(self, error: storage.StorageError) -> None:
        if not self._warned:
            _LOGGER.warning(
                "Compiled programs are not shared, and each worker compiles its own: %s", error
            )
        self._warned = True


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _read(uri: str) -> bytes:
    """Nothing where it has gone since it was listed, as a rule of a bucket removes what is old."""
    try:
        return storage.read_bytes(uri)
    except storage.NotFound:
        return b""
