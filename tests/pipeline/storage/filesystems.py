"""Filesystems of Beam's, in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator

import google_crc32c
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

from tests.pipeline.storage.names import PNG


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
