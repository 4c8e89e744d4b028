"""One pair under every preset: seconds, nearness to style and content, and the pictures.

`steps` are evaluations over all scales; SSIM is to the content (1: the content itself), the Gram
error that to the style, relative, the mean over the style layers (0: the style itself). The
pictures go into docs/presets.jpg.
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from benchmarks.options import Options, drawn
from nst_core.config import PRESETS, preset
from nst_core.engine import StyleEngine
from nst_core.results import Progress, Report, Style
from nst_core.weights import load_weights
from pipeline.contact_sheet import Row, contact_sheet

# Long and short side of the pictures, px.
SIZE = {"image_size": 256}
HEIGHT = {"image_height": 192}
VARIATIONS: dict[str, dict[str, object]] = {
    "neural_style, init: content, steps: 300": {"init": "content", "steps": 300},
    "default, preserve_colors: luminance": {"preserve_colors": "luminance"},
}
PLACE = pathlib.Path(__file__).parents[1] / "docs" / "presets.jpg"


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows; the sheet is written beside."""
    weights = load_weights(options.weights)
    content, style = drawn("river_town"), drawn("swirling_strokes")
    shown = {"content": content, "style": style}
    rows = []
    for name in [*PRESETS, *VARIATIONS]:
        config = preset(name.partition(",")[0])
        config = config.updated(HEIGHT if config.image_height else SIZE)
        config = config.updated({"weights": options.weights, **VARIATIONS.get(name, {})})
        engine = StyleEngine.for_config(config, weights)
        result = engine.stylize(content, [Style(style)], config, progress=_followed(name))
        shown[name] = result.image.round().astype(np.uint8)
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
    _write_sheet(shown)
    return ["preset", "steps", "s", "SSIM", "Gram error"], rows


def _followed(name: str) -> Report:
    def report(now: Progress) -> None:
        print(f"  {name}: step {now.step}, loss {now.totals[0]:.6g}", flush=True)

    return report


def _write_sheet(shown: dict[str, np.ndarray]) -> None:
    names = list(shown)
    rows = [
        Row((_png(shown[a]), _png(shown[b]), _png(shown[c])), (a, b, c))
        for a, b, c in zip(names[::3], names[1::3], names[2::3], strict=True)
    ]
    sheet = Image.open(io.BytesIO(contact_sheet(rows)))
    sheet.save(PLACE, quality=88, optimize=True)


def _png(rgb: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()
