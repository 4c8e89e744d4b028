"""Procedural weights: the same everywhere, standardised, made once."""

from __future__ import annotations

import pathlib
import resource
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.gallery import IMAGENET_SIZES, MADE_SIZE, gallery_weights
from nst_core.network import procedural as recipe
from nst_core.network.loading import load_weights
from nst_core.network.procedural import SEED, calibration_images, laws_kernel, make_layers
from nst_core.network.vgg import Vgg19, preprocess
from nst_core.network.weights import VggWeights, layer_shapes

Layers = dict[str, tuple[np.ndarray, np.ndarray]]


def assert_same(found: Layers, expected: Layers) -> None:
    assert list(found) == list(expected)
    for name, arrays in expected.items():
        for one, other in zip(found[name], arrays, strict=True):
            assert one.tobytes() == other.tobytes()


@pytest.fixture
def counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, procedural: VggWeights
) -> list[int]:
    """An empty cache, and one entry for each time that weights are made."""
    made: list[int] = []

    def make(seed: int = SEED) -> Layers:
        made.append(seed)
        return procedural.layers

    monkeypatch.setattr(recipe, "make_layers", make)
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "empty"))
    return made


@pytest.fixture(scope="module")
def remade() -> Layers:
    return make_layers()


def test_weights_are_the_same_whenever_they_are_made(
    procedural: VggWeights, remade: Layers
) -> None:
    assert_same(remade, procedural.layers)
    assert len(procedural.sha256) == 64
    assert procedural.name == "procedural"
    assert {name: kernel.shape for name, (kernel, _) in remade.items()} == layer_shapes()
    assert all(a.dtype == np.float32 for arrays in remade.values() for a in arrays)


def test_another_seed_makes_other_weights(
    monkeypatch: pytest.MonkeyPatch, procedural: VggWeights
) -> None:
    first = {"block1_conv1": layer_shapes()["block1_conv1"]}
    monkeypatch.setattr(recipe, "layer_shapes", lambda: first)
    kernel, _ = make_layers(SEED + 1)["block1_conv1"]
    assert not np.allclose(kernel, procedural.layers["block1_conv1"][0])


def test_pre_activations_on_calibration_noise_have_mean_0_and_variance_1(
    procedural: VggWeights,
) -> None:
    images = calibration_images(np.random.default_rng(SEED))
    x = preprocess(tf.constant(images))
    block = "1"
    for name, (kernel, bias) in procedural.layers.items():
        if name[5] != block:
            x, block = tf.nn.avg_pool2d(x, 2, 2, "VALID"), name[5]
        padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
        response = tf.nn.conv2d(padded, kernel, 1, "VALID") + bias
        mean, variance = tf.nn.moments(response, axes=[0, 1, 2])
        np.testing.assert_allclose(mean, np.zeros(len(bias)), atol=2e-3, err_msg=name)
        np.testing.assert_allclose(variance, np.ones(len(bias)), atol=5e-3, err_msg=name)
        x = tf.nn.relu(response)


def test_calibration_noise_is_centred_and_coloured_as_natural_images_are() -> None:
    images = calibration_images(np.random.default_rng(SEED))
    centred = preprocess(images).numpy()[..., ::-1]
    assert abs(centred.mean()) < 0.1
    assert abs(centred.std() - 60) < 0.1
    red, green, blue = (centred[..., channel].ravel() for channel in range(3))
    assert np.corrcoef(red, green)[0, 1] > 0.8
    assert np.corrcoef(red, blue)[0, 1] > 0.8
    # 1/f: neighbours are alike, and energy falls with frequency.
    energy = np.abs(np.fft.rfft(centred[..., 0], axis=2)).mean(axis=(0, 1))
    assert energy[2:6].mean() > 4 * energy[50:60].mean()


def test_kernels_are_dominated_by_low_frequencies() -> None:
    kernel = laws_kernel(np.random.default_rng(1), (3, 3, 200, 50)).astype(np.float64)
    masks = [np.array(m) / np.linalg.norm(m) for m in ([1, 2, 1], [-1, 0, 1], [-1, 2, -1])]
    # These masks are not all orthogonal; least squares finds the random mix again.
    basis = np.array([np.outer(a, b).ravel() for a in masks for b in masks]).T
    mix, *_ = np.linalg.lstsq(basis, kernel.reshape(9, -1), rcond=None)
    relative = mix.std(axis=1) / mix.std(axis=1)[0]
    amplitudes = np.array([1, 0.6, 0.35])
    np.testing.assert_allclose(relative, np.outer(amplitudes, amplitudes).ravel(), rtol=0.05)


def test_made_weights_are_kept_and_not_made_again(
    counted: list[int], procedural: VggWeights, tmp_path: pathlib.Path
) -> None:
    first, second = load_weights("procedural"), load_weights("procedural")
    assert counted == [SEED]
    assert first.sha256 == second.sha256 == procedural.sha256
    assert_same(second.layers, procedural.layers)
    assert [file.suffix for file in (tmp_path / "empty").iterdir()] == [".npz"]


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "flipped", "a layer short"])
def test_a_damaged_cache_is_made_anew(
    counted: list[int], procedural: VggWeights, tmp_path: pathlib.Path, damage: str
) -> None:
    load_weights("procedural")
    (file,) = (tmp_path / "empty").iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    if damage == "a layer short":
        np.savez(file, **{"block1_conv1/kernel": np.zeros((3, 3, 3, 64), np.float32)})
    else:
        damaged: dict[str, Any] = {
            "empty": b"",
            "text": b"not what it was",
            "truncated": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        }
        file.write_bytes(damaged[damage])
    assert_same(load_weights("procedural").layers, procedural.layers)
    assert counted == [SEED, SEED]
    load_weights("procedural")
    assert counted == [SEED, SEED]


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
    procedural: VggWeights,
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "file" / "cache"))
    assert load_weights("procedural").sha256 == procedural.sha256
    assert counted == [SEED]


def test_a_full_disk_is_no_obstacle_and_nothing_half_written_stays(
    monkeypatch: pytest.MonkeyPatch, procedural: VggWeights, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("NST_CACHE", str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        assert load_weights("procedural").sha256 == procedural.sha256
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_the_documentation_s_weights_give_the_same_features_in_imagenet_s_sizes(
    procedural: VggWeights,
) -> None:
    images = tf.constant(calibration_images(np.random.default_rng(SEED))[:2, :96, :96])
    names = [f"block{block}_conv1" for block in range(1, 6)]
    plain, scaled = (
        Vgg19(weights, "average", "reflect", tf.float32).features(images, names)
        for weights in (procedural, gallery_weights("procedural"))
    )
    for name, size in zip(names, IMAGENET_SIZES.values(), strict=True):
        mine, theirs = scaled[name].numpy(), plain[name].numpy()
        np.testing.assert_allclose(mine, theirs * size / MADE_SIZE, rtol=1e-3, atol=1e-3 * size)
        assert np.sqrt(np.mean(mine**2)) == pytest.approx(size, rel=0.2)
