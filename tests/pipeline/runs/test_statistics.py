"""The numbers of a run: time, quality, the worst, reasons of failures that are counted together."""

from __future__ import annotations

import datetime
import random
from typing import Any

import pytest

from pipeline.console.verdict import verdict
from pipeline.records.tasks import Outcome, RowNumber
from pipeline.runs.reasons import MOST_KINDS, Reasons
from pipeline.runs.statistics import Statistics, gram_error


def done(number: int, *, seconds: float = 1.0, ssim: float = 0.5, error: float = 0.1) -> Outcome:
    """A pair that this run has done."""
    details = {
        "seconds": {"read": 0.1, "optimize": seconds, "write": 0.2},
        "quality": {"ssim": ssim, "gram_errors": {"a": error / 2, "b": 3 * error / 2}},
        "retried": number % 2 == 0,
    }
    place = RowNumber("/pairs.csv", number)
    return Outcome(place, f"id{number}", "ok", None, {}, {}, details)


def failed(number: int, error: str, status: str = "input_not_found") -> Outcome:
    """A failure."""
    return Outcome(RowNumber("/pairs.csv", number), f"id{number}", status, error, {}, {}, {})


def told(*outcomes: Outcome) -> dict[str, Any]:
    """What the statistics of these say, of a run that began an hour ago."""
    statistics = Statistics()
    for outcome in outcomes:
        statistics.add(outcome)
    return statistics.to_dict(ago(hours=1))


def ago(**time: float) -> str:
    """A moment in the past."""
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(**time)).isoformat()


def test_an_hour_s_pairs_are_the_pairs_per_hour_and_stages_have_percentiles() -> None:
    found = told(*(done(number, seconds=number) for number in range(1, 22)))
    assert found["elapsed_seconds"] == pytest.approx(3600, abs=5)
    assert found["pairs_per_hour"] == pytest.approx(21, rel=0.01)
    assert found["seconds"]["optimize"]["p50"] == pytest.approx(11, rel=0.002)
    assert found["seconds"]["optimize"]["total"] == 231
    assert found["seconds"]["write"]["mean"] == pytest.approx(0.2)
    assert found["retried"] == 10


def test_the_worst_are_those_farthest_from_their_styles_by_name() -> None:
    found = told(*(done(number, error=(number * 7) % 10 / 10, ssim=0.3) for number in range(10)))
    assert [one["id"] for one in found["worst"]] == ["id7", "id4", "id1"]
    assert found["worst"][0]["gram_error"] == pytest.approx(0.9)
    assert found["quality"]["gram_error"]["greatest"] == pytest.approx(0.9)
    assert found["quality"]["ssim"]["p50"] == pytest.approx(0.3, rel=0.002)


def test_the_gram_error_of_a_pair_is_the_mean_over_its_layers() -> None:
    assert gram_error({"block1_conv1": 0.2, "block5_conv1": 0.4}) == pytest.approx(0.3)


def test_pairs_that_were_done_before_count_for_nothing_but_their_status() -> None:
    skipped = Outcome(RowNumber("/p", 1), "a", "skipped", None, {}, {}, {})
    found = told(skipped)
    assert found["seconds"]["read"] == {"total": 0.0}
    assert found["worst"] == []
    assert found["quality"] == {"ssim": {}, "gram_error": {}}


def test_the_first_failures_are_those_of_the_first_rows_in_whatever_order_they_came() -> None:
    rows = [9, 3, 5, 1, 8, 2, 7]
    found = told(*(failed(row, f"/c/{row}.png does not exist.") for row in rows))
    assert [one["row"] for one in found["first_failures"]] == [1, 2, 3, 5, 7]
    (reason,) = found["reasons"]
    assert (reason["count"], reason["status"]) == (7, "input_not_found")
    assert reason["example"] == "/c/9.png does not exist."


def test_the_verdict_says_each_reason_once_with_how_many_it_has_failed() -> None:
    gone = [failed(row, f"/c/{row % 2}.png does not exist.") for row in range(8)]
    few = told(*gone, failed(9, "diverged at 3.", "diverged"))
    statuses = {"input_not_found": 8, "diverged": 1}
    assert verdict({**few, "statuses": statuses}).endswith(
        "; 9 failed: 8 × input_not_found (id0, …): /c/0.png does not exist; "
        "1 × diverged (id9): diverged at 3"
    )
    many = told(*gone, *(failed(row, f"defect {'x' * row}", "internal") for row in range(9, 15)))
    said = verdict({**many, "statuses": {"input_not_found": 8, "internal": 6}})
    assert "; 14 failed, the commonest: 8 × input_not_found (id0, …): " in said


def test_reasons_are_told_apart_by_what_they_say_not_by_whom_they_name() -> None:
    reasons = Reasons()
    for number in range(4):
        reasons.add(failed(number, f"a{number}.png is {number + 100} px wide.", "input_too_small"))
        reasons.add(failed(number, f"'gs://b/{number}' may not be read.", "input_unreadable"))
    reasons.add(failed(9, "photo.heic is HEIC.", "input_unreadable"))
    reasons.add(failed(10, "photo.psd is PSD.", "input_unreadable"))
    counts = [(one["count"], one["status"]) for one in reasons.commonest()]
    assert counts == [
        (4, "input_too_small"),
        (4, "input_unreadable"),
        (1, "input_unreadable"),
        (1, "input_unreadable"),
    ]
    assert len(reasons.commonest(2)) == 2


def test_endless_different_reasons_take_no_more_memory_and_are_all_counted() -> None:
    reasons = Reasons()
    words = "abcdefghij"
    for number in range(3 * MOST_KINDS):
        name = "".join(words[int(digit)] for digit in str(number))
        reasons.add(failed(number, f"defect {name}", "internal"))
    assert sum(one["count"] for one in reasons.commonest(10**6)) == 3 * MOST_KINDS
    assert len(reasons.commonest(10**6)) == MOST_KINDS + 1
    assert reasons.commonest()[0]["count"] == 2 * MOST_KINDS


def test_statistics_of_parts_merge_to_those_of_all() -> None:
    chance = random.Random(2)
    outcomes = [
        failed(number, f"/c/{number}.png does not exist.")
        if chance.random() < 0.3
        else done(number, seconds=chance.random(), ssim=chance.random(), error=chance.random())
        for number in range(60)
    ]
    whole, merged = Statistics(), Statistics()
    for start in range(0, 60, 13):
        part = Statistics()
        for outcome in outcomes[start : start + 13]:
            whole.add(outcome)
            part.add(outcome)
        merged.merge(part)
    one, other = (statistics.to_dict(None) for statistics in (whole, merged))
    assert one == other
    assert merged.statuses == whole.statuses
