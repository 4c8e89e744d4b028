"""What is written of one result: the image file and what it says of itself, the loss log."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import threading

import numpy as np

from nst_core import host
from nst_core.canvas import Size, size_of
from nst_core.config import StyleConfig
from nst_core.imaging import colors, encoding, images
from nst_core.results import LossLog
from pipeline.pairs.spelling import name_of
from pipeline.records.tasks import Task, sources
from pipeline.worker.inputs import Inputs

# Encoding takes processors, and on more threads than those would keep the one from its work that
# serves a device; waiting for a storage takes none.
_PROCESSORS = threading.BoundedSemaphore(max(1, host.processors() - 1))
# Originals can be many times larger than what is optimised: one at a time is enlarged and encoded.
_ORIGINAL_SIZE = threading.Lock()


def output_size(image: np.ndarray, content: images.Picture, config: StyleConfig) -> Size:
    """The size at which a stylized image is written."""
    is_original = config.output_size == "original"
    return content.original if is_original else size_of(image)


def encode_image(
    image: np.ndarray, inputs: Inputs, config: StyleConfig, metadata: dict[str, str]
) -> bytes:
    """A stylized image (float32 `[H, W, 3]`) as a file, with the content's transparency put back.

    Its colours are straight, so that it lies on any ground as the content does.

    Where it is enlarged to the original's size, what the content keeps is the original's, with
    its detail: colours, and the parts that `keep` names.
    """
    content = inputs.picture
    size = output_size(image, content, config)
    is_original = config.output_size == "original"
    with _ORIGINAL_SIZE if is_original else contextlib.nullcontext(), _PROCESSORS:
        if is_original:
            image = _at_original_size(image, inputs, size, config)
        alpha = None
        if content.alpha is not None:
            alpha = images.resize(content.alpha, size.width, size.height, config.resample)
        return encoding.encode(
            image,
            alpha,
            output_format=config.output_format,
            quality=config.jpeg_quality,
            metadata=metadata,
            credits=None if config.metadata == "none" else content.credits,
        )


def _at_original_size(
    image: np.ndarray, inputs: Inputs, size: Size, config: StyleConfig
) -> np.ndarray:
    image = images.resize(image, size.width, size.height, "lanczos")
    original = inputs.picture.rgb
    if config.preserve_colors == "luminance":
        image = colors.keep_colors(image, original)
    if inputs.keep is not None:
        kept = images.resize(255 * inputs.keep, size.width, size.height, "lanczos") / 255
        image += kept[..., None] * (original - image)
    return image


def metadata_of(task: Task) -> dict[str, str]:
    """What an image file says of itself, by the setting `metadata`."""
    if task.config.metadata == "none":
        return {}
    marks = {"nst:id": task.pair.id, "nst:fingerprint": task.fingerprint}
    if task.config.metadata == "id":
        return marks
    pair = task.pair
    styles = [
        style._replace(
            uri=name_of(style.uri, task.names),
            mask=style.mask and name_of(style.mask, task.names),
        )
        for style in pair.styles
    ]
    named = dataclasses.replace(
        pair, content=name_of(pair.content, task.names), styles=tuple(styles)
    )
    return {**marks, "nst:sources": json.dumps(sources(named))}


def loss_csv(log: LossLog) -> bytes:
    """The loss log as CSV with a header."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(log.columns)
    for row in log.rows.tolist():
        writer.writerow([f"{value:.9g}" for value in row])
    return stream.getvalue().encode()
