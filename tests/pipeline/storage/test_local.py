"""Local files: written whole or not at all, whatever the disk does."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.storage import local_errors as storage_local_errors
from tests.pipeline.storage.names import PNG, below


def test_brackets_in_a_local_directory_are_taken_at_their_word(tmp_path: Path) -> None:
    (tmp_path / "photos [2019]").mkdir()
    (tmp_path / "photos [2019]" / "x.png").touch()
    found = storage.glob_uris(f"{tmp_path}/photos [2019]/*.png")
    assert found == [f"{tmp_path}/photos [2019]/x.png"]


def test_a_relative_directory_lists_absolute_paths(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    storage.write_bytes("out/x.png", b"pixels", PNG)
    storage.write_bytes("y.png", b"pixels", PNG)
    assert below("out") == storage.glob_uris("out/*") == [f"{tmp_path}/out/x.png"]
    assert storage.glob_uris("y.png") == [f"{tmp_path}/y.png"]


def test_written_files_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        storage.write_bytes(f"{tmp_path}/x.png", b"pixels", PNG)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.png").stat().st_mode) == 0o640


def test_a_killed_writer_leaves_the_old_file_whole(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"old")
    script = (
        "import sys, time\nfrom pipeline import storage\n"
        "with storage.open_writer(sys.argv[1], 'image/png') as file:\n"
        "    file.write(bytes(100_000))\n    print('half', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, f"{tmp_path}/x.png"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "x.png").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    assert below(str(tmp_path)) == storage.glob_uris(f"{tmp_path}/*") == [f"{tmp_path}/x.png"]


def test_of_racing_creations_exactly_one_wins(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom pipeline import storage\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "for index in range(200):\n"
        "    name = f'{sys.argv[1]}/{index}.json'\n"
        "    if storage.create_bytes(name, str(os.getpid()).encode(), 'application/json'):\n"
        "        print(index)\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = {racer.pid: racer.communicate()[0].split() for racer in racers}
    assert sorted(int(index) for wins in won.values() for index in wins) == list(range(200))
    for pid, wins in won.items():
        assert all((tmp_path / f"{index}.json").read_text() == str(pid) for index in wins)
    assert len(list(tmp_path.iterdir())) == 200


def test_a_disk_without_hard_links_still_creates_once(monkeypatch: Any, tmp_path: Path) -> None:
    def refuse(_source: str, _target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert storage.create_bytes(f"{tmp_path}/a.json", b"first", "application/json")
    assert not storage.create_bytes(f"{tmp_path}/a.json", b"second", "application/json")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EDQUOT, "disk full or quota"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_failing_disk_is_named_and_leaves_the_old_file(
    monkeypatch: Any, tmp_path: Path, code: int, words: str
) -> None:
    (tmp_path / "x.png").write_bytes(b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(storage.StorageError, match=words):
        storage.write_bytes(f"{tmp_path}/x.png", b"new", PNG)
    with pytest.raises(storage.StorageError, match=words):
        storage.create_bytes(f"{tmp_path}/y.png", b"new", PNG)
    with pytest.raises(storage.StorageError, match=words):
        storage.check_writable(f"{tmp_path}/a/b")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    assert (tmp_path / "x.png").read_bytes() == b"old"


@pytest.mark.parametrize("write", [storage.write_bytes, storage.create_bytes])
def test_once_a_write_returns_a_power_cut_takes_neither_the_bytes_nor_a_name(
    monkeypatch: Any, tmp_path: Path, write: Any
) -> None:
    done: list[tuple[str, int]] = []
    sync, replace, link = os.fsync, os.replace, os.link

    def synced(descriptor: int) -> None:
        found = os.fstat(descriptor)
        assert stat.S_ISDIR(found.st_mode) or found.st_size == len(b"pixels")
        done.append(("on disk", found.st_ino))
        sync(descriptor)

    def named(give: Any, file: str, name: str) -> None:
        done.append(("named", os.stat(file).st_ino))
        give(file, name)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names: named(replace, *names))
    monkeypatch.setattr(os, "link", lambda *names: named(link, *names))
    path = tmp_path / "a" / "b" / "x.png"
    write(str(path), b"pixels", PNG)
    file, *folders = (one.stat().st_ino for one in (path, *path.parents[:3]))
    assert done == [
        *(("on disk", folder) for folder in reversed(folders[1:])),
        ("on disk", file),
        ("named", file),
        ("on disk", folders[0]),
    ]


def test_many_writes_leave_no_file_open(tmp_path: Path) -> None:
    def next_descriptor() -> int:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        os.close(descriptor)
        return descriptor

    before = next_descriptor()
    for number in range(9):
        storage.write_bytes(f"{tmp_path}/{number}/x.png", b"pixels", PNG)
        storage.create_bytes(f"{tmp_path}/{number}/y.png", b"pixels", PNG)
    storage.check_writable(f"{tmp_path}/z")
    assert next_descriptor() < before + 9


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_disk_that_fills_up_inside_the_with_is_named() -> None:
    file = storage_local_errors.TargetFile("/dev/full", "w", "/out/x.png")
    with file, pytest.raises(storage.StorageError, match=r"/out/x.png cannot .* disk full"):
        file.write(b"pixels")


@pytest.mark.skipif(not os.path.exists("/sys"), reason="needs Linux's /sys")
def test_a_directory_that_no_one_may_write_to_is_named() -> None:
    # Also true for root, whom file modes do not stop.
    with pytest.raises(storage.StorageError, match="no permission or a read-only"):
        storage.check_writable("/sys/catalog")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "folder").mkdir()
    for attempt in (
        lambda: storage.check_writable(f"{tmp_path}/file"),
        lambda: storage.check_writable(f"{tmp_path}/file/below"),
        lambda: storage.write_bytes(f"{tmp_path}/file/x.png", b"pixels", PNG),
        lambda: storage.write_bytes(f"{tmp_path}/folder", b"pixels", PNG),
    ):
        with pytest.raises(storage.StorageError, match="a file is in the way"):
            attempt()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []
    with pytest.raises(storage.NotFound):
        storage.read_bytes(f"{tmp_path}/file/x.png")
    assert below(f"{tmp_path}/file") == []


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png", "\ud800.png"])
def test_an_impossible_name_is_not_found_and_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(storage.NotFound):
        storage.read_bytes(f"{tmp_path}/{name}")
    with pytest.raises(storage.StorageError):
        storage.write_bytes(f"{tmp_path}/{name}", b"pixels", PNG)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(storage.NotFound, match="a pipe"):
        storage.read_bytes(f"{tmp_path}/pipe.png")


def test_a_file_without_read_permission_is_denied(monkeypatch: Any, tmp_path: Path) -> None:
    def deny(_path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", deny)
    with pytest.raises(storage.AccessDenied, match="grant read permission"):
        storage.read_bytes(f"{tmp_path}/x.png")
    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(storage.StorageError, match="cannot be listed, no permission"):
        below(str(tmp_path))


def test_local_files_need_neither_beam_nor_the_cloud(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pipeline import storage\n"
        "storage.write_bytes(sys.argv[1], b'pixels', 'image/png')\nstorage.glob_uris(sys.argv[1])\n"
        "assert not {'apache_beam', 'google.cloud.storage'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script, f"{tmp_path}/x.png"], check=True)


def test_a_file_that_tells_no_size_is_read_no_further_than_its_limit(tmp_path: Path) -> None:
    endless = "/proc/kallsyms"
    if not os.path.exists(endless) or os.stat(endless).st_size:
        pytest.skip("only Linux has files that tell no size")
    for read in (storage.read_bytes, storage.read_version):
        with pytest.raises(storage.TooLarge, match="over the limit of 1000"):
            read(endless, max_bytes=1000)
    storage.write_bytes(f"{tmp_path}/x.png", b"1234", PNG)
    for limit in (4, 5, 10**12):
        assert storage.read_bytes(f"{tmp_path}/x.png", max_bytes=limit) == b"1234"
