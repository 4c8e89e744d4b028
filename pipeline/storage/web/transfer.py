"""Requests to servers on the web: bounded in bytes, time and redirects, tried again like storage.

Every connection goes to an address that was checked (see `web_addresses`); no cookies, no stored
passwords, nothing that a server says of a file's type is believed. Proxies of the environment are
used only where private addresses may be asked: of what a proxy connects to nothing is known here.
Importing this module imports aiohttp.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import concurrent.futures
import contextlib
import dataclasses
import importlib.metadata
import os
import random
import re
import socket
import ssl
import threading
import urllib.parse
import urllib.request
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, BinaryIO, TypeVar

import aiohttp
import certifi
import yarl

from pipeline.storage import web_addresses as addresses
from pipeline.storage.errors import StorageError
from pipeline.storage.uris import scheme as scheme_of
from pipeline.storage.uris import split_root
from pipeline.storage.web import faults

MOST_REDIRECTS = 5
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 30.0  # between two pieces of an answer
TRY_SECONDS = 300.0  # one try, from the connection to the last byte
RETRY_SECONDS = 180.0  # after these no other try is begun
FIRST_WAIT, LONGEST_WAIT = 1.0, 32.0
# A host that has failed in spite of retries is tried once for each file, so long.
GIVEN_UP_SECONDS = 60.0
MOST_PER_HOST = 8  # requests at once
_PIECE = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_HEAD = (400, 401, 403, 405, 406, 501)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SAFE = "%/:?#[]@!$&'()*+,;=~"

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a server says of a file; `length` in bytes, None where it does not tell.

    `is_same`: it has the version that the request names, and sends no bytes.
    """

    length: int | None
    etag: str
    modified: str
    is_same: bool = False


class Client:
    """The connections of one process, on a thread of their own; for any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nst-web", daemon=True)
        self._thread.start()
        self._places: dict[str, asyncio.Semaphore] = collections.defaultdict(
            lambda: asyncio.Semaphore(MOST_PER_HOST)
        )
        self._given_up: dict[str, float] = {}
        self._session = self._wait_for(_session())

    def get(
        self, uri: str, target: BinaryIO, max_bytes: int, etag: str = "", modified: str = ""
    ) -> Answer:
        """Copy a file to `target`, unless it is still the version named by `etag` or `modified`.

        Raises:
            NotFound, AccessDenied, TooLarge, Unreadable: with the reason.
        """
        headers = {"If-None-Match": etag, "If-Modified-Since": "" if etag else modified}
        headers = {name: value for name, value in headers.items() if value}
        return self._wait_for(
            self._persistently(uri, lambda: self._exchange("GET", uri, headers, target, max_bytes))
        )

    def head(self, uri: str) -> Answer:
        """What a server says of a file, without its bytes; of one that takes no HEAD, by a GET.

        Raises:
            NotFound, AccessDenied, Unreadable: with the reason.
        """

        async def look() -> Answer:
            try:
                return await self._exchange("HEAD", uri, {})
            except _NoHeadError:
                return await self._exchange("GET", uri, {})

        return self._wait_for(self._persistently(uri, look))

    def close(self) -> None:
        """Close all connections and end the thread."""
        self._wait_for(_closed(self._session))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait_for(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        future: concurrent.futures.Future[_Result] = asyncio.run_coroutine_threadsafe(
            work, self._loop
        )
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _persistently(self, uri: str, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """The result of the first try that brings one."""
        host = split_root(uri)[0].lower()
        now = self._loop.time()
        is_given_up = now - self._given_up.get(host, -GIVEN_UP_SECONDS) < GIVEN_UP_SECONDS
        last, wait = now + (0.0 if is_given_up else RETRY_SECONDS), FIRST_WAIT
        while True:
            limit = asyncio.timeout(None)
            try:
                async with self._places[host], limit:
                    limit.reschedule(self._loop.time() + TRY_SECONDS)
                    return await attempt()
            except StorageError:
                raise
            except Exception as error:
                if limit.expired():
                    raise faults.too_slow(uri, TRY_SECONDS) from error
                fault = faults.fault_of(uri, error)
                if not isinstance(fault, faults.TransientError):
                    raise fault from error
                pause = max(fault.after, random.uniform(0, wait))
                if self._loop.time() + pause > last:
                    self._given_up[host] = self._loop.time()
                    raise faults.given_up(uri, fault, _proxy_hint(uri)) from error
            await asyncio.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _exchange(
        self,
        method: str,
        uri: str,
        headers: dict[str, str],
        target: BinaryIO | None = None,
        max_bytes: int = 0,
    ) -> Answer:
        """One request, wherever it is redirected to; the bytes only where there is a target."""
        url = url_of(uri)
        for _ in range(MOST_REDIRECTS + 1):
            async with self._session.request(
                method, url, headers=headers, allow_redirects=False, proxy=_proxy_for(url)
            ) as response:
                elsewhere = response.headers.get("Location")
                if response.status in _REDIRECTS and elsewhere:
                    url = _redirected(uri, url, elsewhere)
                    continue
                if response.status == 304 and headers:
                    return _answer(response, is_same=True)
                if method == "HEAD" and response.status in _NO_HEAD:
                    raise _NoHeadError
                faults.check_status(
                    uri, response.status, response.reason, response.headers.get("Retry-After")
                )
                if method != "HEAD":
                    await _copy(uri, response, target, max_bytes)
                return _answer(response)
        raise faults.bad_redirect(uri, f"more than {MOST_REDIRECTS} times")


class _NoHeadError(Exception):
    """A server does not answer HEAD, or not as it answers GET."""


_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_clients: dict[int, Client] = {}
_lock = threading.Lock()


def client() -> Client:
    """This process's client; a fork makes its own."""
    with _lock:
        process = os.getpid()
        if process not in _clients:
            _clients.clear()
            _clients[process] = Client()
        return _clients[process]


def forget_client() -> None:
    """Close this process's connections; the next use opens new ones."""
    with _lock:
        found = _clients.pop(os.getpid(), None)
        if found is not None:
            found.close()


atexit.register(forget_client)


async def _session() -> aiohttp.ClientSession:
    version = importlib.metadata.version("aiohttp")
    connector = aiohttp.TCPConnector(
        limit=0,
        resolver=aiohttp.ThreadedResolver(),
        socket_factory=_checked_socket,
        ssl=_tls(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS
        ),
        headers={"Accept-Encoding": "identity", "User-Agent": f"nst-catalog aiohttp/{version}"},
    )


async def _closed(session: aiohttp.ClientSession) -> None:
    await session.close()
    for opened in [*_sockets]:
        # Those that were given up would wait for their server's farewell.
        with contextlib.suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)
    # Connections end some turns of the loop after they are told to.
    for _ in range(10):
        await asyncio.sleep(0.001)


def _checked_socket(address_info: Any) -> socket.socket:
    """A socket for a connection to an address, which is checked first."""
    family, kind, protocol, _, address = address_info
    addresses.check_address(str(address[0]))
    made = socket.socket(family, kind, protocol)
    _sockets.add(made)
    return made


def _tls() -> ssl.SSLContext:
    """The system's authorities, those of SSL_CERT_FILE, and where that is not set certifi's."""
    context = ssl.create_default_context()
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        context.load_verify_locations(certifi.where())
    return context


def url_of(uri: str) -> yarl.URL:
    """A URL as it is asked for: what is escaped stays as it is, blanks and letters are escaped.

    Raises:
        ValueError: it has no host, or one that cannot be.
    """
    parts = urllib.parse.urlsplit(uri)
    root = yarl.URL(f"{parts.scheme}://{parts.netloc}")
    if not root.raw_host:
        raise ValueError("it has no host")
    path = urllib.parse.quote(parts.path or "/", safe=_SAFE)
    query = f"?{urllib.parse.quote(parts.query, safe=_SAFE)}" if parts.query else ""
    return yarl.URL(f"{root.scheme}://{root.raw_authority}{path}{query}", encoded=True)


def _redirected(uri: str, url: yarl.URL, location: str) -> yarl.URL:
    """Where an answer sends one. Raises Unreadable, ValueError."""
    target = urllib.parse.urljoin(str(url), location)
    scheme = urllib.parse.urlsplit(target).scheme.lower()
    if scheme not in ("http", "https"):
        raise faults.bad_redirect(uri, f"to the scheme {scheme[:20] or 'of no name'}")
    if url.scheme == "https" and scheme == "http":
        raise faults.bad_redirect(uri, "from https to http")
    found = url_of(target)
    if found.user is not None or found.password is not None:
        raise faults.bad_redirect(uri, "to a URL with a user's name or password")
    return found


def _answer(response: aiohttp.ClientResponse, *, is_same: bool = False) -> Answer:
    # Of bytes that are packed for the way, the length is not that of the file.
    is_plain = response.headers.get("Content-Encoding", "identity") == "identity"
    return Answer(
        response.content_length if is_plain else None,
        _text(response, "ETag"),
        _text(response, "Last-Modified"),
        is_same,
    )


def _text(response: aiohttp.ClientResponse, header: str) -> str:
    """What a header says; nothing where that is not UTF-8, which no record could hold."""
    said = response.headers.get(header, "")
    return "" if _SURROGATE.search(said) else said


async def _copy(
    uri: str, response: aiohttp.ClientResponse, target: BinaryIO | None, max_bytes: int
) -> None:
    """The bytes of an answer to the target, from its start; with none they are not waited for."""
    is_whole = False
    try:
        if target is None:
            return
        target.seek(0)
        target.truncate()
        size = response.content_length or 0
        if size <= max_bytes:
            size = 0
            async for piece in response.content.iter_chunked(_PIECE):
                size += len(piece)
                if size > max_bytes:
                    break
                target.write(piece)
        if size > max_bytes:
            raise faults.too_many_bytes(uri, max_bytes)
        is_whole = True
    finally:
        # What is left in the middle has no orderly end, for which its server would have to listen.
        connection = response.connection
        if not is_whole and connection is not None and connection.transport is not None:
            connection.transport.abort()


def _proxy_for(url: yarl.URL) -> str | None:
    if not addresses.private_allowed() or urllib.request.proxy_bypass(url.host or ""):
        return None
    return urllib.request.getproxies().get(url.scheme)


def _proxy_hint(uri: str) -> str:
    """What to do where a proxy is named that is not used."""
    scheme = scheme_of(uri)
    if addresses.private_allowed() or not urllib.request.getproxies().get(scheme):
        return ""
    return (
        f" (the proxy of {scheme.upper()}_PROXY is used only with --allow-private-hosts: what it "
        "connects to cannot be checked here)"
    )
