"""Which weights a demo takes: ImageNet's where they are soon there, and no noticeable wait else."""

from __future__ import annotations

import hashlib
import http.server
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from keras.src.applications import vgg19

from nst_core.errors import WeightsError
from nst_core.network import quick_fetch, weights
from pipeline.__main__ import main
from pipeline.commands.demo_weights import choose_weights

FILE = bytes(range(256)) * 2000
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def keras_home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """An empty Keras cache, of which nothing half-written is left at the end."""
    home = tmp_path / "keras"
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr(weights, "IMAGENET_MD5", hashlib.md5(FILE).hexdigest())
    monkeypatch.setenv("no_proxy", "*")
    yield home
    for thread in threading.enumerate():
        if thread.name == "nst-weights":
            thread.join(quick_fetch.SILENCE_SECONDS + 5)
            assert not thread.is_alive()
    left = {path.name for path in home.rglob("*") if path.is_file()}
    assert left <= {weights.IMAGENET_FILE}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], None]]:
    """`serve(answer)`: what the server that stands for Keras's says from now on."""
    servers = []

    def start(answer: Answer) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{weights.IMAGENET_FILE}"
        monkeypatch.setattr(vgg19, "WEIGHTS_PATH_NO_TOP", url)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(request: http.server.BaseHTTPRequestHandler, data: bytes, length: int) -> None:
    """Answer with these bytes of so many."""
    request.send_response(200)
    request.send_header("Content-Length", str(length))
    request.end_headers()
    request.wfile.write(data)


def test_weights_that_can_be_fetched_are_and_the_next_demo_finds_them(
    serve: Any, keras_home: pathlib.Path
) -> None:
    asked = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        send(request, FILE, len(FILE))

    serve(answer)
    name, sentence = choose_weights()
    place = keras_home / "models" / weights.IMAGENET_FILE
    assert (name, place.read_bytes()) == ("imagenet", FILE)
    assert sentence == f"Weights: imagenet, trained ones, just fetched into {place}."
    name, sentence = choose_weights()
    assert name == "imagenet"
    assert sentence == f"Weights: imagenet, trained ones, which are in {place}."
    assert len(asked) == 1


def test_a_damaged_cache_is_fetched_anew(serve: Any, keras_home: pathlib.Path) -> None:
    place = keras_home / "models" / weights.IMAGENET_FILE
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half a file")
    serve(lambda request: send(request, FILE, len(FILE)))
    assert choose_weights()[0] == "imagenet"
    assert place.read_bytes() == FILE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda request: request.send_error(403), "Forbidden (403)"),
        (lambda request: send(request, b"<html>blocked</html>", 20), "is not Keras's file"),
        (lambda request: send(request, FILE[:1000], len(FILE)), "is not Keras's file"),
        (lambda request: request.wfile.write(b"nonsense\r\n"), "nonsense"),
    ],
    ids=["refused", "another page", "an end before the end", "no HTTP"],
)
def test_what_is_not_the_file_is_not_taken_for_it(
    serve: Any, keras_home: pathlib.Path, answer: Answer, reason: str
) -> None:
    serve(answer)
    name, sentence = choose_weights()
    assert name == "procedural"
    assert reason in sentence
    assert str(keras_home) in sentence
    assert "nst demo --weights imagenet" in sentence
    assert "\n" not in sentence


def test_no_network_is_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x.h5"
    monkeypatch.setattr(vgg19, "WEIGHTS_PATH_NO_TOP", url)
    started = time.monotonic()
    name, sentence = choose_weights()
    assert time.monotonic() - started < 2
    assert name == "procedural"
    assert "refused" in sentence


def test_a_name_server_that_says_nothing_is_a_short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        answered.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(vgg19, "WEIGHTS_PATH_NO_TOP", "http://weights.example/x.h5")
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"does not answer within 0\.3 s"):
        quick_fetch.fetch_imagenet(lambda *_: None, connect_seconds=0.3)
    assert time.monotonic() - started < 2
    answered.set()


@pytest.mark.parametrize("says", ["nothing", "a byte now and then"])
def test_a_server_that_hangs_is_a_bounded_wait(serve: Any, says: str) -> None:
    ended = threading.Event()

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        if says == "nothing":
            ended.wait(60)
            return
        send(request, b"", len(FILE))
        while not ended.wait(0.05):
            request.wfile.write(b"x")

    serve(answer)
    bounds = {"connect_seconds": 0.5, "seconds": 1.0}
    expected = {"nothing": "does not answer", "a byte now and then": "takes more than 1 s"}
    started = time.monotonic()
    with pytest.raises(WeightsError, match=expected[says]):
        quick_fetch.fetch_imagenet(lambda *_: None, **bounds)
    assert time.monotonic() - started < 4
    ended.set()


def test_the_bytes_that_have_come_are_told(serve: Any) -> None:
    told = []
    serve(lambda request: send(request, FILE, len(FILE)))
    quick_fetch.fetch_imagenet(lambda count, total: told.append((count, total)))
    assert told[-1] == (len(FILE), len(FILE))
    assert [count for count, _ in told] == sorted(count for count, _ in told)


def test_weights_that_were_asked_for_are_never_replaced(
    serve: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(lambda request: request.send_error(403))
    for name in ("imagenet", str(tmp_path / "none.h5")):
        assert main(["demo", "--output", str(tmp_path / "out"), "--weights", name]) == 1
        said = capsys.readouterr().err
        assert "procedural" in said
        assert "or weights procedural" in said
    assert not (tmp_path / "out" / "images").exists()
