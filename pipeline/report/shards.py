"""The data of the report's pages: scripts, since a page from a disk can load nothing else.

`index-*.js` hold what the grid needs of thousands of pairs, column by column; `detail-*.js` all
else of a few hundred, and are loaded when one of them is looked at.
"""

from __future__ import annotations

import array
import collections
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.report.entries import MEASURES, Entry
from pipeline.report.numbers import result_deviations

INDEX_PAIRS = 5000
DETAIL_PAIRS = 250
SCRIPT = "text/javascript; charset=utf-8"
NAMED = (
    *("content", "style", "run", "preset", "status", "error", "extension"),
    *("content_image", "style_image"),
)
_WEB = re.compile("https?://", re.IGNORECASE)
# Only ASCII: U+2028 would end a line of an older browser's script.
_JSON = json.JSONEncoder(separators=(",", ":"), default=str)


class Shards:
    """Writes pairs into shards as they come, and remembers of each only its numbers.

    Args:
        folder: the URI of the folder of the scripts.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._index: list[Entry] = []
        self._detail: list[dict[str, Any]] = []
        self._groups: dict[str, int] = {}
        self._group_of = array.array("q")
        self._numbers = {name: array.array("d") for name in MEASURES}
        self.count = 0
        self.index_files = 0
        self.detail_files = 0
        self.statuses: collections.Counter[str] = collections.Counter()
        # Runs whose rows name files on the web.
        self.web_runs: set[str] = set()
        self.about: dict[str, collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )

    def add(self, entry: Entry) -> None:
        """The next pair."""
        self.count += 1
        self.statuses[entry.index["status"]] += 1
        if any(_WEB.search(cell) for cell in entry.detail["row"].values()):
            self.web_runs.add(entry.index["run"])
        for name, value in entry.about.items():
            self.about[name][value] += 1
        self._group_of.append(self._groups.setdefault(entry.group, len(self._groups)))
        for name, numbers in self._numbers.items():
            numbers.append(entry.measures[name])
        self._index.append(entry)
        self._detail.append(entry.detail)
        if len(self._detail) == DETAIL_PAIRS:
            self._write_detail()
        if len(self._index) == INDEX_PAIRS:
            self._write_index()

    def close(self) -> None:
        """Write what is left, and how far each pair is from its like."""
        if self._detail:
            self._write_detail()
        if self._index:
            self._write_index()
        groups = np.array(self._group_of, np.int64)
        found = result_deviations(
            groups, self.numbers("total"), self.numbers("gram_error"), self.numbers("ssim")
        )
        self._write("deviation", [None if np.isnan(x) else round(float(x), 2) for x in found])

    def numbers(self, measure: str) -> np.ndarray:
        """One measure of all pairs, float64 `[N]`, NaN where there is none."""
        return np.array(self._numbers[measure], np.float64)

    def _write_detail(self) -> None:
        self._write("detail", self._detail, self.detail_files)
        self._detail = []
        self.detail_files += 1

    def _write_index(self) -> None:
        self._write("index", _columnar(self._index), self.index_files)
        self._index = []
        self.index_files += 1

    def _write(self, kind: str, value: Any, number: int | None = None) -> None:
        name = kind if number is None else f"{kind}-{number:05d}"
        place = "" if number is None else f"{number},"
        script = f"nst.{kind}({place}{_JSON.encode(value)});\n".encode()
        storage.write_bytes(storage.join(self._folder, f"{name}.js"), script, SCRIPT)


def _columnar(entries: Sequence[Entry]) -> dict[str, Any]:
    """What the grid needs of these pairs: numbers as lists, texts as tables and places in them."""
    columns = dict.fromkeys(name for entry in entries for name in entry.columns)
    return {
        "id": [entry.id for entry in entries],
        "date": [entry.index["date"] for entry in entries],
        **{name: [_short(entry.measures[name]) for entry in entries] for name in MEASURES},
        "named": {name: _table([entry.index[name] for entry in entries]) for name in NAMED},
        "columns": [
            [name, _table([entry.columns.get(name, "") for entry in entries])] for name in columns
        ],
    }


def _table(texts: Sequence[str]) -> dict[str, list[Any]]:
    places: dict[str, int] = {}
    found = [places.setdefault(text, len(places)) for text in texts]
    return {"texts": list(places), "places": found}


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None
