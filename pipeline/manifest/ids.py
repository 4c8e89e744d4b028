"""Ids of pairs: which can name files, the one of a row without, those made from a template."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nst_core.errors import ConfigError, shown
from pipeline import storage
from pipeline.manifest.values import whole

ID_BYTES = 512  # of UTF-8, in a whole id
SEGMENT_LIMIT = 150  # characters
# A file's name has 255 bytes at most on most disks, and a record's adds 22 to its id.
SEGMENT_BYTES = 225
STEM_LIMIT = 60  # characters of each side in an id that is made
STEM_BYTES = 100

ID_RULE = (
    f"segments of 1 to {SEGMENT_LIMIT} characters (at most {SEGMENT_BYTES} bytes) joined by / to "
    f"at most {ID_BYTES} bytes, out of letters and digits of any script, . _ - and spaces inside, "
    "none beginning with a dot"
)

_ASCII_SEGMENT = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,150}")
_NO_ASCII = re.compile(r"[^A-Za-z0-9._-]")
# Marks and letters that print nothing: two ids could look alike.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELDS = ("content", "style", "number", "hash")


def usable_id(text: str) -> str | None:
    """The id that `text` is, in Unicode's form NFC; None where it cannot name files."""
    composed = unicodedata.normalize("NFC", text)
    is_short = len(composed.encode("utf-8", "surrogatepass")) <= ID_BYTES
    return composed if is_short and all(map(_names_files, composed.split("/"))) else None


def _names_files(segment: str) -> bool:
    if segment.isascii() and " " not in segment:
        return _ASCII_SEGMENT.fullmatch(segment) is not None
    return (
        len(segment) <= SEGMENT_LIMIT
        and len(segment.encode("utf-8", "surrogatepass")) <= SEGMENT_BYTES
        and all(map(_is_usable, segment))
        and segment == _trimmed(segment)
    )


def _is_usable(character: str) -> bool:
    """Whether a letter, a mark on one, a digit, or one of the few signs."""
    is_word = unicodedata.category(character)[0] in "LMN"
    return character in "._- " or (is_word and not _INVISIBLE.match(character))


def _trimmed(text: str) -> str:
    """Without what a segment cannot begin or end with: signs and marks, and spaces."""
    start = next((i for i, one in enumerate(text) if _begins(one)), len(text))
    return text[start:].rstrip(" ")


def _begins(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LN"


def default_id(content: str, styles: Sequence[str], identity: Sequence[Any]) -> str:
    """`{content}--{style}-{8 hex}` from the URIs of the images; the same for equal arguments.

    What is not ASCII in a name becomes dashes, as ever, but a name without any ASCII letter or
    digit keeps its own, and so does a content whose id would begin with a dash.

    Args:
        identity: what decides the digits; JSON can hold it.
    """
    stems = "-and-".join(_stem(style) for style in styles)
    return f"{_stem(content, is_first=True)}--{_cut(stems)}-{digits(identity)}"


def styled_id(pair_id: object, style: str) -> object:
    """The id of a row with one of several styles: `{id}--{style}`; what is no id stays."""
    pair_id = whole(pair_id)
    is_text = isinstance(pair_id, str | int) and not isinstance(pair_id, bool)
    return f"{str(pair_id).strip()}--{_cut(_stem(style))}" if is_text else pair_id


def digits(identity: Sequence[Any]) -> str:
    """8 hex digits of what JSON can hold."""
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]


def _stem(uri: str, *, is_first: bool = False) -> str:
    stem = storage.stem(uri)
    dashed = _NO_ASCII.sub("-", stem).lstrip(".")[:STEM_LIMIT]
    if dashed.strip("._-") and not (is_first and dashed.startswith("-")):
        return dashed
    return _cut(_own_name(stem).replace(" ", "-")) or "image"


def _own_name(stem: str) -> str:
    """A name with what an id can hold of it: its letters and digits, and signs between them."""
    composed = unicodedata.normalize("NFC", stem)
    return _trimmed("".join(one if _is_usable(one) else "-" for one in composed))


def _cut(text: str) -> str:
    encoded = text[:STEM_LIMIT].encode()
    return encoded[:STEM_BYTES].decode("utf-8", "ignore")


def id_maker(template: str) -> Callable[[str, str, int], str]:
    """The function that makes the id of a content, a style and a row's number by a template.

    `{content}` and `{style}` are the images' names without extension, cut to 60 characters or 100
    bytes, `{number}` counts the rows from 1, `{hash}` is 8 hex digits of both URIs.

    Raises:
        ConfigError: something else is in braces; from the function: an id cannot name files.
    """
    unknown = [name for name in _FIELD.findall(template) if name not in _FIELDS]
    if unknown or re.search("[{}]", _FIELD.sub("", template)):
        what = f"has {{{unknown[0]}}}" if unknown else "has a brace alone"
        known = ", ".join(f"{{{name}}}" for name in _FIELDS)
        raise ConfigError(f"--id {shown(template)} {what}, which names nothing; known are {known}.")

    def make(content: str, style: str, number: int) -> str:
        fields = {
            "content": _file_name(content),
            "style": _file_name(style),
            "number": str(number),
            "hash": digits([content, style]),
        }
        made = _FIELD.sub(lambda found: fields[found[1]], template)
        usable = usable_id(made)
        if usable is None or usable.startswith("-"):
            raise ConfigError(
                f"--id {shown(template)} makes the id {shown(made)}, which cannot name files; "
                f"give {ID_RULE} or a dash."
            )
        return usable

    return make


def _file_name(uri: str) -> str:
    return _cut(_own_name(storage.stem(uri))).rstrip(" ") or "image"


def refuse_repeated(template: str, rows: Iterable[dict[str, str]]) -> None:
    """Find two rows of one id before any is written.

    Raises:
        ConfigError: there are such rows.
    """
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        other = first.setdefault(row["id"], number)
        if other != number:
            raise ConfigError(
                f"--id {shown(template)} makes the id {shown(row['id'])} of row {other} for row "
                f"{number} too; put {{number}} or {{hash}} into it, or name the files differently."
            )


def with_ids(rows: Iterable[dict[str, str]], template: str) -> Iterator[dict[str, str]]:
    """The rows with their ids in front, by a template.

    Raises:
        ConfigError: as of `id_maker`.
    """
    make = id_maker(template)
    for number, row in enumerate(rows, start=1):
        yield {"id": make(row["content"], row["style"], number), **row}
