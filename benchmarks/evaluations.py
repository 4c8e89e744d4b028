"""Which scales and steps come to a loss with the least work: `default`, and what was tried.

`before` is L-BFGS as it was, whose first guess is a multiple of the identity, with the steps that
`default` had then. `work` is in evaluations at full size, each of a smaller scale by its pixels;
loss is the last at full size, as a ratio to that of `before` over pairs of the sample pictures
(256 px, float32): the mean, and the worst. SSIM is to the content (1: the content itself), the
Gram error that to the style, relative (0: the style itself). The pictures of `before` and of
`default` go into docs/evaluations.jpg.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from unittest import mock

import numpy as np

from benchmarks.gallery import write_sheet
from benchmarks.options import Options, drawn
from nst_core.config import StyleConfig, preset
from nst_core.engine.style_engine import StyleEngine
from nst_core.identity import FORMER_STEPS
from nst_core.network.loading import load_weights
from nst_core.optimizers import bands
from nst_core.results import Style, StyleResult
from tools.draw_samples import CONTENTS, STYLES

SIZE = 256
BEFORE, DEFAULT = "before", "default"
((_, FORMER),) = FORMER_STEPS.items()
# Each content with two of the styles.
PAIRS = [
    (content, style)
    for turn in (0, 1)
    for content, style in zip(CONTENTS, [*STYLES][turn:] + [*STYLES][:turn], strict=True)
]
# Settings of each, beside those of `default`.
TRIED: dict[str, dict[str, object]] = {
    BEFORE: {"steps": [*FORMER]},
    "before, a third less": {},
    DEFAULT: {},
    "the steps of before": {"steps": [*FORMER]},
    "fewer": {"steps": [30, 20]},
    "one scale": {"scales": [1], "steps": 36},
    "three scales": {"scales": [0.25, 0.5, 1], "steps": [40, 30, 26]},
    "Adam": {"optimizer": "adam", "learning_rate": 5},
}


@dataclasses.dataclass
class Row:
    """One of `TRIED`, for all pairs."""

    name: str
    config: StyleConfig
    results: list[StyleResult]

    @property
    def losses(self) -> np.ndarray:
        """The last of each pair."""
        return np.array([one.losses.terms(-1)["total"] for one in self.results])

    @property
    def work(self) -> float:
        """Evaluations at full size, by pixels; the mean."""
        return float(np.mean([np.sum(one.losses.rows[:, 1] ** 2) for one in self.results]))

    def cells(self, before: np.ndarray) -> list[str]:
        """Of the table; `before`: losses."""
        ratio = self.losses / before
        counts = "+".join(map(str, self.config.steps_per_scale))
        scales = ", ".join(f"{one:g}" for one in self.config.scales)
        errors = [np.mean([*one.quality.gram_errors.values()]) for one in self.results]
        return [
            self.name,
            scales,
            counts,
            f"{np.mean([one.steps for one in self.results]):.0f}",
            f"{self.work:.1f}",
            f"{ratio.mean():.3f}",
            f"{ratio.max():.3f}",
            f"{np.mean([one.quality.ssim for one in self.results]):.3f}",
            f"{np.mean(errors):.4f}",
        ]


def _measure(options: Options, name: str, changes: dict[str, object]) -> Row:
    fixed = {"weights": options.weights, "image_size": SIZE, "precision": "float32"}
    config = preset("default").updated({**fixed, **changes})
    # Where nothing is seen of the bands, the first guess is a multiple of the identity.
    blind = mock.patch.object(bands, "observed", return_value={})
    results = []
    with blind if name.startswith(BEFORE) else contextlib.nullcontext():
        engine = StyleEngine.for_config(config, load_weights(options.weights))
        for content, style in PAIRS:
            found = engine.stylize(drawn(content), [Style(drawn(style))], config)
            results.append(found)
            loss = found.losses.terms(-1)["total"]
            print(f"  {name}: {content}, {style}: {loss:.5f}", flush=True)
    return Row(name, config, results)


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows; the sheet is written beside."""
    rows = {name: _measure(options, name, changes) for name, changes in TRIED.items()}
    shown = [
        (f"{content}, {style}: {name}", rows[name].results[index].image)
        for index, (content, style) in enumerate(PAIRS[:3])
        for name in (BEFORE, DEFAULT)
    ]
    write_sheet("evaluations.jpg", shown, columns=2)
    header = ["", "scales", "steps", "evaluations", "work", "loss", "worst", "SSIM", "Gram error"]
    before = rows[BEFORE].losses
    return header, [row.cells(before) for row in rows.values()]
