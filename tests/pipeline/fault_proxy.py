"""A proxy on loopback in front of a storage server, which goes wrong as it is told."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import re
import select
import socket
import struct
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ALWAYS = sys.maxsize

# An HTTP status is answered instead of forwarding; a function is called before forwarding. Else:
RESET = "reset"  # the connection, before anything is forwarded
UNHEARD = "unheard"  # forwarded, then the connection is reset instead of an answer
STALL = "stall"  # no answer, until the other side gives up
STALL_HALFWAY = "stall halfway"  # the same after half of the body
CUT = "cut"  # half of the body, then the end of the connection
CORRUPT = "corrupt"  # one bit: of what is uploaded, or of the answer's body

_NAME = re.compile(rb'"name":\s*("(?:[^"\\]|\\.)*")')


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next requests of an operation on objects of a name."""

    what: int | str | Callable[[], Any]
    operation: str
    name: str
    times: int


class FaultProxy(ThreadingHTTPServer):
    """Forwards to a port of 127.0.0.1. Operations: see `operation_of`.

    `requests`: operation, object's name and fault (None: none) of each request so far.
    """

    daemon_threads = True

    def __init__(self, upstream_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream_port = upstream_port
        self.ended = threading.Event()
        self.requests: list[tuple[str, str, Any]] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def fail(
        self,
        what: int | str | Callable[[], Any],
        operation: str = "*",
        name: str = "*",
        times: int = 1,
    ) -> None:
        """Let the next `times` requests go wrong whose operation and object match the patterns."""
        self._faults.append(Fault(what, operation, name, times))

    def heal(self) -> None:
        """Forget what was still to go wrong, and the requests so far."""
        self._faults.clear()
        self.requests.clear()

    @property
    def pending(self) -> list[Fault]:
        """What has not gone wrong yet as often as it should."""
        return [fault for fault in self._faults if fault.times]

    def take(self, operation: str, name: str) -> Any:
        """The fault of one request, or None."""
        with self._lock:
            for fault in self.pending:
                if fnmatchcase(operation, fault.operation) and fnmatchcase(name, fault.name):
                    fault.times -= 1
                    self.requests.append((operation, name, fault.what))
                    return fault.what
            self.requests.append((operation, name, None))
            return None

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultProxy]:
        """Serves until the block ends."""
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.ended.set()
            self.shutdown()
            thread.join()
            self.server_close()

    def shutdown_request(self, request: Any) -> None:
        """Close without a farewell, so that a reset is one."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that have given up are no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def operation_of(method: str, target: str, body: bytes) -> tuple[str, str]:
    """What a request does, and the object's name (of a listing: the prefix).

    `read`, `metadata`, `list`, `write`, `create` (a write only if absent), `chunk` (the bytes of a
    large one), `delete`, and `bucket` for what concerns none.
    """
    url = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(url.query))
    name = urllib.parse.unquote(url.path.partition("/o/")[2]) or query.get("name", "")
    if url.path.startswith("/upload/"):
        if not name and (found := _NAME.search(body)):
            name = json.loads(found[1])
        if method == "PUT":
            return "chunk", name
        return ("create" if query.get("ifGenerationMatch") == "0" else "write"), name
    if method == "DELETE":
        return "delete", name
    if name:
        return ("read" if query.get("alt") == "media" else "metadata"), name
    is_list = method == "GET" and url.path.endswith("/o")
    return ("list", query.get("prefix", "")) if is_list else ("bucket", "")


def spoiled(data: bytes, start: int = 0) -> bytes:
    """The data with one bit of the byte at the middle from `start` on flipped."""
    if start >= len(data):
        return data
    at = (start + len(data)) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _spoiled_upload(body: bytes, content_type: str) -> bytes:
    if "multipart" not in content_type:
        return spoiled(body)
    # Between the headers of the second part and the boundary behind it.
    start = body.index(b"\r\n\r\n", body.index(b"\r\n\r\n") + 4) + 4
    end = body.rindex(b"\r\n--")
    return spoiled(body[:end], start) + body[end:]


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"
    # Heads and bodies are sent apart: the second must not wait for the first one's receipt.
    disable_nagle_algorithm = True

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def __getattr__(self, name: str) -> Any:
        """`do_GET` and all other methods alike."""
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation, name = operation_of(self.command, self.path, body)
        fault = self.server.take(operation, name)
        if isinstance(fault, int):
            self._answer(fault, {}, b'{"error": {"message": "as the test wants it"}}')
        elif fault == RESET:
            self._reset()
        elif fault == STALL:
            self._stall()
        else:
            if callable(fault):
                fault()
            uploads = operation in ("write", "create", "chunk")
            if fault == CORRUPT and uploads:
                body = _spoiled_upload(body, self.headers.get("Content-Type", ""))
            status, headers, answer = self._forward(body)
            if fault == CORRUPT and not uploads:
                answer = spoiled(answer)
            if fault == UNHEARD:
                self._reset()
            else:
                self._answer(status, headers, answer, fault)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=60)
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for key, value in self.headers.items():
                if key.lower() != "connection":
                    upstream.putheader(key, value)
            upstream.endheaders(body)
            response = upstream.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Any = None) -> None:
        self.send_response_only(status)
        for key, value in headers.items():
            if key.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        broken = fault in (CUT, STALL_HALFWAY)
        self.wfile.write(body[: len(body) // 2] if broken else body)
        if fault == STALL_HALFWAY:
            self._stall()
        if broken:
            self.close_connection = True

    def _reset(self) -> None:
        linger_not = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        self.close_connection = True

    def _stall(self) -> None:
        # The other side sends nothing more: it is readable once that has closed it.
        while not self.server.ended.is_set():
            if select.select([self.connection], [], [], 0.05)[0]:
                break
        self.close_connection = True
