"""Draws the sample images of `nst demo`: three contents and three styles, all by code.

They are the same on every run: each picture draws its chance from a seed of its own.
"""

from collections.abc import Callable

from PIL import Image

from tools.draw_samples.mosaic import mosaic
from tools.draw_samples.mountain_lake import mountain_lake
from tools.draw_samples.river_town import river_town
from tools.draw_samples.still_life import still_life
from tools.draw_samples.swirling_strokes import swirling_strokes
from tools.draw_samples.woodcut_wave import woodcut_wave

Draw = Callable[[int], Image.Image]
"""Takes the width in pixels; returns an RGB image, 4:3."""

CONTENTS: dict[str, Draw] = {
    "river_town": river_town,
    "mountain_lake": mountain_lake,
    "still_life": still_life,
}
STYLES: dict[str, Draw] = {
    "swirling_strokes": swirling_strokes,
    "mosaic": mosaic,
    "woodcut_wave": woodcut_wave,
}
