"""The text of a manifest: its encoding, and its lines, which can be given back."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import io
import re
import zlib
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, TextIO

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
_CHUNK = 1 << 17  # bytes
_AROUND = 30  # characters shown on either side of a byte that is not UTF-8
_BEYOND_ASCII = re.compile("[^\0-\x7f\udc80-\udcff]")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_NOT_WINDOWS = re.compile("[\udc81\udc8d\udc8f\udc90\udc9d]")
# What bytes that are not whole raise; UTF-16 that is cut off is no text.
DAMAGE = (OSError, EOFError, zlib.error, UnicodeDecodeError)


@dataclasses.dataclass(frozen=True)
class Foreign:
    """The first bytes of a text that are not UTF-8.

    Args:
        line: where they are, from 1.
        seen: what is around them, read as Windows-1252.
        missing: the first byte anywhere that Windows-1252 does not have, with its line.
    """

    line: int
    seen: str
    missing: tuple[str, int] | None = None


def encoding_of(stream: BinaryIO) -> str:
    """Python's name of the encoding, by the mark or the first bytes, else by the whole text.

    The stream is at its start, and stays. Windows-1252 is what is not UTF-8, see `foreign_bytes`.
    """
    start = _marked(stream)
    if start is None:
        start = "utf-8" if foreign_bytes(stream) is None else "cp1252"
        stream.seek(0)
    return start


def _marked(stream: BinaryIO) -> str | None:
    start = stream.read(4)
    stream.seek(0)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    return next((name for pattern, name in _UNMARKED if re.match(pattern, start)), None)


def open_text(stream: BinaryIO) -> TextIO:
    """The text of a stream; what is not of its encoding becomes surrogates, row by row.

    `values.defect` finds them in the row that they belong to.
    """
    encoding = encoding_of(stream)
    errors = "surrogateescape" if encoding in ("utf-8", "cp1252") else "surrogatepass"
    return io.TextIOWrapper(stream, encoding, errors=errors, newline="")


def foreign_bytes(stream: BinaryIO) -> Foreign | None:
    """What tells that a whole text is of another encoding than Unicode's; else None.

    Such a text has bytes that are not UTF-8, and not one character beyond ASCII that is. Where
    there are both, only rows are damaged. What cannot be read to its end is judged by its start.
    """
    if _marked(stream) is not None:
        return None
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    found: Foreign | None = None
    line, last, is_over = 1, "", False
    with contextlib.suppress(*DAMAGE):
        while not is_over:
            chunk = stream.read(_CHUNK)
            is_over = not chunk
            if chunk.isascii() and not decoder.getstate()[0]:
                text = chunk[-_AROUND:].decode()
                line += chunk.count(b"\n") - text.count("\n")
            else:
                text = decoder.decode(chunk, is_over)
                if _BEYOND_ASCII.search(text):
                    return None
                found = _foreign(found, text, last, line)
            line += text.count("\n")
            last = text[-_AROUND:] or last
    return found


def _foreign(found: Foreign | None, text: str, last: str, line: int) -> Foreign | None:
    """What is found with this piece of the text, which begins on this line after `last`."""
    if found is None and (first := _NOT_UTF8.search(text)):
        before, after = last + text[: first.start()], text[first.start() :]
        same_line = before[-_AROUND:].rpartition("\n")[2] + after[:_AROUND].splitlines()[0]
        seen = same_line.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
        found = Foreign(line + text.count("\n", 0, first.start()), seen)
    if found and not found.missing and (none := _NOT_WINDOWS.search(text)):
        where = line + text.count("\n", 0, none.start())
        found = dataclasses.replace(found, missing=(f"0x{ord(none[0]) - 0xDC00:02X}", where))
    return found


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
