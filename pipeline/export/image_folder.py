"""Format `imagefolder`: images and `metadata.jsonl`, by the convention of Hugging Face's datasets.

https://huggingface.co/docs/datasets/image_dataset: `file_name` is the image, and every line has
the same fields of the same types.
"""

from __future__ import annotations

import json
import re
from typing import Any

from nst_core.imaging import encoding
from pipeline import storage
from pipeline.export.results import Result
from pipeline.export.rows import Gathered, Rows, is_number, row_of
from pipeline.manifest.writing import CONTENT_TYPES

METADATA = "metadata.jsonl"
# Without it, ids with words such as test or dev would be taken for splits.
CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - metadata.jsonl
    - "images/**"
---
Stylized images, exported by `nst export`: `datasets.load_dataset` takes this folder's path.
"""
_IMAGE_TYPES = {encoding.EXTENSIONS[name]: kind for name, kind in encoding.CONTENT_TYPES.items()}
# Columns of these names would be taken for files.
_LIKE_A_FILE = re.compile(r"_file_name$")


class ImageFolder(Gathered):
    """Images as they come; `metadata.jsonl` at the end, when all of them are there.

    Args:
        link: hard links instead of copies, where one local disk holds both.
    """

    def __init__(self, destination: str, *, link: bool) -> None:
        self.made = destination
        self._link = link

    def take(self, result: Result) -> dict[str, Any]:
        """Copy a result's image; its row.

        Raises:
            NotFound, AccessDenied, Damaged, Unreadable: of the image.
            StorageError: the copy cannot be written.
        """
        name = f"images/{result.id}.{result.extension}"
        row = {_LIKE_A_FILE.sub("_filename", key): cell for key, cell in row_of(result).items()}
        target = storage.join(self.made, name)
        if not (self._link and storage.link(result.image, target)):
            content_type = _IMAGE_TYPES[result.extension]
            storage.write_bytes(target, storage.read_bytes(result.image), content_type)
        return {"file_name": name, **row}

    def write(self, rows: Rows) -> None:
        """The dataset's card and, last, a line of metadata for each image."""
        card = storage.join(self.made, "README.md")
        storage.write_bytes(card, CARD.encode(), "text/markdown")
        columns = rows.columns
        uri = storage.join(self.made, METADATA)
        with storage.open_writer(uri, CONTENT_TYPES["jsonl"]) as stream:
            for row in rows:
                whole = {name: row.get(name, _nothing(name)) for name in columns}
                stream.write(json.dumps(whole, ensure_ascii=False).encode() + b"\n")


def _nothing(column: str) -> str | None:
    """What stands for a missing value: a text column is all text."""
    return None if is_number(column) else ""
