"""Failures of workers elsewhere while their run goes on: when they are written, how they count."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from pipeline import storage
from pipeline.records.tasks import Outcome, RowNumber
from pipeline.runs import failures_so_far, reports
from pipeline.runs.failures_so_far import FailuresSoFar
from pipeline.runs.reports import Place


def failed(row: int, status: str = "input_not_found", error: str | None = None) -> Outcome:
    """A row that failed."""
    columns = {"content": f"{row}.png", "style": "s.png", "id": f"p{row}"}
    sentence = error or f"{row}.png does not exist."
    return Outcome(RowNumber("m.csv", row), f"p{row}", status, sentence, columns, columns, {})


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    """A run of its own."""
    return Place(str(tmp_path), "r", 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A time that the test sets."""
    now = [1000.0]
    monkeypatch.setattr(failures_so_far.time, "monotonic", lambda: now[0])
    return now


def looked(place: Place) -> FailuresSoFar:
    """What there is now."""
    found = FailuresSoFar(place)
    found.look()
    return found


def files(place: Place) -> int:
    """How many files the run has."""
    return sum(1 for _ in storage.list_uris(place.uri("")))


def test_the_first_is_there_at_once_and_later_ones_when_it_is_time(
    place: Place, clock: list[float]
) -> None:
    failures_so_far.note(place, [failed(1)])
    failures_so_far.note(place, [failed(2)])
    failures_so_far.note(place, [failed(3, "input_unreadable")])
    assert looked(place).statuses == {"input_not_found": 1}
    clock[0] += failures_so_far.SECONDS
    failures_so_far.note(place, [])
    assert looked(place).statuses == {"input_not_found": 2, "input_unreadable": 1}
    assert files(place) == 2


def test_who_stops_the_run_writes_at_once(place: Place, clock: list[float]) -> None:
    failures_so_far.note(place, [failed(1)])
    clock[0] += 1
    failures_so_far.note(place, [failed(2)])
    failures_so_far.note(place, [], at_once=True)
    assert looked(place).statuses == {"input_not_found": 2}


def test_a_row_that_is_tried_again_counts_once_and_files_are_read_once(
    place: Place, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = FailuresSoFar(place)
    for _ in range(2):
        failures_so_far.note(place, [failed(1)])
        clock[0] += failures_so_far.SECONDS
        found.look()
    monkeypatch.setattr(storage, "read_bytes", None)
    found.look()
    assert found.statuses == {"input_not_found": 1}
    (reason,) = found.reasons
    assert (reason["count"], reason["id"], reason["example"]) == (1, "p1", "1.png does not exist.")


def test_the_reports_of_the_whole_run_take_their_place(place: Place, clock: list[float]) -> None:
    del clock
    failures_so_far.note(place, [failed(1)])
    reports.remove_spills(place)
    assert files(place) == 0
    assert looked(place).lines == {}


def test_a_storage_in_trouble_does_not_trouble_the_run(tmp_path: pathlib.Path) -> None:
    (tmp_path / "runs").write_text("no folder")
    failures_so_far.note(Place(str(tmp_path), "r", 1), [failed(1)], at_once=True)


def test_a_name_of_no_text_stays_as_it_is(place: Place) -> None:
    columns: dict[str, Any] = {"content": "a.png"}
    outcome = Outcome(RowNumber("m.csv", 1), None, "manifest_invalid", "No.", columns, {}, {})
    failures_so_far.note(place, [outcome])
    assert looked(place).reasons[0]["id"] is None
