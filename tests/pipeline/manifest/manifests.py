"""Manifests for tests: written in any format, read as pairs."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from nst_core.errors import ManifestInvalid
from pipeline.manifest.columns import Row
from pipeline.manifest.rows import read_rows
from pipeline.manifest.writing import failure_fieldnames, write_csv
from pipeline.pairs.parsing import Pair, parse_pair, portable_row

FORMATS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".parquet")


def write(path: Path, data: str | bytes) -> str:
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def write_parquet(path: Path, columns: dict[str, Any]) -> str:
    parquet.write_table(pyarrow.table(columns), path)
    return str(path)


def write_any(path: Path, rows: list[dict[str, str]]) -> str:
    """The same rows in the format of the extension."""
    if ".parquet" in path.name:
        return write_parquet(path, {name: [row[name] for row in rows] for name in rows[0]})
    if ".csv" in path.name:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return write(path, table.getvalue())
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_pairs(uri: str) -> list[Pair]:
    return [parse_pair(row, uri) for row in read_rows(uri)]


def pair_of(columns: dict[str, Any], uri: str = "/catalog/pairs.jsonl") -> Pair:
    return parse_pair(Row(7, {"content": "c.png", "style": "s.png", **columns}, None), uri)


def refusal(columns: dict[str, Any], uri: str = "/catalog/pairs.jsonl") -> str:
    with pytest.raises(ManifestInvalid) as caught:
        pair_of(columns, uri)
    sentence = str(caught.value)
    assert "ow 7 " in sentence
    assert sentence.endswith(".")
    return sentence


def problems(uri: str) -> list[str | None]:
    return [row.problem for row in read_rows(uri)]


def fed_back(uri: str, folder: Path) -> list[Row]:
    """The rows of `uri`, written as failures elsewhere and read again."""
    rows = [
        {**portable_row(row, uri), "status": "internal", "error": 'a "b",\nc\0\ud800'}
        for row in read_rows(uri)
    ]
    names = failure_fieldnames({key for row in rows for key in row})
    failures = folder / "elsewhere" / "failures.csv"
    failures.parent.mkdir()
    with failures.open("wb") as stream:
        write_csv(rows, names, stream)
    assert failures.read_bytes().startswith((",".join(names) + "\n").encode())
    return list(read_rows(str(failures)))


TRICKY: list[Any] = [
    *("true", "no", "null", "~", "", " x ", "[a", "[a]", "{a: 1}", "a: b", "a #1.png", "'", '"'),
    *("# x", "- a", "!a", "&a", "*a", "%a", "@a", "a\nb", "a\r\nb", "\r", "\t", "2020-01-01"),
    *(
        "12:30",
        "=",
        "<<",
        "é日🎨",
        "a\x85b\u2028c\x7f\ufeff",
        "C:\\x",
        "gs://b/x y.png",
        "---",
        "?",
    ),
    *(0, -3, 10**30, 0.1, 1e-05, 1e16, 1e22, -2.5e-300, 5.0, True, False),
    *([], {}, [1, [2, "3"]], [1e-05, 1e16, "1e-05"], {"block1_conv1": 1e-05, "a: b": [None, "no"]}),
    {"🎨\u2028": "\x85", "": ""},
]
