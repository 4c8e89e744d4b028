"""What is no picture, style or mask is refused by a sentence, before anything is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nst_core.engine.style_engine import StyleEngine
from nst_core.results import Style
from tests.nst_core.engine.quick import QUICK, Draw, assert_one_sentence

# By name, since the ids of tests must be the same in every process.
NO_PICTURES: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "a picture of Pillow": (Image.fromarray, "of type Image"),
    "a list": (lambda rgb: rgb.tolist(), "of type list"),
    "transparency": (lambda rgb: np.dstack([rgb, rgb[..., 0]]), "an array [64, 64, 4] of uint8"),
    "grey": (lambda rgb: rgb[..., 0], "an array [64, 64] of uint8"),
    "grey as a channel": (lambda rgb: rgb[..., :1], "an array [64, 64, 1] of uint8"),
    "channels first": (lambda rgb: rgb.transpose(2, 0, 1), "an array [3, 64, 64] of uint8"),
    "truth values": (lambda rgb: rgb > 99, "an array [64, 64, 3] of bool"),
    "0…1": (lambda rgb: np.minimum(rgb / np.float32(256), 0.75), "values up to 0.75 alone"),
    "16 bits": (lambda rgb: np.maximum(rgb * np.uint16(257), 9999), "has values up to "),
}
NO_MASKS: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "a picture of Pillow": (lambda _: Image.new("L", (64, 64), 255), "of type Image"),
    "a channel": (lambda mask: mask[..., None], "an array [64, 64, 1] of float32"),
    "0…255": (lambda mask: (255 * mask).astype(np.uint8), "values up to 255"),
}


def refusal(engine: StyleEngine, content: Any, styles: Any, **more: Any) -> ValueError:
    with pytest.raises(ValueError, match="; give ") as caught:
        engine.stylize(content, styles, QUICK, **more)
    return caught.value


@pytest.mark.parametrize("what", NO_PICTURES)
def test_what_is_no_picture_is_refused(
    engine: StyleEngine, draw: Draw, style: Style, what: str
) -> None:
    make, told = NO_PICTURES[what]
    rgb, odd = draw(64, 64, 1), make(draw(64, 64, 1))
    assert_one_sentence(refusal(engine, odd, [style]), "content 1", told)
    assert_one_sentence(refusal(engine, rgb, [Style(odd, name="a.png")]), "a.png", told)
    assert_one_sentence(refusal(engine, rgb, [style], init=odd), "The start of content 1", told)


@pytest.mark.parametrize("what", NO_MASKS)
def test_what_is_no_mask_is_refused(
    engine: StyleEngine, draw: Draw, style: Style, what: str
) -> None:
    make, told = NO_MASKS[what]
    rgb, odd = draw(64, 64, 1), make(np.eye(64, dtype=np.float32))
    assert_one_sentence(refusal(engine, rgb, [style], masks=[odd]), "A mask for content 1", told)
    assert_one_sentence(refusal(engine, rgb, [style], keep=odd), "What is kept of content 1", told)


def test_what_is_no_style_is_refused(engine: StyleEngine, draw: Draw, style: Style) -> None:
    rgb = draw(64, 64, 1)
    for odd in (rgb, Image.fromarray(rgb)):
        assert_one_sentence(refusal(engine, rgb, [odd]), "A style is ", "give Style(…)")
    for alpha in (np.ones((64, 64), bool), np.full((64, 60), 255, np.uint8)):
        other = dataclasses.replace(style, rgb=rgb, alpha=alpha)
        assert_one_sentence(refusal(engine, rgb, [other]), f"The alpha of {style.name}")
    unusable: list[tuple[Any, ...]] = [(-1,), (np.nan,), ("1",), (0, 0), (1, -1)]
    for weights in unusable:
        others = [dataclasses.replace(style, weight=weight) for weight in weights]
        assert_one_sentence(refusal(engine, rgb, others), "The weights of the styles are [")


@pytest.mark.parametrize("what", ["names", "inits", "masks", "keeps"])
def test_there_is_one_for_each_content(
    engine: StyleEngine, contents: list[np.ndarray], style: Style, what: str
) -> None:
    one = {"names": "a", "inits": contents[0], "masks": [None], "keeps": None}[what]
    with pytest.raises(ValueError, match=f"{what} holds 1 for 3 contents; give") as caught:
        engine.stylize_batch(contents, [style], QUICK, **{what: [one]})  # type: ignore[arg-type]
    assert_one_sentence(caught.value)


def test_an_image_that_a_setting_names_is_given(
    engine: StyleEngine, draw: Draw, style: Style
) -> None:
    for key in ("init", "keep"):
        with pytest.raises(ValueError, match=f'{key} is "a.png", which names an image') as caught:
            engine.stylize(draw(64, 64, 1), [style], QUICK.updated({key: "a.png"}))
        assert_one_sentence(caught.value)


@pytest.mark.parametrize(("name", "value"), [("pooling", "max"), ("padding", "reflect")])
def test_settings_of_another_network_are_refused(
    engine: StyleEngine, draw: Draw, style: Style, name: str, value: str
) -> None:
    config = QUICK.updated({name: value})
    with pytest.raises(ValueError, match="; make ") as caught:
        engine.stylize(draw(64, 64, 1), [style], config)
    assert_one_sentence(caught.value, f"{name} is {value}", "StyleEngine.for_config(")
