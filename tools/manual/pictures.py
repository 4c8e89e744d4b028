"""`python -m tools.manual.pictures`: the illustrations of the manual, into docs/pictures/.

Contents and styles are the package's samples, which `tools/draw_samples` draws; with made weights,
`default`'s steps and 320 px: some ten minutes on two cores. The sheet of each setting in
docs/settings/ is made by `python -m benchmarks settings`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from nst_core.results import Style
from tools.draw_samples.still_life import Still, camera
from tools.draw_samples.tracing import trace

ROOT = pathlib.Path(__file__).parents[2]
PICTURES = ROOT / "docs/pictures"
CONTENTS, STYLES = ROOT / "pipeline/samples/contents", ROOT / "pipeline/samples/styles"
NAMES = ("mosaic", "swirling_strokes", "woodcut_wave")
SIZE = 320  # px
MASK, SHOWN_MASK = "still_life_mask.png", "still_life-mask"
MASK_WIDTH = 512  # px


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture: what it is called, of which content and style, and by which settings."""

    name: str
    content: str
    style: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep: bool = False


WANTED = (
    *(
        Picture(f"{content}-{style}", content, style)
        for content in ("mountain_lake", "river_town", "still_life")
        for style in NAMES
    ),
    *(
        Picture(f"river_town-{key}-{value}", "river_town", "swirling_strokes", {key: value})
        for key, value in (
            ("content_weight", 0.01),
            ("content_weight", 1),
            ("style_scale", 0.5),
            ("style_scale", 3),
            ("steps", 5),
            ("preserve_colors", "luminance"),
            ("image_size", 160),
        )
    ),
    *(
        Picture(f"still_life-{style}-keep", "still_life", style, {"keep": "mask"}, keep=True)
        for style in NAMES
    ),
)


def mask() -> Image.Image:
    """White where still_life.jpg shows a thing that stands on the table, black elsewhere; 4:3.

    The sample's own drawing says which thing is in front at each point of the picture.
    """
    finer = 2
    bodies = [thing.body for thing in Still().things]
    shown = trace(camera(finer * MASK_WIDTH), bodies).number >= 0
    drawn = Image.fromarray(np.where(shown, 255, 0).astype(np.uint8))
    return drawn.reduce(finer)


def main() -> None:
    """Make every picture that is wanted."""
    PICTURES.mkdir(exist_ok=True)
    for path in (*CONTENTS.glob("*.jpg"), *STYLES.glob("*.jpg")):
        with Image.open(path) as sample:
            sample.thumbnail((SIZE, SIZE))
            _write(sample, path.stem)
    drawn = mask()
    drawn.save(PICTURES / MASK, optimize=True)
    kept = np.asarray(drawn, np.float32) / 255
    drawn.thumbnail((SIZE, SIZE))
    _write(drawn, SHOWN_MASK)
    engine = StyleEngine("procedural")
    for one in WANTED:
        config = StyleConfig(weights="procedural", image_size=SIZE).updated(one.settings)
        content = _read(CONTENTS / f"{one.content}.jpg")
        styles = [Style(_read(STYLES / f"{one.style}.jpg"))]
        result = engine.stylize(content, styles, config, keep=kept if one.keep else None)
        _write(Image.fromarray(result.image.round().astype(np.uint8)), one.name)
        print(f"{one.name}: {result.seconds:.0f} s", flush=True)


def _read(path: pathlib.Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def _write(picture: Image.Image, name: str) -> None:
    picture.save(PICTURES / f"{name}.webp", quality=84, method=6)


if __name__ == "__main__":
    main()
