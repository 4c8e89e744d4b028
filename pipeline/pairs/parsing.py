"""A row of a manifest as a pair: content, styles, id and options, or why it is none."""

import contextlib
import copy
import dataclasses
import datetime
import difflib
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from nst_core.config import SETTINGS, StyleConfig
from nst_core.errors import (
    ConfigError,
    DuplicateId,
    ManifestInvalid,
    OptionsInvalid,
    PairError,
    shown,
)
from nst_core.setting_text import URI_SETTINGS, names_file, parse_setting
from pipeline import storage
from pipeline.manifest.columns import Row, is_empty, misspelt
from pipeline.manifest.header import OTHER
from pipeline.manifest.ids import ID_RULE, default_id, usable_id
from pipeline.manifest.rows import manifest_kind
from pipeline.manifest.values import (
    LEAST_WEIGHT,
    MARK,
    MARK_OF,
    MARKS,
    MOST_WEIGHT,
    NEAR_MARK,
    OPTION,
    OUTCOME,
    REDO,
    WEIGHTS,
    json_value,
    number,
    option_text,
    plain,
    whole,
)

_TEXT_SETTINGS = {field.name for field in dataclasses.fields(StyleConfig) if field.type == "str"}
# What a row's own columns are called in failures.csv, where these names have another meaning.
_OWN = {OTHER + name: name for name in OUTCOME}
_FAILURES = {PairError.status, *(error.status for error in PairError.__subclasses__())}


class StyleReference(NamedTuple):
    """A style image, its weight among the styles of one pair, see `WEIGHTS`, and its mask.

    The mask is the URI of a grey image of the content's shape: white is where the style applies.
    """

    uri: str
    weight: float = 1.0
    mask: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As an entry of a manifest's list of styles; `mask` only where there is one."""
        entry = {"uri": self.uri, "weight": self.weight}
        return entry if self.mask is None else {**entry, "mask": self.mask}


@dataclasses.dataclass(frozen=True)
class Pair:
    """What one row asks for; URIs are absolute, `options` are parsed but not validated.

    `columns` are the row's other columns; `row` is the whole row in a form that means the same in
    a manifest elsewhere. Both are JSON-serialisable. `redo`: it is done again though it is done;
    `redo_of`: if that is still the result that was marked, empty where the row names none.
    `was_duplicate`: it comes from failures.csv, where another row had its id.
    """

    id: str
    content: str
    styles: tuple[StyleReference, ...]
    options: dict[str, Any]
    columns: dict[str, Any]
    row: dict[str, Any]
    redo: bool = False
    redo_of: str = ""
    was_duplicate: bool = False


def parse_pair(row: Row, manifest_uri: str, *, absolute_ids: bool = False) -> Pair:
    """The pair that `row` of the manifest at `manifest_uri` asks for.

    `absolute_ids`: an id that is made has the absolute URIs of the images in its digits, as earlier
    versions had it; else their names as the manifest has them, so that a catalog can be moved.

    Raises:
        ManifestInvalid: the row is not a pair.
        OptionsInvalid: the text of an option is not YAML, or a column is nearly an option.
    """
    if row.problem:
        raise ManifestInvalid(f"Row {row.number} {row.problem}.")
    content = _content(row, manifest_uri)
    styles = _styles(row, manifest_uri)
    mark = mark_of(row)
    known = ("id", "content", "style", *((MARK, MARK_OF) if mark else ()))
    marked = row.columns.get(MARK_OF)
    pair_id = own_id(row)
    if not pair_id:
        pair_id = _default_id(*((content, styles) if absolute_ids else as_named(row, styles)))
    return Pair(
        id=pair_id,
        content=content,
        styles=styles,
        options=_options(row, manifest_uri),
        columns={
            name: plain(value)
            for name, value in _others(row).items()
            if name not in known and not name.startswith(OPTION)
        },
        row=_portable(row, manifest_uri, content, styles) | {"id": pair_id},
        redo=mark == REDO,
        redo_of=marked.strip() if mark == REDO and isinstance(marked, str) else "",
        was_duplicate=_failure(row) == DuplicateId.status,
    )


def _failure(row: Row) -> str | None:
    """The status of a row of failures.csv; None for any other, whose `status` is its own."""
    status, error = (row.columns.get(name) for name in OUTCOME)
    return status if error and isinstance(status, str) and status in _FAILURES else None


def _others(row: Row) -> dict[str, Any]:
    """The row's columns, by their own names, without what failures.csv adds."""
    found = {**row.columns}
    if _failure(row):
        for name in OUTCOME:
            del found[name]
    return {_OWN.get(name, name): value for name, value in found.items()}


def as_named(row: Row, styles: Sequence[StyleReference]) -> tuple[str, list[StyleReference]]:
    """Content and styles of a row that is a pair, with the names that the manifest gives them."""
    cell = row.columns["style"]
    if isinstance(cell, str) and cell.startswith("["):
        cell = json_value(cell)
    entries = cell if isinstance(cell, list) else [cell]
    named = [entry if isinstance(entry, dict) else {"uri": entry} for entry in entries]
    return row.columns["content"], [
        StyleReference(one["uri"], style.weight, one.get("mask"))
        for style, one in zip(styles, named, strict=True)
    ]


def portable_row(row: Row, manifest_uri: str, *, absolute_ids: bool = False) -> dict[str, Any]:
    """The row, pair or not, as `write_csv` can put it into a manifest elsewhere.

    Content, style and options that are URIs are absolute where they are usable; an id that is made
    is there, unless it is made from these (`absolute_ids`, as of `parse_pair`); an option that is
    text is YAML, as in CSV; what JSON cannot hold is text.
    """
    content: str | None = None
    styles: tuple[StyleReference, ...] = ()
    with contextlib.suppress(ManifestInvalid):
        content = _content(row, manifest_uri)
    with contextlib.suppress(ManifestInvalid):
        styles = _styles(row, manifest_uri)
    cells = _portable(row, manifest_uri, content, styles)
    if content is not None and styles and not absolute_ids:
        with contextlib.suppress(ManifestInvalid):
            if not own_id(row):
                cells["id"] = _default_id(*as_named(row, styles))
    return cells


def _portable(
    row: Row, manifest_uri: str, content: str | None, styles: Sequence[StyleReference]
) -> dict[str, Any]:
    cells = {
        OTHER + name if name in OUTCOME else name: plain(value)
        for name, value in _others(row).items()
    }
    if manifest_kind(manifest_uri)[0] != "csv":
        for name, cell in cells.items():
            is_option = name.startswith(OPTION) and isinstance(cell, str) and cell.strip()
            if is_option and not _is_yaml(name.removeprefix(OPTION), cell):
                cells[name] = option_text(cell)
    # What is no text would be one in CSV, and could pass for the name of a file.
    for name, kinds in (("content", str), ("style", str | list)):
        if not isinstance(cells.get(name), kinds):
            cells.pop(name, None)
    if content is not None:
        cells["content"] = content
    if styles:
        is_plain = len(styles) == 1 and (styles[0].weight, styles[0].mask) == (1, None)
        cells["style"] = styles[0].uri if is_plain else [style.to_dict() for style in styles]
    for name in URI_SETTINGS:
        option = OPTION + name
        if option in cells:
            with contextlib.suppress(ConfigError):
                text = cells[option]
                value = parse_setting(name, text) if isinstance(text, str) else None
                if names_file(value, name):
                    cells[option] = option_text(storage.resolve(value, manifest_uri))
    return cells


def _content(row: Row, manifest_uri: str) -> str:
    return _absolute(row.columns.get("content"), "content", row, manifest_uri)


def _absolute(uri: Any, role: str, row: Row, manifest_uri: str) -> str:
    if uri is None or (isinstance(uri, str) and not uri.strip()):
        raise ManifestInvalid(f"Row {row.number} has no {role}; give the URI of an image.")
    if not isinstance(uri, str):
        raise ManifestInvalid(
            f"Row {row.number} has {shown(uri)} as {role}, which is not text; "
            "give the URI of an image."
        )
    return storage.resolve(uri, manifest_uri)


def _styles(row: Row, manifest_uri: str) -> tuple[StyleReference, ...]:
    cell = row.columns.get("style")
    if isinstance(cell, str) and cell.startswith("["):
        try:
            cell = json_value(cell)
        except ValueError as error:
            raise ManifestInvalid(f"The list of styles in row {row.number} {error}.") from error
    if not isinstance(cell, list):
        return (StyleReference(_absolute(cell, "style", row, manifest_uri)),)
    if not cell:
        raise ManifestInvalid(f"Row {row.number} has an empty list of styles; give at least one.")
    return tuple(_style(entry, row, manifest_uri) for entry in cell)


def _style(entry: Any, row: Row, manifest_uri: str) -> StyleReference:
    if not isinstance(entry, dict):
        return StyleReference(_absolute(entry, "style", row, manifest_uri))
    unknown = sorted(entry.keys() - {"uri", "weight", "mask"})
    if unknown:
        raise ManifestInvalid(
            f"Row {row.number} has a style with the key {shown(unknown[0])}, which means nothing; "
            "give only uri, weight and mask."
        )
    weight = 1.0 if entry.get("weight") is None else number(entry["weight"])
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    # The comparison is false for NaN.
    if not is_number or not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise ManifestInvalid(
            f"Row {row.number} has a style of weight {shown(weight)}; give {WEIGHTS}."
        )
    uri = _absolute(entry.get("uri"), "style", row, manifest_uri)
    mask = entry.get("mask")
    if mask is not None:
        mask = _absolute(mask, "mask of a style", row, manifest_uri)
    return StyleReference(uri, float(weight), mask)


def mark_of(row: Row) -> str | None:
    """What somebody who looked at the result says of it, in the column `mark`: one of `MARKS`.

    None where there is nothing, or something else: that column then travels through as others do.

    Raises:
        ManifestInvalid: it is nearly a mark, which would do nothing.
    """
    value = row.columns.get(MARK)
    said = value.strip().casefold() if isinstance(value, str) else ""
    if not said or said in MARKS:
        return said or None
    near = difflib.get_close_matches(said, MARKS, n=1, cutoff=NEAR_MARK)
    if near:
        raise ManifestInvalid(
            f"Row {row.number} has the mark {shown(value)}, which is nearly {near[0]} and would do "
            f"nothing; write {near[0]}, or rename the column."
        )
    return None


def own_id(row: Row) -> str:
    """The id in the row; empty where there is none. Raises ManifestInvalid: it names no files."""
    value = whole(row.columns.get("id"))
    if isinstance(value, int | datetime.date) and not isinstance(value, bool):
        value = str(plain(value))
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    usable = usable_id(value) if isinstance(value, str) else None
    if usable is None:
        raise ManifestInvalid(
            f"Row {row.number} has the id {shown(value)}, which cannot name its files; "
            f"give {ID_RULE}."
        )
    return usable


def _default_id(content: str, styles: Sequence[StyleReference]) -> str:
    uris = [style.uri for style in styles]
    sources: list[Any] = [content, *uris]
    if any(style.weight != 1 for style in styles):
        sources.append([style.weight for style in styles])
    if any(style.mask for style in styles):
        sources.append([style.mask for style in styles])
    return default_id(content, uris, sources)


def _is_yaml(key: str, value: Any) -> bool:
    """Whether a value of JSON or Parquet is text, though the setting is none: YAML, as in CSV."""
    return isinstance(value, str) and key in SETTINGS and key not in _TEXT_SETTINGS


def _options(row: Row, manifest_uri: str) -> dict[str, Any]:
    is_typed = manifest_kind(manifest_uri)[0] != "csv"
    problem = misspelt(tuple(row.columns))
    if problem:
        raise OptionsInvalid(f"Row {row.number} {problem}.")
    options = {}
    for name, value in row.columns.items():
        if not name.startswith(OPTION) or is_empty(value):
            continue
        key = name.removeprefix(OPTION)
        try:
            is_yaml = not is_typed or _is_yaml(key, value)
            # A copy, since a list is the row's own.
            parsed = copy.deepcopy(_parsed(key, value)) if is_yaml else plain(number(value))
        except ConfigError as error:
            raise OptionsInvalid(f"In {name} of row {row.number}, {error}") from error
        options[key] = parsed
    return options


@functools.lru_cache(maxsize=4096)
def _parsed(key: str, text: str) -> Any:
    """As of `parse_setting`: rows share theirs, and reading YAML takes longer than all else."""
    return parse_setting(key, text)
