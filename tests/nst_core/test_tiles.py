"""Tiles: they cover a picture once, and give the whole picture's loss and gradient everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.layers import ALIGNMENT, halo
from nst_core.objective import Objective
from nst_core.program import Program, follow, optimizer_for
from nst_core.tiled import TiledProgram
from nst_core.tiles import extents, spans, tiles_of
from nst_core.vgg import Vgg19
from nst_core.weights import VggWeights

DEEP = StyleConfig().updated({"scales": [1], "steps": 4, "learning_rate": 2})
SHALLOW = {
    "content_layers": {"block2_conv2": 1},
    "style_layers": {"block1_conv1": 1, "block2_conv1": 2},
}


def programs(weights: VggWeights, config: StyleConfig, side: int) -> tuple[Program, TiledProgram]:
    network = Vgg19(weights, config.pooling, config.padding, tf.float32)
    objective, optimizer = Objective(network, config), optimizer_for(config)
    return Program(objective, optimizer, xla=False), TiledProgram(objective, optimizer, side)


def pictures(draw: Any, width: int, height: int) -> list[np.ndarray]:
    """A start, a content and a style, `[1, H, W, 3]`."""
    return [draw(width, height, seed)[None].astype(np.float32) for seed in (1, 2, 3)]


def targets_of(program: Program, content: np.ndarray, style: np.ndarray) -> Any:
    return {
        "content": program.content_targets(tf.constant(content)),
        "style": program.style_targets(tf.constant(style)),
    }


def whole_evaluation(program: Program, config: StyleConfig, x: Any, targets: Any) -> Any:
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        terms = program.objective.evaluate(x, targets, program.objective.weights(config))
        total = terms[:, 0]
    return terms.numpy(), tape.gradient(total, x).numpy()


def tiled_evaluation(program: TiledProgram, config: StyleConfig, x: Any, targets: Any) -> Any:
    units = program.objective.content_units(targets["content"])
    weights = program.objective.weights(config)
    terms, gradient = program.evaluate(tf.constant(x), targets, units, weights)
    return terms.numpy(), gradient.numpy()


class TestGeometry:
    @pytest.mark.parametrize("side", [64, 80, 256])
    @pytest.mark.parametrize("reach", [16, 80])
    def test_interiors_cover_a_side_once_and_halos_are_whole(self, side: int, reach: int) -> None:
        for length in [*range(32, 700, 7), 4096, 8192]:
            found = spans(length, side, reach)
            assert [span.first for span in found] == [0, *(span.last for span in found[:-1])]
            assert found[-1].last == length
            for span in found:
                assert span.start == 0 or span.first - span.start >= reach
                assert span.stop == length or span.stop - span.last >= reach
                assert span.start % ALIGNMENT == span.first % ALIGNMENT == 0
                assert span.stop == length or span.stop % ALIGNMENT == span.last % ALIGNMENT == 0
                assert span.stop - span.start <= side + 2 * reach + length % ALIGNMENT

    def test_a_large_canvas_needs_one_shape(self) -> None:
        shapes = {
            (tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start)
            for tile in tiles_of(Size(4096, 3072), 512, 80)
        }
        assert shapes == {(extents(Size(4096, 3072), 512, 80).height, 656)}

    def test_the_halo_is_the_receptive_field_of_the_deepest_layer(
        self, procedural: VggWeights
    ) -> None:
        for layers in (["block1_conv1"], ["block3_conv4"], ["block5_conv1"]):
            network = Vgg19(procedural, "average", "zero", tf.float32)
            x = tf.Variable(np.random.default_rng(0).uniform(0, 255, (1, 32, 416, 3)), tf.float32)
            with tf.GradientTape() as tape:
                features = network.features(tf.cast(x, tf.float32), layers)[layers[0]]
                inside = features[:, :, features.shape[2] // 2 :]
                loss = tf.reduce_sum(inside**2)
            seen = np.flatnonzero(np.abs(tape.gradient(loss, x)).sum(axis=(0, 1, 3)))[0]
            assert 208 - halo(layers) <= seen < 208 - halo(layers) + ALIGNMENT


class TestEvaluation:
    @pytest.mark.parametrize(
        ("changes", "size"),
        [
            ({"padding": "reflect", "pooling": "average"}, (304, 64)),
            ({"padding": "zero", "pooling": "max", "style_statistics": "covariance"}, (48, 240)),
            ({**SHALLOW, "padding": "reflect", "pooling": "max"}, (160, 96)),
            ({**SHALLOW, "padding": "zero", "normalization": "none"}, (203, 97)),
        ],
    )
    def test_loss_and_gradient_are_the_whole_pictures(
        self, procedural: VggWeights, draw: Any, changes: dict[str, Any], size: tuple[int, int]
    ) -> None:
        config = DEEP.updated(changes)
        whole, tiled = programs(procedural, config, 64)
        x, content, style = pictures(draw, *size)
        targets, pieces = targets_of(whole, content, style), targets_of(tiled, content, style)
        assert len(next(iter(pieces["content"].values()))) >= 2
        for name, expected in targets["style"].items():
            scale = np.abs(expected).max()
            np.testing.assert_allclose(pieces["style"][name], expected, atol=1e-5 * scale)
        terms, gradient = whole_evaluation(whole, config, x, targets)
        found, tiled_gradient = tiled_evaluation(tiled, config, x, pieces)
        np.testing.assert_allclose(found, terms, rtol=1e-5)
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(tiled_gradient, gradient, atol=2e-4 * scale)

    def test_every_tile_uses_the_same_graphs(
        self, procedural: VggWeights, draw: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = DEEP.updated({**SHALLOW, "tv_weight": 0})
        _, tiled = programs(procedural, config, 64)
        passes = []
        features = tiled.objective.network.features
        monkeypatch.setattr(
            tiled.objective.network,
            "features",
            lambda *arguments: passes.append(1) or features(*arguments),
        )
        for size in ((203, 97), (160, 240)):
            x, content, style = pictures(draw, *size)
            tiled_evaluation(tiled, config, x, targets_of(tiled, content, style))
        # Content targets, style targets, first pass, second pass: each traced once.
        assert len(passes) == 4


class TestOptimisation:
    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_it_takes_the_whole_pictures_course(
        self, procedural: VggWeights, draw: Any, optimizer: str
    ) -> None:
        config = DEEP.updated({**SHALLOW, "optimizer": optimizer})
        seen: list[int] = []
        courses = []

        def report(step: int, _: np.ndarray) -> None:
            seen.append(step)

        for program in programs(procedural, config, 64):
            x, content, style = pictures(draw, 160, 96)
            targets = targets_of(program, content, style)
            courses.append(follow(program, x, targets, config, 6, np.inf, report))
        whole, tiled = courses
        np.testing.assert_allclose(tiled.terms, whole.terms, rtol=1e-3)
        np.testing.assert_allclose(tiled.images, whole.images, atol=0.05)
        assert np.abs(tiled.images - x).mean() > 1
        assert (tiled.steps, tiled.failed) == ([6], [False])
        assert seen[-1] == 6
