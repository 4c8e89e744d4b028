"""The colours of styles: their palette, styles in a content's colours, and what has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from nst_core.config import StyleConfig
from nst_core.errors import InputTooSmall
from nst_core.imaging import colors
from nst_core.imaging.remembered import once_per_picture
from nst_core.results import Style

# Levels by which the channels of what is grey may differ: rounding.
GREY_TOLERANCE = 1
# The deviation of a style's colours, in levels of 0…255, that is more than noise of compression.
LEAST_DEVIATION = 1.0
# A picture with colours shows some in the pixels of every n-th row and column already: n.
SPARSE = 16

# Of a content or a style.
statistics_of = once_per_picture(colors.color_statistics)


def recolors_content(config: StyleConfig) -> bool:
    """Whether the content takes the style's colours before the transfer."""
    return config.content_colors == "style" and not config.recolors_style


def palette_of(styles: Sequence[Style]) -> colors.Palette:
    """Mean and covariance of the styles' colours, mixed by their weights."""
    weights = [style.weight for style in styles]
    palettes = [statistics_of(style.rgb, style.alpha) for style in styles]
    if len(palettes) == 1:
        return palettes[0]
    mean = np.average([mean for mean, _ in palettes], axis=0, weights=weights)
    # About the common mean: between several styles, their means differ too.
    spread = [covariance + np.outer(m - mean, m - mean) for m, covariance in palettes]
    return mean, np.average(spread, axis=0, weights=weights)


def in_colors_of(styles: Sequence[Style], content: np.ndarray, *, by: str) -> list[Style]:
    """The styles in the colours of a content, `by` its `histogram` or its `covariance`.

    Gatys et al. 2016: Preserving color in neural artistic style transfer (arXiv 1606.05897).
    """
    grey = is_grey(content)
    palette = statistics_of(content, None)
    found = []
    for style in styles:
        # Channel by channel even grey would become coloured where the style's channels differ.
        rgb = colors.in_grey(style.rgb) if grey else style.rgb
        if by == "histogram":
            rgb = colors.with_histograms(rgb, content, style.alpha)
        else:
            rgb = colors.with_colors(rgb, palette, style.alpha)
        found.append(dataclasses.replace(style, rgb=rgb))
    return found


def refuse_plain(style: Style) -> None:
    """Raise for a style of one colour: there is no style in it, and it would erase the content.

    Raises:
        InputTooSmall: nothing of the style is left to take.
    """
    if style.alpha is not None and not style.alpha.any():
        raise InputTooSmall(
            f"{style.name} is transparent all over, so that there is no style in it; "
            "take another picture, or one without transparency."
        )
    mean, covariance = statistics_of(style.rgb, style.alpha)
    if np.sqrt(np.trace(covariance)) < LEAST_DEVIATION:
        where = "" if style.alpha is None else " where it is not transparent"
        red, green, blue = (round(float(value)) for value in mean)
        raise InputTooSmall(
            f"{style.name} is of one colour{where} (RGB {red}, {green}, {blue}), so that there is "
            "no style in it; take another picture, or draw a ground behind it."
        )


def is_grey(rgb: np.ndarray, alpha: np.ndarray | None = None) -> bool:
    """Whether an image `[H, W, 3]` has no colours, in what is not transparent of it."""
    sparse = (slice(None, None, SPARSE),) * 2
    few = rgb[sparse], None if alpha is None else alpha[sparse]
    return _channels_agree(*few) and _channels_agree(rgb, alpha)


def _channels_agree(rgb: np.ndarray, alpha: np.ndarray | None) -> bool:
    pixels = rgb if alpha is None else rgb[alpha > 0]
    red, green, blue = (pixels[..., channel] for channel in range(3))
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    return bool((highest - lowest <= GREY_TOLERANCE).all())


# Whether a style has no colours: asked once, however many contents it has.
is_grey_style = once_per_picture(is_grey)
