"""What a worker and its decoding processes say to each other: numbers of fixed places, and pixels.

Files and pixels lie in a memory that both have (a file without a name); the messages go through a
socket. A process that a hostile file has taken over can answer with wrong pixels, which such a
file could have anyway. It cannot do more: nothing that it sends is executed, and every number is
checked before it is used.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import socket
import struct
from typing import Any

import numpy as np

from nst_core.canvas import Fit, Size
from nst_core.imaging.credits import TEXT_LIMIT, Credits
from nst_core.imaging.fitting import Wanted
from nst_core.imaging.images import Picture

READY = b"ready\n"
GRANTED = b"\x01"
# Ties an answer to its request, so that none can be given in advance.
NONCE_BYTES = 8
# Credits are three texts, of which JSON may make six times as many bytes.
MOST_TEXT = 32 * TEXT_LIMIT
NAME_CHARACTERS = 4096
# At most 2 GiB go through one call of the system.
_MOST_AT_ONCE = 1 << 30
_REQUEST = struct.Struct(f"<{NONCE_BYTES}sIQ")  # nonce, bytes of JSON, bytes of the file
# An answer has as many numbers as it needs; the others are 0.
MOST_NUMBERS = 6
# Nonce, kind, numbers, bytes of text.
_ANSWER = struct.Struct(f"<{NONCE_BYTES}sB{MOST_NUMBERS}QI")


class Kind(enum.IntEnum):
    """What an answer is."""

    CLAIM = 0  # so many pixels are about to be decoded: is there memory for them?
    PICTURE = 1
    SIZE = 2
    NO_SIZE = 3
    TOO_LARGE = 4
    UNREADABLE = 5


class ProtocolError(Exception):
    """What came is no answer."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of a decoding process. `wanted` is for pictures, `complete` for sizes."""

    function: str
    name: str
    max_pixels: int
    max_bytes: int = 0
    seconds: float = 0.0
    complete: bool = False
    wanted: Wanted | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """The fixed part of an answer, and its text."""

    kind: Kind
    numbers: tuple[int, ...] = ()
    text: str = ""


def send_request(channel: socket.socket, memory: int, request: Request, data: bytes) -> bytes:
    """Put the file into the memory and ask; the request's nonce."""
    nonce = os.urandom(NONCE_BYTES)
    fields = dataclasses.asdict(dataclasses.replace(request, name=request.name[:NAME_CHARACTERS]))
    text = json.dumps(fields).encode()
    os.ftruncate(memory, 0)
    write(memory, data, 0)
    channel.sendall(_REQUEST.pack(nonce, len(text), len(data)) + text)
    return nonce


def receive_request(channel: socket.socket, memory: int) -> tuple[bytes, Request, bytes] | None:
    """The next request with its nonce and its file; None where there are no more."""
    try:
        nonce, text_bytes, data_bytes = _REQUEST.unpack(_received(channel, _REQUEST.size))
    except EOFError:
        return None
    fields = json.loads(_received(channel, text_bytes))
    if wanted := fields.pop("wanted"):
        fit = wanted.pop("fit")
        size = fit.pop("size")
        fields["wanted"] = Wanted(Fit(**fit, size=size and Size(**size)), **wanted)
    parts: list[bytes] = []
    while (start := sum(map(len, parts))) < data_bytes:
        parts.append(os.pread(memory, min(data_bytes - start, _MOST_AT_ONCE), start))
    return nonce, Request(**fields), parts[0] if len(parts) == 1 else b"".join(parts)


def send_answer(channel: socket.socket, nonce: bytes, answer: Answer) -> None:
    """Answer a request."""
    text = answer.text.encode("utf-8", "replace")[:MOST_TEXT]
    numbers = (*answer.numbers, *(0,) * (MOST_NUMBERS - len(answer.numbers)))
    channel.sendall(_ANSWER.pack(nonce, answer.kind, *numbers, len(text)) + text)


def receive_answer(channel: socket.socket, nonce: bytes) -> Answer:
    """The answer to the request of this nonce.

    Raises:
        EOFError: the process has ended.
        TimeoutError: it says nothing.
        ProtocolError: what it says is no answer.
    """
    own, kind, *numbers, text_bytes = _ANSWER.unpack(_received(channel, _ANSWER.size))
    if own != nonce or kind not in {*Kind} or text_bytes > MOST_TEXT:
        raise ProtocolError("no answer to this request")
    text = _received(channel, text_bytes).decode("utf-8", "replace")
    if kind != Kind.PICTURE:
        text = " ".join(text.split())
    return Answer(Kind(kind), tuple(numbers), text)


def picture_answer(memory: int, picture: Picture) -> Answer:
    """The answer that is a picture, whose pixels are put into the memory."""
    colors = np.ascontiguousarray(picture.rgb)
    os.ftruncate(memory, 0)
    write(memory, colors.data.cast("B"), 0)
    alpha_size = (0, 0)
    if picture.alpha is not None:
        alpha = np.ascontiguousarray(picture.alpha)
        write(memory, alpha.data.cast("B"), colors.nbytes)
        alpha_size = alpha.shape[0], alpha.shape[1]
    source = picture.original
    numbers = (*colors.shape[:2], *alpha_size, source.height, source.width)
    known = json.dumps(dataclasses.asdict(picture.credits), ensure_ascii=False)
    return Answer(Kind.PICTURE, numbers, known)


def picture_of(memory: int, answer: Answer, max_pixels: int) -> Picture:
    """The picture of an answer.

    Raises:
        ProtocolError: it has another number of pixels than it says, or more than allowed.
    """
    height, width, alpha_height, alpha_width, source_height, source_width = answer.numbers
    if not (
        1 <= height * width <= max_pixels
        and alpha_height * alpha_width <= max_pixels
        and 1 <= source_height * source_width <= max_pixels
    ):
        raise ProtocolError("not that many pixels")
    rgb = np.empty((height, width, 3), np.uint8)
    read(memory, rgb.data.cast("B"), 0)
    alpha = None
    if alpha_height:
        alpha = np.empty((alpha_height, alpha_width), np.uint8)
        read(memory, alpha.data.cast("B"), rgb.nbytes)
    os.ftruncate(memory, 0)
    return Picture(rgb, alpha, _credits(answer.text), Size(source_width, source_height))


def _credits(text: str) -> Credits:
    try:
        fields: dict[str, Any] = json.loads(text)
        resolution = fields.pop("resolution")
        texts = {name: str(value)[:TEXT_LIMIT] for name, value in fields.items()}
        known = None if resolution is None else (float(resolution[0]), float(resolution[1]))
        return Credits(**texts, resolution=known)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ProtocolError("no credits") from error


def write(memory: int, data: Any, offset: int) -> None:
    """Put bytes into the memory."""
    view = memoryview(data)
    while view.nbytes:
        written = os.pwrite(memory, view[:_MOST_AT_ONCE], offset)
        view, offset = view[written:], offset + written


def read(memory: int, into: Any, offset: int) -> None:
    """Fill a buffer from the memory. Not by mapping it: the other side can make it shorter.

    Raises:
        ProtocolError: there are not as many bytes.
    """
    view = memoryview(into)
    while view.nbytes:
        count = os.preadv(memory, [view[:_MOST_AT_ONCE]], offset)
        if not count:
            raise ProtocolError("fewer bytes than were promised")
        view, offset = view[count:], offset + count


def _received(channel: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = channel.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
