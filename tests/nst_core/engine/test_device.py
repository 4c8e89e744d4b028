"""Devices and arithmetic."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.devices import device
from nst_core.engine import batch, program, scale
from nst_core.engine import style_engine as engine_module
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import ConfigError, DeviceError, WeightsError
from nst_core.network.weights import VggWeights
from nst_core.results import Style, StyleResult
from tests.nst_core.engine.quick import HAS_GPU, QUICK, assert_one_sentence, pictures, quick, totals


class TestDevice:
    @pytest.mark.skipif(HAS_GPU, reason="TensorFlow sees a GPU")
    def test_a_gpu_that_is_demanded_and_not_there_stops_the_engine(
        self, procedural: VggWeights
    ) -> None:
        with pytest.raises(DeviceError) as caught:
            StyleEngine(procedural, device="gpu")
        assert_one_sentence(caught.value, "device is gpu", "set device to auto or cpu")

    def test_so_does_one_that_is_named_and_not_there(self, procedural: VggWeights) -> None:
        with pytest.raises(DeviceError) as caught:
            StyleEngine(procedural, device="/GPU:99")
        assert_one_sentence(caught.value, "device is /GPU:99", "/CPU:0", "or auto")

    def test_a_process_that_shares_gpus_counts_with_its_share_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configured: dict[str, list[Any]] = {}
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["one", "two"])
        monkeypatch.setattr(tf.config, "get_logical_device_configuration", configured.get)
        monkeypatch.setattr(tf.config, "set_logical_device_configuration", configured.__setitem__)
        monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda _: {"current": 2**20})
        monkeypatch.setattr(device, "whole_memory", device.whole_memory.__wrapped__)
        assert device.available_memory(device.GPU) == np.inf
        device.limit_gpu_memory(3000)
        limits = {gpu: [part.memory_limit for part in parts] for gpu, parts in configured.items()}
        assert limits == {"one": [3000], "two": [3000]}
        assert device.available_memory(device.GPU) == 2999 * 2**20

        def refuse(*_: object) -> None:
            raise RuntimeError("Virtual devices cannot be modified after being initialized")

        monkeypatch.setattr(tf.config, "set_logical_device_configuration", refuse)
        device.limit_gpu_memory(3000)
        with pytest.raises(DeviceError) as caught:
            device.limit_gpu_memory(4000)
        assert_one_sentence(caught.value, "4000 MiB", "leave --use-nvidia-mps out")

    @pytest.mark.skipif(not HAS_GPU, reason="needs a GPU, and TensorFlow sees none")
    def test_a_gpu_gives_nearly_the_cpus_loss(
        self, engine: StyleEngine, procedural: VggWeights, contents: list[np.ndarray], style: Style
    ) -> None:
        on_gpu = StyleEngine(procedural, padding="zero", precision="float32", device="gpu")
        found = on_gpu.stylize(contents[0], [style], QUICK)
        expected = engine.stylize(contents[0], [style], QUICK)
        assert found.device == device.GPU
        np.testing.assert_allclose(totals(found)[:3], totals(expected)[:3], rtol=1e-2)
        assert totals(found)[-1] == pytest.approx(totals(expected)[-1], rel=0.05)

    @pytest.mark.parametrize(("precision", "at_once"), [("float32", 1), ("bfloat16", 3)])
    def test_a_gpu_takes_images_one_by_one_in_float32_and_together_in_bfloat16(
        self,
        procedural: VggWeights,
        contents: list[np.ndarray],
        style: Style,
        precision: str,
        at_once: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Where there is no GPU, TensorFlow places its operations on the processor.
        monkeypatch.setattr(engine_module, "choose_device", lambda _: device.GPU)
        monkeypatch.setattr(batch, "available_memory", lambda _: np.inf)
        config = quick(
            content_layers={"block1_conv2": 1}, style_layers={"block1_conv1": 1}, steps=2
        )
        on_gpu = StyleEngine(procedural, padding="zero", precision=precision)
        results = on_gpu.stylize_batch(contents, [style], config)
        pictures(results)
        assert [result.batch for result in results if isinstance(result, StyleResult)] == [
            at_once
        ] * len(contents)

    @pytest.mark.skipif(not HAS_GPU, reason="needs a GPU, and TensorFlow sees none")
    def test_on_a_gpu_too_an_image_does_not_depend_on_its_neighbours(
        self, procedural: VggWeights, contents: list[np.ndarray], style: Style
    ) -> None:
        on_gpu = StyleEngine(procedural, padding="zero", precision="float32", device="gpu")
        config = quick(steps=50)
        together = pictures(on_gpu.stylize_batch(contents, [style], config))
        alone = on_gpu.stylize(contents[1], [style], config).image
        np.testing.assert_allclose(together[1], alone, atol=1)

    def test_auto_takes_bfloat16_where_the_processor_computes_in_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for computes, expected in ((True, "bfloat16"), (False, "float32")):
            monkeypatch.setattr(device, "cpu_has_bfloat16", lambda computes=computes: computes)
            assert device.choose_precision("auto", device.CPU) == expected
            assert device.choose_precision("float32", device.CPU) == "float32"

    def test_a_configuration_chooses_its_engine(self, procedural: VggWeights) -> None:
        config = quick(pooling="max", padding="zero", precision="bfloat16", device="cpu")
        found = StyleEngine.for_config(config, procedural)
        assert (found.programs.pooling, found.programs.padding, found.precision) == (
            "max",
            "zero",
            "bfloat16",
        )
        assert found.device == device.CPU
        assert found.weights is procedural

    @pytest.mark.parametrize(
        ("argument", "value"),
        [("pooling", "avg"), ("padding", "same"), ("precision", "float16"), ("device", "cuda")],
    )
    def test_what_is_no_setting_is_refused_when_the_engine_is_made(
        self, procedural: VggWeights, argument: str, value: str
    ) -> None:
        with pytest.raises(ConfigError, match=f'{argument} is "{value}"; give one of '):
            StyleEngine(procedural, **{argument: value})  # type: ignore[arg-type]

    def test_weights_may_be_a_path(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(WeightsError, match=r"missing\.h5 does not exist"):
            StyleEngine(tmp_path / "missing.h5")

    def test_the_compiled_program_of_gpus_gives_the_same_numbers(
        self, engine: StyleEngine, contents: list[np.ndarray], style: Style
    ) -> None:
        config = quick(
            content_layers={"block2_conv1": 1},
            style_layers={"block1_conv1": 1, "block2_conv1": 1},
            steps=8,
        )
        plain = engine.programs.compiled(config, "float32")
        compiled = program.Program(
            plain.objective, program.optimizer_for(config, "float32"), xla=True
        )
        start = np.stack(contents[:2]).astype(np.float32)
        targets = {
            "content": plain.content_targets(tf.constant(start)),
            "style": plain.objective.finished(
                plain.style_targets(tf.constant(np.stack([style.rgb, style.rgb[::-1]]), tf.float32))
            ),
        }
        results = [
            scale.optimize_scale(
                one,
                scale.ScaleState.from_images(one, start, 8),
                targets,
                config,
                8,
                scale.Deadline(),
                lambda *_: None,
            )
            for one in (plain, compiled)
        ]
        np.testing.assert_allclose(results[1].terms, results[0].terms, rtol=1e-3, atol=1e-9)
        np.testing.assert_allclose(results[1].images, results[0].images, atol=1)
