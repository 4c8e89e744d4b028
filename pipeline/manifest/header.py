"""What the names of a header, or the keys of an object, mean: in any case, with blanks, mapped."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from nst_core.errors import shown
from pipeline.manifest.reading import FILE_NAME, KNOWN, option_name
from pipeline.manifest.values import OPTION

# A column in the way of another that `--columns` names gets this before its name, as in exports.
OTHER = "columns."
Names = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Header:
    """The columns of a manifest, or of one of its rows.

    Args:
        names: for each cell; empty for a column without a name.
        copies: for names of the manifest's own that travel through, the column they stand for.
        missing: what `--columns` names and is not there.
        untaken: columns that are spelt as one of this program but for capitals, and are none.
    """

    names: tuple[str, ...]
    copies: Names = ()
    missing: tuple[str, ...] = ()
    untaken: tuple[str, ...] = ()


# Rows of JSON have keys each, but most have those of the row before.
@functools.lru_cache(maxsize=1024)
def header_of(cells: tuple[str, ...], columns: Names, *, file_name: bool = False) -> Header:
    """What the names mean.

    A name counts without blanks around it and in any case; but beside `content` and `style`, spelt
    so, another spelling of a name is a column like any other, as earlier versions had it.

    Args:
        columns: the manifest's own names, see `Reading`.
        file_name: whether a column of this name is the content where no other is.

    Raises:
        ValueError: two cells are one name, as a phrase that follows "The header" or "Row 7".
    """
    given = [cell.strip() for cell in cells]
    folded = [name.casefold() for name in given]
    if file_name and "content" not in {*folded, *dict(columns)}:
        columns = (*columns, ("content", FILE_NAME)) if FILE_NAME in folded else columns
    places = {name: _place(own, given, folded) for name, own in columns}
    mapped = {place: name for name, place in places.items() if place is not None}
    is_exact = not columns and {"content", "style"} <= {*given}
    names, untaken = [], []
    for place, name in enumerate(given):
        known = option_name(name) or (folded[place] if folded[place] in KNOWN else name)
        if place in mapped:
            known = mapped[place]
        elif known in places and places[known] is not None:
            known = OTHER + name
        elif is_exact and known != name and not known.startswith(OPTION):
            untaken.append(name)
            known = name
        names.append(known)
    _refuse_one_name(names, given)
    copies = tuple(
        (own, name)
        for own, name in ((given[place], name) for place, name in mapped.items())
        if not name.startswith(OPTION) and own not in (*names, *KNOWN)
    )
    missing = tuple(own for name, own in columns if places[name] is None)
    return Header(tuple(names), copies, missing, tuple(untaken))


def _place(own: str, given: Sequence[str], folded: Sequence[str]) -> int | None:
    """Which cell a name of `--columns` is: the one spelt so, else the one in another case."""
    if own in given:
        return given.index(own)
    alike = [place for place, name in enumerate(folded) if name == own.casefold()]
    if len(alike) > 1:
        both = " and ".join(shown(given[place]) for place in alike[:2])
        raise ValueError(f"has {both}, either of which can be {own}; write it as it is spelt")
    return alike[0] if alike else None


def _refuse_one_name(names: Sequence[str], given: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        before = first.setdefault(name, place) if name else place
        if before != place:
            one, other = given[before], given[place]
            is_same = one == other
            both = f"{shown(one)} twice" if is_same else f"{shown(one)} and {shown(other)}"
            raise ValueError(f"has {both}{'' if is_same else f', which both mean {name}'}")
