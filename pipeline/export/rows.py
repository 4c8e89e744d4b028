"""One result as a flat row: what was given, what came out and how good it is, by column."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from nst_core.config import StyleConfig
from nst_core.layers import CONV_LAYERS
from pipeline.export.results import Result
from pipeline.manifest.header import OTHER
from pipeline.manifest.values import OPTION, option_text
from pipeline.report import settings
from pipeline.report.entries import measures_of
from pipeline.storage import local

# The first column is what each format calls the image.
TEXTS = ("id", "content", "style", "preset", "run", "finished_at", "fingerprint")
NUMBERS = (
    *("width", "height", "steps", "total", "content_loss", "style_loss", "tv_loss", "ssim"),
    *("gram_error", "seconds.read", "seconds.optimize", "seconds.write"),
)
# Of each layer, after these and a point.
LAYERED = ("style_loss", "gram_error")
IMAGES = ("image", "file_name")
_SETTINGS = {field.name: field.type for field in dataclasses.fields(StyleConfig)}
_LAYER_COLUMNS = [f"{name}.{layer}" for name in LAYERED for layer in CONV_LAYERS]
_OWN = frozenset((*TEXTS, *NUMBERS, *IMAGES, *_LAYER_COLUMNS))


def row_of(result: Result) -> dict[str, Any]:
    """All columns of a result but that of its image; texts, numbers, or None.

    Settings that are not today's defaults are `options.KEY`, as a manifest has them.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no record of this program.
    """
    record = result.record
    sources, final = record["sources"], record["terms"]["final"]
    changes = settings.changes_of(record["config"])
    quality, seconds = record.get("quality") or {}, record.get("seconds") or {}
    numbers = {
        **{name: record.get(name) for name in ("width", "height", "steps")},
        **measures_of(record),
        "tv_loss": final.get("tv"),
        **{f"seconds.{name}": seconds.get(name) for name in ("read", "optimize", "write")},
    }
    layers = {
        "style_loss": {name: final.get(f"style/{name}") for name in CONV_LAYERS},
        "gram_error": quality.get("gram_errors") or {},
    }
    return {
        "id": result.id,
        "content": str(sources["content"]),
        "style": settings.style_cell(sources["styles"]),
        "preset": settings.preset_of(changes),
        **{name: str(record.get(name, "")) for name in ("run", "finished_at")},
        "fingerprint": result.fingerprint,
        **{name: _number(numbers[name]) for name in NUMBERS},
        **{
            f"{name}.{layer}": _number(value)
            for name, values in layers.items()
            for layer, value in values.items()
            if layer in CONV_LAYERS and value is not None
        },
        **{OPTION + key: _option(key, value) for key, value in changes.items()},
        **_others(record),
    }


def columns_of(names: Iterable[str]) -> list[str]:
    """These columns in the order in which every table has them."""
    known = {*names}
    own = (*IMAGES, *TEXTS, *NUMBERS, *_LAYER_COLUMNS)
    first = [name for name in own if name in known]
    rest = sorted(known.difference(first))
    options = [name for name in rest if name.startswith(OPTION)]
    return [*first, *options, *(name for name in rest if not name.startswith(OPTION))]


def is_number(column: str) -> bool:
    """Whether a column has numbers, and nothing where there is none; else it has texts."""
    if column.startswith(OPTION):
        return _is_numeric(column.removeprefix(OPTION))
    return column in NUMBERS or column in _LAYER_COLUMNS


def _is_numeric(setting: str) -> bool:
    return _SETTINGS.get(setting) in ("int", "float", "int | None")


def _number(value: Any) -> int | float | None:
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_one else None


def _option(key: str, value: Any) -> Any:
    """A number where all values of the setting are some, else the text that a manifest has."""
    if not _is_numeric(key):
        return option_text(value)
    number = _number(value)
    return float(number) if number is not None and _SETTINGS[key] == "float" else number


def _others(record: Mapping[str, Any]) -> dict[str, str]:
    cells = settings.other_cells(record.get("columns") or {})
    return {OTHER + name if name in _OWN else name: cell for name, cell in cells.items()}


class Gathered(abc.ABC):
    """A format whose rows are written at the end, when the columns of all are known."""

    def __enter__(self) -> Self:
        self._rows = Rows()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with contextlib.closing(self._rows) as rows:
            if error is None:
                self.write(rows)

    def add(self, _: Result, row: dict[str, Any]) -> None:
        """The next row."""
        self._rows.add(row)

    @abc.abstractmethod
    def write(self, rows: Rows) -> None:
        """Write all of them. Raises StorageError."""


class Rows:
    """Rows of any number, kept in a temporary file until the columns of all are known."""

    def __init__(self) -> None:
        self._file = local.spool()
        self._names: dict[str, None] = {}

    def close(self) -> None:
        """Forget them."""
        self._file.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """One more."""
        self._names.update(dict.fromkeys(row))
        self._file.write(json.dumps(row).encode() + b"\n")

    @property
    def columns(self) -> list[str]:
        """Those of all rows so far, in their order."""
        return columns_of(self._names)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        return map(json.loads, self._file)
