"""Cells of a manifest that are written to be read again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nst_core.setting_text import parse_value
from pipeline.manifest.values import defect, json_value, option_text


@pytest.mark.parametrize(
    "value",
    [1e-5, -2.5e-7, 1e22, 1.0, math.inf, -math.inf, [1e-5, {"a": 1e300}], "\ufeffa", "\x85", "1e5"],
    ids=repr,
)
def test_an_option_s_text_is_read_as_its_value(value: Any) -> None:
    found = parse_value(option_text(value))
    assert found == value
    assert type(found) is type(value)


def test_and_so_is_what_is_no_number() -> None:
    assert math.isnan(parse_value(option_text(math.nan)))


@pytest.mark.parametrize("text", ['{"a\\u0000": 1}', '[{"\\ud800": 1}]', '{"a": ["\\ud800"]}'])
def test_names_within_a_cell_are_looked_at_as_its_values_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"UTF-8|NUL"):
        json_value(text)
    assert defect({"a": [{"b": 1}]}) is None
