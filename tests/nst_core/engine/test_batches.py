"""Batches: an image does not depend on its neighbours; styles are measured once."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from nst_core.engine import programs
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import InputTooSmall
from nst_core.identity import digest
from nst_core.imaging import colors, images, recoloring
from nst_core.imaging.foreseen import look_at
from nst_core.imaging.remembered import once_per_picture
from nst_core.network.weights import VggWeights
from nst_core.results import Style, StyleResult
from tests.nst_core.engine.quick import (
    QUICK,
    Draw,
    assert_one_sentence,
    new_engine,
    pictures,
    quick,
)


class TestBatches:
    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_an_image_does_not_depend_on_its_neighbours_or_their_order(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, optimizer: str
    ) -> None:
        # To the bit: where images part by rounding, optimisations part by more.
        config = quick(steps=15, optimizer=optimizer)
        together = pictures(engine.stylize_batch(contents, [style], config))
        turned = pictures(engine.stylize_batch(contents[::-1], [style], config))[::-1]
        for content, one, other in zip(contents, together, turned, strict=True):
            alone = engine.stylize(content, [style], config).image
            np.testing.assert_array_equal(one, alone)
            np.testing.assert_array_equal(other, alone)

    def test_nor_where_several_threads_compute_them(self) -> None:
        script = pathlib.Path(__file__).with_name("alone_and_together.py")
        threads = {"TF_NUM_INTRAOP_THREADS": "3", "PYTHONPATH": os.getcwd()}
        command = [sys.executable, str(script)]
        done = subprocess.run(
            command, env={**os.environ, **threads}, capture_output=True, text=True, check=True
        )
        assert done.stdout == "the same\n"

    @pytest.mark.parametrize("statistics", ["gram", "covariance", "wasserstein"])
    def test_nor_with_every_layer_and_scale_in_bfloat16(
        self, rough_engine: StyleEngine, draw: Draw, style: Style, statistics: str
    ) -> None:
        config = StyleConfig().updated(
            {
                "image_size": 64,
                "steps": [6, 3],
                "style_statistics": statistics,
                "padding": "zero",
            }
        )
        several = [draw(96, 70, 1), draw(96, 90, 2)]
        together = pictures(rough_engine.stylize_batch(several, [style], config))
        for content, found in zip(several, together, strict=True):
            alone = rough_engine.stylize(content, [style], config).image
            np.testing.assert_array_equal(found, alone)

    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_nor_by_more_than_rounding_with_reflect_padding(
        self, procedural: VggWeights, contents: list[np.ndarray], style: Style, optimizer: str
    ) -> None:
        engine = StyleEngine(procedural, padding="reflect", precision="float32", device="cpu")
        config = quick(steps=10, optimizer=optimizer, padding="reflect")
        together = pictures(engine.stylize_batch(contents, [style], config))
        for content, found in zip(contents, together, strict=True):
            alone = engine.stylize(content, [style], config).image
            np.testing.assert_allclose(found, alone, atol=1)

    def test_contents_of_several_sizes_share_a_canvas(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        several = [draw(64, 40, 1), draw(64, 64, 2), draw(100, 80, 3)]
        results = engine.stylize_batch(several, [style], quick(steps=10))
        assert [found.shape[:2] for found in pictures(results)] == [(40, 64), (64, 64), (51, 64)]
        for content, found in zip(several, pictures(results), strict=True):
            alone = engine.stylize(content, [style], quick(steps=10))
            np.testing.assert_array_equal(found, alone.image)
        assert {r.batch for r in results if isinstance(r, StyleResult)} == {3}

    def test_contents_of_several_canvases_are_optimised_canvas_by_canvas(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        several = [draw(64, 30, 1), draw(64, 64, 2), draw(64, 32, 3)]
        results = engine.stylize_batch(several, [style], QUICK)
        for content, found in zip(several, pictures(results), strict=True):
            np.testing.assert_array_equal(found, engine.stylize(content, [style], QUICK).image)
        assert [r.batch for r in results if isinstance(r, StyleResult)] == [2, 1, 2]

    @pytest.mark.parametrize(
        "settings",
        [
            {"optimizer": "adam"},
            {"style_statistics": "covariance", "style_fit": "stretch"},
            {"style_statistics": "wasserstein"},
            {"preserve_colors": "histogram"},
            {"normalization": "none", "tv_weight": 0, "content_weight": 0.02},
            {"init": "style_statistics", "content_colors": "style"},
        ],
        ids=lambda settings: next(iter(settings.values())),
    )
    def test_nor_does_it_depend_on_its_neighbours_styles(
        self, engine: StyleEngine, draw: Draw, settings: dict[str, object]
    ) -> None:
        config = quick(steps=4, **settings)
        several = [draw(64, 64, 1), draw(64, 50, 2), draw(64, 64, 3)]
        styles = [
            [Style(draw(80, 64, 9))],
            [Style(draw(64, 90, 10), weight=2), Style(draw(70, 70, 11))],
            [Style(draw(80, 64, 12))],
        ]
        results = engine.stylize_batch(several, styles, config)
        for content, own, found in zip(several, styles, results, strict=True):
            assert isinstance(found, StyleResult)
            assert found.batch == 3
            alone = engine.stylize(content, own, config)
            np.testing.assert_array_equal(found.image, alone.image)
            assert found.quality == alone.quality

    def test_a_style_that_is_none_fails_its_own_pair_alone(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, draw: Draw
    ) -> None:
        plain = Style(np.full((64, 64, 3), 90, np.uint8), name="plain.png")
        hidden = np.zeros((64, 64), np.uint8)
        hidden[0, 0] = 255
        # That next to nothing is left of it shows at the size at which it is measured.
        specks = Style(np.tile(draw(64, 64, 5), (16, 16, 1)), 1.0, "specks.png")
        specks = dataclasses.replace(specks, alpha=np.pad(hidden, ((0, 960), (0, 960))))
        styles = [[style], [plain], [style, specks]]
        fine, one, other = engine.stylize_batch(contents, styles, QUICK)
        assert isinstance(fine, StyleResult)
        assert isinstance(one, InputTooSmall)
        assert isinstance(other, InputTooSmall)
        assert_one_sentence(one, "plain.png is of one colour")
        assert_one_sentence(other, "specks.png")

    def test_what_is_no_batch_is_refused(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        for some, styles in (
            ([], [style]),
            (contents, []),
            (contents, [[style], [style]]),
            (contents, [[style], [], [style]]),
        ):
            with pytest.raises(ValueError, match="give at least one content"):
                engine.stylize_batch(some, styles, QUICK)  # type: ignore[arg-type]

    def test_a_content_that_is_too_narrow_fails_alone_and_is_named(
        self, engine: StyleEngine, draw: Draw, style: Style
    ) -> None:
        several = [draw(200, 20, 1), draw(64, 64, 2)]
        error, fine = engine.stylize_batch(
            several, [style], QUICK, names=["gs://b/ribbon.png", "b"]
        )
        assert isinstance(error, InputTooSmall)
        assert_one_sentence(error, "gs://b/ribbon.png is 200x20 px", "64x6 px")
        assert isinstance(fine, StyleResult)

    def test_a_style_that_is_too_narrow_fails_its_pairs(
        self, engine: StyleEngine, contents: list[np.ndarray], draw: Draw
    ) -> None:
        narrow = Style(draw(200, 20, 1), name="gs://b/ribbon.png")
        for error in engine.stylize_batch(contents, [narrow], QUICK):
            assert isinstance(error, InputTooSmall)
            assert_one_sentence(error, "The style gs://b/ribbon.png is 200x20 px", "style_scale")


class TestStyles:
    def test_targets_are_computed_once_per_style_and_size(
        self, procedural: VggWeights, contents: list[np.ndarray], style: Style, draw: Draw
    ) -> None:
        engine = new_engine(procedural)
        for _ in range(3):
            engine.stylize_batch(contents, [style], quick(steps=1))
        assert (engine.style_passes, engine.batches) == (1, 3)
        # Neither weights nor the content's shape are a reason to measure the style again.
        engine.stylize(draw(64, 40, 1), [style], quick(steps=1, style_weight=3))
        assert engine.style_passes == 1
        engine.stylize(contents[0], [style], quick(steps=1, image_size=80))
        assert engine.style_passes == 2
        engine.stylize(contents[0], [style], quick(steps=1, scales=[0.5, 1]))
        assert engine.style_passes == 3
        engine.stylize(contents[0], [Style(draw(80, 64, 10))], quick(steps=1))
        assert engine.style_passes == 4

    def test_a_style_is_looked_at_once_whatever_its_weight_and_however_many_contents_it_has(
        self,
        procedural: VggWeights,
        contents: list[np.ndarray],
        draw: Draw,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        style = Style(draw(80, 64, 33))
        hashed, measured = [], []
        statistics = colors.color_statistics
        monkeypatch.setattr(
            programs,
            "identity_of",
            once_per_picture(lambda *one: hashed.append(one) or digest(*one)),
        )
        monkeypatch.setattr(
            recoloring,
            "statistics_of",
            once_per_picture(lambda *one: measured.append(one[0]) or statistics(*one)),
        )
        engine = new_engine(procedural)
        config = quick(steps=1, scales=[0.5, 1], content_colors="style")
        for weight in (1.0, 2.0):
            weighed = dataclasses.replace(style, weight=weight)
            for content in contents:
                engine.stylize(content, [weighed], config)
        of_style = [one for one in measured if one is style.rgb]
        assert (len(hashed), len(of_style), engine.style_passes) == (1, 1, 2)

    def test_what_was_found_out_where_pictures_were_read_is_not_asked_again(
        self,
        procedural: VggWeights,
        draw: Draw,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Of other sizes than those at which they are stylized and measured.
        content, style = draw(90, 120, 1), Style(draw(80, 64, 33))
        config = quick(steps=1, scales=[0.5, 1], content_colors="style")
        look_at(content, [style], config)

        def refused(*_: Any, **__: Any) -> Any:
            raise AssertionError("asked on the device's thread")

        monkeypatch.setattr(images, "resize_in_kind", refused)
        monkeypatch.setattr(hashlib, "blake2b", refused)
        monkeypatch.setattr(colors, "_products", refused)
        assert new_engine(procedural).stylize(content, [style], config).steps == 2
        with pytest.raises(AssertionError):
            new_engine(procedural).stylize(content.copy(), [style], config)

    @pytest.mark.parametrize("statistics", ["gram", "covariance", "wasserstein"])
    def test_the_pass_that_measures_a_style_for_the_optimisation_is_that_for_the_quality(
        self,
        procedural: VggWeights,
        contents: list[np.ndarray],
        style: Style,
        statistics: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        engine, config = new_engine(procedural), quick(steps=1, style_statistics=statistics)
        program = engine.programs.compiled(config, "float32")
        seen = []
        measure = program.style_targets
        monkeypatch.setattr(
            program, "style_targets", lambda *one: seen.append(one[0].shape) or measure(*one)
        )
        for content in contents[:2]:
            engine.stylize(content, [style], config)
        # The style once, and each finished image.
        assert seen == [(1, 51, 64, 3), (1, 64, 64, 3), (1, 64, 64, 3)]

    def test_forgotten_targets_are_computed_again(
        self,
        procedural: VggWeights,
        contents: list[np.ndarray],
        draw: Draw,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(programs, "STYLE_CACHE_ENTRIES", 2)
        engine = new_engine(procedural)
        for seed in (1, 2, 1, 3, 1, 2):
            engine.stylize(contents[0], [Style(draw(64, 64, seed))], quick(steps=1))
        assert engine.style_passes == 4

    def test_several_styles_mix_by_weight(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style, draw: Draw
    ) -> None:
        other = Style(draw(64, 64, 10), weight=2)
        single = engine.stylize(contents[0], [style], QUICK).image
        mixed = engine.stylize(contents[0], [style, other], QUICK).image
        turned = engine.stylize(contents[0], [other, style], QUICK).image
        without = dataclasses.replace(other, weight=0)
        same = engine.stylize(contents[0], [style, without], QUICK).image
        assert np.abs(mixed - single).mean() > 1
        np.testing.assert_allclose(turned, mixed, atol=1e-3)
        np.testing.assert_array_equal(same, single)

    def test_a_stretched_style_is_measured_at_the_contents_size(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(style_fit="stretch", steps=5)
        kept = engine.stylize(contents[0], [style], quick(steps=5)).image
        stretched = engine.stylize(contents[0], [style], config).image
        # A style that has been stretched beforehand needs no stretching.
        square = Style(images.resize(style.rgb, 64, 64, "lanczos"))
        np.testing.assert_allclose(
            engine.stylize(contents[0], [square], quick(steps=5)).image, stretched, atol=1e-3
        )
        assert np.abs(stretched - kept).mean() > 0.1
