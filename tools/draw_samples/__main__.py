"""`python -m tools.draw_samples [--output DIR]`: draws the sample images anew, as JPEG files."""

from __future__ import annotations

import argparse
import pathlib

from tools.draw_samples import CONTENTS, STYLES

SAMPLES = pathlib.Path(__file__).parents[2] / "pipeline" / "samples"
WIDTH = 1024  # px
QUALITY = 75


def draw_samples(folder: pathlib.Path) -> None:
    """Draw every sample into `contents/` and `styles/` of a folder, which are made."""
    for name, pictures in (("contents", CONTENTS), ("styles", STYLES)):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        for stem, draw in pictures.items():
            draw(WIDTH).save(place / f"{stem}.jpg", quality=QUALITY, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.draw_samples", allow_abbrev=False)
    parser.add_argument("--output", type=pathlib.Path, default=SAMPLES, metavar="DIR")
    draw_samples(parser.parse_args().output)
