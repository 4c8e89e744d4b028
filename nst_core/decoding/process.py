"""A decoding process, which `pool` starts: `python -m nst_core.decoding.process …`."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys

from nst_core import host
from nst_core.decoding import messages
from nst_core.decoding.confinement import confine
from nst_core.decoding.limits import (
    BASE_BYTES,
    BYTES_PER_BYTE,
    BYTES_PER_PIXEL,
    limit_memory,
    limited,
)
from nst_core.decoding.messages import Answer, Kind, Request
from nst_core.errors import InputTooLarge, InputUnreadable
from nst_core.imaging import images


def serve(channel: socket.socket, memory: int) -> None:
    """Answer requests until there are no more."""
    # Ctrl-C reaches this process too; it ends when its worker does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    # What libraries print about a damaged file is not for people: the error is.
    logging.disable()
    sys.stderr = os.fdopen(os.dup(2), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    host.yield_to_others()
    confine()
    channel.sendall(messages.READY)
    while found := messages.receive_request(channel, memory):
        nonce, request, data = found
        answer = _answer(channel, memory, nonce, request, data)
        del data, found
        if answer.kind in (Kind.TOO_LARGE, Kind.UNREADABLE):
            # What an error's frames hold, in circles, would count against the next file's memory.
            gc.collect()
        messages.send_answer(channel, nonce, answer)


def _answer(
    channel: socket.socket, memory: int, nonce: bytes, request: Request, data: bytes
) -> Answer:
    opening = BASE_BYTES + BYTES_PER_BYTE * len(data)

    def claim(pixels: int) -> None:
        messages.send_answer(channel, nonce, Answer(Kind.CLAIM, (pixels,)))
        if channel.recv(1) != messages.GRANTED:
            raise EOFError
        limit_memory(opening + BYTES_PER_PIXEL * pixels)

    try:
        with limited(request.seconds, opening):
            if request.function == "header_size":
                return _size_answer(request, data)
            picture = images.decode(
                data,
                name=request.name,
                max_pixels=request.max_pixels,
                max_bytes=request.max_bytes,
                wanted=request.wanted,
                claim=claim,
            )
            return messages.picture_answer(memory, picture)
    except InputTooLarge as error:
        return Answer(Kind.TOO_LARGE, text=str(error))
    except InputUnreadable as error:
        return Answer(Kind.UNREADABLE, text=str(error))


def _size_answer(request: Request, head: bytes) -> Answer:
    size = images.header_size(
        head, name=request.name, max_pixels=request.max_pixels, complete=request.complete
    )
    return Answer(Kind.NO_SIZE) if size is None else Answer(Kind.SIZE, size)


if __name__ == "__main__":
    # A worker that was killed hears no answer.
    with contextlib.suppress(BrokenPipeError, ConnectionError, EOFError):
        serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
