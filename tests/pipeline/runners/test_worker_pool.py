"""The pool that starts Python workers for task managers: for whom it does, and for whom not."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from pipeline.runners import sockets, worker_pool
from pipeline.runners.worker_pool import WorkerPool

NOBODY = 65534
WAITING = "import time; time.sleep(300)"
# Another user's process: it listens, and passes on to a port what one connection sends it.
RELAY = """
import os, socket, sys, threading
os.setuid(int(sys.argv[2]))
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
near, _ = server.accept()
far = socket.socket()
far.connect(("127.0.0.1", int(sys.argv[1])))
def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
threading.Thread(target=pump, args=(far, near), daemon=True).start()
pump(near, far)
"""


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    """A pool of at most three workers, which only wait."""
    waiting = WorkerPool(WAITING, most=3)
    yield waiting
    waiting.close()


@pytest.fixture
def task_manager() -> Iterator[str]:
    """An endpoint of this user's at which a task manager would listen."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"localhost:{listener.getsockname()[1]}"


def ask(port: int, *endpoints: str) -> Any:
    """What a task manager does for its first worker: all of them call it by the same id."""
    named = dict(zip(worker_pool._ENDPOINTS, ({"url": url} for url in endpoints), strict=False))
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id="1-1", **named)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        return stub.StartWorker(request, timeout=60)


def refusal(port: int, *endpoints: str) -> str:
    """The sentence with which a worker is refused; none may have been started."""
    before = workers()
    with pytest.raises(grpc.RpcError) as caught:
        ask(port, *endpoints)
    assert workers() == before
    code = caught.value.code()
    assert code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return str(caught.value.details())


def workers() -> list[str]:
    """The endpoints of the workers that this process has started and that run."""
    found: list[list[str]] = [[]]
    while not all(found):  # A process has no arguments for a moment, while its program begins.
        children = psutil.Process().children()
        running = [one for one in children if one.status() != psutil.STATUS_ZOMBIE]
        found = [one.cmdline() for one in running]
    return sorted(words[-2] for words in found if WAITING in words)


def relay_of_another_user(port: int) -> subprocess.Popen[str]:
    """Start `RELAY` as nobody."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    command = [sys.executable, "-I", "-S", "-c", RELAY, str(port), str(NOBODY)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_one_task_manager_never_ends_the_worker_of_another(pool: WorkerPool) -> None:
    port = pool.serve(0)
    here = ("127.0.0.1", 0)
    with socket.create_server(here) as one, socket.create_server(here) as other:
        urls = sorted(f"127.0.0.1:{listener.getsockname()[1]}" for listener in (one, other))
        for url in urls:
            assert not ask(port, url).error
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
            stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), timeout=60)
        assert workers() == urls
    pool.close()
    assert workers() == []


def test_a_worker_is_told_the_address_at_which_its_task_manager_was_seen_to_listen(
    pool: WorkerPool, task_manager: str
) -> None:
    ask(pool.serve(0), task_manager, task_manager, task_manager, task_manager)
    assert workers() == [task_manager.replace("localhost", "127.0.0.1")]


def test_another_user_of_the_machine_gets_no_worker(pool: WorkerPool, task_manager: str) -> None:
    with relay_of_another_user(pool.serve(0)) as relay:
        assert relay.stdout
        said = refusal(int(relay.stdout.readline()), task_manager)
        relay.kill()
    assert f"only for processes of user {os.geteuid()}" in said
    assert workers() == []


def test_a_worker_never_obeys_an_endpoint_of_another_user(pool: WorkerPool) -> None:
    port = pool.serve(0)
    with relay_of_another_user(port) as relay:
        assert relay.stdout
        foreign = f"127.0.0.1:{int(relay.stdout.readline())}"
        assert foreign in refusal(port, foreign)
        relay.kill()


def test_with_any_user_another_user_gets_a_worker_too(task_manager: str) -> None:
    pool = WorkerPool(WAITING, any_user=True)
    try:
        with relay_of_another_user(pool.serve(0)) as relay:
            assert relay.stdout
            ask(int(relay.stdout.readline()), task_manager)
            relay.kill()
        assert len(workers()) == 1
    finally:
        pool.close()


@pytest.mark.parametrize(
    "url",
    [
        "10.0.0.7:8099",
        "flink.example.org:8099",
        "localhost.example.org:80",
        "unix:/tmp/socket",
        "dns:///localhost:80",
        "localhost",
        "localhost:0",
        "localhost:99999",
        "localhost:٣",
        "",
        "x" * 5000,
    ],
)
def test_an_endpoint_elsewhere_or_none_is_refused_in_a_sentence(pool: WorkerPool, url: str) -> None:
    said = refusal(pool.serve(0), url)
    assert repr(url[:200]) in said
    assert len(said) < 500


def test_nobody_listens_there_is_refused_too_and_so_is_any_other_endpoint_of_four(
    pool: WorkerPool, task_manager: str
) -> None:
    port = pool.serve(0)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = f"localhost:{gone.getsockname()[1]}"
    assert closed in refusal(port, closed)
    for place in range(1, 4):
        named = [task_manager] * 4
        named[place] = "192.0.2.1:50000"
        assert "192.0.2.1:50000" in refusal(port, *named)


def test_there_are_never_more_workers_than_allowed_and_ended_ones_make_room(
    pool: WorkerPool, task_manager: str
) -> None:
    port = pool.serve(0)
    for _ in range(3):
        ask(port, task_manager)
    assert "--most-workers" in refusal(port, task_manager)
    pool._workers[1].kill()
    pool._workers[1].wait()
    ask(port, task_manager)
    assert len(workers()) == 3


def test_two_pools_never_share_a_port(pool: WorkerPool) -> None:
    port = pool.serve(0)
    with pytest.raises(worker_pool.ConfigError, match=f":{port}: another process"):
        WorkerPool(WAITING).serve(port)


@pytest.mark.parametrize(
    ("user", "known", "options", "words"),
    [
        (0, True, [], ["root", "--allow-root"]),
        (1000, False, [], ["/proc/net/tcp", "--any-user"]),
        (0, False, ["--allow-root"], ["/proc/net/tcp", "--any-user"]),
        (1000, True, ["--most-workers=0"], ["--most-workers is 0"]),
        (1000, True, ["--port=70000"], ["--port is 70000"]),
    ],
)
def test_the_pool_refuses_to_run_where_that_would_be_dangerous(
    user: int,
    known: bool,
    options: list[str],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(sockets, "are_known", lambda: known)
    monkeypatch.setattr(WorkerPool, "serve", None)
    with pytest.raises(SystemExit) as caught:
        worker_pool.main(["--port", "0", *options])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said


def test_the_pool_ends_on_sigterm_with_status_0() -> None:
    command = [sys.executable, "-m", "pipeline.runners.worker_pool", "--port", "0", "--allow-root"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert "at 127.0.0.1:" in running.stdout.readline()
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(120) == 0


def test_tables_of_both_families_are_read_and_what_has_ended_is_nobody_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """As an Intel machine writes them: words of four bytes, the lowest first."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"
    rest = "00000000:00000000 00:00000000 00000000"
    lines = [
        f" 0: 0100007F:1F93 00000000:0000 0A {rest} 1000 0 1",
        f" 1: 0100007F:9C40 0100007F:1F93 01 {rest} 1001 0 2",
        # What has ended has no user any more, and is written as root's.
        f" 2: 0100007F:9C41 0100007F:1F93 06 {rest} 0 0 0",
    ]
    mapped, one, all_ = "0000000000000000FFFF00000100007F", "0" * 24 + "01000000", "0" * 32
    lines6 = [
        f" 0: {mapped}:9C42 {mapped}:1F93 01 {rest} 1002 0 3",
        f" 1: {one}:1F93 {all_}:0000 0A {rest} 1003 0 4",
        f" 2: {all_}:1F94 {all_}:0000 0A {rest} 1004 0 5",
    ]
    for name, content in (("tcp", lines), ("tcp6", lines6)):
        (tmp_path / name).write_text("\n".join([head, *content]) + "\n")
    monkeypatch.setattr(sockets, "_TABLES", (tmp_path / "tcp", tmp_path / "tcp6"))
    monkeypatch.setattr(sys, "byteorder", "little")
    four, six = sockets.candidates("localhost:8083")
    assert (str(four), str(six)) == ("127.0.0.1:8083", "[::1]:8083")
    clients = [sockets.candidates(f"127.0.0.1:{port}")[0] for port in range(40000, 40004)]
    assert [sockets.user_at(client, four) for client in clients] == [1001, None, 1002, None]
    assert sockets.users_listening(four) == {1000}
    assert sockets.users_listening(six) == {1003}
    assert [sockets.users_listening(one) for one in sockets.candidates("localhost:8084")] == [
        {1004},
        {1004},
    ]
    (tmp_path / "tcp6").unlink()
    assert sockets.users_listening(six) == set()
