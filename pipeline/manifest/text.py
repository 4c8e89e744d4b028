"""The text of a manifest: its encoding, and its lines, which can be given back."""

from __future__ import annotations

import codecs
import io
import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, TextIO

from nst_core.errors import shown
from pipeline.manifest.columns import Row

ROW_LIMIT = 1 << 20  # characters in one row
SHOWN_LIMIT = 1000  # characters kept of a row that cannot be read

# What a file begins with; of UTF-32's mark the start is UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Without a mark: what begins a manifest is ASCII, of which every other byte is then zero.
_UNMARKED = ((rb"[^\0]\0[^\0]\0", "utf-16-le"), (rb"\0[^\0]\0[^\0]", "utf-16-be"))
_CHUNK = 1 << 20  # bytes
_AROUND = 30  # characters shown on either side of a byte that is not UTF-8
_BEYOND_ASCII = re.compile("[^\0-\x7f\udc80-\udcff]")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def encoding_of(stream: BinaryIO) -> str:
    """Python's name of the encoding, by the first bytes; the stream is at its start, and stays."""
    start = stream.read(4)
    stream.seek(0)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    return next((name for pattern, name in _UNMARKED if re.match(pattern, start)), "utf-8")


def open_text(stream: BinaryIO) -> TextIO:
    """The text of a stream; what is not of its encoding becomes surrogates, row by row.

    `manifest_values.defect` finds them in the row that they belong to.
    """
    encoding = encoding_of(stream)
    errors = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
    return io.TextIOWrapper(stream, encoding, errors=errors, newline="")


def foreign_bytes(stream: BinaryIO) -> str | None:
    """Why a whole text is of another encoding, as a phrase that follows its name; else None.

    A text with bytes that are not UTF-8, and without one character beyond ASCII that is. Where
    there are both, only rows are damaged.
    """
    if encoding_of(stream) != "utf-8":
        return None
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    problem = None
    line = 1
    chunk, last = b"first", ""
    while chunk:
        chunk = stream.read(_CHUNK)
        text = decoder.decode(chunk, not chunk)
        if not text.isascii():
            if _BEYOND_ASCII.search(text):
                return None
            if problem is None and (found := _NOT_UTF8.search(text)):
                before, after = last + text[: found.start()], text[found.start() :]
                problem = _foreign(before, after, line + text.count("\n", 0, found.start()))
        line += text.count("\n")
        last = text[-_AROUND:]
    return problem


def _foreign(before: str, after: str, line: int) -> str:
    same_line = before[-_AROUND:].rpartition("\n")[2] + after[:_AROUND].splitlines()[0]
    seen = same_line.encode("utf-8", "surrogateescape")
    return (
        f"is not UTF-8: line {line} has bytes that read {shown(seen.decode('cp1252', 'replace'))} "
        "in Windows-1252, as spreadsheets save it; save the file as UTF-8 (in Excel: CSV UTF-8)"
    )


class RowLengthError(ValueError):
    """A row is over the limit; the message is a phrase that follows "Row 7"."""


class Lines:
    """The lines of a text; those of the present row can be given back, to be read again."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._again = deque([self._read().removeprefix("\ufeff")])
        self._taken: list[str] = []
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self._taken.append(line)
        self._size += len(line)
        if self._size > ROW_LIMIT:
            raise RowLengthError(f"is longer than {ROW_LIMIT} characters; shorten it")
        return line

    def _read(self) -> str:
        """The next line; of one over the limit, its start."""
        line = self._text.readline(ROW_LIMIT + 1)
        rest = line if len(line) > ROW_LIMIT else ""
        while rest and not rest.endswith(("\r", "\n")):
            rest = self._text.readline(ROW_LIMIT)
        return line

    def begin(self) -> None:
        """A row begins with the next line."""
        self._taken.clear()
        self._size = 0

    def give_back(self, kept: int) -> None:
        """All but the first `kept` lines of the present row will be read again."""
        self._again.extendleft(reversed(self._taken[kept:]))
        del self._taken[kept:]

    def unreadable(self, number: int, problem: str) -> Row:
        """The present row, with the start of its text."""
        text = "".join(self._taken).rstrip("\r\n")[:SHOWN_LIMIT]
        return Row(number, {"row": re.sub("[\ud800-\udfff]", "\ufffd", text)}, problem)
