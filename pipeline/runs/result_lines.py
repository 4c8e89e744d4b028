"""The lines of the results: the same fields in every line, as BigQuery, pandas and Arrow load them.

Names are letters, digits and underscores. What a user names (other columns of the manifest) is
JSON text in one field: any name and any mixture of types pass, and the fields stay the same.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import orjson

from nst_core.layers import CONV_LAYERS
from pipeline import storage
from pipeline.records.tasks import Outcome
from pipeline.storage import without_credentials

LINES_AT_ONCE = 1024  # of Parquet, in memory
# Of a file of them.
NAME = re.compile(r"results-\d+-of-\d+\.(jsonl|parquet)")
_NO_RESULTS = (ValueError, KeyError, TypeError, OSError, RecursionError)
Schema = list[dict[str, Any]]


def _field(name: str, kind: str, *fields: dict[str, Any], repeated: bool = False) -> dict[str, Any]:
    field: dict[str, Any] = {"name": name, "type": kind}
    field["mode"] = "REPEATED" if repeated else "NULLABLE"
    return {**field, "fields": list(fields)} if fields else field


# In the form that BigQuery's `--schema` takes.
SCHEMA: Schema = [
    _field("manifest", "STRING"),
    _field("row", "INTEGER"),
    _field("id", "STRING"),
    _field("status", "STRING"),
    _field("error", "STRING"),
    _field("content", "STRING"),
    _field(
        "styles",
        "RECORD",
        _field("uri", "STRING"),
        _field("weight", "FLOAT"),
        _field("mask", "STRING"),
        repeated=True,
    ),
    *(_field(name, "STRING") for name in ("image", "losses", "record", "fingerprint", "changed")),
    *(_field(name, "INTEGER") for name in ("width", "height", "steps")),
    _field("seconds", "RECORD", *(_field(name, "FLOAT") for name in ("read", "optimize", "write"))),
    *(_field(name, "FLOAT") for name in ("total", "content_loss", "style_loss", "tv_loss")),
    _field(
        "quality",
        "RECORD",
        _field("gram_errors", "RECORD", *(_field(name, "FLOAT") for name in CONV_LAYERS)),
        _field("ssim", "FLOAT"),
    ),
    _field("columns", "STRING"),
]
_JSON = json.JSONEncoder(ensure_ascii=False, default=str)
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_EMPTY: dict[str, Any] = {
    field["name"]: [] if field["mode"] == "REPEATED" else None for field in SCHEMA
}


def line_of(outcome: Outcome) -> bytes:
    """One line of JSON, with its end; of the details those that are fields."""
    found = {
        **_EMPTY,
        "manifest": outcome.number.manifest,
        "row": outcome.number.row,
        "id": outcome.id,
        "status": outcome.status,
        "error": outcome.error,
        **{name: value for name, value in outcome.details.items() if name in _EMPTY},
        "columns": _JSON.encode(outcome.columns),
    }
    found["styles"] = [{"mask": None, **style} for style in found["styles"]]
    return (without_credentials(_text_of(found)) + "\n").encode()


def _text_of(found: dict[str, Any]) -> str:
    try:
        return orjson.dumps(found, _plain, _OPTIONS).decode()
    except orjson.JSONEncodeError:
        return _JSON.encode(found)  # A number of any length.


def _plain(value: object) -> object:
    """What is of no kind that JSON knows, as text; of a kind of number, the number."""
    return float(value) if isinstance(value, float) else str(value)


def write_parquet(blocks: Iterable[bytes], stream: BinaryIO) -> None:
    """Blocks of lines as a Parquet file, read by so many lines at a time."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(field["name"], _arrow_type(field)) for field in SCHEMA])
    remaining = itertools.chain.from_iterable(block.splitlines() for block in blocks)
    with parquet.ParquetWriter(stream, schema) as writer:
        while some := [json.loads(line) for line in itertools.islice(remaining, LINES_AT_ONCE)]:
            writer.write_batch(pyarrow.RecordBatch.from_pylist(some, schema))


def _arrow_type(field: dict[str, Any]) -> Any:
    import pyarrow

    kinds = {"INTEGER": pyarrow.int64(), "FLOAT": pyarrow.float64(), "STRING": pyarrow.string()}
    if field["type"] == "RECORD":
        kind = pyarrow.struct([(one["name"], _arrow_type(one)) for one in field["fields"]])
    else:
        kind = kinds[field["type"]]
    return pyarrow.list_(kind) if field["mode"] == "REPEATED" else kind


def statuses_in(uri: str) -> Iterator[tuple[str, str]]:
    """Id and status of each line of a file of results that has an id.

    What cannot be read tells nothing; of damaged Parquet, pyarrow raises OSError too.

    Raises:
        StorageError: trouble that is not about this file.
    """
    with contextlib.suppress(*_NO_RESULTS, *storage.ABOUT_ONE_FILE):
        for line in _lines(uri):
            pair_id, status = line["id"], line["status"]
            if isinstance(pair_id, str) and isinstance(status, str):
                yield pair_id, status


def _lines(uri: str) -> Iterator[dict[str, Any]]:
    """At least `id` and `status` of each line."""
    with storage.open_binary(uri) as stream:
        if not uri.endswith(".parquet"):
            yield from map(json.loads, stream)
            return
        from pyarrow import parquet

        for batch in parquet.ParquetFile(stream).iter_batches(columns=["id", "status"]):
            yield from batch.to_pylist()
