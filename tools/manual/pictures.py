"""`python -m tools.manual.pictures`: the stylized photographs of the manual, into docs/pictures/.

With made weights, `default`'s steps and 384 px: some ten minutes on two cores. The sheet of each
setting in docs/settings/ is made by `python -m benchmarks settings`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from nst_core.results import Style

ROOT = pathlib.Path(__file__).parents[2]
PHOTOGRAPHS = ROOT / "docs/photographs"
PICTURES = ROOT / "docs/pictures"
PAINTINGS = ROOT / "pipeline/samples/styles"
SIZE = 384  # px
# The outline of the cup and its saucer in coffee.jpg (600×400 px).
SAUCER, CUP, SPOON = (75, 40, 482, 390), (171, 15, 411, 212), ((395, 68), (426, 66), (410, 125))


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture: what it is called, of which photograph and painting, and by which settings."""

    name: str
    photograph: str
    painting: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep: bool = False


WANTED = (
    *(
        Picture(f"{photograph}-{painting}", photograph, painting)
        for photograph in ("cat", "coffee", "rocket")
        for painting in ("mosaic", "swirling_strokes", "woodcut_wave")
    ),
    *(
        Picture(f"cat-{key}-{value}", "cat", "swirling_strokes", {key: value})
        for key, value in (
            ("content_weight", 0.02),
            ("content_weight", 0.5),
            ("style_scale", 0.5),
            ("style_scale", 2.0),
            ("steps", 10),
            ("preserve_colors", "luminance"),
            ("image_size", 192),
        )
    ),
    *(
        Picture(f"coffee-{painting}-keep", "coffee", painting, {"keep": "mask"}, keep=True)
        for painting in ("mosaic", "swirling_strokes", "woodcut_wave")
    ),
)


def mask() -> Image.Image:
    """White where coffee.jpg shows the cup with its saucer, black elsewhere, with a soft edge."""
    drawn = Image.new("L", Image.open(PHOTOGRAPHS / "coffee.jpg").size)
    draw = ImageDraw.Draw(drawn)
    draw.ellipse(SAUCER, fill=255)
    draw.ellipse(CUP, fill=255)
    draw.polygon(SPOON, fill=255)
    return drawn.filter(ImageFilter.GaussianBlur(2))


def main() -> None:
    """Make every picture that is wanted."""
    PICTURES.mkdir(exist_ok=True)
    mask().save(PHOTOGRAPHS / "coffee_mask.png", optimize=True)
    for path in PAINTINGS.glob("*.jpg"):
        with Image.open(path) as painting:
            painting.thumbnail((SIZE, SIZE))
            painting.save(PICTURES / f"{path.stem}.webp", quality=84, method=6)
    kept = np.asarray(mask(), np.float32) / 255
    engine = StyleEngine("procedural")
    for one in WANTED:
        config = StyleConfig(weights="procedural", image_size=SIZE).updated(one.settings)
        content = _read(PHOTOGRAPHS / f"{one.photograph}.jpg")
        styles = [Style(_read(PAINTINGS / f"{one.painting}.jpg"))]
        result = engine.stylize(content, styles, config, keep=kept if one.keep else None)
        picture = Image.fromarray(result.image.round().astype(np.uint8))
        picture.save(PICTURES / f"{one.name}.webp", quality=84, method=6)
        print(f"{one.name}: {result.seconds:.0f} s", flush=True)


def _read(path: pathlib.Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


if __name__ == "__main__":
    main()
