"""Pictures for the documentation: images stylized here, in docs/, alone or on sheets."""

from __future__ import annotations

import functools
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from nst_core.config import StyleConfig
from nst_core.engine.style_engine import StyleEngine
from nst_core.network.loading import load_weights
from nst_core.network.weights import VggWeights
from nst_core.results import Progress, Style, StyleResult
from pipeline.commands.contact_sheet import Picture, contact_sheet

PICTURE_SIDE = 256  # px
DOCS = pathlib.Path(__file__).parents[1] / "docs"

# Root of the mean square of ImageNet's features in each block, after ReLU: what the loss logs
# imply that users of jcjohnson/neural-style have published (its issues; single figures vary by a
# factor of two). That of made weights is the same in all blocks.
IMAGENET_SIZES = {
    "block1": 65.0,
    "block2": 200.0,
    "block3": 220.0,
    "block4": 400.0,
    "block5": 50.0,
}
MADE_SIZE = 0.7


def gallery_weights(source: str) -> VggWeights:
    """The weights of a sheet; made ones with features as large as those of ImageNet's weights.

    The network is homogeneous: with all features of a layer s times as large it computes the same
    picture. Only terms that are not normalised see it, and their presets are made for this size.
    """
    weights = load_weights(source)
    if source != "procedural":
        return weights
    layers = {}
    before = 1.0
    for name, (kernel, bias) in weights.layers.items():
        size = IMAGENET_SIZES[name.partition("_")[0]] / MADE_SIZE
        layers[name] = (kernel * np.float32(size / before), bias * np.float32(size))
        before = size
    return VggWeights(weights.name, weights.sha256, layers)


class Studio:
    """Stylizes one content under many configurations, with one engine for each network."""

    def __init__(self, weights: str, content: np.ndarray) -> None:
        self.weights = gallery_weights(weights)
        self.content = content
        self._engine = functools.cache(self._new_engine)

    def stylized(
        self, name: str, styles: Sequence[Style], config: StyleConfig, **given: Any
    ) -> StyleResult:
        """The content in these styles, its course printed; `given` is as for the engine."""

        def report(now: Progress) -> None:
            print(f"  {name}: step {now.step}, loss {now.totals[0]:.6g}", flush=True)

        engine = self._engine(config.pooling, config.padding)
        return engine.stylize(self.content, styles, config, progress=report, **given)

    def _new_engine(self, pooling: str, padding: str) -> StyleEngine:
        return StyleEngine(self.weights, pooling=pooling, padding=padding)


def write_sheet(name: str, shown: Sequence[tuple[str, np.ndarray]], columns: int) -> None:
    """A JPEG in docs/ of captions and pictures, RGB `[H, W, 3]` in 0…255, row by row."""
    pictures = [Picture(_png(rgb), caption) for caption, rgb in shown]
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    width = max(rgb.shape[1] for _, rgb in shown[columns:])
    sheet = Image.open(io.BytesIO(contact_sheet(rows, width)))
    sheet.save(DOCS / name, quality=88, optimize=True)


def write_picture(name: str, rgb: np.ndarray) -> None:
    """A WebP in docs/ of one picture, RGB `[H, W, 3]` in 0…255, its long side `PICTURE_SIDE` px."""
    picture = Image.fromarray(np.asarray(rgb).round().astype(np.uint8))
    scale = PICTURE_SIDE / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    path = DOCS / f"{name}.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize(size, Image.Resampling.LANCZOS).save(path, quality=82, method=6)


def _png(rgb: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(rgb).round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
