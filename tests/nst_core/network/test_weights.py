"""Weights: Keras's files of every layout are read, anything else is refused with one sentence."""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import socket
import urllib.error
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest

from nst_core.errors import WeightsError
from nst_core.network import weights
from nst_core.network.loading import load_weights
from nst_core.network.weights import layer_shapes

Layers = dict[str, tuple[np.ndarray, np.ndarray]]
OTHER_LAYERS = ("input_1", "block1_pool", "block5_pool", "flatten")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG19 with few channels: its files are small."""
    monkeypatch.setattr(weights, "CHANNELS", {1: 2, 2: 3, 3: 4, 4: 5, 5: 6})


@pytest.fixture
def layers(narrow: None) -> Layers:  # noqa: ARG001
    """Random kernels and biases of the narrow VGG19."""
    generator = np.random.default_rng(3)
    return {
        name: (
            generator.standard_normal(shape, np.float32),
            generator.standard_normal(shape[-1], np.float32),
        )
        for name, shape in layer_shapes().items()
    }


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "vgg19.h5"


def published(path: pathlib.Path, layers: Layers, *, nested: bool = False) -> None:
    """A file as Keras publishes it: `block1_conv1_W_1:0`, or nested as of TensorFlow 2."""
    with h5py.File(path, "w") as file:
        names = [*OTHER_LAYERS, *layers]
        file.attrs["layer_names"] = [name.encode() for name in names]
        file.attrs["backend"] = b"tensorflow"
        for name in names:
            group = file.create_group(name)
            if name not in layers:
                group.attrs["weight_names"] = []
                continue
            kernel, bias = (
                (f"{name}/kernel:0", f"{name}/bias:0")
                if nested
                else (f"{name}_W_1:0", f"{name}_b_1:0")
            )
            group.attrs["weight_names"] = [kernel.encode(), bias.encode()]
            group[kernel], group[bias] = layers[name]


def assert_same(found: Layers, expected: Layers) -> None:
    assert list(found) == list(expected)
    for name, arrays in expected.items():
        for one, other in zip(found[name], arrays, strict=True):
            assert one.dtype == np.float32
            np.testing.assert_array_equal(one, other)


def refusal(source: object) -> str:
    """The message of a refusal, checked to be one sentence."""
    with pytest.raises(WeightsError) as caught:
        load_weights(str(source))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_the_layers_are_vgg19s() -> None:
    shapes = layer_shapes()
    assert len(shapes) == 16
    assert shapes["block1_conv1"] == (3, 3, 3, 64)
    assert shapes["block5_conv4"] == (3, 3, 512, 512)
    assert sum(np.prod(shape) + shape[-1] for shape in shapes.values()) == 20_024_384


@pytest.mark.parametrize("nested", [False, True])
def test_keras_published_layout_is_read(path: pathlib.Path, layers: Layers, nested: bool) -> None:
    published(path, layers, nested=nested)
    found = load_weights(str(path))
    assert_same(found.layers, layers)
    assert found.name == str(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_with_the_dense_top_is_read(path: pathlib.Path, layers: Layers) -> None:
    top = {name: (np.ones((6, 4), np.float32), np.ones(4, np.float32)) for name in ("fc1", "fc2")}
    published(path, {**layers, **top})
    assert_same(load_weights(str(path)).layers, layers)


# Keras's own code, with NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_what_keras_itself_saves_is_read(
    tmp_path: pathlib.Path, keras_vgg19: Any, suffix: str
) -> None:
    path = tmp_path / f"model{suffix}"
    save = keras_vgg19.save_weights if suffix == ".weights.h5" else keras_vgg19.save
    save(path)
    expected = {n: tuple(keras_vgg19.get_layer(n).get_weights()) for n in layer_shapes()}
    assert_same(load_weights(str(path)).layers, expected)


def test_a_missing_file_is_refused(path: pathlib.Path) -> None:
    message = refusal(path)
    assert str(path) in message
    assert "does not exist" in message
    assert "procedural" in message


def test_a_folder_is_refused(tmp_path: pathlib.Path) -> None:
    assert f"{tmp_path} is a folder" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no weights here\n" * 99, b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_not_hdf5_is_refused(path: pathlib.Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "damaged or not HDF5" in refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: pathlib.Path, layers: Layers, share: float) -> None:
    published(path, layers)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged" in refusal(path)


def test_flipped_bytes_never_end_in_another_error(path: pathlib.Path, layers: Layers) -> None:
    published(path, layers)
    whole = path.read_bytes()
    generator = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        flipped = bytearray(whole)
        for position in generator.integers(len(whole), size=40):
            flipped[position] = generator.integers(256)
        path.write_bytes(flipped)
        try:
            load_weights(str(path))
        except WeightsError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 100


def test_a_wrong_kernel_shape_is_refused(path: pathlib.Path, layers: Layers) -> None:
    kernel, bias = layers["block3_conv1"]
    published(path, {**layers, "block3_conv1": (kernel[:, :, :2], bias)})
    message = refusal(path)
    assert "block3_conv1" in message
    assert "(3, 3, 2, 4)" in message
    assert "(3, 3, 3, 4)" in message


def test_a_wrong_bias_shape_is_refused(path: pathlib.Path, layers: Layers) -> None:
    kernel, bias = layers["block3_conv1"]
    published(path, {**layers, "block3_conv1": (kernel, bias[:3])})
    message = refusal(path)
    assert "block3_conv1" in message
    assert "(3,)" in message


def test_a_missing_layer_is_refused(path: pathlib.Path, layers: Layers) -> None:
    del layers["block3_conv4"]
    published(path, layers)
    message = refusal(path)
    assert "no layer block3_conv4" in message
    assert "not Keras's VGG19" in message


def test_an_array_of_terabytes_of_nothing_is_refused_unread(
    path: pathlib.Path, layers: Layers
) -> None:
    published(path, layers)
    with h5py.File(path, "r+") as file:
        file["block1_conv1"].create_dataset("more", (2**40,), "f4", chunks=(1024,))
        del file["block1_conv1/block1_conv1_b_1:0"]
    assert path.stat().st_size < 1_000_000
    assert f"has shape ({2**40},) where VGG19 has" in refusal(path)


def test_a_layer_without_arrays_is_refused(path: pathlib.Path, layers: Layers) -> None:
    published(path, layers)
    with h5py.File(path, "a") as file:
        del file["block4_conv1"]
        file["block4_conv1"] = np.zeros(3)
    refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(
    path: pathlib.Path, layers: Layers, value: float
) -> None:
    layers["block2_conv2"][1][0] = value
    published(path, layers)
    message = refusal(path)
    assert "block2_conv2" in message
    assert "not numbers" in message


@pytest.fixture
def keras_home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An empty Keras cache; its folder for models."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    return models


@pytest.fixture
def download(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[pathlib.Path | None], None]]:
    """`download(file)`: what a download brings from now on; None: the network is down."""
    from keras.src.utils import file_utils

    def serve(file: pathlib.Path | None) -> None:
        def fetch(origin: str, target: str, *_: Any) -> None:
            assert origin.endswith(weights.IMAGENET_FILE)
            if file is None:
                raise urllib.error.URLError("Name or service\nnot known")
            shutil.copy(file, target)

        monkeypatch.setattr(file_utils, "urlretrieve", fetch)

    serve(None)
    yield serve
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("cached", [None, b"half a file"])
def test_imagenet_weights_that_cannot_be_had_name_the_two_other_ways(
    keras_home: pathlib.Path,
    download: Any,  # noqa: ARG001
    cached: bytes | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if cached:
        (keras_home / weights.IMAGENET_FILE).write_bytes(cached)
    message = refusal("imagenet")
    assert "cannot be downloaded" in message
    assert str(keras_home) in message
    assert "Keras VGG19 .h5" in message
    assert "weights procedural" in message
    assert capsys.readouterr().out == ""


def expect(monkeypatch: pytest.MonkeyPatch, path: pathlib.Path) -> None:
    """Take the file for the one that Keras publishes."""
    monkeypatch.setattr(weights, "IMAGENET_MD5", hashlib.md5(path.read_bytes()).hexdigest())


def test_imagenet_weights_come_from_keras_cache(
    monkeypatch: pytest.MonkeyPatch,
    keras_home: pathlib.Path,
    download: Any,  # noqa: ARG001
    layers: Layers,
) -> None:
    cached = keras_home / weights.IMAGENET_FILE
    published(cached, layers)
    expect(monkeypatch, cached)
    found = load_weights("imagenet")
    assert found.name == "imagenet"
    assert_same(found.layers, layers)


@pytest.mark.parametrize("cached", [None, b"half a file"])
def test_imagenet_weights_are_downloaded_into_keras_cache(
    monkeypatch: pytest.MonkeyPatch,
    keras_home: pathlib.Path,
    download: Any,
    layers: Layers,
    path: pathlib.Path,
    cached: bytes | None,
) -> None:
    if cached:
        (keras_home / weights.IMAGENET_FILE).write_bytes(cached)
    published(path, layers)
    expect(monkeypatch, path)
    download(path)
    assert_same(load_weights("imagenet").layers, layers)
    assert (keras_home / weights.IMAGENET_FILE).read_bytes() == path.read_bytes()


def test_a_damaged_download_is_refused(
    keras_home: pathlib.Path, download: Any, path: pathlib.Path
) -> None:
    path.write_bytes(b"<html>blocked</html>")
    download(path)
    assert str(keras_home) in refusal("imagenet")


def test_keras_publishes_what_is_verified() -> None:
    import inspect

    from keras.src.applications import vgg19

    assert weights.IMAGENET_MD5 in inspect.getsource(vgg19)
    assert vgg19.WEIGHTS_PATH_NO_TOP.endswith(weights.IMAGENET_FILE)
