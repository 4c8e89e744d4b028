"""Thumbnails for the report's pages: of a result beside its record, of contents and styles once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from nst_core.imaging.images import Picture, to_8_bit
from nst_core.imaging.remembered import once_per_picture
from nst_core.results import Style
from pipeline import storage
from pipeline.records import records

LONG_SIDE = 240  # px
QUALITY = 80
TYPE = "image/webp"


def thumbnail(rgb: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """A picture (uint8 `[H, W, 3]`, alpha `[H, W]` of any size) as WebP of at most `LONG_SIDE`."""
    image = Image.fromarray(rgb)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha).resize(image.size, Image.Resampling.BILINEAR))
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=QUALITY, method=2)
    return stream.getvalue()


# Pairs of a batch, and of many batches, share the pixels of their contents and styles.
_thumbnail_of_source = once_per_picture(thumbnail)


class Thumbnails:
    """Writes thumbnails into an output; those of contents and styles are named by their bytes."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._there: set[str] = set()

    def write(
        self, pair_id: str, image: np.ndarray, content: Picture, styles: Sequence[Style]
    ) -> dict[str, Any]:
        """Those of a result (float32 `[H, W, 3]`) and its sources: paths below the output.

        Raises:
            StorageError: one cannot be written.
        """
        data = thumbnail(to_8_bit(image), content.alpha)
        storage.write_bytes(records.thumbnail_uri(self._output, pair_id), data, TYPE)
        return {
            "result": records.thumbnail_uri("", pair_id),
            "content": self._source(content.rgb, content.alpha),
            "styles": [self._source(style.rgb, style.alpha) for style in styles],
        }

    def _source(self, rgb: np.ndarray, alpha: np.ndarray | None) -> str:
        data = _thumbnail_of_source(rgb, alpha)
        path = records.source_thumbnail_uri("", hashlib.sha256(data).hexdigest()[:16])
        if path not in self._there:
            # Whoever writes it too writes the same bytes.
            storage.write_bytes(storage.join(self._output, path), data, TYPE)
            self._there.add(path)
        return path
