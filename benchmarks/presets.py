"""One pair under every preset: seconds, nearness to style and content, and the pictures.

`steps` are evaluations over all scales; SSIM is to the content (1: the content itself), the Gram
error that to the style, relative, the mean over the style layers (0: the style itself). The
pictures go into docs/presets.jpg. Made weights are scaled to features as large as those of
ImageNet's weights, for which the terms of `notebook` and `neural_style` are weighed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.gallery import Studio, write_sheet
from benchmarks.options import Options, drawn
from nst_core.config import PRESETS, preset
from nst_core.results import Style

# Long and short side of the pictures, px.
SIZE = {"image_size": 256}
HEIGHT = {"image_height": 192}
VARIATIONS: dict[str, dict[str, object]] = {
    "neural_style, init: content, steps: 300": {"init": "content", "steps": 300},
    "default, preserve_colors: luminance": {"preserve_colors": "luminance"},
}


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows; the sheet is written beside."""
    content, style = drawn("river_town"), drawn("swirling_strokes")
    studio = Studio(options.weights, content)
    shown = [("content", content), ("style", style)]
    rows = []
    for name in [*PRESETS, *VARIATIONS]:
        config = preset(name.partition(",")[0])
        config = config.updated(HEIGHT if config.image_height else SIZE)
        config = config.updated({"weights": options.weights, **VARIATIONS.get(name, {})})
        result = studio.stylized(name, [Style(style)], config)
        shown.append((name, result.image))
        errors = list(result.quality.gram_errors.values())
        rows.append(
            [
                name,
                f"{result.steps}",
                f"{result.seconds:.1f}",
                f"{result.quality.ssim:.2f}",
                f"{np.mean(errors):.3f}",
            ]
        )
    write_sheet("presets.jpg", shown, columns=3)
    return ["preset", "steps", "s", "SSIM", "Gram error"], rows
