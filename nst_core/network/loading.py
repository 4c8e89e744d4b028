"""The weights that a name or a path stands for."""

from __future__ import annotations

import pathlib

from nst_core.network.weights import VggWeights, imagenet_file, read_keras_file, sha256_of


def load_weights(source: str) -> VggWeights:
    """The weights that `source` names: `imagenet`, `procedural`, or a local `.h5` path.

    Raises:
        WeightsError: they cannot be had, or are not VGG19's; one sentence.
    """
    if source == "procedural":
        from nst_core.network.procedural import procedural_weights

        return procedural_weights()
    path = imagenet_file() if source == "imagenet" else pathlib.Path(source)
    layers = read_keras_file(path)
    return VggWeights(source, sha256_of(path), layers)
