"""What a caller gives the engine: whether these are pictures, styles and masks, one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_core.canvas import size_of
from nst_core.config import StyleConfig
from nst_core.config_checks import is_number
from nst_core.errors import shown
from nst_core.results import Style
from nst_core.setting_text import URI_SETTINGS

# Filters go beyond black and white by a part of the range; what goes further has another range.
BEYOND = 2
WHITE = 255
PICTURE = "give RGB in 0…255 as an array [H, W, 3], such as np.asarray(image.convert('RGB'))"
MASK = "give an array [H, W] in 0…1"

Styles = Sequence[Style] | Sequence[Sequence[Style]]


def styles_of_each(styles: Styles, count: int) -> list[Sequence[Style]]:
    """The styles of each of so many contents.

    Raises:
        ValueError: there are none for a content, or they are no styles.
    """
    shared = [one for one in styles if isinstance(one, Style)]
    own = [one for one in styles if not isinstance(one, Style)]
    for one in own:
        if not isinstance(one, Sequence):
            raise ValueError(f"A style is {_kind(one)}; give Style(…) of an array [H, W, 3].")
    found = own or [shared] * count
    if not count or (own and shared) or len(found) != count or not all(map(len, found)):
        raise ValueError(
            f"{count} contents have {len(shared)} styles for all and {len(own)} lists of their "
            "own; give at least one content, and at least one style for all or for each of them."
        )
    return found


def check_network(config: StyleConfig, pooling: str, padding: str) -> None:
    """Whether a configuration asks for the network that the engine has.

    Raises:
        ValueError: with how to make the engine that it asks for.
    """
    for name, asked, own in (
        ("pooling", config.pooling, pooling),
        ("padding", config.padding, padding),
    ):
        if asked != own:
            raise ValueError(
                f"The configuration's {name} is {asked}, the engine's {own}, with which the result "
                "would be another; make the engine by StyleEngine.for_config(config, weights)."
            )


def check(
    config: StyleConfig,
    contents: Sequence[np.ndarray],
    styles: Sequence[Sequence[Style]],
    names: Sequence[str],
    inits: Sequence[np.ndarray] | None,
    masks: Sequence[Sequence[np.ndarray | None]] | None,
    keeps: Sequence[np.ndarray | None] | None,
) -> None:
    """Whether there is one of everything for each content, in the shape and range it should have.

    Raises:
        ValueError: with what to give instead.
    """
    named = {"init": (config.init, inits), "keep": (config.keep, keeps)}
    for key, (value, images) in named.items():
        if value not in URI_SETTINGS[key] and not any(one is not None for one in images or ()):
            raise ValueError(
                f"{key} is {shown(value)}, which names an image, and no files are read here; "
                f"give it as an array by {key} or {key}s, too."
            )
    for what, given in (("names", names), ("inits", inits), ("masks", masks), ("keeps", keeps)):
        if given and len(given) != len(contents):
            raise ValueError(
                f"{what} holds {len(given)} for {len(contents)} contents; give one for each."
            )
    if any(len(one) != len(own) for one, own in zip(masks or (), styles, strict=False)):
        raise ValueError(
            f"masks holds {[len(one) for one in masks or ()]} masks for "
            f"{[len(own) for own in styles]} styles; "
            "give every content one mask or None for each style."
        )
    for index, content in enumerate(contents):
        _check_picture(content, names[index])
        if inits:
            _check_picture(inits[index], f"The start of {names[index]}")
        for mask in masks[index] if masks else ():
            _check_mask(mask, f"A mask for {names[index]}")
        _check_mask(keeps[index] if keeps else None, f"What is kept of {names[index]}")
    # Most contents share theirs.
    for shared in {id(own): own for own in styles}.values():
        _check_styles(shared)


def _check_styles(styles: Sequence[Style]) -> None:
    for style in styles:
        if not isinstance(style, Style):
            raise ValueError(f"A style is {_kind(style)}; give Style(…) of an array [H, W, 3].")
        _check_picture(style.rgb, style.name)
        alpha = style.alpha
        if alpha is not None and (
            not isinstance(alpha, np.ndarray)
            or alpha.dtype != np.uint8
            or alpha.shape != style.rgb.shape[:2]
        ):
            raise ValueError(
                f"The alpha of {style.name}, which is {size_of(style.rgb)} px, is {_kind(alpha)}; "
                "give a uint8 array [H, W] of that size."
            )
    weights = [style.weight for style in styles]
    if not all(is_number(weight) and weight >= 0 for weight in weights) or not sum(weights):
        raise ValueError(
            f"The weights of the styles are {shown(weights)}; "
            "give numbers of at least 0, not all of them 0."
        )


def _check_picture(rgb: Any, name: str) -> None:
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"{name} is {_kind(rgb)}; {PICTURE}.")
    if rgb.dtype == np.uint8:
        return
    if rgb.dtype.kind not in "uif":
        raise ValueError(f"{name} is {_kind(rgb)}; {PICTURE}.")
    # Where one is no number the loss will tell: nothing here is true of it.
    highest = float(rgb.max(initial=0))
    if 0 < highest <= 1 and rgb.dtype.kind == "f":
        raise ValueError(f"{name} has values up to {highest:g} alone, so it is black; {PICTURE}.")
    if highest > BEYOND * WHITE:
        raise ValueError(f"{name} has values up to {highest:g}; {PICTURE}.")


def _check_mask(mask: Any, what: str) -> None:
    if mask is None:
        return
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind not in "buif":
        raise ValueError(f"{what} is {_kind(mask)}; {MASK}.")
    if mask.dtype.kind != "b" and (highest := float(mask.max(initial=0))) > BEYOND:
        raise ValueError(f"{what} has values up to {highest:g}; {MASK}.")


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {[*value.shape]} of {value.dtype}"
    return f"of type {type(value).__name__}"
