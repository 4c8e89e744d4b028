"""Styles that are no ordinary pictures: of one colour, grey, faint, transparent in part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import InputTooSmall
from nst_core.imaging import recoloring
from nst_core.network.weights import VggWeights
from nst_core.results import Style

Draw = Callable[[int, int, int], np.ndarray]

QUICK = StyleConfig().updated(
    {
        "image_size": 64,
        "scales": [1],
        "steps": 4,
        "content_layers": {"block2_conv2": 1},
        "style_layers": {"block1_conv1": 1, "block2_conv1": 1},
    }
)
STATISTICS = ("gram", "covariance", "wasserstein")


@pytest.fixture(scope="module")
def engine(procedural: VggWeights) -> StyleEngine:
    return StyleEngine(procedural, precision="float32", device="cpu")


def plain(*color: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.full((*size, 3), color, np.uint8)


def framed(inner: np.ndarray, color: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture in a transparent frame, under which there is a colour; and its alpha."""
    rgb = np.full((96, 96, 3), color, np.uint8)
    alpha = np.zeros((96, 96), np.uint8)
    rgb[16:80, 16:80], alpha[16:80, 16:80] = inner, 255
    return rgb, alpha


@pytest.mark.parametrize(
    ("rgb", "alpha", "said"),
    [
        (plain(0, 0, 0), None, "RGB 0, 0, 0"),
        (plain(255, 255, 255), None, "RGB 255, 255, 255"),
        (plain(200, 30, 40, size=(1, 1)), None, "RGB 200, 30, 40"),
        (*framed(plain(255, 255, 255), 0), "one colour where it is not transparent"),
        (plain(9, 9, 9), np.zeros((64, 64), np.uint8), "transparent all over"),
    ],
)
def test_a_style_of_one_colour_or_none_fails_with_a_sentence(
    engine: StyleEngine, draw: Draw, rgb: np.ndarray, alpha: np.ndarray | None, said: str
) -> None:
    with pytest.raises(InputTooSmall, match=said) as caught:
        engine.stylize(draw(64, 64, 1), [Style(rgb, name="s.png", alpha=alpha)], QUICK)
    assert str(caught.value).startswith("s.png is ")
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("normalization", ["energy", "mean", "none"])
def test_terms_of_a_next_to_plain_style_are_finite_and_of_the_usual_size(
    engine: StyleEngine, draw: Draw, statistics: str, normalization: str
) -> None:
    faint = plain(250, 250, 250)
    faint[::8] -= 4
    config = QUICK.updated(
        {
            "style_statistics": statistics,
            "normalization": normalization,
            "content_colors": "own",
            # Of one step either optimiser tells the terms of its start; Adam's is traced sooner.
            "optimizer": "adam",
            "steps": 1,
        }
    )
    first = engine.stylize(draw(64, 64, 1), [Style(faint)], config).losses.terms(0)["total"]
    usual = engine.stylize(draw(64, 64, 1), [Style(draw(64, 64, 9))], config)
    assert np.isfinite(first)
    assert first < 1000 * usual.losses.terms(0)["total"]


@pytest.mark.parametrize("statistics", STATISTICS)
def test_a_plain_content_leaves_the_terms_finite(
    engine: StyleEngine, draw: Draw, statistics: str
) -> None:
    config = QUICK.updated({"style_statistics": statistics, "content_colors": "own"})
    result = engine.stylize(plain(255, 255, 255), [Style(draw(64, 64, 9))], config)
    assert not result.retried
    assert result.losses.terms(-1)["total"] < 100


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("changes", [{}, {"preserve_colors": "covariance"}, {"tile": 64}])
def test_what_is_under_the_transparent_parts_of_a_style_is_no_part_of_it(
    engine: StyleEngine, draw: Draw, statistics: str, changes: dict[str, Any]
) -> None:
    config = QUICK.updated({"style_statistics": statistics, "style_layers": {"block1_conv1": 1}})
    config = config.updated(
        {"content_layers": {"block1_conv1": 1}, "steps": 2, "image_size": 96, **changes}
    )
    found = []
    for color in (0, 128):
        rgb, alpha = framed(draw(64, 64, 9), color)
        # Layers see a pixel beyond the edge.
        alpha[16:80, 16:80] = 0
        alpha[18:78, 18:78] = 255
        found.append(engine.stylize(draw(96, 96, 1), [Style(rgb, alpha=alpha)], config))
    np.testing.assert_allclose(found[0].image, found[1].image, atol=0.5)
    assert found[0].quality.gram_errors == pytest.approx(found[1].quality.gram_errors, rel=1e-3)


def test_the_colours_of_a_style_are_those_of_what_is_not_transparent(draw: Draw) -> None:
    rgb, alpha = framed(draw(64, 64, 9), 255)
    whole = recoloring.palette_of([Style(draw(64, 64, 9))])
    for found, expected in zip(
        recoloring.palette_of([Style(rgb, alpha=alpha)]), whole, strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    by_histogram = recoloring.in_colors_of(
        [Style(rgb, alpha=alpha)], draw(64, 64, 1), by="histogram"
    )
    unframed = recoloring.in_colors_of([Style(draw(64, 64, 9))], draw(64, 64, 1), by="histogram")
    np.testing.assert_allclose(by_histogram[0].rgb[16:80, 16:80], unframed[0].rgb)


def channels_apart(image: np.ndarray) -> float:
    return float((image.max(axis=2) - image.min(axis=2)).max())


@pytest.mark.parametrize("how", ["covariance", "histogram", "luminance"])
def test_a_grey_content_that_keeps_its_colours_stays_grey(
    engine: StyleEngine, draw: Draw, how: str
) -> None:
    grey = np.repeat(draw(64, 64, 1)[:, :, :1], 3, axis=2)
    style = Style(draw(64, 64, 9))
    result = engine.stylize(grey, [style], QUICK.updated({"preserve_colors": how}))
    assert channels_apart(result.image) < 0.01
    assert result.image.std() > 10


@pytest.mark.parametrize("colors", ["own", "style"])
def test_grey_in_the_style_of_grey_is_grey(engine: StyleEngine, draw: Draw, colors: str) -> None:
    grey, other = (np.repeat(draw(64, 64, seed)[:, :, :1], 3, axis=2) for seed in (1, 9))
    config = QUICK.updated({"content_colors": colors})
    assert channels_apart(engine.stylize(grey, [Style(other)], config).image) < 0.01
    colored = engine.stylize(grey, [Style(draw(64, 64, 9))], config)
    assert channels_apart(colored.image) > 10
