"""Files on the web: read within bounds, tried again like storage, from checked addresses alone."""

from __future__ import annotations

import pathlib
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import web_server

from pipeline import storage
from pipeline.storage import web as storage_web
from pipeline.storage.web import transfer
from pipeline.storage.web.cache import WebCache

if TYPE_CHECKING:
    from web_server import Handler, WebServer

DATA = bytes(range(256)) * 400
MOST = 1 << 20


@pytest.fixture
def near(web: WebServer) -> WebServer:
    """The server of this machine, where it may be asked."""
    storage.allow_private_hosts(True)
    return web


def forget_asked(web: WebServer) -> None:
    """As in another process, later."""
    storage_web.forget()
    web.asked.clear()


def test_a_file_crosses_the_wire_once_whoever_reads_it_how_often(near: WebServer) -> None:
    url = near.put("a.jpg", DATA)
    assert storage.read_bytes(url, max_bytes=MOST, first=100) == DATA[:100]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: storage.read_version(url, max_bytes=MOST), range(8)))
    assert {data for data, _ in found} == {DATA}
    assert {version.bytes for _, version in found} == {len(DATA)}
    assert found[0][1].mark.startswith('etag:"')
    assert near.asked == [("GET", "a.jpg", 200)]
    forget_asked(near)
    with storage.open_binary(url) as file:
        assert file.read() == DATA
    assert near.asked == [("GET", "a.jpg", 304)]


def test_threads_that_want_one_file_at_once_ask_once(near: WebServer) -> None:
    url = near.put("a.jpg", DATA)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: storage.read_bytes(url), range(32)))
    assert len(near.asked) == 1


def test_what_has_changed_is_read_anew_once_its_version_was_asked_for(near: WebServer) -> None:
    url = near.put("a.jpg", DATA)
    before = storage.read_version(url, max_bytes=MOST)[1]
    assert storage.version(url) == before
    near.put("a.jpg", DATA[1:])
    after = storage.version(url)
    assert after.bytes == len(DATA) - 1
    assert after.mark != before.mark
    assert storage.read_version(url, max_bytes=MOST) == (DATA[1:], after)
    assert near.took("HEAD") == ["a.jpg"] * 2


@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("etags", [True, False])
def test_servers_that_tell_little_are_asked_in_other_ways(
    near: WebServer, heads: bool, etags: bool
) -> None:
    near.heads, near.etags = heads, etags
    url = near.put("a.jpg", DATA)
    found = storage.version(url)
    assert found.bytes == len(DATA)
    assert bool(found.mark) == etags
    assert storage.identity(url).startswith("sha256:")
    assert storage.exists(url)
    assert not storage.exists(f"{near.url}/b.jpg")


def test_a_length_that_is_not_told_is_found_out(near: WebServer) -> None:
    def chunked(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Last-Modified", "Mon, 02 Jan 2023 00:00:00 GMT")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(b"3\r\nabc\r\n0\r\n\r\n")

    near.answers["a.jpg"] = chunked
    found = storage.version(f"{near.url}/a.jpg")
    assert found == storage.Version(3, "modified:Mon, 02 Jan 2023 00:00:00 GMT")


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_a_mark_that_is_not_utf8_is_none(near: WebServer, header: str) -> None:
    def foreign(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header(header, '"caf\xe9"')
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(DATA)

    near.answers["a.jpg"] = foreign
    unmarked = storage.Version(len(DATA), "")
    for _ in range(2):
        assert storage.read_version(f"{near.url}/a.jpg", max_bytes=MOST) == (DATA, unmarked)
        assert storage.version(f"{near.url}/a.jpg") == unmarked
        forget_asked(near)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, storage.NotFound),
        (410, storage.NotFound),
        (401, storage.AccessDenied),
        (403, storage.AccessDenied),
        (400, storage.Unreadable),
        (204, storage.Unreadable),
        (304, storage.Unreadable),
        (501, storage.Unreadable),
    ],
)
def test_what_will_not_get_better_is_said_at_once(
    near: WebServer, status: int, kind: type[storage.StorageError]
) -> None:
    near.answers["a.jpg"] = lambda handler: handler.reply(status)
    with pytest.raises(kind, match=f"answers {status}"):
        storage.read_bytes(f"{near.url}/a.jpg")
    assert len(near.asked) == 1


@pytest.mark.parametrize(
    ("status", "after"),
    [(503, "0"), (503, "1"), (503, "soon"), (503, "\xc2\xb2"), (500, "0"), (508, "0"), (520, "0")],
)
def test_what_may_get_better_is_tried_again(near: WebServer, status: int, after: str) -> None:
    def busy(handler: Handler) -> None:
        if len(near.asked) < 2:
            handler.reply(429 if near.asked else status, Retry_After=after)
        else:
            handler.reply(200, DATA)

    near.answers["a.jpg"] = busy
    started = time.monotonic()
    assert storage.read_bytes(f"{near.url}/a.jpg") == DATA
    assert (time.monotonic() - started >= 2) == (after == "1") or after != "1"
    assert [answered for _, _, answered in near.asked] == [status, 429, 200]


def test_a_body_that_breaks_off_is_read_again(near: WebServer) -> None:
    def broken(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA if len(near.asked) > 1 else DATA[:1000])
        handler.close_connection = True

    near.answers["a.jpg"] = broken
    assert storage.read_bytes(f"{near.url}/a.jpg") == DATA
    assert len(near.asked) == 2


def test_a_host_that_is_down_is_waited_for_once_not_for_each_file(
    near: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "RETRY_SECONDS", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"https://localhost:{taken.getsockname()[1]}"
        started = time.monotonic()
        for number in range(30):
            with pytest.raises(storage.Unreadable, match="in spite of retries"):
                storage.read_bytes(f"{url}/{number}.jpg")
    assert time.monotonic() - started < 5
    assert not near.asked


def test_a_body_without_an_end_is_left_at_the_limit(near: WebServer) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(DATA)

    near.answers["a.jpg"] = endless
    with pytest.raises(storage.TooLarge, match=f"more than {MOST} bytes"):
        storage.read_bytes(f"{near.url}/a.jpg", max_bytes=MOST)
    near.put("b.jpg", bytes(MOST + 1))
    with pytest.raises(storage.TooLarge, match="more than"):
        storage.read_bytes(f"{near.url}/b.jpg", max_bytes=MOST)


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_slow_answer_is_left_in_time(
    near: WebServer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def slow(handler: Handler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    monkeypatch.setattr(transfer, "TRY_SECONDS", 0.5)
    near.answers["a.jpg"] = slow
    started = time.monotonic()
    with pytest.raises(storage.Unreadable, match=r"did not come within 0\.5 s"):
        storage.read_bytes(f"{near.url}/a.jpg")
    assert time.monotonic() - started < 3


def test_redirects_are_followed_but_not_for_ever(near: WebServer) -> None:
    url = near.put("a.jpg", DATA)
    for number in range(1, 7):
        target = f"/r{number - 1}" if number > 1 else url
        near.answers[f"r{number}"] = lambda handler, to=target: handler.reply(302, Location=to)
    assert storage.read_bytes(f"{near.url}/r5") == DATA
    with pytest.raises(storage.Unreadable, match="redirected more than 5 times"):
        storage.read_bytes(f"{near.url}/r6")


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("http://localhost/a.jpg", "from https to http"),
        ("file:///etc/passwd", "to the scheme file"),
        ("https://me:secret@localhost/a.jpg", "a user's name or password"),
    ],
)
def test_redirects_to_other_kinds_of_places_are_not(
    near: WebServer, target: str, what: str
) -> None:
    near.answers["r"] = lambda handler: handler.reply(302, Location=target)
    with pytest.raises(storage.Unreadable, match=what) as caught:
        storage.read_bytes(f"{near.url}/r")
    assert "secret" not in str(caught.value)


def _both(real: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`localhost` as most systems have it, with an address of either kind."""

    def found(host: str, *more: Any, **options: Any) -> list[Any]:
        names = ["::1", "127.0.0.1"] if host == "localhost" else [host]
        return [one for name in names for one in real(name, *more, **options)]

    return found


def test_private_addresses_are_not_asked_unless_allowed(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = web.put("a.jpg", DATA)
    port = url.partition("localhost:")[2].partition("/")[0]
    monkeypatch.setattr(socket, "getaddrinfo", _both(socket.getaddrinfo))
    for host in ("2130706433", "127.1", "0x7f.1"):
        with pytest.raises(storage.StorageError):
            storage.read_bytes(f"https://{host}:{port}/a.jpg")
    for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:7f00:1]"):
        with pytest.raises(storage.AccessDenied, match="--allow-private-hosts"):
            storage.read_bytes(f"https://{host}:{port}/a.jpg")
    assert not web.asked
    storage.allow_private_hosts(True)
    assert storage.read_bytes(url) == DATA
    # What is kept is no way around it either.
    storage.allow_private_hosts(False)
    with pytest.raises(storage.AccessDenied):
        storage.read_bytes(url)


@pytest.fixture
def elsewhere(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's URL under a name that stands for a public host: that address is let pass."""
    real = transfer.addresses.check_address

    def check(address: str) -> None:
        if address != "127.0.0.1":
            real(address)

    monkeypatch.setattr(transfer.addresses, "check_address", check)
    return web.url


def test_a_redirect_to_a_private_address_is_refused(web: WebServer, elsewhere: str) -> None:
    with web_server.serving() as inner:
        inner.put("secret", b"metadata")
        at_other = inner.url.replace("localhost", "127.0.0.2").replace("http:", "https:")
        for target in (at_other, "https://169.254.169.254/latest", "https://[::1]/"):
            web.answers["r"] = lambda handler, to=target: handler.reply(302, Location=to)
            with pytest.raises(storage.AccessDenied, match="no public address"):
                storage.read_bytes(f"{elsewhere}/r")
        assert not inner.asked


def test_a_name_that_resolves_to_a_private_address_the_second_time_is_refused(
    web: WebServer, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that is connected to is the one that is checked."""
    real, asked = socket.getaddrinfo, []

    def rebinding(host: str, *more: object, **options: object) -> object:
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    web.answers["a.jpg"] = lambda handler: handler.reply(200, DATA, Connection="close")
    assert storage.read_bytes(f"{elsewhere}/a.jpg") == DATA
    storage_web.forget()
    with pytest.raises(storage.AccessDenied, match=r"leads to 127\.0\.0\.2"):
        storage.read_bytes(f"{elsewhere}/a.jpg")


def test_a_certificate_of_an_unknown_authority_is_refused(
    near: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    storage_web.forget()
    with pytest.raises(storage.Unreadable, match="SSL_CERT_FILE"):
        storage.read_bytes(near.put("a.jpg", DATA))


def test_nothing_goes_to_a_server_but_the_request(
    near: WebServer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    near.answers["a.jpg"] = lambda handler: handler.reply(200, DATA, Set_Cookie="who=me")
    near.put("b.jpg", DATA)
    storage.read_bytes(f"{near.url}/a.jpg")
    storage.read_bytes(f"{near.url}/b.jpg")
    for headers in near.headers:
        assert headers.keys() <= {"host", "accept", "accept-encoding", "user-agent"}
        assert headers["user-agent"].startswith("nst-catalog")


def test_a_proxy_of_the_environment_is_used_only_with_private_hosts(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_server.serving() as proxy:
        proxy.answers["http://shop.test/a.jpg"] = lambda handler: handler.reply(200, DATA)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setattr(transfer, "RETRY_SECONDS", 0.0)
        with pytest.raises(storage.StorageError):
            storage.read_bytes("http://shop.test/a.jpg")
        assert not proxy.asked
        storage.allow_private_hosts(True)
        assert storage.read_bytes("http://shop.test/a.jpg") == DATA
    assert not web.asked


def test_names_are_asked_for_as_they_are_written(near: WebServer) -> None:
    names = {
        "a b.jpg": "a%20b.jpg",
        "größe.jpg": "gr%C3%B6%C3%9Fe.jpg",
        "a%20b.jpg": "a%20b.jpg",
        "a%2Fb.jpg?sig=x%2By%2f&w=3#part": "a%2Fb.jpg?sig=x%2By%2f&w=3",
        "": "",
    }
    for name, asked in names.items():
        near.answers[asked] = lambda handler: handler.reply(200, handler.path.encode())
        assert storage.read_bytes(f"{near.url}/{name}").decode() == f"/{asked}"


@pytest.mark.parametrize("url", ["https://", "https:///a.jpg", "https://[x]/a"])
def test_what_is_no_url_is_said_to_be_none(web: WebServer, url: str) -> None:
    with pytest.raises(storage.NotFound, match="is no URL"):
        storage.read_bytes(url)
    assert not web.asked


def test_nothing_is_written_or_listed_there() -> None:
    for action in (
        storage.check_writable,
        storage.delete,
        lambda uri: list(storage.list_uris(uri)),
        lambda uri: storage.write_bytes(uri, b"", "image/png"),
        lambda uri: storage.create_bytes(uri, b"", "image/png"),
        lambda uri: storage.open_writer(uri, "image/png"),
    ):
        with pytest.raises(storage.NoFilesystem, match="on the web"):
            action("https://host/x.png")


def test_what_is_kept_is_bounded_and_checks_itself(
    near: WebServer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NST_WEB_CACHE_MIB", "1")
    storage_web.forget()
    folder = tmp_path / "kept" / "web"
    urls = [near.put(f"{number}.jpg", DATA + bytes([number])) for number in range(20)]
    for url in urls:
        storage.read_bytes(url)
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 1 << 20
    assert len(list(folder.iterdir())) > 5
    large = near.put("large.jpg", bytes(200_000))
    storage.read_bytes(large)
    assert all(path.stat().st_size < 200_000 for path in folder.iterdir())
    last = WebCache().get(urls[-1])
    assert last is not None
    assert last.data == DATA + bytes([19])
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert WebCache().get(urls[-1]) is None
    assert storage.read_bytes(urls[-1]) == DATA + bytes([19])


@pytest.mark.parametrize("limit", ["0", "4096"])
def test_a_cache_that_cannot_be_is_done_without(
    near: WebServer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("NST_WEB_CACHE_MIB", limit)
    (tmp_path / "kept").write_text("a file where a folder is to be")
    storage_web.forget()
    url = near.put("a.jpg", DATA)
    assert storage.read_bytes(url) == storage.read_bytes(url) == DATA
