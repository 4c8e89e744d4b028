"""What is kept of a photograph's EXIF data."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import ExifTags, Image

from nst_core.imaging.credits import TEXT_LIMIT, Credits, credits_of

TAGS = ExifTags.Base


def exif_with(**values: Any) -> Image.Exif:
    """EXIF data with these values, by the names of their tags."""
    exif = Image.Exif()
    for name, value in values.items():
        exif[TAGS[name]] = value
    return exif


@pytest.mark.parametrize(
    ("unit", "dots"),
    [(2, (300.0, 150.0)), (3, (762.0, 381.0)), (None, (300.0, 150.0)), (1, None), (9, None)],
)
def test_a_resolution_is_in_dots_per_inch_whatever_its_unit(
    unit: int | None, dots: tuple[float, float] | None
) -> None:
    values = {} if unit is None else {"ResolutionUnit": unit}
    exif = exif_with(XResolution=300.0, YResolution=150.0, **values)
    assert credits_of(exif, None).resolution == pytest.approx(dots)


@pytest.mark.parametrize(
    "dots", [(1.0, 1.0), (0, 300), (300, -1), (float("inf"), 300), (30001, 300), "x", None, (300,)]
)
def test_a_resolution_that_means_nothing_is_none(dots: Any) -> None:
    assert credits_of(Image.Exif(), dots).resolution is None


def test_the_file_s_own_resolution_counts_where_exif_has_none() -> None:
    assert credits_of(Image.Exif(), (72, 96)).resolution == (72, 96)
    exif = exif_with(XResolution=300.0, YResolution=300.0)
    assert credits_of(exif, (72, 96)).resolution == (300, 300)
    unknown = exif_with(XResolution=1.0, YResolution=1.0)
    assert credits_of(unknown, (72, 96)).resolution == (72, 96)


def test_texts_are_cut_at_their_end_and_at_the_limit() -> None:
    exif = exif_with(Artist="Ann\0 and what was there before ", Copyright="x" * 2 * TEXT_LIMIT)
    found = credits_of(exif, None)
    assert found.artist == "Ann"
    assert found.copyright == "x" * TEXT_LIMIT


@pytest.mark.parametrize("date", ["2024", "yesterday at noon??", "2024:01:31 12:34:5\u0664"])
def test_what_is_no_date_is_none(date: str) -> None:
    assert credits_of(exif_with(DateTimeOriginal=date), None) == Credits()


def test_a_date_may_stand_in_the_main_directory() -> None:
    found = credits_of(exif_with(DateTimeOriginal="2024:01:31 12:34:56"), None)
    assert found.date == "2024:01:31 12:34:56"
