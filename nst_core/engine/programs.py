"""What batches share: the networks, the compiled steps, and what was measured of styles."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nst_core.canvas import LEAST_CANVAS, Size
from nst_core.config import StyleConfig
from nst_core.devices.device import is_gpu
from nst_core.devices.operations import step_settings
from nst_core.engine.program import Program, optimizer_for
from nst_core.engine.tiled import TiledProgram
from nst_core.errors import InputTooSmall
from nst_core.imaging import images
from nst_core.imaging.foreseen import identity_of, resized
from nst_core.network.vgg import Vgg19
from nst_core.network.weights import VggWeights
from nst_core.objective.objective import Objective
from nst_core.objective.regions import LEAST_REGION
from nst_core.results import OnCompiling, Style

STYLE_CACHE_ENTRIES = 256


class Bounds(NamedTuple):
    """How many images are computed at once at the most, and in how large tiles, px; None: any."""

    most: int | None = None
    largest_tile: int | None = None


class Programs:
    """The networks of one set of weights, each made once for a precision, and what runs on them.

    Args:
        device: TensorFlow's name of where they run.
        on_compiling: called before a batch waits for XLA.

    `style_passes` counts the network passes that were spent on style targets.
    """

    def __init__(
        self,
        weights: VggWeights,
        pooling: str,
        padding: str,
        device: str,
        on_compiling: OnCompiling | None = None,
    ) -> None:
        self.weights = weights
        self.pooling = pooling
        self.padding = padding
        self.device = device
        # There a batch passes at once, by programs that XLA compiles for its size.
        self.on_gpu = is_gpu(device)
        self.on_compiling = on_compiling
        self.style_passes = 0
        self._bounds: dict[tuple[Any, ...], Bounds] = {}
        self._networks: dict[str, Vgg19] = {}
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._styles: collections.OrderedDict[tuple[Any, ...], dict[str, Any]]
        self._styles = collections.OrderedDict()

    def bounds(self, config: StyleConfig, canvas: Size, precision: str) -> Bounds:
        """What has turned out to fit of a canvas."""
        return self._bounds.get((canvas, precision, *step_settings(config)), Bounds())

    def bound(self, config: StyleConfig, canvas: Size, precision: str, **changes: int) -> None:
        """Remember what may fit of a canvas, once memory has run out."""
        bounds = self.bounds(config, canvas, precision)._replace(**changes)
        self._bounds[canvas, precision, *step_settings(config)] = bounds

    def forget_bounds(self) -> None:
        """Of a processor, whose memory each batch is told anew.

        Of a GPU, TensorFlow does not know what other processes have taken, and waits ten seconds
        for room whenever there is too little.
        """
        if not self.on_gpu:
            self._bounds.clear()

    def compiled(
        self,
        config: StyleConfig,
        precision: str,
        tile: int | None = None,
        *,
        regions: int = 0,
        keeps: bool = False,
    ) -> Program:
        """The compiled steps for a configuration, whole or by tiles, made once.

        `regions`: how many styles have masks; `keeps`: whether something of the content is kept.
        """
        key = (precision, tile, regions, keeps, *step_settings(config))
        if key not in self._programs:
            if precision not in self._networks:
                self._networks[precision] = Vgg19(
                    self.weights, self.pooling, self.padding, tf.as_dtype(precision)
                )
            objective = Objective(self._networks[precision], config, on_gpu=self.on_gpu)
            # XLA has no fast eigenvalues, which the Wasserstein distance needs in every step.
            xla = self.on_gpu and config.style_statistics != "wasserstein"
            optimizer = optimizer_for(config, precision)
            self._programs[key] = (
                TiledProgram(objective, optimizer, tile)
                if tile
                else Program(objective, optimizer, xla=xla)
            )
        return self._programs[key]

    def style_targets(
        self,
        style: Style,
        size: Size,
        config: StyleConfig,
        precision: str,
        tile: Callable[[], int | None],
    ) -> dict[str, Any]:
        """A style's statistics at a size: from the cache, else by one pass of the network.

        `tile`: asked then, the side of the interiors of the tiles in which it passes, px.
        """
        key = (
            identity_of(style.rgb, style.alpha),
            size,
            config.resample,
            precision,
            tuple(sorted(config.style_layers)),
            config.style_statistics,
        )
        if key not in self._styles:
            self.style_passes += 1
            program = self.compiled(config, precision, tile())
            self._styles[key] = program.style_targets(*_measured(style, size, config))
            while len(self._styles) > STYLE_CACHE_ENTRIES:
                self._styles.popitem(last=False)
        self._styles.move_to_end(key)
        return self._styles[key]


def pixels_of(style: Style) -> tuple[np.ndarray, ...]:
    """What tells a style from others: its colours and, where there is any, its transparency."""
    return (style.rgb,) if style.alpha is None else (style.rgb, style.alpha)


def _measured(
    style: Style, size: Size, config: StyleConfig
) -> tuple[np.ndarray, np.ndarray | None]:
    """The style as the network sees it: `[1, H, W, 3]`, of the least canvas at least.

    And, where it is transparent in part, how much each pixel counts: `[1, H, W, 1]` in 0…1.

    Raises:
        InputTooSmall: next to nothing of the style is left.
    """
    least = (max(size.height, LEAST_CANVAS), max(size.width, LEAST_CANVAS))

    def fitted(picture: np.ndarray) -> np.ndarray:
        padded = images.pad_reflect(resized(picture, size, config.resample), *least)
        return padded[None]

    if style.alpha is None:
        return fitted(style.rgb), None
    opaque = np.clip(fitted(style.alpha[:, :, None].astype(np.float32) / 255), 0, 1)
    if opaque.sum() < LEAST_REGION:
        raise InputTooSmall(
            f"{style.name} is transparent all over at {size} px, so that there is no style; "
            "take another picture, or one without transparency."
        )
    return fitted(style.rgb), opaque
