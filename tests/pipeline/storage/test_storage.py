"""Storage, from the outside: files on disk, an emulated bucket, Beam in memory."""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem
from gcp_storage_emulator.server import Server

from pipeline import storage, storage_gcs, storage_local_errors

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket

PNG = "image/png"
ODD_NAMES = [
    "with space.png",
    "größe-猫.png",
    "100%20.png",
    "a#b?c=d&e.png",
    "[1]*.png",
    "x+y;z.png",
]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes a URI from a path, in every kind of storage in turn."""
    if request.param == "local":
        return lambda path: str(tmp_path / path)
    if request.param == "file":
        return lambda path: f"file://{tmp_path}/{path}"
    if request.param == "gs":
        bucket: EmulatedBucket = request.getfixturevalue("gcs")
        return bucket.uri
    MemoryFiles.contents.clear()
    TreeFiles.directories.clear()
    return lambda path: f"{request.param}://root/{path}"


everywhere = pytest.mark.parametrize("place", ["local", "file", "gs", "mem", "tree"], indirect=True)


def below(uri: str) -> list[str]:
    return sorted(storage.list_uris(uri))


# Names


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("a/b", ""), ("a/gs://b", ""), ("file:///a", ""), ("GS://b/c", "gs"), ("hdfs://h", "hdfs")],
)
def test_the_scheme_of_a_local_path_is_empty(uri: str, expected: str) -> None:
    assert storage.scheme(uri) == expected


@pytest.mark.parametrize(
    ("base", "parts", "expected"),
    [
        ("gs://b", ("images", "a/b.png"), "gs://b/images/a/b.png"),
        ("gs://b/", ("/images/", "x"), "gs://b/images/x"),
        ("/", ("x",), "/x"),
        ("out", ("x",), "out/x"),
        ("", ("x",), "x"),
    ],
)
def test_joined_parts_stay_below_the_base(base: str, parts: tuple[str], expected: str) -> None:
    assert storage.join(base, *parts) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("gs://b/a/x.png", "gs://b/a"),
        ("gs://b/x.png", "gs://b"),
        ("gs://b", "gs://b"),
        ("/a/x.png", "/a"),
        ("/x.png", "/"),
        ("x.png", "."),
        ("file:///a/x.png", "/a"),
    ],
)
def test_the_directory_of_a_uri(uri: str, expected: str) -> None:
    assert storage.directory(uri) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("gs://b/a/cat.png", "cat"),
        ("/photos/100%20 #1?.v2.jpg", "100%20 #1?.v2"),
        ("pairs.csv.gz", "pairs"),
        ("/a.b/noextension", "noextension"),
        (".hidden", ".hidden"),
    ],
)
def test_the_stem_is_the_last_segment_without_its_extension(uri: str, expected: str) -> None:
    assert storage.stem(uri) == expected


@pytest.mark.parametrize(
    ("uri", "base", "expected"),
    [
        ("x.png", "/data/m.csv", "/data/x.png"),
        ("../a/./x%20#.png", "/data/in/m.csv", "/data/a/x%20#.png"),
        ("/y/../x.png", "gs://b/m.csv", "/x.png"),
        ("file:///y/x%20.png", "gs://b/m.csv", "/y/x%20.png"),
        ("gs://c/a/../x.png", "/data/m.csv", "gs://c/a/../x.png"),
        ("x.png", "gs://b/in/m.csv", "gs://b/in/x.png"),
        ("x.png", "gs://b/m.csv", "gs://b/x.png"),
        ("./.././x?.png", "gs://b/in/m.csv", "gs://b/x?.png"),
        ("../../../x.png", "gs://b/in/m.csv", "gs://b/x.png"),
        ("a/../x.png", "gs://b/in/m.csv", "gs://b/in/a/../x.png"),
        ("x.png", "file:///data/m.csv", "/data/x.png"),
    ],
)
def test_relative_uris_are_relative_to_the_manifest(uri: str, base: str, expected: str) -> None:
    assert storage.resolve(uri, base) == expected


def test_a_relative_manifest_gives_absolute_uris(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.resolve("x.png", "in/m.csv") == f"{tmp_path}/in/x.png"


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


# Cloud Storage


def test_a_large_object_keeps_its_bytes_and_its_type(
    gcs: EmulatedBucket, storage_emulator: tuple[Server, str]
) -> None:
    data = os.urandom(9 << 20)
    storage.write_bytes(gcs.uri("x.png"), data, PNG)
    with storage.open_writer(gcs.uri("y.png"), PNG) as file:
        file.write(data)
    assert storage.read_bytes(gcs.uri("x.png")) == storage.read_bytes(gcs.uri("y.png")) == data
    kept = storage_emulator[0]._storage.objects[gcs.bucket]
    assert {kept[name]["contentType"] for name in ("x.png", "y.png")} == {PNG}


def test_the_identity_of_an_object_comes_from_its_metadata(gcs: EmulatedBucket) -> None:
    storage.write_bytes(gcs.uri("x.png"), b"123456789", PNG)
    # The check value that every description of CRC-32C gives for these nine digits: e3069283.
    assert storage.identity(gcs.uri("x.png")) == "crc32c:4waSgw==:9"


def test_directory_placeholders_are_not_files(gcs: EmulatedBucket) -> None:
    storage_gcs.client().bucket(gcs.bucket).blob("images/").upload_from_string(b"")
    storage.write_bytes(gcs.uri("images/x.png"), b"pixels", PNG)
    assert below(gcs.uri("images")) == below(f"gs://{gcs.bucket}") == [gcs.uri("images/x.png")]


@pytest.mark.usefixtures("gcs")
def test_a_missing_bucket_is_the_jobs_trouble_unless_it_is_read() -> None:
    for attempt in (
        lambda: storage.write_bytes("gs://elsewhere/x.png", b"pixels", PNG),
        lambda: storage.create_bytes("gs://elsewhere/x.png", b"pixels", PNG),
        lambda: storage.check_writable("gs://elsewhere/out"),
        lambda: below("gs://elsewhere/out"),
    ):
        with pytest.raises(storage.StorageError, match="bucket elsewhere does not exist"):
            attempt()
    with pytest.raises(storage.NotFound):
        storage.read_bytes("gs://elsewhere/x.png")
    storage.delete("gs://elsewhere/x.png")


@pytest.mark.parametrize("uri", ["gs://", "gs://catalog", "gs://Not A Bucket/x.png", "gs:///x.png"])
@pytest.mark.usefixtures("gcs")
def test_what_names_no_object_is_not_found(uri: str) -> None:
    for read in (storage.read_bytes, storage.open_binary, storage.identity):
        with pytest.raises(storage.NotFound):
            read(uri)
    assert not storage.exists(uri)
    with pytest.raises(storage.StorageError):
        storage.write_bytes(uri, b"pixels", PNG)


def test_a_wildcard_for_a_bucket_is_refused(gcs: EmulatedBucket) -> None:
    with pytest.raises(storage.StorageError, match="wildcard in the bucket's name"):
        storage.glob_uris(f"gs://{gcs.bucket}*/x.png")


@pytest.mark.usefixtures("gcs")
def test_a_forked_process_opens_its_own_connections() -> None:
    before = storage_gcs.client()
    assert storage_gcs.client() is before
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"same" if storage_gcs.client() is before else b"own")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader, "rb") as answer:
        assert answer.read() == b"own"


def test_without_credentials_the_error_says_how_to_give_them(
    monkeypatch: Any, tmp_path: Path
) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    storage_gcs.forget_client()
    for attempt in (storage.read_bytes, storage.check_writable, storage.exists, storage.delete):
        with pytest.raises(storage.StorageError, match="gcloud auth application-default login"):
            attempt("gs://catalog/x.png")


@pytest.mark.usefixtures("impatient")
def test_a_service_out_of_reach_is_the_jobs_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
        storage_gcs.forget_client()
        with pytest.raises(storage.StorageError, match="in spite of retries"):
            storage.write_bytes("gs://b1c/x.png", b"pixels", PNG)
        storage_gcs.forget_client()


# Beam's filesystems


class MemoryFiles(FileSystem):
    """Like an object store: no directories, listings are recursive, renames replace."""

    contents: dict[str, bytes] = {}  # noqa: RUF012 - Beam makes an instance for every call.

    @classmethod
    def scheme(cls) -> str:
        return "mem"

    def has_dirs(self) -> bool:
        return False

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath, *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        raise NotImplementedError

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for path, data in list(self.contents.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(data))

    def create(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> io.BytesIO:
        assert mime_type in (PNG, "application/json", "application/octet-stream", "text/csv")
        assert compression_type == CompressionTypes.UNCOMPRESSED
        contents = self.contents

        class Sink(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    contents[path] = self.getvalue()
                super().close()

        return Sink()

    def open(self, path: str, *, compression_type: str = CompressionTypes.AUTO) -> io.BytesIO:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return io.BytesIO(self.contents[path])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            self.contents[target] = self.contents.pop(source)

    def exists(self, path: str) -> bool:
        return path in self.contents

    def size(self, path: str) -> int:
        return len(self.contents[path])

    def last_updated(self, _path: str) -> float:
        return 0.0

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            del self.contents[path]


class TreeFiles(MemoryFiles):
    """Like HDFS: directories, listings of one level, renames that do not replace, checksums."""

    directories: set[str] = set()  # noqa: RUF012

    @classmethod
    def scheme(cls) -> str:
        return "tree"

    def has_dirs(self) -> bool:
        return True

    def mkdirs(self, path: str) -> None:
        while "//" in path.removesuffix("//"):
            self.directories.add(path)
            path = path.rpartition("/")[0]

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        if dir_or_prefix not in self.directories:
            raise BeamIOError("no such directory")
        for path in [*self.contents, *self.directories]:
            if path.rpartition("/")[0] == dir_or_prefix:
                yield FileMetadata(path, len(self.contents.get(path, b"")))

    def create(self, path: str, mime_type: str = "", compression_type: str = "auto") -> io.BytesIO:
        assert mime_type == "application/octet-stream"
        self.mkdirs(path.rpartition("/")[0])
        return super().create(path, mime_type, compression_type)

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for target in destination_file_names:
            if target in self.contents:
                raise BeamIOError("exists")
        super().rename(source_file_names, destination_file_names)

    def exists(self, path: str) -> bool:
        return path in self.contents or path in self.directories

    def size(self, path: str) -> int:
        return len(self.contents.get(path, b""))

    def checksum(self, path: str) -> str:
        return f"{google_crc32c.value(self.contents[path])}"


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
