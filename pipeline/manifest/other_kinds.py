"""Files that are no manifest, though they may be called one: what they are, and what to do."""

from __future__ import annotations

import re

START_BYTES = 512
_WORKBOOK = "a workbook of a spreadsheet, and only its table can be read; save that as CSV UTF-8"
_JSON = "JSON; write one object on each line, and name it .jsonl"
_STARTS = (
    (
        rb"PK\x03\x04",
        "a workbook or another ZIP archive; save the table as CSV UTF-8",
    ),
    (rb"\xd0\xcf\x11\xe0", _WORKBOOK),
    (rb"\x1f\x8b", "packed with gzip; let its name end with .gz too, or unpack it"),
    (rb"PAR1", "Parquet; name it .parquet"),
    (rb"(?i)\s*<(!doctype|html|\?xml|table)", "a page of HTML or XML; fetch the table itself"),
)
_JSON_START = rb'\s*(\[\s*)?\{\s*"'
_EXTENSIONS = {
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers"), _WORKBOOK),
    ".json": _JSON,
}


def kind_by_start(start: bytes, *, is_json: bool) -> str | None:
    """What a text is that begins with these bytes, as a phrase that follows "is "; None for text.

    Args:
        is_json: whether it is read as JSON Lines.
    """
    start = start.removeprefix(b"\xef\xbb\xbf")
    found = next((kind for pattern, kind in _STARTS if re.match(pattern, start)), None)
    return found or (None if is_json or not re.match(_JSON_START, start) else _JSON)


def kind_by_name(name: str) -> str | None:
    """What a file of this name is, as a phrase that follows "is "; None where nobody knows."""
    return next((kind for end, kind in _EXTENSIONS.items() if name.lower().endswith(end)), None)
