"""The project's own sample images: three contents and three styles, drawn by code.

They are the same on every run: each picture draws its chance from a seed of its own.
"""

import pathlib
from collections.abc import Callable, Mapping

from PIL import Image

from pipeline.pictures.mosaic import mosaic
from pipeline.pictures.mountain_lake import mountain_lake
from pipeline.pictures.river_town import river_town
from pipeline.pictures.still_life import still_life
from pipeline.pictures.swirling_strokes import swirling_strokes
from pipeline.pictures.woodcut_wave import woodcut_wave

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


def write_samples(
    directory: pathlib.Path, width: int = 640
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Draw every sample into `contents/` (JPEG) and `styles/` (PNG) of a directory.

    Returns the paths of the contents and of the styles, in the order of `CONTENTS` and `STYLES`;
    makes the directories that are missing; raises `OSError` where nothing can be written.
    """
    contents = _write(directory / "contents", CONTENTS, width, ".jpg")
    styles = _write(directory / "styles", STYLES, width, ".png")
    return contents, styles


def _write(
    folder: pathlib.Path, pictures: Mapping[str, Draw], width: int, extension: str
) -> list[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in pictures.items():
        path = folder / f"{name}{extension}"
        # PNG ignores the quality.
        draw(width).save(path, quality=92)
        paths.append(path)
    return paths
