"""The lines of the results: BigQuery, Arrow and pandas load them as they are."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import math
import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
import pyarrow
import pytest
from pyarrow import json as arrow_json
from pyarrow import parquet

from benchmarks.scale import InstantEngines
from pipeline import storage
from pipeline.records.tasks import Outcome, RowNumber
from pipeline.runs import reports
from pipeline.runs.reports import Place
from pipeline.runs.result_lines import SCHEMA, line_of

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
PYTHON = {"INTEGER": int, "FLOAT": (int, float), "STRING": str, "RECORD": dict}


@pytest.fixture(autouse=True)
def instant_engine(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that are there at once."""
    del catalog  # It has an engine of its own to put there.
    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", InstantEngines)


def outcome(number: int, **columns: Any) -> Outcome:
    """A row that ended at once."""
    return Outcome(
        RowNumber("/c/pairs.csv", number),
        f"id{number}",
        "skipped",
        None,
        {},
        columns,
        {"content": "/c.png"},
    )


def test_numbers_of_any_kind_stay_numbers_and_what_is_none_is_null_in_every_loader() -> None:
    whole = outcome(1, many=10**30, day=datetime.date(2026, 1, 2))
    details = {"total": np.float64(0.1), "content_loss": math.nan, "image": "/ü\u2028.png"}
    line = line_of(dataclasses.replace(whole, details={**whole.details, **details}))
    assert line.endswith(b"\n")
    found = json.loads(line)
    assert found["total"] == 0.1
    assert found["content_loss"] is None
    assert found["image"] == details["image"]
    assert json.loads(found["columns"]) == {"many": 10**30, "day": "2026-01-02"}


def mixed_catalog(catalog: Catalog) -> None:
    """A run with every kind of line: done, skipped, failed, not even a pair, postponed."""
    catalog.pairs(("a.png", "b.png", "c.png"))
    catalog.manifest([{"id": "a", "content": "a.png", "style": "s.png"}], "first.csv")
    assert catalog.run(manifest="first.csv") == 0
    catalog.grey("mask.png", [[0, 255]])
    several = [{"uri": "s.png"}, {"uri": "a.png", "weight": 2, "mask": "mask.png"}]
    rows: list[dict[str, Any]] = [
        {"id": "missing", "content": "none.png", "style": "s.png", "price/€": 9},
        {"id": "../x", "content": "a.png", "style": "s.png", "price/€": "much"},
        {"id": "a", "content": "a.png", "style": "s.png", "price/€": [1, {"x": None}]},
        {"id": "b", "content": "b.png", "style": several, "price/€": None},
        {"id": "c", "content": "c.png", "style": "s.png", "größe": 1.5},
    ]
    catalog.manifest(rows, "mixed.jsonl")


def shards(catalog: Catalog) -> dict[str, bytes]:
    """The results of the last run, by file name."""
    folder = catalog.run_folder
    names = sorted(name for name in catalog.names(folder) if name.startswith("results-"))
    return {name: catalog.read(f"{folder}/{name}") for name in names}


def wrong(value: Any, field: dict[str, Any]) -> Iterator[str]:
    """What of a value is not as the schema's field has it."""
    if field["mode"] == "REPEATED":
        assert isinstance(value, list)
        for one in value:
            yield from wrong(one, {**field, "mode": "NULLABLE"})
    elif value is not None:
        if not isinstance(value, PYTHON[field["type"]]) or isinstance(value, bool):
            yield f"{field['name']}: {value!r}"
        elif field["type"] == "RECORD":
            fields = {one["name"]: one for one in field["fields"]}
            for name, inner in value.items():
                yield from wrong(inner, fields[name])


def every_name(fields: list[dict[str, Any]]) -> Iterator[list[str]]:
    """The names of every record of the schema."""
    yield [field["name"] for field in fields]
    for field in fields:
        if "fields" in field:
            yield from every_name(field["fields"])


def test_names_are_such_as_bigquery_takes() -> None:
    for names in every_name(SCHEMA):
        assert all(map(COLUMN.fullmatch, names))
        assert len({name.lower() for name in names}) == len(names)


def test_the_schema_in_the_documentation_is_the_lines(pytestconfig: pytest.Config) -> None:
    documented = pytestconfig.rootpath / "docs" / "results_schema.json"
    assert json.loads(documented.read_text(encoding="utf-8")) == SCHEMA


def test_every_line_has_the_same_fields_of_the_same_types_whatever_became_of_its_row(
    catalog: Catalog,
) -> None:
    mixed_catalog(catalog)
    assert catalog.run("--limit=1", manifest="mixed.jsonl") == 3
    statuses = ["input_not_found", "manifest_invalid", "skipped", "postponed", "postponed"]
    assert catalog.statuses() == statuses
    assert catalog.run("--results-shards=3", manifest="mixed.jsonl") == 3
    assert catalog.statuses() == [*statuses[:3], "ok", "ok"]
    files = shards(catalog)
    lines = [json.loads(line) for data in files.values() for line in data.splitlines()]
    assert len(lines) == 5
    for line in lines:
        assert list(line) == [field["name"] for field in SCHEMA]
        assert [text for field in SCHEMA for text in wrong(line[field["name"]], field)] == []
    by_row = {line["row"]: line for line in lines}
    assert by_row[4]["styles"][1]["mask"] == catalog.uri("mask.png")
    assert by_row[4]["quality"]["gram_errors"].keys() >= {"block1_conv1"}
    assert json.loads(by_row[3]["columns"]) == {"price/€": [1, {"x": None}]}
    assert json.loads(by_row[5]["columns"]) == {"größe": 1.5}


def test_arrow_reads_the_lines_without_being_told_their_types(
    catalog: Catalog,
) -> None:
    mixed_catalog(catalog)
    assert catalog.run(manifest="mixed.jsonl") == 3
    (data,) = shards(catalog).values()
    read = arrow_json.read_json(io.BytesIO(data))
    assert read.column_names == [field["name"] for field in SCHEMA]
    assert read.schema.field("columns").type == pyarrow.string()
    assert read.schema.field("steps").type == pyarrow.int64()
    assert sorted(read.column("row").to_pylist()) == [1, 2, 3, 4, 5]


def test_parquet_has_the_same_rows_and_one_schema_in_every_shard(catalog: Catalog) -> None:
    mixed_catalog(catalog)
    assert catalog.run(manifest="mixed.jsonl") == 3
    (data,) = shards(catalog).values()
    more = ("--results-format=parquet", "--results-shards=2", "--on-existing=skip")
    assert catalog.run(*more, manifest="mixed.jsonl") == 3
    files = shards(catalog)
    assert list(files) == [f"results-0000{index}-of-00002.parquet" for index in (0, 1)]
    assert sorted(catalog.summary()["results"])[0].endswith("results-00000-of-00002.parquet")
    tables = [parquet.read_table(io.BytesIO(packed)) for packed in files.values()]
    assert tables[0].schema == tables[1].schema
    rows = {row["row"]: row for table in tables for row in table.to_pylist()}
    lines = {line["row"]: line for line in map(json.loads, data.splitlines())}
    assert rows.keys() == lines.keys()
    for row, line in lines.items():
        for name in ("id", "error", "content", "styles", "columns"):
            assert rows[row][name] == line[name]
    assert {row["status"] for row in rows.values()} == {
        "input_not_found",
        "manifest_invalid",
        "skipped",
    }


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_pandas_reads_the_results_as_the_documentation_says(catalog: Catalog, form: str) -> None:
    mixed_catalog(catalog)
    more = (f"--results-format={form}", "--results-shards=2")
    assert catalog.run(*more, manifest="mixed.jsonl") == 3
    paths = sorted(catalog.summary()["results"])
    if form == "parquet":
        table = pandas.read_parquet(paths)
    else:
        table = pandas.concat(pandas.read_json(path, lines=True) for path in paths)
    assert list(table.columns) == [field["name"] for field in SCHEMA]
    table = table.set_index("row").sort_index()
    assert list(table.index) == [1, 2, 3, 4, 5]
    assert table["status"][[1, 2, 4]].tolist() == ["input_not_found", "manifest_invalid", "ok"]
    assert table["quality"][4]["ssim"] == 1
    assert json.loads(table["columns"][5]) == {"größe": 1.5}


def test_many_lines_pass_into_parquet_by_parts(tmp_path: pathlib.Path) -> None:
    place = Place(str(tmp_path), "run", 1, "parquet")
    lines = [line_of(outcome(number, sku="x")) for number in range(3000)]
    blocks = (b"".join(lines[start : start + 700]) for start in range(0, 3000, 700))
    uri = reports.write_results(0, blocks, place)
    table = parquet.ParquetFile(io.BytesIO(storage.read_bytes(uri)))
    assert table.metadata.num_rows == 3000
    assert table.num_row_groups == 3
    assert table.read(["row"]).column("row").to_pylist() == list(range(3000))


def test_lines_that_do_not_fit_into_memory_are_reported_all_the_same(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_catalog(catalog)
    # From the second run on, all that can be done is done, and every run ends alike.
    for _ in range(2):
        assert catalog.run("--results-shards", "2", manifest="mixed.jsonl") == 3
    results, failures = catalog.results(), catalog.failures()
    assert len(failures) == 2

    monkeypatch.setattr("pipeline.job.waves.BYTES_IN_MEMORY", 1)
    spills = []
    spill = reports.spill
    monkeypatch.setattr(reports, "spill", lambda *given: spills.append(given) or spill(*given))
    assert catalog.run("--results-shards", "2", manifest="mixed.jsonl") == 3
    assert len(spills) == len(results) + len(failures)
    assert catalog.results() == results
    assert catalog.failures() == failures
    assert not [name for name in catalog.names("out/runs") if "spill-" in name]


def test_a_job_that_fails_leaves_no_lines_that_wait_for_a_report(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_catalog(catalog)
    monkeypatch.setattr("pipeline.job.waves.BYTES_IN_MEMORY", 1)

    def full(*_: Any) -> str:
        assert any("spill-" in name for name in catalog.names("out/runs"))
        raise storage.StorageError("The disk is full: free some space.")

    monkeypatch.setattr(reports, "write_failures_csv", full)
    assert catalog.run(manifest="mixed.jsonl") == 1
    assert not [name for name in catalog.names("out/runs") if "spill-" in name]
