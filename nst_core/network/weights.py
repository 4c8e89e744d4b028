"""Where VGG19's weights come from: Keras's ImageNet file, a Keras `.h5`, or made from a seed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np

from nst_core.errors import WeightsError
from nst_core.layers import CONV_LAYERS, block_of

CHANNELS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
IMAGENET_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGENET_MD5 = "253f8cb515780f3b799900260a226db6"
DOWNLOAD_TIMEOUT_SECONDS = 30.0
OTHER_WEIGHTS = (
    "give the path or URI of a Keras VGG19 .h5 file as weights, or weights procedural, "
    "which needs no download"
)


@dataclasses.dataclass(frozen=True)
class VggWeights:
    """Kernels `[3, 3, in, out]` and biases `[out]`, float32, of all sixteen convolutions.

    `name` is what the user asked for; `sha256` is of the file, or of the made arrays.
    """

    name: str
    sha256: str
    layers: dict[str, tuple[np.ndarray, np.ndarray]]


def layer_shapes() -> dict[str, tuple[int, int, int, int]]:
    """The kernel shape of each convolution, in order."""
    shapes = {}
    channels = 3
    for name in CONV_LAYERS:
        width = CHANNELS[block_of(name)]
        shapes[name] = (3, 3, channels, width)
        channels = width
    return shapes


def imagenet_file() -> pathlib.Path:
    """Keras's published VGG19 file: from its cache, else downloaded into it; verified by hash.

    Raises:
        WeightsError: neither cached nor to be downloaded.
    """
    cached = imagenet_cache_path()
    if is_imagenet_cached():
        return cached
    from keras.src.applications import vgg19
    from keras.utils import get_file

    silent = io.StringIO()
    try:
        with _socket_timeout(DOWNLOAD_TIMEOUT_SECONDS), contextlib.redirect_stdout(silent):
            found = get_file(
                IMAGENET_FILE,
                vgg19.WEIGHTS_PATH_NO_TOP,
                # Keras itself looks at KERAS_HOME only when it is imported.
                cache_dir=cached.parent.parent,
                cache_subdir=cached.parent.name,
                file_hash=IMAGENET_MD5,
            )
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f"The ImageNet weights are not in {cached} and cannot be downloaded ({reason}); "
            f"{OTHER_WEIGHTS}."
        ) from error
    return pathlib.Path(found)


def is_imagenet_cached() -> bool:
    """Whether Keras's file is in its cache, whole."""
    cached = imagenet_cache_path()
    return cached.is_file() and _digest(cached, "md5") == IMAGENET_MD5


def imagenet_cache_path() -> pathlib.Path:
    """Where Keras keeps its VGG19 file; it need not exist."""
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "models" / IMAGENET_FILE


def read_keras_file(path: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The convolutions in a Keras VGG19 `.h5`, with or without its dense top.

    Reads the layout of Keras's published files, of a whole model saved as `.h5` (groups below
    `model_weights`), and of `save_weights("….weights.h5")` of Keras 3 (groups below `layers`,
    numbered in order).

    Raises:
        WeightsError: no such file, damaged, a layer is missing or has another shape.
    """
    import h5py

    if path.is_dir():
        raise WeightsError(f"{path} is a folder, not a file of weights; {OTHER_WEIGHTS}.")
    if not path.is_file():
        raise WeightsError(f"The weights file {path} does not exist; {OTHER_WEIGHTS}.")
    try:
        with h5py.File(path, "r") as file:
            return {
                name: _layer_arrays(file, name, shape, path)
                for name, shape in layer_shapes().items()
            }
    except WeightsError:
        raise
    except Exception as error:  # h5py answers damage with whatever it trips over
        raise WeightsError(
            f"The weights file {path} is damaged or not HDF5; copy it again or fetch it anew."
        ) from error


def _layer_arrays(
    file: Any, name: str, shape: tuple[int, ...], path: pathlib.Path
) -> tuple[np.ndarray, np.ndarray]:
    number = CONV_LAYERS.index(name)
    numbered = f"conv2d_{number}" if number else "conv2d"
    for place in (name, f"model_weights/{name}", f"layers/{name}", f"layers/{numbered}"):
        group = file.get(place)
        if group is not None:
            break
    else:
        raise WeightsError(
            f"The weights file {path} has no layer {name}, so it is not Keras's VGG19; "
            f"{OTHER_WEIGHTS}."
        )
    # Looked at before they are read: a file of some kilobytes can hold terabytes of nothing.
    datasets = [*_datasets(group)]
    kernels = [data for data in datasets if data.ndim == 4]
    biases = [data for data in datasets if data.ndim == 1]
    found = [data.shape for data in datasets]
    if len(kernels) != 1 or len(biases) != 1 or found.count(shape) != 1:
        raise WeightsError(
            f"The layer {name} in {path} holds arrays of shapes {found} where VGG19 has "
            f"{shape} and ({shape[-1]},); {OTHER_WEIGHTS}."
        )
    if biases[0].shape != shape[-1:]:
        raise WeightsError(
            f"The bias of {name} in {path} has shape {biases[0].shape} where VGG19 has "
            f"({shape[-1]},); {OTHER_WEIGHTS}."
        )
    kernel, bias = (np.asarray(data, np.float32) for data in (kernels[0], biases[0]))
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise WeightsError(
            f"The layer {name} in {path} holds values that are not numbers; "
            "copy the file again or fetch it anew."
        )
    return kernel, bias


def _datasets(group: Any) -> Iterator[Any]:
    """All datasets below an HDF5 group, however deep Keras's version nests them."""
    for value in group.values():
        if hasattr(value, "values"):
            yield from _datasets(value)
        else:
            yield value


def sha256_of(path: pathlib.Path) -> str:
    """What identifies the weights of a file, in hexadecimal."""
    return _digest(path, "sha256")


def _digest(path: pathlib.Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
