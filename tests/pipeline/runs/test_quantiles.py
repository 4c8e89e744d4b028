"""Quantiles in bins: right within 0.1 %, whatever is merged with what."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from pipeline.runs.quantiles import ACCURACY, Quantiles


def of(*values: float) -> Quantiles:
    """What has counted these."""
    quantiles = Quantiles()
    for value in values:
        quantiles.add(value)
    return quantiles


def test_known_quantiles_of_one_to_a_hundred() -> None:
    quantiles = of(*random.Random(1).sample(range(1, 102), 101))
    assert quantiles.quantile(0.5) == pytest.approx(51, rel=ACCURACY)
    assert quantiles.quantile(0.95) == pytest.approx(96, rel=ACCURACY)
    assert (quantiles.quantile(0), quantiles.quantile(1)) == (1, 101)
    assert quantiles.mean == 51
    assert quantiles.total == 101 * 51


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e7])
def test_they_are_right_within_a_thousandth_of_their_value(scale: float) -> None:
    values = scale * np.random.default_rng(5).lognormal(0, 3, 2001)
    quantiles = of(*values)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        exact = np.quantile(values, share, method="lower")
        assert quantiles.quantile(share) == pytest.approx(exact, rel=1.01 * ACCURACY)


def test_negative_numbers_and_zero_have_their_places() -> None:
    quantiles = of(-4, -0.5, 0, 0, 0.25)
    found = [quantiles.quantile(share) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert found == pytest.approx([-4, -0.5, 0, 0, 0.25], rel=ACCURACY)


def test_merged_ones_say_what_one_of_all_says() -> None:
    chance = random.Random(3)
    values = [chance.gauss(0, 1) for _ in range(500)]
    merged = of(*values[:100])
    merged.merge(of())
    merged.merge(of(*values[100:]))
    assert merged.to_dict() == of(*values).to_dict()


def test_of_nothing_there_is_nothing_and_what_is_no_number_is_left_out() -> None:
    assert of(math.nan, math.inf).to_dict() == {}
    with pytest.raises(ValueError, match="no numbers"):
        of().quantile(0.5)
    assert of(2.0, math.nan).to_dict()["mean"] == 2.0


def test_memory_is_that_of_bins_not_of_numbers() -> None:
    quantiles = of(*np.random.default_rng(0).uniform(0.1, 1.0, 50_000))
    # log(10) / 0.002
    assert len(quantiles._bins) <= 1152
