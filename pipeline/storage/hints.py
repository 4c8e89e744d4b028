"""What may be meant by the name of a file that is not there: the last clause of the error."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import unquote

_BLANKS = " \t\r\n\u00a0"
_BETWEEN_NAMES = re.compile("[;,|]")
_QUOTES = "\"'\u2018\u2019\u201a\u201c\u201d\u201e"
# Of zero width, or a mark of direction or of byte order, as copied from pages and dialogs.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
# An absolute path that its beginning has made relative: file:/a, file://localhost/a, "/a".
_ABSOLUTE = re.compile(f"/(?:file:|localhost|[{_QUOTES}])(/[^/].*)")

# At the begin of a path, also where that has been taken for a relative one.
DRIVE = re.compile(r"(?:^|/)([A-Za-z]:)[/\\]")


def hint(uri: str, exists: Callable[[str], bool] = lambda _: False) -> str:
    """What is likely wrong with a name, as a clause that begins with `; `, or nothing.

    Args:
        exists: whether there is a file of another name; where that costs little.
    """
    for candidate, what in _meant(uri):
        if candidate != uri and exists(candidate):
            return f"; {candidate} is there, {what}"
    first, *more = _BETWEEN_NAMES.split(uri)
    first = first.rstrip()
    if more and exists(first):
        return f'; {first} is there: for several styles write a JSON list, ["a.jpg", "b.jpg"]'
    return _looks(uri)


def _meant(uri: str) -> Iterator[tuple[str, str]]:
    folder, slash, name = uri.rpartition("/")
    folder += slash
    yield folder + name.strip(_BLANKS), "without the blanks around its name"
    yield folder + name.strip(_BLANKS + _QUOTES), "without the quotation marks"
    yield re.sub(f"[{_QUOTES}]", "", uri), "without the quotation marks"
    seen = _INVISIBLE.sub("", uri)
    if start := _ABSOLUTE.search(seen):
        yield start[1].rstrip(_QUOTES), "without what is before that path"
    yield seen, "without a character that prints nothing"
    yield uri.replace("\\", "/"), "with / between folders"
    yield unquote(uri), "and % is an ordinary character here"
    stem, dot, extension = name.rpartition(".")
    for other in (extension.lower(), extension.upper()):
        yield f"{folder}{stem}{dot}{other}", "and capitals count"
    for other in (name.lower(), name.upper(), name.capitalize()):
        yield folder + other, "and capitals count"


def _looks(uri: str) -> str:
    name = uri.rpartition("/")[2]
    if name != name.strip(_BLANKS):
        return "; its name begins or ends with a blank"
    if unseen := _INVISIBLE.search(uri):
        return f"; it has the character U+{ord(unseen[0]):04X}, which prints nothing"
    if drive := DRIVE.search(uri):
        return f"; {drive[1]} is a drive of Windows: write the path as this system has it"
    if "\\" in uri:
        return "; it has backslashes, and folders are divided by /"
    if "~" in uri.split("/"):
        return "; ~ is an ordinary character here, so write the folder out"
    if "*" in uri or "?" in uri:
        return "; a pattern is no name: nst manifest writes a row for each file that matches one"
    if ";" in name:
        return '; of two names with ; between, several styles are a JSON list, ["a.jpg", "b.jpg"]'
    return ""


def other_spelling(path: str, exists: Callable[[str], bool]) -> str | None:
    """The path whose names are composed otherwise (é as one character or as two), if it exists.

    Systems compose names differently, and copies between them keep what they find: each part of
    the path is looked for as it is given, then as Unicode's NFC, then as NFD.
    """
    if path.isascii():
        return None
    found = ""
    for index, part in enumerate(path.split("/")):
        for form in (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))):
            candidate = f"{found}/{form}" if index else form
            if candidate in ("", ".", "..") or exists(candidate):
                found = candidate
                break
        else:
            return None
    return found
