"""Reports: every row once in the results, failures as a manifest, the summary."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from pipeline.manifest.rows import read_rows
from pipeline.pairs.parsing import parse_pair
from pipeline.records.tasks import Outcome, RowNumber
from pipeline.runs import reports
from pipeline.runs.reports import Place
from pipeline.runs.result_lines import line_of
from pipeline.runs.statistics import Statistics


def outcome(number: int, status: str = "ok", **row: Any) -> Outcome:
    """The outcome of a row."""
    error = None if status in ("ok", "skipped") else f"Row {number} is wrong, see 'größe'."
    cells = {"content": f"/c/{number}.png", "style": "/s/s.png", **row}
    place = RowNumber("/c/pairs.csv", number)
    return Outcome(place, f"id{number}", status, error, cells, {"price": 1}, {"steps": 3})


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    """A run with three shards."""
    return Place(str(tmp_path / "out"), "20260101T000000Z-abcd", 3)


def test_a_run_s_files_lie_in_its_folder(place: Place) -> None:
    assert place.uri("summary.json").endswith("/out/runs/20260101T000000Z-abcd/summary.json")
    assert place.shard_name(2) == "results-00002-of-00003.jsonl"


def test_the_shard_of_a_row_is_the_same_in_every_try_and_all_are_used() -> None:
    shards = [reports.shard_of(outcome(number), 3) for number in range(100)]
    assert shards == [reports.shard_of(outcome(number, "internal"), 3) for number in range(100)]
    assert set(shards) == {0, 1, 2}
    assert {reports.shard_of(outcome(number), 1) for number in range(9)} == {0}


def test_a_result_has_its_row_id_status_error_details_and_other_columns(place: Place) -> None:
    ended = [line_of(outcome(4)), line_of(outcome(5, "diverged"))]
    uri = reports.write_results(1, ended, place)
    lines = [json.loads(line) for line in pathlib.Path(uri).read_text("utf-8").splitlines()]
    assert uri == place.uri("results-00001-of-00003.jsonl")
    assert {name: value for name, value in lines[0].items() if value not in (None, [])} == {
        "manifest": "/c/pairs.csv",
        "row": 4,
        "id": "id4",
        "status": "ok",
        "steps": 3,
        "columns": '{"price": 1}',
    }
    assert (lines[1]["status"], lines[1]["error"]) == ("diverged", "Row 5 is wrong, see 'größe'.")


def test_failures_are_a_manifest_of_the_same_pairs(place: Place) -> None:
    rows = [
        outcome(
            1, "input_not_found", id="a/b", **{"options.scales": [0.5, 1], "title": "größe, 猫"}
        ),
        outcome(2, "diverged", style=[{"uri": "/s/s.png", "weight": 2.0}, {"uri": "/s/t.png"}]),
        outcome(3, "internal", title='two\nlines "quoted"'),
    ]
    lines = [reports.failure_line(row) for row in rows]
    uri = reports.write_failures_csv([b"".join(lines[:2]), lines[2]], place)
    read = list(read_rows(uri))
    pairs = [parse_pair(row, uri) for row in read]
    assert [row.columns["status"] for row in read] == ["input_not_found", "diverged", "internal"]
    assert "größe" in read[0].columns["error"]
    assert (pairs[0].id, pairs[0].options) == ("a/b", {"scales": [0.5, 1]})
    assert [(style.uri, style.weight) for style in pairs[1].styles] == [
        ("/s/s.png", 2.0),
        ("/s/t.png", 1.0),
    ]
    assert pairs[2].columns["title"] == 'two\nlines "quoted"'
    assert pairs[0].columns == {"title": "größe, 猫"}


def test_without_failures_the_file_has_a_header_and_no_row(place: Place) -> None:
    uri = reports.write_failures_csv([], place)
    assert list(read_rows(uri)) == []
    assert pathlib.Path(uri).read_text("utf-8").startswith("id,content,style")


def test_lines_that_waited_in_files_come_into_the_reports_and_the_files_go(place: Place) -> None:
    lines = [line_of(outcome(number)) for number in range(4)]
    several = [lines[0], reports.spill(b"".join(lines[1:3]), place), lines[3]]
    uri = reports.write_results(0, several, place)
    assert pathlib.Path(uri).read_bytes() == b"".join(lines)
    failed = [reports.failure_line(outcome(number, "internal")) for number in (5, 6)]
    spilled = reports.spill(failed[1], place)
    assert [
        row.number for row in read_rows(reports.write_failures_csv([failed[0], spilled], place))
    ] == [1, 2]

    folder = pathlib.Path(place.uri(""))
    assert len(list(folder.glob("spill-*"))) == 2
    reports.write_summary(Statistics(), [uri], place, {})
    assert {file.name for file in folder.iterdir()} == {
        "failures.csv",
        "results-00000-of-00003.jsonl",
        "summary.json",
    }


def test_a_failed_row_has_its_id_if_that_names_files_and_what_is_no_list_has_no_rows(
    place: Place, tmp_path: pathlib.Path
) -> None:
    rows = [{"id": name, "content": "a", "style": "b"} for name in ("None", None, "../a", "x/y")]
    lines = [
        reports.failure_line(Outcome(RowNumber("m", 1), None, "internal", "why", row, {}, {}))
        for row in rows
    ]
    uri = reports.write_failures_csv(lines, place)
    assert [*map(reports.failed_id, reports.failed_rows(uri))] == ["None", "", "", "x/y"]
    (tmp_path / "failures.csv").write_bytes(b"no table")
    for name in ("failures.csv", "none.csv"):
        assert list(reports.failed_rows(f"{tmp_path}/{name}")) == []


def test_the_summary_counts_every_status(place: Place) -> None:
    statistics = Statistics()
    for number, status in enumerate(["skipped", "ok", "ok", "diverged", "skipped", "ok"]):
        statistics.add(outcome(number, status))
    about = {"manifest": "/m.csv", "started_at": "2026-01-01T00:00:00+00:00"}
    summary = reports.write_summary(statistics, ["/r2", "/r1"], place, about)
    assert summary["pairs"] == 6
    assert summary["statuses"] == {"diverged": 1, "ok": 3, "skipped": 2}
    assert summary["results"] == ["/r1", "/r2"]
    assert summary["failures"] == place.uri("failures.csv")
    assert summary["manifest"] == "/m.csv"
    assert json.loads(pathlib.Path(place.uri("summary.json")).read_bytes()) == summary
