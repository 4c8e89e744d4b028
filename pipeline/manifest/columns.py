"""What a manifest's rows are made of: a row as read, and the columns that it may have."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nst_core.config import LONGEST_NAME, SETTINGS
from nst_core.errors import JobError, shown
from pipeline.manifest.header import Header, Names, header_of
from pipeline.manifest.reading import AS_IT_IS, Reading
from pipeline.manifest.values import OPTION, defect

# How alike, from 0 to 1, a name must be to what it is taken for.
NEAR_WORD = 0.75  # to the word options
NEAR_SETTING = 0.8  # to a setting, behind such a word
NEAR_COLUMN = 0.9  # to a setting, as a column of its own
LONG_NAME = 10  # characters of a setting whose name, with an error in it, is no other word


class ManifestError(JobError):
    """The manifest as a whole cannot be read or written."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row as read; `number` counts from 1, without the header and without blank rows.

    `problem` says why the row cannot be read at all, as a phrase that follows "Row 7"; `columns`
    then holds only `row`, the start of its text: half a row, fed back, could pass for another.
    """

    number: int
    columns: dict[str, Any]
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """A manifest that is read: what it is called, and what is said of its columns.

    Args:
        file_name: whether a column of this name is the content where no other is.
    """

    called: str
    reading: Reading = AS_IT_IS
    file_name: bool = False

    @property
    def required(self) -> list[str]:
        """The columns that there must be."""
        return ["content"] if self.reading.styles else ["content", "style"]

    def header(self, cells: Sequence[str]) -> Header:
        """What the names of columns mean.

        Raises:
            ValueError: as of `header_of`.
        """
        return _header(tuple(cells), self.reading.columns, file_name=self.file_name)


@functools.lru_cache(maxsize=1024)
def _header(cells: tuple[str, ...], columns: Names, *, file_name: bool) -> Header:
    header = header_of(cells, columns, file_name=file_name)
    # What would pass for a setting does not travel through beside what it stands for.
    copies = tuple(
        (own, name)
        for own, name in header.copies
        if _near_option(own) is None and _bare_setting(own) is None
    )
    return dataclasses.replace(header, copies=copies)


def check_columns(cells: Sequence[str], source: Source) -> Header:
    """What the header of CSV or Parquet means; empty names are no columns.

    Raises:
        ManifestError: content or style is missing, a name is there twice or cannot be written, or
            one is nearly that of a setting.
    """
    place = f"The header of the manifest {source.called}"
    problem = defect(list(cells))
    if problem:
        raise ManifestError(f"{place} {problem}.")
    try:
        header = source.header(cells)
    except ValueError as error:
        raise ManifestError(f"{place} {error}; rename one of the columns.") from error
    there = [name for name in (cell.strip() for cell in cells) if name]
    if header.missing:
        raise ManifestError(missing_sentence(header.missing[0], there, source.called))
    missing = [name for name in source.required if name not in header.names]
    if missing:
        mapped = ",".join(f"{name}=NAME" for name in missing)
        raise ManifestError(
            f"{place} has the columns {shown(there)} but not {' and '.join(missing)}; name the "
            "columns of the images content and style, or tell the manifest's own names with "
            f"--columns {mapped}."
        )
    problem = misspelt(header.names)
    if problem:
        raise ManifestError(f"{place} {problem}.")
    return header


def missing_sentence(name: str, there: Sequence[str], called: str) -> str:
    """That `--columns` names what is not there, with what is, and the nearest of it."""
    near = difflib.get_close_matches(name, there, 1)
    hint = f"did you mean {near[0]}?" if near else "correct it."
    return (
        f"--columns names {shown(name)}, and the manifest {called} has the columns "
        f"{shown(list(there))}; {hint}"
    )


@functools.lru_cache(maxsize=1024)
def misspelt(names: tuple[str, ...]) -> str | None:
    """Which columns are nearly named as settings, as a phrase that follows their place's name.

    None where there are none. They would travel through as columns of no meaning.
    """
    found = {name: near for name in names if (near := _near_option(name)) is not None}
    if not found:
        return None
    said = ", ".join(f"{shown(name)} (nearest: {near})" for name, near in found.items())
    return f"has {said} among its columns, which would set nothing; write settings as options.KEY"


def _near_option(name: str) -> str | None:
    """The column that `name` is nearly; None where it is that column, or another."""
    if name.startswith(OPTION) or len(name) > LONGEST_NAME:
        return None
    head, separator, rest = re.split(r"(\s*[.:_/\s-]\s*|$)", name.casefold(), maxsplit=1)
    if not difflib.get_close_matches(head, [OPTION[:-1]], n=1, cutoff=NEAR_WORD):
        return None
    is_meant = "." in separator and head in ("option", "options")
    if not is_meant and _nearest(rest, NEAR_SETTING) is None:
        return None
    return OPTION + (_nearest(rest, 0.5) or "KEY")


def bare_settings(columns: Mapping[str, Any]) -> dict[str, str]:
    """The columns that are named as settings, or nearly so, without `options.`; with the setting.

    Also an object `options` that holds settings, as JSON and Parquet can have one.
    """
    found = dict(_bare_settings(tuple(columns)))
    inside = columns.get(OPTION[:-1])
    if isinstance(inside, dict) and (settings := inside.keys() & SETTINGS.keys()):
        found[OPTION[:-1]] = min(settings)
    return found


def bare_sentence(name: str, setting: str) -> str:
    """That a column sets nothing, though its name is that of a setting."""
    return (
        f"The column {shown(name)} of the manifest is no setting and only travels through to the "
        f"results; to set {setting} for a row, name the column {OPTION}{setting}."
    )


# Rows of JSON have keys each, but most have those of the row before.
@functools.lru_cache(maxsize=1024)
def _bare_settings(names: tuple[str, ...]) -> dict[str, str]:
    return {name: near for name in names if (near := _bare_setting(name)) is not None}


def _bare_setting(name: str) -> str | None:
    if "." in name or len(name) > LONGEST_NAME:
        return None
    near = _nearest(name, NEAR_COLUMN)
    # A column weight is a weight, and not the setting weights.
    is_short = near is not None and len(near) < LONG_NAME
    return None if is_short and near != _as_setting(name) else near


def _nearest(text: str, cutoff: float) -> str | None:
    found = difflib.get_close_matches(_as_setting(text), SETTINGS, n=1, cutoff=cutoff)
    return next(iter(found), None)


def _as_setting(text: str) -> str:
    """`text` as settings are written: small letters, and `_` between words."""
    return re.sub(r"[\s-]+", "_", text.strip().casefold())


def untaken_sentence(name: str) -> str:
    """That a column is none of this program's, though only capitals make it another."""
    return (
        f"The column {shown(name)} of the manifest only travels through to the results; write "
        f"{name.casefold()} if it is meant as such."
    )


def columns_of(header: Header, cells: Sequence[Any]) -> dict[str, Any]:
    """The cells by the names of their columns; those of columns without a name must be empty.

    Raises:
        ValueError: one is not, as a phrase that follows "Row 7".
    """
    names = header.names
    for place, (name, cell) in enumerate(zip(names, cells, strict=True), start=1):
        if not name and not is_empty(cell):
            raise ValueError(
                f"has {shown(cell)} in column {place}, which has no name; name the column, or "
                "quote the cell that the value belongs to"
            )
    columns = {name: cell for name, cell in zip(names, cells, strict=True) if name}
    return columns | {own: columns[name] for own, name in header.copies}


def is_empty(cell: Any) -> bool:
    """Whether there is nothing in a cell."""
    return cell is None or (isinstance(cell, str) and not cell.strip())
