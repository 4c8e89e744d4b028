"""Tiles: they cover a picture once, and give the whole picture's loss and gradient everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.devices.tiles import extents, spans, tiles_of
from nst_core.engine.program import Program, optimizer_for
from nst_core.engine.scale import Deadline, ScaleState, optimize_scale
from nst_core.engine.style_engine import StyleEngine
from nst_core.engine.tiled import TiledProgram
from nst_core.layers import ALIGNMENT, halo
from nst_core.network.weights import VggWeights
from nst_core.objective.objective import Objective
from nst_core.results import Snapshot, Style
from tests.nst_core.engine.quick import shared_network

DEEP = StyleConfig().updated({"scales": [1], "steps": 4, "learning_rate": 2})
SHALLOW = {
    "content_layers": {"block2_conv2": 1},
    "style_layers": {"block1_conv1": 1, "block2_conv1": 2},
}
# One layer for content and style.
SHARED = {"content_layers": {"block2_conv1": 1}, "style_layers": SHALLOW["style_layers"]}


def programs(weights: VggWeights, config: StyleConfig, side: int) -> tuple[Program, TiledProgram]:
    network = shared_network(weights, config.pooling, config.padding, tf.float32)
    objective, optimizer = Objective(network, config), optimizer_for(config, "float32")
    return Program(objective, optimizer, xla=False), TiledProgram(objective, optimizer, side)


def pictures(draw: Any, width: int, height: int) -> list[np.ndarray]:
    """A start, a content and a style, `[1, H, W, 3]`."""
    return [draw(width, height, seed)[None].astype(np.float32) for seed in (1, 2, 3)]


def targets_of(program: Program, content: np.ndarray, style: np.ndarray) -> Any:
    statistics = program.style_targets(tf.constant(style))
    return {
        "content": program.content_targets(tf.constant(content)),
        "style": program.objective.finished(statistics),
    }


def whole_evaluation(program: Program, config: StyleConfig, x: Any, targets: Any) -> Any:
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        terms = program.objective.evaluate(
            x, targets, program.objective.aims(targets), program.objective.weights(config)
        )
        total = terms[:, 0]
    return terms.numpy(), tape.gradient(total, x).numpy()


def tiled_evaluation(program: TiledProgram, config: StyleConfig, x: Any, targets: Any) -> Any:
    aims, weights = program.objective.aims(targets), program.objective.weights(config)
    terms, gradient = program.evaluate(tf.constant(x), targets, aims, weights)
    return terms.numpy(), gradient.numpy()


def compare(
    whole: Program, tiled: TiledProgram, config: StyleConfig, x: Any, targets: Any, pieces: Any
) -> None:
    """Terms and gradient of the whole picture and of its tiles."""
    terms, gradient = whole_evaluation(whole, config, x, targets)
    found, tiled_gradient = tiled_evaluation(tiled, config, x, pieces)
    # Float32 tells the smallest eigenvalues apart less well than sums: a change of the picture by
    # its last bits moves this distance by 1e-4.
    rough = config.style_statistics == "wasserstein"
    np.testing.assert_allclose(found, terms, rtol=1e-3 if rough else 1e-5)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(tiled_gradient, gradient, atol=(1e-3 if rough else 2e-4) * scale)


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
            network = shared_network(procedural, "average", "zero", tf.float32)
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
            ({**SHALLOW, "normalization": "mean", "pooling": "l2", "tv_norm": "l1"}, (97, 203)),
            ({**SHALLOW, "style_statistics": "wasserstein"}, (160, 96)),
            ({**SHALLOW, "normalize_gradients": True, "optimizer": "adam"}, (203, 97)),
            ({**SHARED, "normalize_gradients": True, "optimizer": "adam"}, (160, 96)),
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
        compare(whole, tiled, config, x, targets, pieces)

    @pytest.mark.parametrize(
        ("statistics", "kept"), [("gram", False), ("covariance", True), ("wasserstein", False)]
    )
    def test_under_masks_and_with_parts_that_stay_too(
        self, procedural: VggWeights, draw: Any, statistics: str, kept: bool
    ) -> None:
        changes = {"style_statistics": statistics, "normalization": "none" if kept else "energy"}
        config = DEEP.updated({**SHALLOW, **changes})
        programs_of = programs(procedural, config, 64)
        x, content, one = pictures(draw, 203, 97)
        other = 255 - one[:, :64]
        generator = np.random.default_rng(5)
        masks = tf.constant(generator.uniform(size=(1, 97, 203, 2)).astype(np.float32))
        share = tf.constant(generator.uniform(size=(1, 97, 203, 1)).astype(np.float32))
        found = []
        for program in programs_of:
            targets = targets_of(program, content, one)
            second = targets_of(program, content, other)["style"]
            targets["style"] = {
                name: first + second[name] for name, first in targets["style"].items()
            }
            targets["regions"] = program.objective.regions(masks, [[1, 3]])
            if kept:
                targets["kept"] = {"share": share, "content": tf.constant(content)}
            found.append(targets)
        compare(*programs_of, config, x, *found)

    @pytest.mark.parametrize("statistics", ["gram", "wasserstein"])
    def test_gram_matrices_for_the_quality_are_the_whole_pictures(
        self, procedural: VggWeights, draw: Any, statistics: str
    ) -> None:
        config = DEEP.updated({**SHALLOW, "style_statistics": statistics})
        x = tf.constant(draw(203, 97, 1)[None], tf.float32)
        found = []
        for program in programs(procedural, config, 64):
            gram = program.objective.style_term.gram
            targets = program.style_targets(x)
            found.append({name: gram(one).numpy() for name, one in targets.items()})
        whole, tiled = found
        for name, expected in whole.items():
            assert expected.shape[1] == expected.shape[2]
            np.testing.assert_allclose(tiled[name], expected, atol=1e-5 * expected.max())

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
        results = []

        def report(step: int, _: np.ndarray) -> None:
            seen.append(step)

        for program in programs(procedural, config, 64):
            x, content, style = pictures(draw, 160, 96)
            targets = targets_of(program, content, style)
            start = ScaleState.from_images(program, x, 6)
            results.append(optimize_scale(program, start, targets, config, 6, Deadline(), report))
        whole, tiled = results
        np.testing.assert_allclose(tiled.terms, whole.terms, rtol=1e-3)
        np.testing.assert_allclose(tiled.images, whole.images, atol=0.2)
        assert np.abs(tiled.images - x).mean() > 1
        assert (tiled.steps, tiled.failed) == ([6], [False])
        assert seen[-1] == 6


class TestStylizing:
    def test_an_image_its_snapshots_and_its_quality_are_the_same_in_tiles(
        self, procedural: VggWeights, draw: Any
    ) -> None:
        engine = StyleEngine(procedural, precision="float32", device="cpu")
        styles = [Style(draw(160, 96, 8)), Style(255 - draw(96, 96, 9), weight=2)]
        mask = np.repeat(np.linspace(0, 1, 160)[None], 100, axis=0)
        keep = np.zeros((100, 160))
        keep[:, 100:] = 1
        config = DEEP.updated({**SHALLOW, "image_size": 160, "snapshot_every": 2})
        results, taken = [], []
        for tile in ("off", 64):
            shots: list[Snapshot] = []
            results.append(
                engine.stylize(
                    draw(160, 100, 1),
                    styles,
                    config.updated({"tile": tile}),
                    masks=[mask, None],
                    keep=keep,
                    snapshots=shots.append,
                )
            )
            taken.append(shots)
        whole, tiled = results
        assert (whole.tile, tiled.tile) == (None, 64)
        np.testing.assert_allclose(tiled.image, whole.image, atol=0.05)
        assert tiled.quality.gram_errors == pytest.approx(whole.quality.gram_errors, rel=1e-3)
        assert tiled.quality.ssim == pytest.approx(whole.quality.ssim, rel=1e-3)
        assert [one.step for one in taken[1]] == [one.step for one in taken[0]] == [2, 4]
        for one, other in zip(*taken, strict=True):
            np.testing.assert_allclose(one.image, other.image, atol=0.05)
        assert np.abs(tiled.image - taken[1][0].image).mean() > 0.1
