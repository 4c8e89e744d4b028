"""What the report's pages have of one record."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from pipeline.report.entries import Entry, measures_of, of_record
from pipeline.report.numbers import result_deviations

RECORD: dict[str, Any] = {
    "run": "r",
    "finished_at": "2026-05-01T12:00:00.000+00:00",
    "config": StyleConfig().to_dict(),
    "image": "/out/images/a/b.png",
    "sources": {"content": "/c/a.png", "styles": [{"uri": "/s/s.png", "weight": 1.0}]},
    "terms": {"final": {"total": 3.0, "content": 1.0, "style": 2.0, "tv": 0.0}},
    "quality": {"gram_errors": {"block1_conv1": 0.1, "block2_conv1": 0.5}, "ssim": 0.75},
    "seconds": {"read": 0.1, "optimize": 9.0, "write": 0.2},
    "curve": {"step": [1.0], "total": [3.0]},
}


def entry_of(**more: Any) -> Entry:
    """Of the record with more fields."""
    return of_record({**RECORD, **more}, "a/b", "0" * 16, "/out", None)


def test_the_gram_error_of_a_result_is_the_mean_over_its_layers() -> None:
    found = measures_of(RECORD)
    assert found["gram_error"] == pytest.approx(0.3)
    assert (found["ssim"], found["seconds"]) == (0.75, 9.0)
    assert math.isnan(measures_of({**RECORD, "quality": None})["gram_error"])


def test_a_result_is_shown_by_its_thumbnail_or_else_by_its_image() -> None:
    assert entry_of().index["extension"] == "png"
    thumbnails = {"content": None, "styles": [None]}
    assert entry_of(thumbnails=thumbnails).index["extension"] == ""


def test_marks_of_before_are_no_columns_to_look_through() -> None:
    columns = {"mark": "redo", "mark_of": "2026 r", "price": 3}
    assert entry_of(columns=columns).columns == {"price": "3"}


def test_snapshots_are_named_by_their_steps() -> None:
    names = ["/was/snapshots/a/b/000040.png", "/was/snapshots/a/b/000200.png"]
    found = entry_of(snapshots=names).detail["snapshots"]
    assert [one["step"] for one in found] == ["40", "200"]
    assert found[1]["link"].endswith("snapshots/a/b/000200.png")


def test_far_from_its_like_is_what_has_more_loss_more_error_or_less_likeness() -> None:
    usual = np.array([1.0, 2, 3, 4, 5, 6, 7])
    same = np.ones(7)
    groups = np.zeros(7, int)
    for totals, errors, ssims, worst in (
        (10**usual, same, same, 6),
        (same, usual, same, 6),
        (same, same, usual / 10, 0),
    ):
        assert int(np.argmax(result_deviations(groups, totals, errors, ssims))) == worst
    # Half of them are the same: the others are as far as their standard deviation tells.
    few = result_deviations(groups, same, np.array([1.0, 1, 1, 1, 1, 2, 90]), same)
    assert np.argmax(few) == 6
    assert 1 < few[6] < 4
