"""What a run keeps on disk of its whole manifest and output, so that memory holds one wave of rows.

A database of SQLite's in a nameless file of the temporary folder, which goes with its process. All
is found by the family of an id (`output_files.family_of`), of which the database has a hash: two
families of one hash are fetched together, and who brings them together by name tells them apart.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nst_core.errors import JobError
from pipeline.records.output_files import Earlier, Existing, Reading, family_of
from pipeline.records.tasks import RowNumber

CACHE_KIB = 64 * 1024

# Nothing is to survive the process. `rows` has every row in its order, without a family where it
# has no id; of a path only the first reading counts.
_BEGIN = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -{CACHE_KIB};
BEGIN;
CREATE TABLE files (family INTEGER, id TEXT, kind TEXT, mark TEXT);
CREATE TABLE rows (family INTEGER);
CREATE TABLE readings (path TEXT UNIQUE, family INTEGER, id TEXT, uri TEXT, manifest TEXT, row INT);
CREATE TABLE earlier (family INTEGER, id TEXT, manifest TEXT, row INTEGER, paths TEXT);
"""
# To sort once is quicker than to keep sorted.
_COMPLETE = """
CREATE INDEX files_by_family ON files (family);
CREATE INDEX rows_by_family ON rows (family);
CREATE INDEX readings_by_family ON readings (family);
CREATE INDEX earlier_by_family ON earlier (family);
CREATE TABLE several AS
    SELECT family FROM rows WHERE family IS NOT NULL GROUP BY family HAVING count(*) > 1;
CREATE UNIQUE INDEX several_by_family ON several (family);
"""

Entry = Existing | Reading | Earlier


class Index:
    """The files of an output, the ids of a manifest, and what is known of rows of earlier waves.

    First `add_files` and `add_rows`, then `complete`, then the questions. Every method raises
    `JobError` where the temporary folder cannot hold it.
    """

    def __init__(self) -> None:
        with _told():
            # Without a name: the file is in no folder, and goes with the connection.
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.executescript(_BEGIN)
        self.rows = 0

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add_files(self, files: Iterable[tuple[str, Existing]]) -> None:
        """Files of the output, each with its id."""
        with _told():
            self._database.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?)",
                ((_key(name), name, file.kind, file.mark) for name, file in files),
            )

    def add_rows(self, names: Sequence[str | None]) -> None:
        """The ids of the next rows of the manifest, None for a row that has none."""
        with _told():
            keys = ((None if name is None else _key(name),) for name in names)
            self._database.executemany("INSERT INTO rows VALUES (?)", keys)
        self.rows += len(names)

    def add_readings(self, readings: Iterable[tuple[str, Reading]]) -> None:
        """What the next rows of the manifest read, each with its id."""
        with _told():
            self._database.executemany(
                "INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?)",
                ((one.path, _key(name), name, one.uri, *one.number) for name, one in readings),
            )

    def complete(self) -> None:
        """All files and rows have been added."""
        with _told():
            self._database.executescript(_COMPLETE)

    def holds(self, after: int, names: Sequence[str | None]) -> bool:
        """Whether the rows after so many were added with these ids."""
        with _told():
            found = self._database.execute(
                "SELECT family FROM rows WHERE rowid > ? AND rowid <= ? ORDER BY rowid",
                (after, after + len(names)),
            ).fetchall()
        return found == [(None if name is None else _key(name),) for name in names]

    def has_results(self) -> bool:
        """Whether there may be files of an id that a row has."""
        with _told():
            found = self._database.execute(
                "SELECT 1 FROM files WHERE kind != 'checkpoints' "
                "AND EXISTS (SELECT 1 FROM rows WHERE rows.family = files.family) LIMIT 1"
            ).fetchone()
        return found is not None

    def without_record(self, rows: int) -> list[int]:
        """How many of each so many rows have an id, but no record: those that are likely to do."""
        counts = [0] * -(-self.rows // rows)
        with _told():
            for wave, count in self._database.execute(
                "SELECT (rowid - 1) / ?, count(*) FROM rows WHERE family IS NOT NULL AND NOT EXISTS"
                " (SELECT 1 FROM files WHERE files.family = rows.family AND kind = 'records')"
                " GROUP BY 1",
                (rows,),
            ):
                counts[wave] = count
        return counts

    def of(self, names: Iterable[str]) -> Iterator[tuple[str, Entry]]:
        """Files, readings and earlier rows of the families of these ids, each with its id."""
        keys = {*map(_key, names)}
        with _told():
            for name, kind, mark in self._of(keys, "id, kind, mark", "files"):
                yield name, Existing(kind, mark)
            for name, path, uri, *number in self._of(
                keys, "id, path, uri, manifest, row", "readings"
            ):
                yield name, Reading(path, uri, RowNumber(*number))
            for name, paths, *number in self._of(keys, "id, paths, manifest, row", "earlier"):
                yield name, Earlier(RowNumber(*number), tuple(json.loads(paths)))

    def several(self, names: Iterable[str]) -> set[str]:
        """The families of these ids that several rows of the manifest have."""
        families = {family_of(name) for name in names}
        with _told():
            found = {key for (key,) in self._of({*map(hash, families)}, "family", "several")}
        return {family for family in families if hash(family) in found}

    def add_earlier(self, firsts: Iterable[tuple[str, Earlier]]) -> None:
        """The first rows of ids that later waves may have too."""
        with _told():
            self._database.executemany(
                "INSERT INTO earlier VALUES (?, ?, ?, ?, ?)",
                ((_key(name), name, *one.number, json.dumps(one.paths)) for name, one in firsts),
            )

    def forget_earlier(self) -> None:
        """Begin with the first wave again."""
        with _told():
            self._database.execute("DELETE FROM earlier")

    def _of(self, keys: set[int], columns: str, table: str) -> Iterator[tuple[Any, ...]]:
        # CROSS: one look into the large table for each key, and in their order.
        return self._database.execute(
            f"SELECT {columns} FROM (SELECT value FROM json_each(?)) CROSS JOIN {table} "
            "ON family = value",
            (json.dumps(sorted(keys)),),
        )


def _key(name: str) -> int:
    return hash(family_of(name))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JobError(
            f"The temporary folder cannot hold what the run has to know of its catalog ({error}); "
            "free some space there, or name another folder in TMPDIR."
        ) from error
