"""Format `csv`: one flat table, a row for each result."""

from __future__ import annotations

from typing import Any

from pipeline import storage
from pipeline.export.results import Result
from pipeline.export.rows import Gathered, Rows, row_of
from pipeline.manifest.writing import CONTENT_TYPES, write_csv


class CsvTable(Gathered):
    """Rows as they come; the file appears at the end, when the columns of all are known."""

    def __init__(self, destination: str) -> None:
        self.made = destination

    def take(self, result: Result) -> dict[str, Any]:
        """The row of a result, whose image is there. Raises NotFound where it is not."""
        if not storage.exists(result.image):
            raise storage.NotFound(f"{result.image} does not exist.")
        return {"image": result.image, **row_of(result)}

    def write(self, rows: Rows) -> None:
        """The table."""
        with storage.open_writer(self.made, CONTENT_TYPES["csv"]) as stream:
            write_csv(rows, rows.columns, stream)
