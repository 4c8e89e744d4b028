"""Storage, from the outside: files on disk, an emulated bucket, Beam in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from apache_beam.io.filesystem import BeamIOError

from pipeline import storage
from tests.pipeline.storage.filesystems import MemoryFiles
from tests.pipeline.storage.names import ODD_NAMES, PNG, below

if TYPE_CHECKING:
    pass


everywhere = pytest.mark.parametrize("place", ["local", "file", "gs", "mem", "tree"], indirect=True)


# Names


# What holds in every kind of storage


@everywhere
@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_written_listed_and_read_back(place: Callable[[str], str], name: str) -> None:
    uri = place(f"images/deep/{name}")
    storage.write_bytes(uri, b"pixels", PNG)
    assert storage.exists(uri)
    assert storage.read_bytes(uri) == b"pixels"
    assert storage.glob_uris(uri) == below(place("images")) == [storage.resolve(uri, "")]
    storage.delete(uri)
    assert not storage.exists(uri)
    assert below(place("images")) == []


@everywhere
def test_the_version_is_of_the_file_that_is_named(place: Callable[[str], str]) -> None:
    for name in ("photo [1].png", "photo 1.png", "a*b.png", "a_b.png", "what?.png"):
        storage.write_bytes(place(name), name.encode(), PNG)
    for name in ("photo [1].png", "a*b.png", "what?.png"):
        data, version = storage.read_version(place(name), max_bytes=100)
        assert data == name.encode()
        assert version.bytes == storage.version(place(name)).bytes == len(name)
    with pytest.raises(storage.NotFound):
        storage.version(place("photo [2].png"))


@everywhere
def test_a_second_write_replaces_the_first(place: Callable[[str], str]) -> None:
    storage.write_bytes(place("x.png"), b"first, and longer", PNG)
    before = storage.identity(place("x.png"))
    storage.write_bytes(place("x.png"), b"second", PNG)
    assert storage.read_bytes(place("x.png")) == b"second"
    assert storage.identity(place("x.png")) != before
    assert len(below(place(""))) == 1


@everywhere
def test_reads_can_be_bounded_and_partial(place: Callable[[str], str]) -> None:
    uri = place("x.png")
    storage.write_bytes(uri, b"0123456789", PNG)
    assert storage.read_bytes(uri, max_bytes=10) == b"0123456789"
    with pytest.raises(storage.TooLarge, match="has 10 bytes, over the limit of 9"):
        storage.read_bytes(uri, max_bytes=9)
    with pytest.raises(storage.TooLarge):
        storage.read_bytes(uri, max_bytes=9, first=2)
    assert storage.read_bytes(uri, first=4) == b"0123"
    assert storage.read_bytes(uri, first=40, max_bytes=10) == b"0123456789"
    assert storage.read_bytes(uri, first=0) == b""
    storage.write_bytes(uri, b"", PNG)
    assert storage.read_bytes(uri) == storage.read_bytes(uri, first=4) == b""


@everywhere
def test_a_missing_file_is_not_found_and_may_be_deleted(place: Callable[[str], str]) -> None:
    for read in (storage.read_bytes, storage.open_binary, storage.identity):
        with pytest.raises(storage.NotFound, match="does not exist"):
            read(place("none.png"))
    storage.delete(place("none.png"))
    assert below(place("none")) == []
    assert storage.glob_uris(place("none.png")) == storage.glob_uris(place("none/*")) == []


@pytest.mark.parametrize("place", ["local", "file", "gs", "tree"], indirect=True)
def test_reading_a_directory_is_not_found(place: Callable[[str], str]) -> None:
    storage.write_bytes(place("images/x.png"), b"pixels", PNG)
    for uri in (place("images"), place("images/")):
        with pytest.raises(storage.NotFound):
            storage.read_bytes(uri)


@everywhere
def test_a_stream_is_read_in_pieces_and_seekable(place: Callable[[str], str]) -> None:
    storage.write_bytes(place("m.csv.gz"), b"one\ntwo\n", "text/csv")
    with storage.open_binary(place("m.csv.gz")) as file:
        assert file.readline() == b"one\n"
        file.seek(-4, os.SEEK_END)
        assert file.read() == b"two\n"


@everywhere
def test_a_streamed_write_appears_whole_at_the_end(place: Callable[[str], str]) -> None:
    with storage.open_writer(place("a/x.csv"), "text/csv") as file:
        file.write(b"one\n")
        assert below(place("")) == []
        file.write(b"two\n")
    assert storage.read_bytes(place("a/x.csv")) == b"one\ntwo\n"


@everywhere
def test_a_write_that_fails_halfway_leaves_the_old_file(place: Callable[[str], str]) -> None:
    storage.write_bytes(place("x.png"), b"old", PNG)

    def fail_halfway() -> None:
        with storage.open_writer(place("x.png"), PNG) as file:
            file.write(bytes(100_000))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert storage.read_bytes(place("x.png")) == b"old"
    assert len(below(place(""))) == 1


@pytest.mark.parametrize("place", ["local", "file", "mem", "tree"], indirect=True)
def test_only_the_first_creation_counts(place: Callable[[str], str]) -> None:
    assert storage.create_bytes(place("records/a.json"), b"first", "application/json")
    assert not storage.create_bytes(place("records/a.json"), b"second", "application/json")
    assert storage.read_bytes(place("records/a.json")) == b"first"
    assert len(below(place("records"))) == 1


@everywhere
def test_a_writability_check_leaves_no_trace(place: Callable[[str], str]) -> None:
    storage.write_bytes(place("there/x.png"), b"pixels", PNG)
    for path in ("there", "not/yet/there", "not/yet/there/"):
        storage.check_writable(place(path))
    assert len(below(place(""))) == 1


@everywhere
def test_wildcards_find_files(place: Callable[[str], str]) -> None:
    names = ["a.png", "b.jpg", "c1.png", "deep/d.png", "deep/er/e.png", ".f.png", ".g/h.png"]
    for name in names:
        storage.write_bytes(place(name), b"", PNG)

    def found(pattern: str) -> list[str]:
        start = len(storage.resolve(place(""), "").rstrip("/")) + 1
        return [uri[start:] for uri in storage.glob_uris(place(pattern))]

    assert found("*.png") == ["a.png", "c1.png"]
    assert found("?.*") == ["a.png", "b.jpg"]
    assert found("[!a]*.png") == ["c1.png"]
    assert found("*/*.png") == ["deep/d.png"]
    assert found("**/*.png") == ["a.png", "c1.png", "deep/d.png", "deep/er/e.png"]
    assert found("deep/**") == ["deep/d.png", "deep/er/e.png"]
    assert found(".f*") == [".f.png"]
    assert found("a.png") == ["a.png"]
    assert found("none*") == []


# Local files


# Cloud Storage


# Beam's filesystems


@pytest.mark.parametrize("place", ["mem", "tree"], indirect=True)
def test_a_failed_rename_leaves_the_old_file_and_nothing_else(
    monkeypatch: Any, place: Callable[[str], str]
) -> None:
    storage.write_bytes(place("x.png"), b"old", PNG)
    rename = MemoryFiles.rename

    def fail(self: Any, sources: list[str], targets: list[str]) -> None:
        if self.contents[sources[0]] == b"new":
            raise BeamIOError("no rename today")
        rename(self, sources, targets)

    monkeypatch.setattr(MemoryFiles, "rename", fail)
    with pytest.raises(storage.StorageError, match=r"x.png cannot be written \(.*\): check"):
        storage.write_bytes(place("x.png"), b"new", PNG)
    assert MemoryFiles.contents == {place("x.png"): b"old"}


@pytest.mark.parametrize("place", ["mem"], indirect=True)
def test_what_a_filesystem_raises_is_told_apart(monkeypatch: Any, place: Any) -> None:
    storage.write_bytes(place("x.png"), b"pixels", PNG)

    def failing(error: Exception) -> Callable[..., None]:
        def fail(*_arguments: object, **_options: object) -> None:
            raise error

        return fail

    denied = BeamIOError("batch failed", {"x.png": PermissionError("no")})
    monkeypatch.setattr(MemoryFiles, "open", failing(denied))
    with pytest.raises(storage.AccessDenied):
        storage.read_bytes(place("x.png"))
    monkeypatch.setattr(MemoryFiles, "open", failing(RuntimeError("the cluster sleeps")))
    with pytest.raises(storage.StorageError, match="the cluster sleeps"):
        storage.open_binary(place("x.png"))
    monkeypatch.setattr(MemoryFiles, "create", failing(RuntimeError("the cluster sleeps")))
    with pytest.raises(storage.StorageError, match="the cluster sleeps"):
        storage.check_writable(place("out"))
