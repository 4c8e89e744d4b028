"""Temporary files that killed processes leave are removed, and nobody else's."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pipeline import processes, storage
from pipeline.storage import local as storage_local

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

DAY = 24 * 3600
MACHINE = processes.own_name().partition("-")[0]
DEAD = f".nst-tmp-{MACHINE}-{os.getpid()}-1-0123"
FOREIGN = ".nst-tmp-ffffffffffff-1-1-0123"
UNKNOWN = ".nst-tmp-0123456789abcdef"


def write(path: pathlib.Path, age: float = 0.0) -> None:
    """A file that nobody has written to for so many seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)


def names(folder: pathlib.Path) -> set[str]:
    """The files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_files_of_processes_that_have_ended_go(tmp_path: pathlib.Path) -> None:
    own = pathlib.Path(storage.temporary_name(str(tmp_path / "images"))).relative_to(tmp_path)
    for name in (f"images/a/{DEAD}", DEAD, f"images/{FOREIGN}", f"images/{UNKNOWN}", str(own)):
        write(tmp_path / name)
    write(tmp_path / "images/a.png", age=9 * DAY)
    storage.sweep(str(tmp_path))
    assert names(tmp_path) == {
        f"images/{FOREIGN}",
        f"images/{UNKNOWN}",
        str(own),
        "images/a.png",
    }


def test_files_that_nobody_writes_to_go(tmp_path: pathlib.Path) -> None:
    for number, age in enumerate((0.5 * DAY, 1.1 * DAY)):
        write(tmp_path / f"{FOREIGN}{number}", age)
        write(tmp_path / f"{UNKNOWN}{number}", age)
    storage.sweep(str(tmp_path))
    assert names(tmp_path) == {f"{FOREIGN}0", f"{UNKNOWN}0"}


def test_a_folder_that_is_not_there_is_swept(tmp_path: pathlib.Path) -> None:
    storage.sweep(str(tmp_path / "none"))


def test_a_killed_write_leaves_a_file_that_the_next_sweep_removes(tmp_path: pathlib.Path) -> None:
    script = (
        "import os, sys\n"
        "from pipeline import storage\n"
        "with storage.open_writer(sys.argv[1], 'text/plain') as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=False)
    assert killed.returncode == -9
    (left,) = names(tmp_path)
    assert storage.temporary_writer(left) is not None
    assert list(storage.list_uris(str(tmp_path))) == []
    storage.sweep(str(tmp_path))
    assert names(tmp_path) == set()


def test_whoever_ends_removes_its_own_files_and_begins_no_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()
    monkeypatch.setattr(storage_local, "_opening", lock)

    def write_and_end() -> None:
        with storage.open_writer(str(tmp_path / "a"), "") as file:
            file.write(b"half")
            storage.sweep(str(tmp_path), ending=True)
            assert names(tmp_path) == set()

    with pytest.raises(storage.StorageError):
        write_and_end()
    late = threading.Thread(target=storage.write_bytes, args=(str(tmp_path / "b"), b"b", ""))
    late.start()
    late.join(0.2)
    assert late.is_alive()
    assert names(tmp_path) == set()
    lock.release()
    late.join()
    assert names(tmp_path) == {"b"}


def test_a_run_sweeps_its_output(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    left = pathlib.Path(catalog.uri(f"out/images/{DEAD}"))
    write(left)
    assert catalog.run() == 0
    assert not left.exists()
