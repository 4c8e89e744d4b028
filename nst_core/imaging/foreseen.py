"""What an engine asks of pictures, found out where they are read instead of beside its device.

Of uint8 pictures alone: what floats come to is as large as they are, and they are rare.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from nst_core.canvas import Size, content_size, size_of, style_size
from nst_core.config import StyleConfig
from nst_core.errors import PairError
from nst_core.identity import digest
from nst_core.imaging import images, recoloring
from nst_core.imaging.remembered import once_per_picture
from nst_core.results import Style

# What tells a picture from others.
identity_of = once_per_picture(digest)


@once_per_picture
def _resized(rgb: np.ndarray, _: np.ndarray | None, size: Size, resample: str) -> np.ndarray:
    return images.resize_in_kind(rgb, size.width, size.height, resample)


def resized(rgb: np.ndarray, size: Size, resample: str) -> np.ndarray:
    """See `images.resize_in_kind`; a picture of bytes that has the size is given back itself."""
    if rgb.dtype != np.uint8:
        return images.resize_in_kind(rgb, size.width, size.height, resample)
    return rgb if size_of(rgb) == size else _resized(rgb, None, size, resample)


def look_at(content: np.ndarray, styles: Sequence[Style], config: StyleConfig) -> None:
    """Find out what an engine will ask of these pictures, which is remembered as long as they are.

    On any thread: the one that serves a device then need not.
    """
    for style in styles:
        recoloring.statistics_of(style.rgb, style.alpha)
    # What is wrong with their sizes the engine says, with the pictures' names.
    with contextlib.suppress(PairError):
        size = content_size(size_of(content), config, "")
        fitted = resized(content, size, config.resample)
        if recoloring.recolors_content(config):
            recoloring.statistics_of(fitted, None)
        if config.recolors_style:
            return  # Those that the engine measures have the content's colours.
        for style in styles:
            identity_of(style.rgb, style.alpha)
            for scale in config.scales:
                wanted = style_size(style.original, size, config, scale, style.name)
                resized(style.rgb, wanted, config.resample)
