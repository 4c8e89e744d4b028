"""Format `webdataset`: tar shards by the library of that name, `<key>.png` and `<key>.json` each.

https://github.com/webdataset/webdataset. A key ends at the first dot of its last part, so those of
an id are written `%2E` there: no two ids have one key, and unquoting gives the id.
"""

from __future__ import annotations

import contextlib
import json
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from pipeline import storage
from pipeline.export.results import Result
from pipeline.export.rows import row_of

if TYPE_CHECKING:
    import webdataset

INDEX = "index.json"


def key_of(pair_id: str) -> str:
    """The key of a pair's sample."""
    folder, slash, name = pair_id.rpartition("/")
    return folder + slash + name.replace(".", "%2E")


class TarShards:
    """Shards of so many samples, each under its name when it is whole; `index.json` at the end."""

    def __init__(self, destination: str, shard_pairs: int) -> None:
        self.made = destination
        self._shard_pairs = shard_pairs
        self._shards: list[dict[str, Any]] = []
        self._writer: webdataset.ShardWriter | None = None
        self._open = contextlib.ExitStack()
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._failed = error is not None
        if self._writer is not None:
            self._writer.close()
        if not self._failed:
            index = {"samples": sum(s["nsamples"] for s in self._shards), "shardlist": self._shards}
            data = (json.dumps(index, indent=2) + "\n").encode()
            storage.write_bytes(storage.join(self.made, INDEX), data, "application/json")

    def take(self, result: Result) -> dict[str, Any]:
        """The sample of a result. Raises NotFound, AccessDenied, Damaged, Unreadable."""
        row = json.dumps(row_of(result), ensure_ascii=False).encode()
        image = storage.read_bytes(result.image)
        return {"__key__": key_of(result.id), result.extension: image, "json": row}

    def add(self, _: Result, sample: dict[str, Any]) -> None:
        """The next sample."""
        if self._writer is None:
            self._writer = self._new_writer()
        self._writer.write(sample)
        self._shards[-1]["nsamples"] += 1

    def _new_writer(self) -> webdataset.ShardWriter:
        import webdataset

        return webdataset.ShardWriter(
            "%06d.tar",
            maxcount=self._shard_pairs,
            verbose=0,
            opener=self._begin,
            post=self._end,
            # Names of any length and script; the same samples are the same bytes.
            format="PAX_FORMAT",
            mtime=0.0,
            user="",
            group="",
        )

    def _begin(self, name: str) -> BinaryIO:
        self._shards.append({"url": name, "nsamples": 0})
        writer = storage.open_writer(storage.join(self.made, name), "application/x-tar")
        return self._open.enter_context(writer)

    def _end(self, _: str) -> None:
        """Give a shard its name, or let it vanish where the export has failed."""
        opened = self._open.pop_all()
        if not self._failed:
            opened.close()
            return
        with contextlib.suppress(_Unfinished), opened:
            raise _Unfinished


class _Unfinished(Exception):
    """A shard is not to be."""
