"""A server on the web for tests: files with ETags, over TLS or not, that goes wrong as told."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme

Answer = Callable[["Handler"], None]


class WebServer:
    """What there is, by path, and what was asked for.

    `files`: bytes with an ETag; `answers`: functions that answer in their stead.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str, int]] = []
        self.headers: list[dict[str, str]] = []
        self.etags = True
        self.heads = True
        self.url = ""

    def put(self, path: str, data: bytes) -> str:
        """Let there be a file; its URL."""
        self.files[path] = data
        return f"{self.url}/{path}"

    def took(self, method: str) -> list[str]:
        """The paths that were asked for in a way, in order."""
        return [path for asked, path, _ in self.asked if asked == method]


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    web: WebServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def log_request(self, code: Any = "-", _size: Any = "-") -> None:
        """Keep what was asked."""
        self.web.asked.append((self.command, self.path.lstrip("/"), int(code)))
        self.web.headers.append({name.lower(): value for name, value in self.headers.items()})

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer; `Retry_After="1"` is a header."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        """The file, or what the test has instead."""
        path = self.path.lstrip("/")
        if answer := self.web.answers.get(path):
            # Whoever asks may be gone in the middle of a body without an end.
            with contextlib.suppress(OSError):
                answer(self)
            return
        data = self.web.files.get(path, self.web.files.get(path.partition("?")[0]))
        if data is None:
            self.reply(404, b"<html>not here</html>")
            return
        etag = f'"{hashlib.sha256(data).hexdigest()[:12]}"'
        if self.web.etags and self.headers.get("If-None-Match") == etag:
            self.send_response(304)
            self.send_header("ETag", etag)
            self.end_headers()
            return
        self.reply(200, data, **({"ETag": etag} if self.web.etags else {}))

    def do_HEAD(self) -> None:
        """The same without a body, or that there is no such thing."""
        if self.web.heads:
            self.do_GET()
        else:
            self.reply(405)


@contextlib.contextmanager
def serving(certificate: trustme.LeafCert | None = None) -> Iterator[WebServer]:
    """A server at a free port of 127.0.0.1, over TLS where there is a certificate."""
    web = WebServer()
    handler = type("OwnHandler", (Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        scheme = "https"
    web.url = f"{scheme}://localhost:{server.server_address[1]}"
    # A client that goes away in the middle is what these tests are about.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def authority(folder: pathlib.Path) -> tuple[trustme.LeafCert, pathlib.Path]:
    """A certificate for localhost, and the file of the authority that vouches for it."""
    made = trustme.CA()
    path = folder / "authority.pem"
    made.cert_pem.write_to_path(str(path))
    return made.issue_cert("localhost"), path
