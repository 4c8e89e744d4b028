"""Weights by name, path or URI: what identifies them, and a local file to load them from."""

from __future__ import annotations

import functools
import logging
import pathlib

from nst_core.config import StyleConfig
from nst_core.errors import WeightsError
from nst_core.host import cache_directory
from nst_core.network.loading import load_weights
from nst_core.network.weights import (
    IMAGENET_MD5,
    OTHER_WEIGHTS,
    imagenet_cache_path,
    imagenet_file,
)
from nst_core.setting_text import URI_SETTINGS
from pipeline import storage
from pipeline.console.notices import without_notices
from pipeline.storage.filesystems import only_images_reason

# Raised with the recipe in nst_core.network.procedural: a test holds both to the same number.
PROCEDURAL_VERSION = 1
HDF5 = "application/x-hdf5"

_LOGGER = logging.getLogger("nst")


@functools.lru_cache(maxsize=64)
def weights_identity(source: str) -> str:
    """What tells these weights from others, without loading them: hashes, never only a path.

    Raises:
        WeightsError: the file does not exist or may not be read.
    """
    if source == "imagenet":
        return f"imagenet:{IMAGENET_MD5}"
    if source == "procedural":
        return f"procedural:{PROCEDURAL_VERSION}"
    if reason := only_images_reason(source):
        raise WeightsError(reason)
    try:
        return storage.identity(source)
    except storage.ABOUT_ONE_FILE as error:
        reason = str(error).removesuffix(".")
        raise WeightsError(
            f"The weights cannot be read, for {reason}; or {OTHER_WEIGHTS}."
        ) from error


def check_weights(source: str) -> None:
    """Fail early where weights cannot be had; downloads ImageNet's file where it is not cached.

    Raises:
        WeightsError: with the ways out.
    """
    if source == "imagenet" and not imagenet_cache_path().is_file():
        with without_notices():
            imagenet_file()
    weights_identity(source)


def warn_of_small_features(config: StyleConfig) -> None:
    """Say so where terms are weighed for features of ImageNet's size and the weights are made."""
    if config.weights == "procedural" and config.normalization != "energy":
        _LOGGER.warning(
            "normalization is %s with weights procedural, whose features are some hundred times "
            "smaller than ImageNet's: weights of terms that suit those leave a blur here; set "
            "normalization to energy, as the preset default has it, or take ImageNet's weights.",
            config.normalization,
        )


def local_weights(source: str) -> str:
    """A name or local path that the engine loads; a remote file is copied here once.

    Raises:
        WeightsError: the file does not exist or may not be read.
    """
    if source in URI_SETTINGS["weights"] or not storage.scheme(source):
        return source
    identity = weights_identity(source).replace(":", "-").replace("/", "_")
    copy = cache_directory() / f"weights-{identity}.h5"
    if not copy.is_file():
        storage.write_bytes(str(copy), storage.read_bytes(source), HDF5)
    return str(copy)


def fetch_weights(source: str, target: str | None) -> str:
    """Verified weights, copied to `target` if given; where they lie now.

    Raises:
        WeightsError: they cannot be had, or are not VGG19's.
    """
    if source == "procedural":
        raise WeightsError("Procedural weights are made on each machine; fetch needs no copy.")
    with without_notices():
        path = imagenet_file() if source == "imagenet" else pathlib.Path(local_weights(source))
    load_weights(str(path))
    if target is None:
        return str(path)
    storage.write_bytes(target, path.read_bytes(), HDF5)
    return target
