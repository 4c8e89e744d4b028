"""Format `imagefolder`: images and `metadata.jsonl`, by the convention of Hugging Face's datasets.

https://huggingface.co/docs/datasets/image_dataset: `file_name` is the image, and every line has
the same fields of the same types.
"""

from __future__ import annotations

import contextlib
import json
import re
from types import TracebackType
from typing import Any, Self

from pipeline import storage
from pipeline.export.results import Result
from pipeline.export.rows import Rows, is_number, row_of
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
# Columns of these names would be taken for files.
_LIKE_A_FILE = re.compile(r"_file_name$")


class ImageFolder:
    """Images as they come; `metadata.jsonl` at the end, when all of them are there.

    Args:
        link: hard links instead of copies, where one local disk holds both.
    """

    def __init__(self, destination: str, *, link: bool = False) -> None:
        self.made = destination
        self._link = link

    def __enter__(self) -> Self:
        self._rows = Rows()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with contextlib.closing(self._rows) as rows:
            if error is not None:
                return
            card = storage.join(self.made, "README.md")
            storage.write_bytes(card, CARD.encode(), "text/markdown")
            columns = rows.columns
            uri = storage.join(self.made, METADATA)
            with storage.open_writer(uri, CONTENT_TYPES["jsonl"]) as stream:
                for row in rows:
                    whole = {name: row.get(name, _nothing(name)) for name in columns}
                    stream.write(json.dumps(whole, ensure_ascii=False).encode() + b"\n")

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
            kind = "jpeg" if result.extension == "jpg" else result.extension
            storage.write_bytes(target, storage.read_bytes(result.image), f"image/{kind}")
        return {"file_name": name, **row}

    def add(self, _: Result, row: dict[str, Any]) -> None:
        """The next line of the metadata."""
        self._rows.add(row)


def _nothing(column: str) -> str | None:
    """What stands for a missing value: a text column is all text."""
    return None if is_number(column) else ""
