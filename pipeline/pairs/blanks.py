"""Values with blanks around them, as in spreadsheets: trimmed where no file has that name."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from pipeline import storage
from pipeline.manifest.columns import Row
from pipeline.manifest.values import json_value
from pipeline.pairs.schemes import scheme_name

# A name in a bucket can have blanks around it, but a URL cannot.
_NEVER = ("http", "https", "data")


def trimmed(row: Row, beside: str, schemes: Sequence[str]) -> Row:
    """The row without blanks around its id and the names of its images.

    Of the values that have some each is looked up: where a file has that very name, it is meant.

    Args:
        beside: the file to which relative names are relative.
        schemes: those in which files may be looked up; in others a name is trimmed unseen.

    Raises:
        StorageError: a file cannot be looked up.
    """
    columns = row.columns
    if row.problem or not any(map(_has_blanks, map(columns.get, ("content", "style", "id")))):
        return row
    changed = dict(columns)
    for name in ("content", "style"):
        value = columns.get(name)
        if isinstance(value, str) and value.strip():
            changed[name] = value = _name(value, beside, schemes)
        if name == "style":
            if isinstance(value, str) and value.startswith("["):
                with contextlib.suppress(ValueError):
                    value = json_value(value)
            if isinstance(value, list):
                changed[name] = [_entry(one, beside, schemes) for one in value]
    if isinstance(pair_id := columns.get("id"), str):
        changed["id"] = pair_id.strip()
    return dataclasses.replace(row, columns=changed)


def _has_blanks(value: Any) -> bool:
    """Whether there are some around a text; in a list of styles, perhaps."""
    if isinstance(value, str):
        return value != value.strip() or value.startswith("[")
    return isinstance(value, list)


def _entry(entry: Any, beside: str, schemes: Sequence[str]) -> Any:
    """One of several styles."""
    if isinstance(entry, dict):
        names = {key: entry[key] for key in ("uri", "mask") if isinstance(entry.get(key), str)}
        return {**entry, **{key: _name(name, beside, schemes) for key, name in names.items()}}
    return _name(entry, beside, schemes) if isinstance(entry, str) else entry


def _name(text: str, beside: str, schemes: Sequence[str]) -> str:
    bare = text.strip()
    if text == bare or not bare:
        return text
    uri = storage.resolve(text, beside)
    kind = scheme_name(uri)
    is_looked_up = kind in schemes and kind not in _NEVER
    return text if is_looked_up and _exists(uri) else bare


# A style with a blank behind it is that of many rows.
@functools.lru_cache(maxsize=4096)
def _exists(uri: str) -> bool:
    # Who may not list a bucket is not told that a name is missing.
    with contextlib.suppress(storage.AccessDenied, storage.NoFilesystem):
        return storage.exists(uri)
    return False
