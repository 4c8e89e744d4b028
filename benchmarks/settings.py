"""What the settings do: one pair under `default`, and under `default` with one thing changed.

The pictures go into docs/settings/, one file for each; docs/reference/settings.md shows them. SSIM
is to the content (1: the content itself), the Gram error that to the style, relative, the mean over
five layers of `default` (0: the style itself): where the style layers or the styles are others, it
is to these. Made weights are scaled to features as large as those of ImageNet's weights.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.gallery import Studio, write_picture
from benchmarks.options import Options, drawn
from nst_core.config import StyleConfig
from nst_core.results import Style

SIZE = 256


@dataclasses.dataclass(frozen=True)
class Variation:
    """A caption and what it stands for: settings, other styles, what a row can give besides."""

    caption: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    styles: Sequence[Style] = ()
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The caption in one line."""
        return " ".join(self.caption.split())

    @property
    def file(self) -> str:
        """What its picture is called in docs/settings/, without extension."""
        return re.sub(r"[^a-z0-9_.]+", "-", self.name).strip("-")


def setting(name: str, *values: object) -> list[Variation]:
    """One variation for each value of a setting."""
    return [Variation(f"{name}:\n{value}", {name: value}) for value in values]


def adam(caption: str, **settings: object) -> Variation:
    """A variation of what only Adam has."""
    return Variation(f"optimizer: adam,\n{caption}", {"optimizer": "adam", **settings})


def layers(*names: str) -> dict[str, float]:
    """These layers in equal shares."""
    return dict.fromkeys(names, 1 / len(names))


def variations(content: np.ndarray, style: np.ndarray) -> list[Variation]:
    """All pictures of the sheet, in their order."""
    height, width = content.shape[:2]
    left_to_right = np.tile(np.linspace(1.5, -0.5, width).clip(0, 1), (height, 1))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    middle = (2 - 3 * np.hypot(x, y)).clip(0, 1)
    half = [Style(style[:, : width // 3])]
    mosaic = drawn("mosaic")
    return [
        Variation("default"),
        *setting("content_weight", 0.01, 0.5),
        *setting("style_weight", 0.1, 10.0),
        Variation("content_layers:\nblock2_conv2", {"content_layers": layers("block2_conv2")}),
        Variation(
            "style_layers:\nblocks 1 and 2",
            {"style_layers": layers("block1_conv1", "block2_conv1")},
        ),
        Variation(
            "style_layers:\nblocks 4 and 5",
            {"style_layers": layers("block4_conv1", "block5_conv1")},
        ),
        *setting("style_statistics", "covariance", "wasserstein"),
        *setting("style_scale", 0.5, 2.0),
        Variation("a third of the style,\nstyle_fit: keep", {}, half),
        Variation("a third of the style,\nstyle_fit: stretch", {"style_fit": "stretch"}, half),
        *setting("content_colors", "own"),
        *setting("preserve_colors", "luminance", "covariance", "histogram"),
        *setting("pooling", "max", "l2"),
        *setting("tv_weight", 0.0, 1.0),
        *setting("tv_norm", "l1", "l2"),
        *setting("normalization", "mean", "none"),
        *setting("padding", "zero"),
        *setting("resample", "nearest"),
        *setting("image_size", 128),
        Variation("scales: [1],\nsteps: 100", {"scales": [1], "steps": 100}),
        *setting("init", "noise", "style_statistics"),
        Variation("init: noise,\nseed: 1", {"init": "noise", "seed": 1}),
        Variation("init:\nan image", {"init": "image.png"}, (), {"init": drawn("mountain_lake")}),
        adam("learning_rate: 4"),
        adam("learning_rate: 30", learning_rate=30.0),
        adam("average_decay: 0.9", average_decay=0.9),
        adam("normalize_gradients", normalize_gradients=True),
        Variation("two styles,\nweights 1 and 1", {}, [Style(style), Style(mosaic)]),
        Variation(
            "two styles with masks,\nleft and right",
            {},
            [Style(style), Style(mosaic)],
            {"masks": [left_to_right, 1 - left_to_right]},
        ),
        Variation("keep:\na disc", {"keep": "disc.png"}, (), {"keep": middle}),
        *setting("steps", 10),
        *setting("tolerance", 0.05),
    ]


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows; the pictures are written beside."""
    content, style = drawn("river_town"), drawn("swirling_strokes")
    studio = Studio(options.weights, content)
    default = StyleConfig(weights=options.weights, image_size=SIZE)
    write_picture("settings/content", content)
    write_picture("settings/style", style)
    rows = []
    for one in variations(content, style):
        styles = one.styles or [Style(style)]
        result = studio.stylized(one.name, styles, default.updated(one.settings), **one.given)
        write_picture(f"settings/{one.file}", result.image)
        errors = list(result.quality.gram_errors.values())
        rows.append(
            [
                one.name,
                f"{result.quality.ssim:.2f}",
                f"{np.mean(errors):.3f}",
            ]
        )
    return ["", "SSIM", "Gram error"], rows
